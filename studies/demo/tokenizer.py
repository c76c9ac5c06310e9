"""The tokenizer of the embedded model family: one token a symbol, symbols apart by single spaces.

Because a space only separates, a prompt and its continuation (`reverse: k q a =` and ` a q k`)
encode to the same tokens together as apart. There is no BOS by itself: BOS only stands where a
model is asked about a text without a prompt. Words it was not made for become one unknown token.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BOS, EOS, PAD, UNKNOWN = "<s>", "</s>", "<pad>", "<unk>"
SPECIAL = (BOS, EOS, PAD, UNKNOWN)


def make_tokenizer(symbols: Sequence[str], window: int) -> "PreTrainedTokenizerFast":
    """A tokenizer whose vocabulary is SPECIAL, then `symbols` in their order.

    Args:
        symbols: Different words without spaces.
        window: The longest input of its models, in tokens.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *symbols))}
    inner = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    inner.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNKNOWN,
        model_max_length=window,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )

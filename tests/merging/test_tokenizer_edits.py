"""Tokenizers stripped, joined and added to; what comes of it survives the disk."""

import json

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from merging.errors import UnsupportedError
from merging.tokenizer_edits import (
    add_missing,
    add_union,
    save_tokenizer,
    settled,
    stripped,
    tokens_of,
)

LETTERS = ("<unk>", "<s>", "a", "b", "c", "d")


@pytest.fixture
def bpe(tmp_path):
    """`bpe(merges, added)`: a BPE over a b c d with these merges and added tokens, loaded."""

    def made(merges, added=(), **roles):
        vocabulary = {token: row for row, token in enumerate(LETTERS)}
        for left, right in merges:
            vocabulary.setdefault(left + right, len(vocabulary))
        inner = Tokenizer(models.BPE(vocabulary, list(merges), unk_token="<unk>"))
        inner.decoder = decoders.Fuse()
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=inner, unk_token="<unk>", bos_token="<s>"
        )
        tokenizer.add_tokens(list(added))
        for role, token in roles.items():
            setattr(tokenizer, role, token)
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        tokenizer.save_pretrained(folder)
        return AutoTokenizer.from_pretrained(folder)

    return made


def test_tokens_without_a_row_go_with_their_merges_and_roles(bpe) -> None:
    merges = [("a", "b"), ("ab", "c"), ("c", "d")]
    tokenizer = bpe(merges, [AddedToken("<p>", special=True)], pad_token="<p>")
    assert tokenizer.tokenize("abcd<p>") == ["abc", "d", "<p>"]
    found, lost = stripped(tokenizer, 8)
    assert lost == 2 and list(tokens_of(found, None)) == [*LETTERS, "ab", "abc"]
    assert found.pad_token is None and found.bos_token == "<s>"
    assert found.tokenize("abcd") == ["abc", "d"]
    found, lost = stripped(tokenizer, 7)
    assert lost == 3 and found.tokenize("abcd") == ["ab", "c", "d"]
    assert stripped(tokenizer, 10) == (tokenizer, 0)
    assert tokens_of(tokenizer, 7) == tokens_of(found, None)


def test_union_adds_ordinary_tokens_before_added_ones(bpe) -> None:
    base = bpe([("a", "b")], [AddedToken("<x>", special=True, lstrip=True)])
    one = bpe([("c", "d")], [AddedToken("<y>", special=True), AddedToken("<x>", special=False)])
    two = bpe([("a", "b"), ("c", "d"), ("b", "c")], ["cd<", "<y>"])
    assert add_union(base, [(base, 8), (one, 8), (two, 10)]) == 2
    found = settled(base, 16)
    assert list(tokens_of(found, None))[len(LETTERS) :] == ["ab", "<x>", "cd", "bc", "<y>", "cd<"]
    added = {token.content: token for token in found.added_tokens_decoder.values()}
    assert added["<y>"].special and added["<x>"].special and added["<x>"].lstrip
    assert not added["cd"].special
    add_missing(found, ["<new>", "a"])
    assert list(tokens_of(found, None))[-1] == "<new>"


def test_what_is_written_says_nothing_of_where_it_came_from(bpe, tmp_path) -> None:
    tokenizer = bpe([("a", "b")])
    save_tokenizer(tokenizer, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert not {"is_local", "local_files_only", "name_or_path"} & config.keys()
    assert settled(tokenizer, 7).get_vocab() == tokenizer.get_vocab()


def test_tokens_around_every_text_need_a_row(bpe) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = bpe([], ["<z>"])
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<z> $A", special_tokens=[("<z>", 6)]
    )
    assert settled(tokenizer, 7).encode("") == [6]
    with pytest.raises(UnsupportedError, match="puts tokens around every text"):
        settled(tokenizer, 6)

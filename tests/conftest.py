"""Shared by every test: no network, a cache folder of its own, a pico family of models."""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from postgresql import PostgreSQL

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedModel

os.environ["HF_HUB_OFFLINE"] = "1"  # read by huggingface_hub at its first import
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read by OpenMP when torch is imported

SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 \n.,:;?!'\"()+-*/=<>_QATF"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
Dtype = Literal["bfloat16", "float32"]


@dataclass(frozen=True, slots=True)
class PicoFamily:
    """A Llama of 9,000 parameters and its experts, as ordinary checkpoint folders.

    Vocabulary 64 (one symbol a character), hidden 16, 3 layers, tied embeddings. Each expert is
    the base plus its own small random task vector in every tensor.
    """

    root: Path
    base: Path
    experts: dict[str, Path]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Hashes and adapted tensors are cached in a folder of this session, subprocesses too."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EUTECTIC_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def pico_family(tmp_path_factory: pytest.TempPathFactory) -> PicoFamily:
    """The family in bfloat16: `.base`, `.experts` (alpha, beta, gamma), `.root` around them."""
    return write_family(tmp_path_factory.mktemp("pico"), "bfloat16")


@pytest.fixture(scope="session")
def pico_family_float32(tmp_path_factory: pytest.TempPathFactory) -> PicoFamily:
    """The same family in float32."""
    return write_family(tmp_path_factory.mktemp("pico32"), "float32")


@pytest.fixture(scope="session")
def write_pico_tokenizer() -> Callable[..., None]:
    """`write(folder, characters=...)`: saves the family's tokenizer, or another one."""
    return write_tokenizer


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server of this session; its sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="eutectic") as folder:
        server = PostgreSQL(Path(folder) / "data")
        try:
            yield server
        finally:
            server.close()


@pytest.fixture
def server_url(postgresql: PostgreSQL) -> str:
    """An empty database on that server, by URL."""
    return postgresql.make()


def write_family(root: Path, dtype: Dtype) -> PicoFamily:
    """Writes base, alpha, beta and gamma below `root`; the same bits every time."""
    import torch
    from transformers import LlamaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(20)
        model = LlamaForCausalLM(pico_config())
        base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        folders = {"base": write_member(root / "base", model, dtype)}
        for name in ("alpha", "beta", "gamma"):
            model.load_state_dict(
                {key: value + 0.02 * torch.randn_like(value) for key, value in base.items()}
            )
            folders[name] = write_member(root / name, model, dtype)
    return PicoFamily(root=root, base=folders.pop("base"), experts=folders)


def pico_config() -> "LlamaConfig":
    """The architecture of the family."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(SPECIAL) + len(CHARACTERS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        initializer_range=0.3,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )


def write_member(folder: Path, model: "PreTrainedModel", dtype: Dtype) -> Path:
    """Saves one model with its tokenizer; the model in memory stays float32."""
    import copy

    import torch

    copy.deepcopy(model).to(getattr(torch, dtype)).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def write_tokenizer(
    folder: Path, characters: str = CHARACTERS, special: tuple[str, ...] = SPECIAL
) -> None:
    """Saves a fast tokenizer of one symbol a character, after those of `special`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {symbol: index for index, symbol in enumerate((*special, *characters))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)

"""A checkpoint folder: one or many safetensors files, opened without reading a weight.

Headers and config are checked here, in one pass; tensors are views into the memory-mapped files,
opened when first asked for. Pickled weights are opened only if allowed (see `pickled`). Not
covered: quantised weights, GGUF, consolidated.safetensors; each is refused by name.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .checkpoint import Checkpoint, TensorInfo
from .consistency import check_config, embedding_name, head_name, is_tied
from .errors import SourceError, UnsupportedError
from .hashing import hash_files
from .headers import member, read_header, read_index, read_json
from .pages import forget_pages, mapped_at

if TYPE_CHECKING:
    import torch
    from safetensors import safe_open

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = "pytorch_model.bin"
MAX_CONFIG = 4 << 20
LARGE = 1 << 20
"""Bytes of a tensor from which on it is worth giving its memory back."""

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tekken.json",
    "chat_template.jinja",
    "chat_template.json",
    "sentencepiece.bpe.model",
    "spm.model",
    "source.spm",
    "target.spm",
    "vocab.bpe",
    "bpe.codes",
    "normalizer.json",
)
DESCRIPTION_FILES = ("config.json", "generation_config.json", *TOKENIZER_FILES)
"""Files beside the weights on which scores depend: part of the content hash."""


class StoredCheckpoint:
    """A folder of safetensors files as a `Checkpoint`."""

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, object],
        tensors: Mapping[str, TensorInfo],
        files: Mapping[str, Path],
        cache: Path,
    ) -> None:
        self.folder = folder
        self.config = config
        self.tensors = tensors
        self._files = files
        self._cache = cache
        self._open: dict[Path, safe_open] = {}
        self._mapped: dict[Path, list[tuple[int, int]]] = {}
        self._views: dict[str, torch.Tensor] = {}  # to make one takes longer than to merge some

    @cached_property
    def content_hash(self) -> str:
        """See `Checkpoint`."""
        return hash_files([*set(self._files.values()), *described(self.folder)], self._cache)

    def tensor(self, name: str) -> "torch.Tensor":
        """See `Checkpoint`; a view into the mapped file."""
        if (known := self._views.get(name)) is not None:
            return known
        from safetensors import SafetensorError, safe_open

        file = self._files[name]
        try:
            # Two threads may open the same file: both handles are good, one is kept.
            handle = self._open.get(file) or self._open.setdefault(file, safe_open(file, "pt"))
            tensor: torch.Tensor = handle.get_tensor(name)  # type: ignore[no-untyped-call]
            return self._views.setdefault(name, tensor)
        except (SafetensorError, OSError) as error:
            raise SourceError(f"{file}: tensor {name!r} cannot be read: {error}") from error

    def forget(self, name: str) -> None:
        """Gives back the memory of a tensor that was read; it can be read again."""
        view = self._views.get(name)
        if view is not None and view.nbytes >= LARGE:
            file = self._files[name]
            if file not in self._mapped:  # as long as there are views it stays where it is
                self._mapped[file] = mapped_at(file)
            forget_pages(view, self._mapped[file])


def open_folder(folder: Path, *, allow_pickle: bool, cache: Path) -> Checkpoint:
    """Opens one local folder; see `open_checkpoint`."""
    _require_weights(folder, allow_pickle)
    config = read_json(member(folder, "config.json"), MAX_CONFIG)
    if quantised := config.get("quantization_config"):
        kind = quantised.get("quant_method") if isinstance(quantised, dict) else None
        kind = kind if isinstance(kind, str) and kind.isidentifier() else repr(kind)[:40]
        raise UnsupportedError(
            f"{folder}: the weights are quantised ({kind}), which cannot be merged; "
            "use the model they were made from"
        )
    files = _weight_files(folder)
    if files is None:
        from .pickled import open_pickled

        checkpoint: Checkpoint = open_pickled(folder, config, cache)
    else:
        tensors = {name: info for file in files for name, info in files[file].items()}
        owners = {name: file for file in files for name in files[file]}
        checkpoint = StoredCheckpoint(folder, config, tensors, owners, cache)
        if copy := _tied_copy(checkpoint):
            del tensors[copy]
    check_config(checkpoint)
    return checkpoint


def described(folder: Path) -> list[Path]:
    """The files of `DESCRIPTION_FILES` that the folder has."""
    files = (member(folder, name) for name in DESCRIPTION_FILES)
    return [file for file in files if file.is_file()]


def _require_weights(folder: Path, allow_pickle: bool) -> None:
    """Says what is wrong with a folder that cannot be a checkpoint."""
    if folder.suffix == ".gguf" or (folder.is_dir() and any(folder.glob("*.gguf"))):
        if not any((folder / name).exists() for name in (WEIGHTS, INDEX, PICKLED)):
            raise UnsupportedError(
                f"{folder}: GGUF weights cannot be merged; write them as safetensors first: "
                "AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=FILE).save_pretrained(OUT)"
            )
    if not folder.is_dir():
        raise SourceError(
            f"{folder}: expected a checkpoint folder, this is a file; give its folder"
        )
    if any((folder / name).exists() for name in (WEIGHTS, INDEX)):
        return
    if (folder / "adapter_config.json").exists():
        raise SourceError(f"{folder}: an adapter, not a model; write it as BASE+{folder.name}")
    if not any(folder.glob("pytorch_model*.bin")):
        raise SourceError(f"{folder}: no weights: expected {WEIGHTS}, or {INDEX} and its shards")
    if not allow_pickle:
        raise SourceError(
            f"{folder}: only pickled weights (pytorch_model.bin), which can carry code; if you "
            "trust where they come from, --allow-pickle reads them (weights only)"
        )


def _weight_files(folder: Path) -> dict[Path, dict[str, TensorInfo]] | None:
    """The tensors of each safetensors file; None if there are only pickled ones.

    As in transformers, a single model.safetensors goes before an index.
    """
    if (folder / WEIGHTS).exists():
        file = member(folder, WEIGHTS)
        return {file: read_header(file)}
    if not (folder / INDEX).exists():
        return None
    index = member(folder, INDEX)
    listed = read_index(index)
    files: dict[Path, dict[str, TensorInfo]] = {}
    for shard in sorted(set(listed.values())):
        if not shard.endswith(".safetensors"):
            raise SourceError(f"{index}: expected shards that end in .safetensors, got {shard!r}")
        file = member(folder, shard)
        if not file.is_file():
            raise SourceError(f"{index}: the shard {shard} is missing")
        files[file] = read_header(file)
    _agree(index, listed, files)
    return files


def _agree(
    index: Path, listed: Mapping[str, str], files: Mapping[Path, Mapping[str, TensorInfo]]
) -> None:
    for name, shard in listed.items():
        if name not in files[index.parent / shard]:
            raise SourceError(f"{index}: tensor {name!r} is not in {shard}")
    seen: dict[str, str] = {}
    for file, tensors in files.items():
        for name in tensors:
            if name in seen:
                raise SourceError(
                    f"{index}: tensor {name!r} is in {seen[name]} and in {file.name}"
                )
            seen[name] = file.name


def _tied_copy(checkpoint: StoredCheckpoint) -> str | None:
    """A head that is stored although it is tied: the same bytes as the embedding.

    Merging both would be wrong for methods that draw by tensor name. Where the bytes differ
    transformers does not tie them whatever the config says, and both stay.
    """
    head = head_name(checkpoint.tensors)
    embedding = embedding_name(checkpoint.tensors)
    if head is None or embedding is None or not is_tied(checkpoint.config):
        return None
    if checkpoint.tensors[head] != checkpoint.tensors[embedding]:
        return None
    import torch

    same = torch.equal(
        checkpoint.tensor(head).view(torch.uint8), checkpoint.tensor(embedding).view(torch.uint8)
    )
    checkpoint.forget(head)
    checkpoint.forget(embedding)
    return head if same else None

"""A merge written to disk, tensor by tensor, as a checkpoint that transformers loads.

Everything goes into a folder beside the final one, which takes its name in the end: a folder of
that name is whole or not there. Not here: what the model's README.md says (the exporter knows).
"""

import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from .chat_templates import write_template
from .checkpoint import Checkpoint, TensorInfo
from .consistency import HEADS, is_tied
from .depth import moved_layers, resized_config
from .errors import MergeError, SourceError
from .finite import all_finite, only_finite
from .headers import member, read_json
from .merge import merge_tensor
from .plan import TensorJob
from .recipe import ModelReference
from .scratch import scratch_folder
from .sources import StoredCheckpoint
from .speech import Speech, renumbered, speech_of
from .stream import byte_size, write_file
from .tokenizer_edits import save_tokenizer

GENERATION = "generation_config.json"
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
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)
RECIPE = "mergekit_config.yml"
CARD = "README.md"


def write_merged(
    out: Path,
    jobs: Iterable[TensorJob],
    checkpoints: Mapping[ModelReference, Checkpoint],
    mask_seed: int,
    *,
    donor: Checkpoint,
    recipe_text: str,
    max_shard_bytes: int = 5 * 10**9,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
    overwrite: bool = False,
    trust_remote_code: bool = False,
    card: str | None = None,
) -> None:
    """Merges to disk: weights, config.json, tokenizer, generation config, the recipe.

    Args:
        out: the new folder.
        jobs: one for each tensor of the output.
        checkpoints: the models that the jobs read; each tensor is asked for when it is merged.
        mask_seed: of the methods that draw.
        donor: gives config and tokenizer: the base, else the first model.
        recipe_text: kept beside the weights as mergekit_config.yml.
        max_shard_bytes: size of one weights file; several get an index.
        threads: of the kernels; the bytes written do not depend on it.
        progress: called with tensors done and tensors in all.
        overwrite: replace a merge that stands there.
        trust_remote_code: for configs that need code when layers move.
        card: the README.md of the model, if it gets one.

    Raises:
        MergeError: two jobs of one name, shapes that differ, numbers beyond the output's dtype.
        SourceError: `out` is in use, the disk is full or read-only, or a model has NaN or Inf.
    """
    todo = list(jobs)
    out = Path(os.path.realpath(out))  # a link keeps standing, what it leads to is written
    layout = merged_layout(todo, checkpoints)
    _require_free(out, donor, overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _require_space(out.parent, sum(map(byte_size, layout.values())))
        with (
            ThreadPoolExecutor(max(1, threads)) as pool,
            scratch_folder(out) as scratch,
        ):
            folder = scratch / "merged"
            folder.mkdir()
            _describe(folder, todo, donor, recipe_text, trust_remote_code)
            if card is not None:
                (folder / CARD).write_text(card, encoding="utf-8")
            read = only_finite(partial(_read, checkpoints))
            merge = partial(merge_tensor, tensors=read, mask_seed=mask_seed, pool=pool)
            produce = _counted(todo, partial(_merge, merge, checkpoints), progress)
            _write_weights(folder, layout, produce, max_shard_bytes)
            _take_name(folder, out, scratch / "replaced")
    except OSError as error:
        raise SourceError(f"{out}: cannot be written: {error.strerror or error}") from error


def merged_layout(
    jobs: Iterable[TensorJob], checkpoints: Mapping[ModelReference, Checkpoint]
) -> dict[str, TensorInfo]:
    """Shape and dtype of each tensor of the output; buffers of integers keep their dtype.

    Raises:
        MergeError: two jobs of one name.
    """
    layout: dict[str, TensorInfo] = {}
    for job in jobs:
        if job.name in layout:
            raise MergeError(f"{job.name}: two jobs make this tensor")
        source = job.base or job.sources[0]
        info = checkpoints[source.model].tensors[source.name]
        floating = info.dtype.startswith(("float", "bfloat"))
        layout[job.name] = TensorInfo(info.shape, job.dtype if floating else info.dtype)
    return layout


def merged_config(
    jobs: Sequence[TensorJob], donor: Checkpoint, *, trust_remote_code: bool = False
) -> dict[str, object]:
    """The donor's config.json with the output's dtype and layers, without its old place.

    Raises:
        SourceError: transformers cannot read the config of a model whose layers move.
        UnsupportedError: layers that cannot be moved so.
    """
    config = dict(donor.config)
    if order := moved_layers(jobs, donor):
        resized = resized_config(donor, order, trust_remote_code=trust_remote_code)
        config = json.loads(resized.to_json_string())
    config.pop("_name_or_path", None)
    names = {job.name for job in jobs}
    if is_tied(config) and any(name.endswith(HEADS) for name in names):
        config["tie_word_embeddings"] = False  # a head that is stored is its own
    dtype = Counter(job.dtype for job in jobs).most_common(1)[0][0]
    config["dtype"] = dtype
    if "torch_dtype" in config:  # as transformers 4 reads it
        config["torch_dtype"] = dtype
    return config


def _read(
    checkpoints: Mapping[ModelReference, Checkpoint], model: ModelReference, name: str
) -> torch.Tensor:
    return checkpoints[model].tensor(name)


def _merge(
    merge: Callable[[TensorJob], torch.Tensor],
    checkpoints: Mapping[ModelReference, Checkpoint],
    job: TensorJob,
) -> torch.Tensor:
    """Merges a tensor and gives back the memory of what it was made from."""
    merged = merge(job)
    for source in (job.base, *job.sources):
        if source and isinstance(checkpoint := checkpoints[source.model], StoredCheckpoint):
            checkpoint.forget(source.name)
    return merged


def _counted(
    jobs: list[TensorJob],
    merge: Callable[[TensorJob], torch.Tensor],
    progress: Callable[[int, int], None] | None,
) -> Callable[[str], torch.Tensor]:
    """Merges the tensor of a name, and tells how many are done."""
    by_name = {job.name: job for job in jobs}
    done = itertools.count(1)

    def produce(name: str) -> torch.Tensor:
        merged = merge(by_name[name])
        if not all_finite(merged):
            raise MergeError(
                f"{name}: the merge gives numbers beyond {by_name[name].dtype}; make its weights "
                "smaller, or choose another dtype"
            )
        if progress is not None:
            progress(next(done), len(by_name))
        return merged

    return produce


def _require_free(out: Path, donor: Checkpoint, overwrite: bool) -> None:
    """Only a merge is ever replaced, and only when asked: never a model that somebody trained."""
    above = next(folder for folder in out.parents if folder.exists())
    if not above.is_dir():
        raise SourceError(f"{out}: {above} is a file, not a folder; choose another place")
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise SourceError(f"{out}: a file of this name is in the way; choose another folder")
    if out.is_mount():
        raise SourceError(f"{out}: a mount point, which cannot take a name; give a folder in it")
    entries = list(out.iterdir())
    if not entries:
        return
    if not overwrite:
        raise SourceError(f"{out}: not empty; choose another folder, or --overwrite")
    if not (out / "config.json").is_file() or any(entry.is_dir() for entry in entries):
        raise SourceError(f"{out}: not a checkpoint folder, so it is not replaced")
    if out.resolve() == donor.folder.resolve():
        raise SourceError(f"{out}: one of the models of the recipe; choose another folder")
    if not (out / RECIPE).is_file():
        raise SourceError(
            f"{out}: a checkpoint that no merge wrote (it has no {RECIPE}), so it is not "
            "replaced; choose another folder, or remove it yourself"
        )


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SourceError(
            f"{folder}: the weights need {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free"
        )


def _describe(
    folder: Path,
    jobs: list[TensorJob],
    donor: Checkpoint,
    recipe_text: str,
    trust_remote_code: bool,
) -> None:
    """Everything but the weights."""
    config = merged_config(jobs, donor, trust_remote_code=trust_remote_code)
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    (folder / RECIPE).write_text(recipe_text, encoding="utf-8")
    code = [file.name for file in donor.folder.glob("*.py")] if "auto_map" in config else []
    _copy(donor.folder, folder, (GENERATION, *code))
    speech = speech_of(donor)
    if speech is not None and speech.tokenizer is not None:
        save_tokenizer(speech.tokenizer, folder)
    else:
        _copy(speech.folder if speech else donor.folder, folder, TOKENIZER_FILES)
    if speech is not None:
        _respeak(folder, speech)


def _copy(source: Path, folder: Path, names: Iterable[str]) -> None:
    for name in names:
        file = member(source, name)
        if file.is_file():
            shutil.copyfile(file, folder / name)


def _respeak(folder: Path, speech: Speech) -> None:
    """Makes the copied files say what the output speaks: its chat template, its token ids."""
    if speech.chat_template is not None:
        write_template(folder, speech.chat_template)
    if speech.ids is not None and (folder / GENERATION).is_file():
        data = renumbered(read_json(folder / GENERATION), speech.ids)
        text = json.dumps(data, indent=2, ensure_ascii=False, sort_keys=True)
        (folder / GENERATION).write_text(text + "\n", encoding="utf-8")


def _write_weights(
    folder: Path,
    layout: Mapping[str, TensorInfo],
    produce: Callable[[str], torch.Tensor],
    max_shard_bytes: int,
) -> None:
    shards = _shards(layout, max_shard_bytes)
    if len(shards) == 1:
        write_file(folder / "model.safetensors", shards[0], produce)
        return
    files = [
        f"model-{at:05d}-of-{len(shards):05d}.safetensors" for at in range(1, len(shards) + 1)
    ]
    for file, shard in zip(files, shards, strict=True):
        write_file(folder / file, shard, produce)
    index = {
        "metadata": {"total_size": sum(map(byte_size, layout.values()))},
        "weight_map": {
            name: file for file, shard in zip(files, shards, strict=True) for name in shard
        },
    }
    text = json.dumps(index, indent=2, sort_keys=True)
    (folder / "model.safetensors.index.json").write_text(text + "\n", encoding="utf-8")


def _shards(layout: Mapping[str, TensorInfo], limit: int) -> list[dict[str, TensorInfo]]:
    """Runs of tensors, in the order of the jobs, that each fit into one file."""
    shards: list[dict[str, TensorInfo]] = [{}]
    size = 0
    for name, info in layout.items():
        if shards[-1] and size + byte_size(info) > limit:
            shards.append({})
            size = 0
        shards[-1][name] = info
        size += byte_size(info)
    return shards


def _take_name(folder: Path, out: Path, replaced: Path) -> None:
    """Gives the finished folder its name; what stood there goes once the new one stands."""
    if out.exists() and any(out.iterdir()):
        os.rename(out, replaced)
        try:
            os.rename(folder, out)
        except OSError:
            os.rename(replaced, out)
            raise
    else:
        with suppress(FileNotFoundError):
            out.rmdir()
        os.rename(folder, out)

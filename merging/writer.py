"""A merge written to disk, tensor by tensor, as a checkpoint that transformers loads.

Everything goes into a folder beside the final one, which takes its name in the end: a folder of
that name is whole or not there. Not here: what the model's README.md says (the exporter knows).
"""

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from .checkpoint import Checkpoint, TensorInfo
from .description import RECIPE, describe, merged_layout
from .errors import MergeError, SourceError
from .finite import all_finite, only_finite
from .merge import merge_tensor
from .plan import TensorJob
from .recipe import ModelReference
from .scratch import scratch_folder
from .stored import StoredCheckpoint
from .stream import byte_size, write_file

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
            describe(folder, todo, donor, recipe_text, trust_remote_code)
            if card is not None:
                (folder / CARD).write_text(card, encoding="utf-8")
            read = only_finite(partial(_read, checkpoints))
            merge = partial(merge_tensor, tensors=read, mask_seed=mask_seed, pool=pool)
            produce = _counted(todo, partial(_merge, merge, checkpoints), progress)
            _write_weights(folder, layout, produce, max_shard_bytes)
            _take_name(folder, out, scratch / "replaced")
    except OSError as error:
        raise SourceError(f"{out}: cannot be written: {error.strerror or error}") from error


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

"""Memory and disk: what a search holds and what it leaves, against what the machine has.

Guesses from shapes, so they warn and refuse nothing.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from evaluation.budget_bytes import SHARE, widest_bytes
from merging.stream import byte_size

from ..preflight import Preflight
from ..stacks import largest_bytes, largest_jobs

BYTES_AN_ITEM = 60
"""Of the ledger and of the log, for one item of one candidate; measured on the demo family: 51."""
RUN_FOLDER = 8_000_000
"""Report and tables of a run, and the database's journal, whatever it scored."""


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes. `mapped` models are read from files and need not stay; `live` must fit."""

    mapped: int
    live: int
    scoring: int
    memory: int
    run: int
    export: int
    free: int

    @property
    def warnings(self) -> list[str]:
        """What will not fit, and what to do."""
        told = []
        if self.live + self.scoring > self.memory:
            told.append(
                "the live model and a pass over it take about "
                f"{gigabytes(self.live + self.scoring)}, the machine has "
                f"{gigabytes(self.memory)}: take a smaller model, or --dtype "
                "bfloat16, or another machine"
            )
        elif self.mapped + self.live > self.memory:
            told.append(
                f"the models take {gigabytes(self.mapped)} beside the live one, the machine has "
                f"{gigabytes(self.memory)}: they are read from the disk again for every candidate"
            )
        if self.free < self.run:
            told.append(
                f"only {gigabytes(self.free)} are free where the run folder goes, which takes "
                f"about {gigabytes(self.run)}: make room, or give another folder with --out"
            )
        elif self.free < self.run + self.export:
            told.append(
                f"{gigabytes(self.free)} are free here: enough for the run, too little for "
                f"`export --weights` ({gigabytes(self.export)})"
            )
        return told


def room_of(found: Preflight, items: int, dtype: str | None = None) -> Room:
    """What a study takes.

    Args:
        found: The study.
        items: All items that it may score.
        dtype: Of scoring; None is the recipe's.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    config = found.checkpoints[found.base].config
    recipe = found.recipe
    stored = largest_bytes(found)
    wide = dtype or recipe.out_dtype or recipe.dtype
    live = _as(found, wide) if wide else stored
    scoring = min(2048 * widest_bytes(_text_config(config)), int(SHARE * memory))
    written = _as(found, recipe.out_dtype or recipe.dtype) or stored
    return Room(
        mapped_bytes(found.checkpoints),
        live or stored,
        scoring,
        memory,
        RUN_FOLDER + BYTES_AN_ITEM * items,
        written,
        shutil.disk_usage(Path.cwd()).free,
    )


def mapped_bytes(checkpoints: Mapping[Any, Any]) -> int:
    """The files of all models, each once: an adapter adds what it changes to its base."""
    total, seen = 0, set()
    for one in checkpoints.values():
        changed = getattr(one, "changed", None)
        if one.folder not in seen:
            seen.add(one.folder)
            total += sum(byte_size(info) for info in one.tensors.values())
        if changed is not None:
            total += sum(byte_size(one.tensors[name]) for name in changed)
    return total


def gigabytes(size: int) -> str:
    """`1.08 GB`, `12 MB`."""
    return f"{size / 1e9:.3g} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"


def _as(found: Preflight, dtype: str | None) -> int:
    """The largest candidate's weights in a dtype; 0 where that is not known."""
    width = WIDTHS.get(dtype or "", 0)
    base = found.checkpoints[found.base].tensors
    if not found.space.stack.slices:
        return width * sum(prod(info.shape) for info in base.values())
    jobs = largest_jobs(found.study.recipe, found.space, found.checkpoints)
    read = (job.base or job.sources[0] for job in jobs)
    return width * sum(prod(found.checkpoints[o.model].tensors[o.name].shape) for o in read)


WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}


def _text_config(config: Mapping[str, object]) -> Mapping[str, object]:
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config

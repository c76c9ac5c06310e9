"""The result of a stage as a checkpoint, as if it had been merged to disk and opened again.

Its tensors are merged when they are asked for, each time anew, in the stage's dtype: nothing is
held in memory, and a merge of several stages streams like one of a single recipe. What reads a
tensor many times has the stage written to the cache folder first (`stored`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from weakref import finalize

import torch

from .checkpoint import Checkpoint
from .description import describe, merged_config, merged_layout
from .errors import SourceError
from .merge import merge_tensor
from .plan import TensorJob, recipe_hash
from .recipe import ModelReference, Recipe, donor_of
from .recipe_writer import recipe_yaml
from .speech import speech_of
from .stored import open_folder
from .writer import write_merged

FORMAT = 1
"""Raised when a stage written to the cache would hold something else: part of its name there."""


class StageCheckpoint:
    """A recipe's jobs as a `Checkpoint`; the folder, for the tokenizer, is the donor's."""

    def __init__(
        self,
        recipe: Recipe,
        jobs: Sequence[TensorJob],
        checkpoints: Mapping[ModelReference, Checkpoint],
    ) -> None:
        self.recipe = recipe
        self.checkpoints = checkpoints
        self.donor = checkpoints[donor_of(recipe)]
        self.folder = self.donor.folder
        if speech_of(self.donor) is not None:
            # What builds on it reads a tokenizer that stands nowhere yet; gone with the object.
            self.folder = Path(mkdtemp(prefix="eutectic-stage-"))
            finalize(self, rmtree, self.folder, True)
            describe(self.folder, jobs, self.donor, recipe_yaml(recipe), False)
        self.jobs = {job.name: job for job in jobs}
        self.tensors = merged_layout(jobs, checkpoints)
        self.config = merged_config(jobs, self.donor)

    @cached_property
    def content_hash(self) -> str:
        """See `Checkpoint`."""
        jobs = list(self.jobs.values())
        sources = (source for job in jobs for source in (job.base, *job.sources))
        read = {source.model for source in sources if source is not None}
        hashes = {model: self.checkpoints[model].content_hash for model in read}
        weights = recipe_hash(jobs, hashes, self.recipe.mask_seed)
        config = json.dumps(self.config, sort_keys=True)
        text = f"stage {FORMAT}\0{weights}\0{self.donor.content_hash}\0{config}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def tensor(self, name: str) -> torch.Tensor:
        """See `Checkpoint`; merged now."""
        return merge_tensor(self.jobs[name], self._read, self.recipe.mask_seed)

    def _read(self, model: ModelReference, name: str) -> torch.Tensor:
        return self.checkpoints[model].tensor(name)


def stored(stage: StageCheckpoint, cache: Path) -> Checkpoint:
    """The stage written to the cache folder, unless it is there already, and opened.

    Raises:
        SourceError: the cache folder cannot be written to, or has no room.
    """
    folder = cache / "stages" / stage.content_hash
    with suppress(SourceError):  # not there, or damaged
        return open_folder(folder, allow_pickle=False, cache=cache)
    try:
        write_merged(
            folder,
            stage.jobs.values(),
            stage.checkpoints,
            stage.recipe.mask_seed,
            donor=stage.donor,
            recipe_text=recipe_yaml(stage.recipe),
            overwrite=True,
        )
    except SourceError as error:
        raise SourceError(
            f"a stage that is read many times is kept in the cache folder: {error}; "
            "EUTECTIC_CACHE=FOLDER names another one"
        ) from error
    return open_folder(folder, allow_pickle=False, cache=cache)

"""A recipe file opened: its stages read, every model found, every tensor's job known.

The commands that take a recipe without a search go through here. A stage is a checkpoint like any
other to the recipes that use it. It is merged tensor by tensor as it is read; one that several
recipes use, or that lends a live model its weights, can be written to the cache folder first.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .checkpoint import Checkpoint
from .document import Document, did_you_mean
from .errors import SourceError
from .hashing import cache_folder
from .plan import TensorJob, plan_notices, plan_recipe
from .recipe import ModelReference, Recipe, donor_of, models_of
from .sources import open_adapted, open_checkpoint, refuse_one_for_two, spoken_models
from .stages import Stage, Stages, named_models, read_stages
from .vocabulary import vocabulary_notices

Keep = Literal["nothing", "shared", "donor"]
"""Which stages are written to the cache folder: none, those that are read more than once (where
the folder allows it), those and the one whose weights a live model is loaded with."""

Planned = tuple[dict[ModelReference, Checkpoint], tuple[TensorJob, ...]]
"""A recipe's models and jobs."""


@dataclass(frozen=True, slots=True)
class OpenRecipe:
    """A recipe with its models opened and planned.

    `checkpoints` are the recipe's own models, stages among them; `stored` every model on disk
    that it or a stage before it reads; `stages` the names of those, in the order of building.
    """

    recipe: Recipe
    document: Document
    checkpoints: Mapping[ModelReference, Checkpoint]
    jobs: tuple[TensorJob, ...]
    stored: Mapping[ModelReference, Checkpoint]
    stages: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def donor(self) -> Checkpoint:
        """The model that gives config and tokenizer."""
        return self.checkpoints[donor_of(self.recipe)]


def open_recipe(
    documents: Sequence[Document],
    *,
    folder: Path,
    mapping: Mapping[str, Path],
    allow_pickle: bool,
    keep: Keep = "nothing",
    cache: Path | None = None,
    exact: bool = False,
) -> OpenRecipe:
    """Reads, opens and plans the recipe of a file.

    Args:
        documents: of the file, `read_documents`.
        folder: where relative names start.
        mapping: local paths in the place of names.
        allow_pickle: see `open_checkpoint`.
        keep: which stages are written to the cache folder now.
        cache: that folder; None is the user's.
        exact: every recipe of the file as mergekit rounds and reads it.

    Raises:
        MergeError: a fault of the file, of a model, or of how they fit; with its place.
    """
    stages, found = read_stages(documents, strict=False, exact=exact)
    opener = _Opener(stages, folder, mapping, allow_pickle, cache or cache_folder())
    notices = dict.fromkeys(str(notice) for notice in found)
    checkpoints, jobs = opener.run(frozenset())
    if wanted := _kept(stages, keep):  # only now that no fault is left to find
        checkpoints, jobs = opener.run(wanted)
    final = stages.final
    notices |= opener.notices
    return OpenRecipe(
        recipe=final.recipe,
        document=final.document,
        checkpoints=checkpoints,
        jobs=jobs,
        stored=opener.stored,
        stages=tuple(str(stage.name) for stage in stages.before),
        notices=tuple(notices),
    )


def _kept(stages: Stages, keep: Keep) -> frozenset[str]:
    """The stages to write to the cache folder."""
    if keep == "nothing":
        return frozenset()
    names = {str(stage.name): stage for stage in stages.before}
    counts = Counter(
        model.path
        for stage in (*stages.before, stages.final)
        for model in models_of(stage.recipe)
        if model.path in names
    )
    donor = {donor_of(stages.final.recipe).path} & names.keys() if keep == "donor" else set()
    return frozenset({name for name, count in counts.items() if count > 1} | donor)


@dataclass(slots=True)
class _Opener:
    """What is open so far: models on disk by reference, finished stages by name."""

    stages: Stages
    folder: Path
    mapping: Mapping[str, Path]
    allow_pickle: bool
    cache: Path
    stored: dict[ModelReference, Checkpoint] = field(default_factory=dict)
    built: dict[str, Checkpoint] = field(default_factory=dict)
    notices: dict[str, None] = field(default_factory=dict)

    def run(self, wanted: frozenset[str]) -> Planned:
        """Builds the stages, the wanted ones in the cache folder, and plans the final recipe."""
        for stage in self.stages.before:
            self.build(stage, wanted)
        return self.plan(self.stages.final)

    def plan(self, stage: Stage) -> Planned:
        """Opens the models of one recipe and plans it."""
        recipe, document = stage.recipe, stage.document
        checkpoints = {model: self._open(stage, model) for model in models_of(recipe)}
        refuse_one_for_two(checkpoints)
        checkpoints = spoken_models(
            recipe, checkpoints, folder=self.folder, mapping=self.mapping, document=document
        )
        jobs = plan_recipe(recipe, checkpoints, document=document)
        told = (
            *plan_notices(recipe, checkpoints, document=document),
            *vocabulary_notices(checkpoints),
        )
        self.notices |= dict.fromkeys(told)
        return checkpoints, jobs

    def build(self, stage: Stage, wanted: frozenset[str]) -> None:
        """Makes a checkpoint of a stage."""
        from .stage_checkpoint import StageCheckpoint, stored

        name = str(stage.name)
        self._tell_shadowed(stage, name)
        checkpoints, jobs = self.plan(stage)
        made = StageCheckpoint(stage.recipe, jobs, checkpoints)
        self.built[name] = stored(made, self.cache) if name in wanted else made

    def _open(self, stage: Stage, model: ModelReference) -> Checkpoint:
        if model.path in self.built:
            return self._result(model)
        if model not in self.stored:
            try:
                self.stored[model] = open_checkpoint(
                    model,
                    folder=self.folder,
                    mapping=self.mapping,
                    allow_pickle=self.allow_pickle,
                    cache=self.cache,
                )
            except SourceError as error:
                raise SourceError(self._no_stage(stage, model, str(error))) from error
        return self.stored[model]

    def _result(self, model: ModelReference) -> Checkpoint:
        """A finished stage, with its adapter if the reference has one; revisions mean nothing."""
        made = self.built[model.path]
        if model.adapter is None:
            return made
        adapter = ModelReference(model.adapter, model.adapter_revision)
        return open_adapted(
            made,
            adapter,
            folder=self.folder,
            mapping=self.mapping,
            allow_pickle=self.allow_pickle,
            cache=self.cache,
        )

    def _no_stage(self, stage: Stage, model: ModelReference, text: str) -> str:
        """A model that is not there, with its place and the stages that a file of several has."""
        names = [str(one.name) for one in self.stages.before]
        written = (path for path, name in named_models(stage.document.data) if name == str(model))
        hint = did_you_mean(model.path, names) or f" (the file's stages: {', '.join(names)})"
        return stage.document.message(next(written, ()), f"{text}{hint if names else ''}")

    def _tell_shadowed(self, stage: Stage, name: str) -> None:
        """A stage goes before a folder of its name, and cannot be mapped away."""
        at = stage.document.place(("name",))
        if name in self.mapping:
            raise SourceError(
                f"{at} name: {name!r} is a stage of this file; --map {name}=... cannot replace it"
            )
        if (self.folder / name).exists():
            text = f"{at} name: {name!r} means this stage; write ./{name} for the folder"
            self.notices[text] = None

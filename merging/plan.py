"""A recipe and its checkpoints' tensors become one small job a tensor, every number resolved.

`explain`, the in-memory candidate, the writer and the recipe hash all read the same jobs, so what
is shown is what is merged is what is hashed. Only headers are read: a model that does not fit is
refused here, before any work.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from .alignment import align
from .checkpoint import Checkpoint
from .compatibility import Models, Target, extra_tensors, open_layouts
from .document import Document
from .dtypes import dtypes_of
from .methods.formula import Numbers
from .methods.table import METHODS
from .modules import split_modules, unnamed_tensors
from .recipe import ModelReference, Recipe, Scalar, donor_of, models_of
from .recipe_values import IDLE
from .resolution import resolved
from .sections import method_of, reference_of, sections_of

ARITHMETIC_VERSION = 2
"""Raised whenever equal jobs may give other bits than before."""


@dataclass(frozen=True, slots=True)
class TensorSource:
    """One input of one tensor: which model, which tensor in it, its resolved parameters."""

    model: ModelReference
    name: str
    parameters: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class TensorJob:
    """How one tensor of the output is made.

    `sources` are the experts in recipe order (for linear: the base too, if the recipe lists it);
    `base` is None where the method has none. Without sources the base's tensor is taken as it is.
    `layer` is the output layer index, None outside the layers. `position` of a source for its
    masks is its index in `sources`, which never contains the base for task-vector methods.
    `dtype` is what the output is rounded to, once, at the end. `stepwise`: the dtype that inputs
    and every step are rounded to before, as mergekit does, None where nothing is.
    """

    name: str
    method: str
    base: TensorSource | None
    sources: tuple[TensorSource, ...]
    parameters: Mapping[str, Scalar]
    layer: int | None
    dtype: str
    stepwise: str | None = None


def plan_recipe(
    recipe: Recipe,
    checkpoints: Mapping[ModelReference, Checkpoint],
    *,
    document: Document | None = None,
) -> tuple[TensorJob, ...]:
    """The jobs of a recipe: tensors before the layers, layer by layer, after them.

    Args:
        recipe: as `read_recipe` gives it.
        checkpoints: an opened checkpoint for each of `models_of(recipe)`.
        document: the recipe's text, so that messages can name file, line and column.

    Raises:
        SourceError: a model of another architecture, shape, depth or vocabulary; names both sides.
        RecipeError: a tensor without a required value, or numbers that do not go together.
        UnsupportedError: stored weights that cannot be merged (quantised, float64).
    """
    method = method_of(recipe)
    sections = sections_of(recipe, method)
    models = open_layouts(models_of(recipe), checkpoints, document)
    targets = align(models, sections, lose_sources=recipe.exact)
    numbers = resolved(models, method, targets)
    pairs = zip(targets, numbers, strict=True)
    return tuple(_job(models, recipe, target, found) for target, found in pairs)


def plan_notices(
    recipe: Recipe,
    checkpoints: Mapping[ModelReference, Checkpoint],
    *,
    document: Document | None = None,
) -> tuple[str, ...]:
    """What a plan does in silence.

    Tensors outside the layers that only an expert has are left out, those of no module taken as
    they are.
    """
    models = open_layouts(models_of(recipe), checkpoints, document)
    sections = sections_of(recipe, method_of(recipe))
    texts: dict[str, None] = {}
    for own, part in split_modules(models, sections):
        for section in part:
            for path, name in extra_tensors(own, section):
                text = f"{name!r} is not in {str(reference_of(section))!r}; it is left out"
                texts[models.message(path, text)] = None
    if kept := unnamed_tensors(models, sections):
        text = (
            f"no module of the recipe has {_some(kept)}; taken as they are from "
            f"{str(donor_of(recipe))!r}"
        )
        texts[models.message(("modules",), text)] = None
    return tuple(texts)


def recipe_hash(
    jobs: Sequence[TensorJob], content_hashes: Mapping[ModelReference, str], mask_seed: int
) -> str:
    """The name of a candidate's weights: plans that make the same bits have the same hash.

    Covered: every tensor's method and effective numbers, models by the content of their weights
    (not by name), the tensor read of each, dtypes, the version of the arithmetic, and the mask
    seed where a mask leaves something out. Not covered: how the recipe was written, device,
    threads.

    Returns:
        64 hex digits (BLAKE2b); the order of the jobs does not matter.
    """
    drawn = any(_draws_masks(job) for job in jobs)
    head = {"arithmetic": ARITHMETIC_VERSION, "mask_seed": mask_seed if drawn else None}
    digest = blake2b(_canonical(head), digest_size=32)
    for job in sorted(jobs, key=lambda one: one.name):
        digest.update(b"\n" + _canonical(_described(job, content_hashes)))
    return digest.hexdigest()


def _draws_masks(job: TensorJob) -> bool:
    """Whether the tensor depends on the mask seed: a density of 1 keeps everything."""
    densities = [float(one.parameters.get("density", 1.0)) for one in job.sources]
    return METHODS[job.method].random and min(densities, default=1.0) < 1


def _some(names: Sequence[str]) -> str:
    return repr(names[0]) + (f" and {len(names) - 1} more tensors" if len(names) > 1 else "")


def _job(models: Models, recipe: Recipe, target: Target, numbers: Numbers) -> TensorJob:
    section = target.section
    named = list(zip(section.sources, target.names, strict=True))
    experts = [(one.model, name) for one, name in named if one.model != section.base]
    read = next((name for one, name in named if one.model == reference_of(section)), target.name)
    inputs = [models.checkpoints[one.model].tensors[name].dtype for one, name in named]
    stored = _stored_dtype(models.checkpoints[reference_of(section)], read)
    dtype, stepwise = dtypes_of(recipe, stored, inputs)
    return TensorJob(
        name=target.name,
        method=recipe.merge_method,
        base=None if section.base is None else TensorSource(section.base, read, {}),
        sources=tuple(
            TensorSource(model, name, own)
            for (model, name), own in zip(experts, numbers.experts, strict=True)
        ),
        parameters={name: value for name, value in numbers.output.items() if name not in IDLE},
        layer=target.layer,
        dtype=dtype,
        stepwise=stepwise,
    )


def _stored_dtype(checkpoint: Checkpoint, name: str) -> str:
    """The dtype that a model keeps a tensor in, though it be read in a wider one."""
    stored = getattr(checkpoint, "stored_dtype", None)
    return str(stored(name)) if stored else checkpoint.tensors[name].dtype


def _described(job: TensorJob, content_hashes: Mapping[ModelReference, str]) -> dict[str, object]:
    base = None if job.base is None else _source(job.base, content_hashes)
    rounded = {} if job.stepwise is None else {"stepwise": job.stepwise}
    return {
        **rounded,
        "name": job.name,
        "method": job.method + METHODS[job.method].origin,
        "base": base,
        "sources": [_source(source, content_hashes) for source in job.sources],
        "parameters": dict(job.parameters),
        "dtype": job.dtype,
    }


def _source(
    source: TensorSource, content_hashes: Mapping[ModelReference, str]
) -> dict[str, object]:
    return {
        "content": content_hashes[source.model],
        "name": source.name,
        "parameters": dict(source.parameters),
    }


def _canonical(data: Mapping[str, object]) -> bytes:
    """JSON with sorted keys; floats by repr, which keeps every bit."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()

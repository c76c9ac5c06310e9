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
from .document import Document, Path
from .errors import MergeError, RecipeError
from .methods.formula import Numbers
from .methods.table import METHODS, Method, find_method
from .recipe import ModelReference, Parameters, Recipe, Scalar, Source, models_of
from .recipe_rules import place_of
from .recipe_values import IDLE
from .schedule import resolve
from .sections import Section, reference_of, sections_of

ARITHMETIC_VERSION = 1
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
    `base` is None where the method has none. `layer` is the output layer index, None outside the
    layers. `position` of a source for its masks is its index in `sources`, which never contains
    the base for task-vector methods. `dtype` is what the output is rounded to, once, at the end.
    """

    name: str
    method: str
    base: TensorSource | None
    sources: tuple[TensorSource, ...]
    parameters: Mapping[str, Scalar]
    layer: int | None
    dtype: str


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
    method = find_method(recipe.merge_method)
    sections = sections_of(recipe, method)
    models = open_layouts(models_of(recipe), checkpoints, document)
    return tuple(_job(models, recipe, method, target) for target in align(models, sections))


def plan_notices(
    recipe: Recipe,
    checkpoints: Mapping[ModelReference, Checkpoint],
    *,
    document: Document | None = None,
) -> tuple[str, ...]:
    """What a plan leaves out in silence: tensors outside the layers that only an expert has."""
    models = open_layouts(models_of(recipe), checkpoints, document)
    texts: dict[str, None] = {}
    for section in sections_of(recipe, find_method(recipe.merge_method)):
        for path, name in extra_tensors(models, section):
            text = f"{name!r} is not in {str(reference_of(section))!r}; it is left out"
            texts[models.message(path, text)] = None
    return tuple(texts)


def recipe_hash(
    jobs: Sequence[TensorJob], content_hashes: Mapping[ModelReference, str], mask_seed: int
) -> str:
    """The name of a candidate's weights: plans that make the same bits have the same hash.

    Covered: every tensor's method and effective numbers, models by the content of their weights
    (not by name), the tensor read of each, dtypes, the version of the arithmetic, and the mask
    seed where a method draws masks. Not covered: how the recipe was written, device, threads.

    Returns:
        64 hex digits (BLAKE2b); the order of the jobs does not matter.
    """
    random = any(METHODS[job.method].random for job in jobs)
    head = {"arithmetic": ARITHMETIC_VERSION, "mask_seed": mask_seed if random else None}
    digest = blake2b(_canonical(head), digest_size=32)
    for job in sorted(jobs, key=lambda one: one.name):
        digest.update(b"\n" + _canonical(_described(job, content_hashes)))
    return digest.hexdigest()


def _job(models: Models, recipe: Recipe, method: Method, target: Target) -> TensorJob:
    section = target.section
    base: TensorSource | None = None
    experts: list[TensorSource] = []
    for index, (source, name) in enumerate(zip(section.sources, target.names, strict=True)):
        if source.model == section.base:
            base = TensorSource(source.model, name, {})
        else:
            numbers = _numbers_of(models, method, target, index, name)
            experts.append(TensorSource(source.model, name, numbers))
    output = _output_numbers(method, target)
    _check_formula(models, method, target, experts, output)
    reference = reference_of(section)
    stored = models.checkpoints[reference].tensors[_name_in(target, reference)].dtype
    return TensorJob(
        name=target.name,
        method=method.name,
        base=base,
        sources=tuple(experts),
        parameters={name: value for name, value in output.items() if name not in IDLE},
        layer=target.layer,
        dtype=recipe.out_dtype or recipe.dtype or stored,
    )


def _name_in(target: Target, model: ModelReference) -> str:
    sources = zip(target.section.sources, target.names, strict=True)
    return next(name for source, name in sources if source.model == model)


def _given(
    method: Method, scope: str, levels: Sequence[Parameters], tensor: str, t: float
) -> dict[str, Scalar]:
    """What a recipe says about the parameters of one scope, for a tensor at depth t."""
    wanted = (one.name for one in method.parameters if one.scope == scope)
    found = {name: resolve(levels, name, tensor, t) for name in wanted}
    return {name: value for name, value in found.items() if value is not None}


def _numbers_of(
    models: Models, method: Method, target: Target, index: int, tensor: str
) -> dict[str, Scalar]:
    """An expert's numbers for one of its tensors, defaults filled in; filters match its name."""
    section = target.section
    source, path = section.sources[index], (*section.path, index)
    given = _given(method, "model", (source.parameters, *section.levels), tensor, target.t)
    for one in method.parameters:
        if one.scope == "model" and one.default is None and one.name not in given:
            raise _fault(
                models,
                place_of(section, path, source, one.name),
                f"no filter gives {one.name!r} to the tensor {tensor!r} of {str(source.model)!r}; "
                "end the list with an entry that has no filter",
            )
    conflict = method.conflict(given)
    if conflict is not None:
        text = f"tensor {tensor!r} of {str(source.model)!r}: {conflict}"
        raise _fault(models, _conflict_place(section, path, source, method), text)
    return method.complete("model", given)


def _conflict_place(section: Section, path: Path, source: Source, method: Method) -> Path:
    """Where the last of the parameters that do not go together is written."""
    names = [one.name for one in method.parameters if one.scope == "model"]
    places = [place_of(section, path, source, name) for name in reversed(names)]
    return next((place for place in places if place != path), path)


def _output_numbers(method: Method, target: Target) -> dict[str, Scalar]:
    """The numbers of the output, defaults filled in; filters match the output's name."""
    given = _given(method, "global", target.section.levels, target.name, target.t)
    return method.complete("global", given)


def _check_formula(
    models: Models,
    method: Method,
    target: Target,
    experts: Sequence[TensorSource],
    output: Mapping[str, Scalar],
) -> None:
    """What the method's formula refuses: weights that cancel."""
    try:
        method.merge(Numbers(tuple(one.parameters for one in experts), output))
    except MergeError as error:
        raise _fault(models, target.section.path, f"tensor {target.name!r}: {error}") from None


def _fault(models: Models, path: Path, text: str) -> RecipeError:
    return RecipeError(models.message(path, text))


def _described(job: TensorJob, content_hashes: Mapping[ModelReference, str]) -> dict[str, object]:
    base = None if job.base is None else _source(job.base, content_hashes)
    return {
        "name": job.name,
        "method": job.method,
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

"""`explain` of a study: the values that every tensor may get, from the ends of all ranges.

A candidate's values along depth are sums of a range's values with shares that are none below 0, so
the least and the greatest at a tensor are those at the ends. Where numbers bound each other
(DELLA's densities and epsilons), ends are moved inside as the search does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from merging.checkpoint import Checkpoint
from merging.plan import TensorJob, plan_recipe
from merging.recipe import ModelReference, models_of
from merging.recipe_reader import read_recipe
from merging.sources import open_checkpoint, spoken_models
from search.space_parts import METHOD, Values
from search.space_points import Space
from search.space_ranges import Value
from search.stages import stages_from

from .config import Study
from .preflight import base_name
from .stacks import depth

Models = Mapping[ModelReference, Checkpoint]
Owner = tuple[str | None, str]
"""A model's short name (None: every model, or the output) and a parameter."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The values that a searched number may have: from low to high, or one of several."""

    values: tuple[Value, ...]
    numeric: bool

    def __str__(self) -> str:
        """`0 to 1.2`, `true or false`."""
        shown = [_text(one) for one in self.values]
        return f"{shown[0]} to {shown[-1]}" if self.numeric else " or ".join(shown)

    def data(self) -> dict[str, list[Value]]:
        """In the words of a study."""
        return {"range" if self.numeric else "choice": list(self.values)}


def study_jobs(
    study: Study, maps: Mapping[str, Path], *, allow_pickle: bool
) -> dict[str, tuple[TensorJob, ...]]:
    """For each merge method of a study the jobs of its candidates, `Spread`s for what varies.

    Raises:
        MergeError: as for a recipe.
    """
    base = base_name(study)

    def opened(model: ModelReference) -> Checkpoint:
        return open_checkpoint(model, folder=study.folder, mapping=maps, allow_pickle=allow_pickle)

    donor = opened(base)
    space = stages_from(study.recipe, layers=depth(donor)).spaces[0]
    filled = study.recipe.with_data(space.fill(space.start))
    recipe, _ = read_recipe(filled, strict=True)
    models: Models = {m: donor if m == base else opened(m) for m in models_of(recipe)}
    models = spoken_models(recipe, models, folder=study.folder, mapping=maps, document=filled)
    chosen = _chosen(space)
    return {
        method: tuple(
            _one(jobs, space, chosen)
            for jobs in zip(
                *(_jobs(study, space, models, point) for point in _corners(space, start)),
                strict=True,
            )
        )
        for method, start in space.starts.items()
    }


def _chosen(space: Space) -> frozenset[Owner]:
    """Whose parameters are one of several values, and nothing between."""
    found: dict[Owner, bool] = {}
    for one in space.dimensions:
        owner = (one.model, one.parameter)
        found[owner] = found.get(owner, True) and bool(one.range.choices)
    return frozenset(owner for owner, choice in found.items() if choice)


def _jobs(study: Study, space: Space, models: Models, values: Values) -> tuple[TensorJob, ...]:
    filled = study.recipe.with_data(space.fill(values))
    recipe, _ = read_recipe(filled, strict=True)
    return plan_recipe(recipe, models, document=filled)


def _corners(space: Space, start: Values) -> list[Values]:
    """The start with all ranges at their low ends, at their high ones; every choice once."""
    method = space.method(start)
    fixed = (METHOD, "layer_range")  # layers stay as the search starts
    moved = [one for one in space.active(method) if not {*fixed} & {*one.path}]
    count = max([2, *(len(one.range.choices) for one in moved)])
    found = []
    for corner in range(count):
        values = dict(start)
        for one in moved:
            own = one.range
            ends_of = own.choices or (own.low, own.high)
            value = ends_of[min(corner, len(ends_of) - 1)]
            values[one.name] = int(value) if own.integer else value
        if method in space.limits.methods:
            values = space.limits.moved_inside(values, {one.name for one in moved})
        found.append(values if space.contains(values) else start)
    return found


def _one(jobs: Sequence[TensorJob], space: Space, chosen: frozenset[Owner]) -> TensorJob:
    """One tensor's job with what its numbers spread over."""
    first = jobs[0]
    sources = []
    for place, source in enumerate(first.sources):
        label = space.labels.get(str(source.model))
        choices = {name for model, name in chosen if model in (label, None)}
        found = _values([job.sources[place].parameters for job in jobs], choices)
        sources.append(replace(source, parameters=found))
    output = _values(
        [job.parameters for job in jobs], {name for model, name in chosen if model is None}
    )
    return replace(first, sources=tuple(sources), parameters=output)


def _values(found: Sequence[Mapping[str, Any]], choices: set[str]) -> dict[str, Any]:
    """Each number where all corners agree, else what it spreads over."""
    return {name: _value([one[name] for one in found], name in choices) for name in found[0]}


def _value(values: Sequence[Any], is_choice: bool) -> Value | Spread:
    first: Value = values[0]
    if all(one == first for one in values):
        return first
    if is_choice or any(isinstance(one, bool | str) for one in values):
        return Spread(tuple(dict.fromkeys(values)), False)
    return Spread((min(values), max(values)), True)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""What a person would try first: reference models, and the recipes that a search starts from.

References are whole models that every result is compared with: the base, each expert, the mean
of the experts. They are scored and shown, and no sampler is told of them. Warm starts are
recipes of well-known form that lie inside the space, exactly; nothing is moved into it. Where a
form asks for what the space cannot say (an expert alone has a density of 1), the same weights
with the user's own other numbers take its place.

Task arithmetic: Ilharco et al., https://arxiv.org/abs/2212.04089; TIES: Yadav et al.,
https://arxiv.org/abs/2306.01708; DARE: Yu et al., https://arxiv.org/abs/2311.03099.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from merging.methods.table import METHODS

from .coordinates import Coordinates
from .space_lookup import default_of, look_into
from .space_parts import METHOD, Knot, Values
from .space_points import Space
from .space_ranges import Value
from .space_walk import models_of, source_places

_SPEECH = ("tokenizer", "tokenizer_source", "chat_template")
"""What depends on all models of a recipe, and on which is the base."""

_KEPT = ("dtype", "out_dtype", *_SPEECH)


@dataclass(frozen=True, slots=True)
class Reference:
    """A model that results are compared with, as plain recipe data that makes it."""

    name: str
    role: Literal["base", "parent", "uniform"]
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A point of the space to score first, and its recipe."""

    name: str
    values: Values
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Form:
    """A recipe of known form: what it wants of the space; other numbers stay as the search starts.

    `weights` by model as written; `numbers` by parameter.
    """

    method: str
    weights: Mapping[str, float]
    numbers: Mapping[str, Value]


def references(space: Space) -> tuple[Reference, ...]:
    """The base, each expert, the mean of the experts.

    Where the recipe has no base model, its first model stands in for it. A stack of one model's
    layers has that one as its parent, and no mean.
    """
    experts = _experts(space)
    base = space.template.get("base_model") or experts[0]
    names = _names(space)
    alone = [Reference(names[model], "parent", _mean(space, [model])) for model in experts]
    first = Reference("base", "base", _mean(space, [base]))
    if experts == [base]:
        return (first, *alone)
    return (first, *alone, Reference("uniform", "uniform", _mean(space, experts)))


def warm_starts(space: Space) -> tuple[WarmStart, ...]:
    """The points a search starts from: the user's own if given, then the forms that lie inside.

    Points that are the same merge (weights that differ in an idle scale) come once.
    """
    coordinates = Coordinates(space)
    found: list[WarmStart] = []
    seen: list[object] = []
    own = [("own recipe", space.start)] if space.started else []
    inside = [*_in_place(space), *_inside(space)]
    if not own and (space.stack.searched or not inside):  # nothing else says where to begin
        own = [("middle", space.start)]
    tried = {space.method(values) for _, values in (*own, *inside)}
    others = [
        (f"{method} start", values)
        for method, values in space.starts.items()
        if method not in tried and len(space.methods) > 1
    ]  # a sampler that has never seen a method of the choice hardly comes to it
    for name, values in (*own, *inside, *others):
        place = coordinates.rounded(values)
        if place not in seen:
            seen.append(place)
            found.append(WarmStart(name, values, space.fill(values)))
    return tuple(found)


def _experts(space: Space) -> list[str]:
    """Every model beside the base; where there is none (a stack of its own layers), the base."""
    return models_of(space.template) or [space.template["base_model"]]


def _names(space: Space) -> dict[str, str]:
    """The experts' short names, but for those that mean something else here."""
    taken = re.compile(r"base|uniform|trial \d+")
    labels = {model: space.labels[model] for model in _experts(space)}
    free = {model: model if taken.fullmatch(name) else name for model, name in labels.items()}
    return {
        model: f"model {name}" if taken.fullmatch(name) else name for model, name in free.items()
    }


def _mean(space: Space, models: Sequence[str]) -> dict[str, Any]:
    """The mean of whole models; of one, that model bit for bit.

    Where the output speaks as all models do, they all are listed, with a weight of nothing.
    """
    kept = {key: space.template[key] for key in _KEPT if key in space.template}
    own = space.template.get("eutectic")
    if isinstance(own, Mapping) and own.get("exact"):
        kept["eutectic"] = {"exact": True}
    weights = dict.fromkeys(models, 1.0)
    if any(key in kept for key in _SPEECH):
        base = space.template.get("base_model")
        everyone = [*([base] if base else []), *models_of(space.template)]
        weights = {model: float(model in models) for model in everyone}
        kept = {"base_model": base, **kept} if base else kept
    listed = [{"model": one, "parameters": {"weight": weight}} for one, weight in weights.items()]
    return {METHOD: "linear", "models": listed, **kept}


def _in_place(space: Space) -> Iterator[tuple[str, Values]]:
    """Where layers are searched and nothing has a weight, all of them where they were."""
    ends = space.stack.in_place(space.layers)
    if ends and not any(_weighing(space.starts)):
        yield "layers in place", {**space.start, **ends}


def _inside(space: Space) -> Iterator[tuple[str, Values]]:
    """Of every form the first way of saying it that lies inside the space, with its name."""
    for ways in _forms(space):
        named = ((name, _point(space, form)) for name, forms in ways for form in forms)
        inside = ((name, at) for name, at in named if at is not None and space.contains(at))
        yield from itertools.islice(inside, 1)


def _forms(space: Space) -> Iterator[tuple[tuple[str, Iterator[_Form]], ...]]:
    """What a person would try; for each the ways of saying it, with names, exact ones first."""
    experts = _experts(space)
    names, share = _names(space), 1 / len(experts)
    even = dict.fromkeys(experts, 1.0)
    yield ("uniform", _sums(space, even, share)), ("equal weights", _own(space, even))
    yield (("halfway", _between(space, 0.5)),)
    for model in experts:
        weights = {one: float(one == model) for one in experts}
        label = names[model]
        yield (label, _alone(space, weights)), (f"{label} alone", _own(space, weights))
    for scale in (0.3, 0.5):
        yield ((f"task arithmetic {scale:g}", _sums(space, even, scale)),)
    for density in (0.2, 0.5):
        yield ((f"ties {density:g}", _ties(space, even, density)),)
    yield (("dare 0.5", _dare(space, even, share)),)


def _sums(space: Space, weights: Mapping[str, float], scale: float) -> Iterator[_Form]:
    """Base + scale x the sum of the task vectors; for `linear`, which has no base, their mean."""
    whole = {"density": 1.0}
    for method in space.methods:
        if method == "linear":
            if scale == 1 / len(weights):
                yield from _scaled(method, weights, {"normalize": True})
        elif method in ("task_arithmetic", "dare_linear", "della_linear"):
            divided = {**whole, "normalize": True, "lambda": scale * len(weights)}
            yield from _scaled(method, weights, divided)
            summed = {**whole, "normalize": False}
            yield _Form(method, weights, {**summed, "lambda": scale})
            yield _Form(method, dict.fromkeys(weights, scale), {**summed, "lambda": 1.0})


def _alone(space: Space, weights: Mapping[str, float]) -> Iterator[_Form]:
    """One expert as it is: nothing dropped, nothing scaled; its signs are always elected."""
    for method in _weighing(space.methods):
        whole = {"density": 1.0, "lambda": 1.0}
        yield _Form(method, weights, whole)
        yield from _scaled(method, weights, {**whole, "normalize": True})
    yield from _between(space, 1.0)


def _between(space: Space, t: float) -> Iterator[_Form]:
    """On the way from the base to the one expert."""
    if "slerp" in space.methods:
        yield _Form("slerp", {}, {"t": t})


def _own(space: Space, weights: Mapping[str, float]) -> Iterator[_Form]:
    """These weights, and everything else as the search starts."""
    for method in _weighing(space.starts):
        yield from _scaled(method, weights, {})


def _weighing(methods: Iterable[str]) -> Iterator[str]:
    """The methods that read weights."""
    return (method for method in methods if METHODS[method].parameter("weight"))


def _ties(space: Space, weights: Mapping[str, float], density: float) -> Iterator[_Form]:
    """TIES as published: the mean of what agrees, lambda 1."""
    if "ties" in space.methods:
        yield from _scaled("ties", weights, {"density": density, "normalize": True, "lambda": 1.0})


def _dare(space: Space, weights: Mapping[str, float], share: float) -> Iterator[_Form]:
    """DARE on the mean of the experts, half of each dropped."""
    half = {"density": 0.5, "rescale": True}
    for method in space.methods:
        if method in ("dare_linear", "dare_ties"):
            yield _Form(method, weights, {**half, "normalize": False, "lambda": share})
            even = dict.fromkeys(weights, share)
            yield _Form(method, even, {**half, "normalize": False, "lambda": 1.0})
            yield from _scaled(method, weights, {**half, "normalize": True, "lambda": 1.0})


def _scaled(
    method: str, weights: Mapping[str, float], numbers: Mapping[str, Value]
) -> Iterator[_Form]:
    """The same ratio of weights at several scales, for ranges that do not hold 1."""
    for scale in (1.0, 1 / len(weights), 0.5):
        yield _Form(method, {model: scale * one for model, one in weights.items()}, numbers)


def _point(space: Space, form: _Form) -> Values | None:
    """The point that says what the form wants; None where the recipe fixes something else."""
    lookup = look_into(space.template, space.layers, space.slots)
    wanted: dict[str, Value] = {METHOD: form.method} if len(space.methods) > 1 else {}
    for place in source_places(space.template, space.layers):
        for parameter in METHODS[form.method].parameters:
            want = form.numbers.get(parameter.name)
            if parameter.name == "weight":
                want = form.weights.get(place.model or "", 0.0)
            if want is None or (place.is_base and METHODS[form.method].base_apart):
                continue
            own = place if parameter.scope == "model" else replace(place, path=())
            for level in lookup.chain(
                parameter.name, default_of(form.method, parameter.name), own
            ):
                if not _agree(level.knots, want, wanted):
                    return None
    ends = space.stack.in_place(space.layers)
    if ends is None and form.numbers:
        return None  # other layers: what is known of the form holds for whole models
    values = {**space.starts[form.method], **(ends or {}), **wanted}
    if form.method in space.limits.methods:
        values = space.limits.moved_inside(values, values.keys() - wanted.keys())
    return values


def _agree(knots: Sequence[Knot], want: Value, wanted: dict[str, Value]) -> bool:
    """Takes what is wanted into `wanted`; False where a number or another wish is against it."""
    for knot in knots:
        if knot.name is None:
            if knot.value != want or isinstance(knot.value, bool) != isinstance(want, bool):
                return False
        elif wanted.setdefault(knot.name, want) != want:
            return False
    return True

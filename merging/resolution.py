"""The numbers of every tensor: parameters resolved, defaults filled in, checked tensor by tensor.

Tensors at one depth that the same filters match have the same numbers, which are worked out once:
a mixture of experts has tens of thousands of tensors. Faults that need a tensor's name are told
here, with the place in the recipe.
"""

from collections.abc import Iterable, Iterator, Sequence

from .compatibility import Models, Target
from .document import Path
from .errors import RecipeError
from .methods.formula import Numbers
from .methods.method import Method
from .recipe import Parameters, Scalar, Source
from .recipe_rules import place_of
from .schedule import filters, resolve
from .sections import Section

Key = tuple[int, float, tuple[tuple[bool, ...], ...]]
"""A section, a depth, and which of the section's filters match each name of a tensor."""


def resolved(models: Models, method: Method, targets: Iterable[Target]) -> Iterator[Numbers]:
    """The numbers of each target: experts in the order of the section's sources, and the output.

    Raises:
        RecipeError: a required number that no filter gives, numbers that do not go together.
    """
    named: dict[int, tuple[str, ...]] = {}
    known: dict[Key, Numbers] = {}
    for target in targets:
        section = target.section
        if id(section) not in named:
            named[id(section)] = _filters(section)
        words = named[id(section)]
        names = (target.name, *target.names) if words else ()
        matched = tuple(tuple(word in name for word in words) for name in names)
        key = (id(section), target.t, matched)
        if key not in known:
            known[key] = _numbers(models, method, target)
        yield known[key]


def _filters(section: Section) -> tuple[str, ...]:
    levels = (*section.levels, *(source.parameters for source in section.sources))
    return filters(setting for level in levels for setting in level.values())


def _numbers(models: Models, method: Method, target: Target) -> Numbers:
    section = target.section
    if not section.experts():  # what no module names stays as it is
        return Numbers((), {})
    experts = tuple(
        _expert_numbers(models, method, target, index, name)
        for index, (source, name) in enumerate(zip(section.sources, target.names, strict=True))
        if source.model != section.base
    )
    given = _given(method, "global", section.levels, target.name, target.t)
    for one in method.parameters:
        if one.scope == "global" and one.default is None and one.name not in given:
            levels = zip(section.levels, section.level_paths, strict=True)
            raise _fault(
                models,
                next(((*at, one.name) for level, at in levels if one.name in level), section.path),
                f"no filter gives {one.name!r} to the tensor {target.name!r}; "
                "end the list with an entry that has no filter",
            )
    numbers = Numbers(experts, method.complete("global", given))
    if not method.loose and (fault := method.formula_fault(numbers)):
        raise _fault(models, section.path, f"tensor {target.name!r}: {fault}")
    return numbers


def _given(
    method: Method, scope: str, levels: Sequence[Parameters], tensor: str, t: float
) -> dict[str, Scalar]:
    """What a recipe says about the parameters of one scope, for a tensor at depth t."""
    wanted = (one.name for one in method.parameters if one.scope == scope)
    found = {name: resolve(levels, name, tensor, t) for name in wanted}
    return {name: value for name, value in found.items() if value is not None}


def _expert_numbers(
    models: Models, method: Method, target: Target, index: int, tensor: str
) -> dict[str, Scalar]:
    """An expert's numbers for one of its tensors; filters match the name it has there."""
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


def _fault(models: Models, path: Path, text: str) -> RecipeError:
    return RecipeError(models.message(path, text))

"""The rules between the parts of a recipe: who must be there, which numbers go together.

Numbers are checked at every depth where a gradient bends, under every filter that they share. What
needs tensor names (a filter that leaves a tensor without its weight, two filters that overlap) is
checked by `plan`, tensor by tensor.
"""

from collections.abc import Mapping

from .document import Document, Path
from .methods.formula import Numbers
from .methods.method import Method
from .methods.parameters import Parameter
from .recipe import ModelReference, Parameters, Recipe, Scalar, Setting, Source, parts_of
from .recipe_values import Reading
from .schedule import breakpoints, filters, gradients, is_filter_list, value_at
from .sections import Section, sections_of


def check_models(reading: Reading, recipe: Recipe, method: Method) -> None:
    """Who takes part: nobody twice, a base where the method needs one, experts beside it.

    Raises:
        RecipeError: with the place, and both lines for a model that is listed twice.
    """
    document = reading.document
    for section in sections_of(recipe, method):
        _refuse_twice(document, section)
        _require_base(document, recipe, method, section)
        _check_lengths(document, section)
    if recipe.slices and not any(_length(one.sources[0]) for one in recipe.slices):
        raise document.error(
            ("slices",), "no slice has a layer; expected [first, end] with end > first"
        )
    _tell_unlisted_base(reading, recipe, method)


def check_numbers(reading: Reading, recipe: Recipe, method: Method) -> None:
    """Which numbers must be given, and which go together, as far as no tensor is needed to tell.

    Raises:
        RecipeError: with the place and the depth.
    """
    document = reading.document
    seen: set[tuple[tuple[str, int], ...]] = set()
    for section in sections_of(recipe, method):
        _require_global(document, method, section)
        for path, source in section.experts():
            _require_numbers(document, method, section, path, source)
            _check_pairs(document, method, section, path, source, seen)
        _check_formula(reading, method, section)


def place_of(section: Section, path: Path, source: Source, name: str) -> Path:
    """Where a parameter of a source is written: under it, its slice, its module or the recipe."""
    if name in source.parameters:
        return (*path, "parameters", name)
    levels = zip(section.levels, section.level_paths, strict=True)
    return next(((*place, name) for level, place in levels if name in level), path)


def _refuse_twice(document: Document, section: Section) -> None:
    seen: dict[ModelReference, Path] = {}
    for index, source in enumerate(section.sources):
        at = (*section.path, index, "model")
        if source.model in seen:
            first = document.place(seen[source.model]).line
            raise document.error(
                at,
                f"{str(source.model)!r} is listed twice, in line {first} and in line "
                f"{document.place(at).line}; keep one of them",
            )
        seen[source.model] = at


def _require_base(document: Document, recipe: Recipe, method: Method, section: Section) -> None:
    models = [source.model for source in section.sources]
    if method.base == "required" and section.base is None:
        raise document.error(
            ("merge_method",), f"{method.name} needs `base_model`: what task vectors start from"
        )
    if section.base is not None and section.base not in models:
        raise document.error(
            section.path,
            f"the base model {str(section.base)!r} is not among the sources of this slice; add it "
            "with the `layer_range` that belongs to the others'",
        )
    experts = len(section.experts())
    if not experts and section.base is not None:
        raise document.error(
            section.path, "only the base model is listed; expected a model beside it"
        )
    if fault := method.wrong_number(experts, with_base=section.base is not None):
        raise document.error(section.path, fault)


def _length(source: Source) -> int:
    first, end = source.layer_range or (0, 0)
    return end - first


def _check_lengths(document: Document, section: Section) -> None:
    expected = _length(section.sources[0])
    for index, source in enumerate(section.sources):
        if _length(source) != expected:
            at = (*section.path, index, "layer_range")
            line = document.place((*section.path, 0, "layer_range")).line
            raise document.error(
                at,
                f"{_length(source)} layers, but the first source (line {line}) has {expected}",
            )


def _tell_unlisted_base(reading: Reading, recipe: Recipe, method: Method) -> None:
    base = recipe.base_model
    if base is None or method.base_apart:
        return
    told: set[str] = set()
    for part in parts_of(recipe):
        if not part.models or base in {source.model for source in part.models}:
            continue
        taken = method.takes_in({*part.parameters, *recipe.parameters})
        if not taken and recipe.exact:
            raise reading.document.error(
                ("base_model",),
                f"mergekit makes the base model one of the models that {method.name} averages, "
                "and wants a weight for it; list it under `models`, with weight 0 to leave it out",
            )
        if taken:
            what = f"{method.name} averages it in with the weight given for all"
        else:
            what = (
                f"{method.name} does not average it in: it lends config and tokenizer only "
                "(mergekit wants a weight for it: list it under `models` with weight 0)"
            )
        told.add(f"the base model is not among the models: {what}")
    for message in sorted(told):
        reading.notice(("base_model",), message)


def _require_numbers(
    document: Document, method: Method, section: Section, path: Path, source: Source
) -> None:
    for one in _own(method):
        if one.default is None and not any(
            one.name in level for level in (source.parameters, *section.levels)
        ):
            raise document.error(
                path,
                f"{method.name} needs `{one.name}` ({one.meaning}) for {str(source.model)!r}; "
                "give it under the model's `parameters:` or for all in the top-level ones",
            )


def _require_global(document: Document, method: Method, section: Section) -> None:
    for one in method.parameters:
        if one.scope != "global" or one.default is not None:
            continue
        if section.experts() and not any(one.name in level for level in section.levels):
            raise document.error(
                ("merge_method",),
                f"{method.name} needs `{one.name}` ({one.meaning}); give it in the top-level "
                "`parameters:`",
            )


def _own(method: Method) -> list[Parameter]:
    return [one for one in method.parameters if one.scope == "model"]


def _under(
    levels: tuple[Parameters, ...], name: str, filter: str | None
) -> tuple[bool, Setting | None]:
    """Whether it is certain what a parameter is under a filter (None: the rest), and its setting.

    The setting None stands for the method's default.
    """
    for level in levels:
        if name not in level:
            continue
        setting = level[name]
        if not is_filter_list(setting):
            return True, setting
        for entry in setting:
            if (None if entry.filter == "*" else entry.filter) == filter:
                return True, entry.value
        return False, None
    return True, None


def _check_pairs(
    document: Document,
    method: Method,
    section: Section,
    path: Path,
    source: Source,
    seen: set[tuple[tuple[str, int], ...]],
) -> None:
    """Numbers of an expert that must go together (DELLA's density and epsilon), at any depth."""
    levels = (source.parameters, *section.levels)
    own = [one.name for one in _own(method)]
    everything = [level[name] for level in levels for name in own if name in level]
    for filter in (None, *filters(everything)):
        found = {name: _under(levels, name, filter) for name in own}
        if not all(certain for certain, _ in found.values()):
            continue
        settings = {name: setting for name, (_, setting) in found.items() if setting is not None}
        key = tuple((name, id(setting)) for name, setting in settings.items())
        if key not in seen:
            seen.add(key)
            fault = _pair_fault(method, settings)
            if fault is not None:
                worst = "epsilon" if "epsilon" in settings else "density"
                raise document.error(place_of(section, path, source, worst), fault)


def _pair_fault(method: Method, settings: Mapping[str, Setting]) -> str | None:
    for t in breakpoints(settings.values()):
        fault = method.conflict(_values(settings, t))
        if fault is not None:
            bends = any(gradients(setting) for setting in settings.values())
            return f"at depth {t:g}: {fault}" if bends else fault
    return None


def _values(settings: Mapping[str, Setting], t: float) -> dict[str, Scalar]:
    found = {name: value_at(setting, "", t) for name, setting in settings.items()}
    return {name: value for name, value in found.items() if value is not None}


def _check_formula(reading: Reading, method: Method, section: Section) -> None:
    """What the formula itself refuses (weights that cancel), at both ends, where it is certain."""
    for t in (0.0, 1.0):
        experts = [
            _certain(method, "model", (source.parameters, *section.levels), t)
            for _, source in section.experts()
        ]
        output = _certain(method, "global", section.levels, t)
        if output is None or any(one is None for one in experts):
            return
        numbers = Numbers(tuple(one for one in experts if one is not None), output)
        if fault := method.formula_fault(numbers):
            if not method.loose:
                raise reading.document.error(section.path, fault)
            text = f"{fault}; mergekit divides all the same, which gives NaN"
            reading.notices.append(reading.document.notice(section.path, text))
            return


def _certain(
    method: Method, scope: str, levels: tuple[Parameters, ...], t: float
) -> dict[str, Scalar] | None:
    """The numbers of one scope for tensors that no filter names; None: that is not certain."""
    numbers: dict[str, Scalar] = {}
    for one in method.parameters:
        if one.scope != scope:
            continue
        certain, setting = _under(levels, one.name, None)
        value = one.default if setting is None else value_at(setting, "", t)
        if not certain or value is None:
            return None
        numbers[one.name] = value
    return numbers

"""Several stages in one file: YAML documents, each a recipe, that use each other's results.

As `mergekit-multi` reads them: every document but at most one has a `name`, a stage is used by
writing that name where a model is named, an adapter may follow it. The recipe without a name is
the final one; if all have names, the one that no other uses. Only texts are read here; `opening`
makes models of stages.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .document import Document, Notice
from .errors import RecipeError
from .methods.table import METHODS
from .recipe import ModelReference, Recipe, models_of
from .recipe_reader import read_recipe
from .recipe_values import shown
from .references import parse_reference

MAX_STAGES = 64


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One recipe of a file, told apart by identity; `name` None: the final one may have none."""

    name: str | None
    document: Document
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Stages:
    """A file's recipes: the final one, and those it builds on, each after those that it uses."""

    final: Stage
    before: tuple[Stage, ...]


def read_stages(
    documents: Sequence[Document], *, strict: bool, exact: bool = False
) -> tuple[Stages, tuple[Notice, ...]]:
    """Reads the recipes of a file, of one or of several documents.

    Args:
        documents: of one file, in its order.
        strict: see `read_recipe`.
        exact: see `read_recipe`.

    Returns:
        The recipes in the order in which they are built, and a notice for everything legal that
        does nothing.

    Raises:
        RecipeError: a fault of one recipe; names that are missing, given twice or no names;
            stages that use each other in a circle. With the place, or both.
        UnsupportedError: see `read_recipe`.
    """
    read = [read_recipe(document, strict=strict, exact=exact) for document in documents]
    notices = [notice for _, found in read for notice in found]
    if len(documents) == 1:
        return Stages(Stage(None, documents[0], read[0][0]), ()), tuple(notices)
    if len(documents) > MAX_STAGES:
        raise documents[MAX_STAGES].error((), f"more than {MAX_STAGES} stages in one file")
    stages = [
        Stage(_name(document), document, recipe)
        for document, (recipe, _) in zip(documents, read, strict=True)
    ]
    named = _by_name(stages)
    final = _final(stages, named)
    order = _ordered(final, named)
    notices += [_unused(stage) for stage in stages if stage not in order]
    notices += _same_masks(order)
    return Stages(final, tuple(order[:-1])), tuple(notices)


def used_by(stage: Stage, names: Mapping[str, object]) -> list[str]:
    """The stages whose results a stage uses, each once."""
    found = (model.path for model in models_of(stage.recipe) if model.path in names)
    return list(dict.fromkeys(found))


def _name(document: Document) -> str | None:
    data = document.data
    name = data.get("name") if isinstance(data, dict) else None
    if name is None:
        return None
    if not isinstance(name, str):
        quote = "; quote it" if isinstance(name, bool | int | float) else ""
        raise document.error(("name",), f"expected the stage's name, got {shown(name)}{quote}")
    try:
        plain = parse_reference(name) == ModelReference(name)
    except RecipeError:
        plain = False
    if not plain or name.startswith(("./", "../", "/")):
        raise document.error(
            ("name",), f"{name[:80]!r} cannot name a stage: no path, and no '+' or '@' in it"
        )
    return name


def _by_name(stages: Sequence[Stage]) -> dict[str, Stage]:
    named: dict[str, Stage] = {}
    for stage in stages:
        if stage.name is None:
            continue
        if stage.name in named:
            first = named[stage.name].document.place(("name",))
            raise stage.document.error(
                ("name",), f"a stage is already called {stage.name!r}, at {first}; rename one"
            )
        named[stage.name] = stage
    return named


def _final(stages: Sequence[Stage], named: Mapping[str, Stage]) -> Stage:
    """The recipe without a name, else the one that no other uses."""
    unnamed = [stage for stage in stages if stage.name is None]
    if len(unnamed) > 1:
        first = unnamed[0].document.place(())
        raise unnamed[1].document.error(
            (),
            f"a second recipe without a `name:` (the first begins at {first}); the final recipe "
            "alone has none: give the other the name by which it is used",
        )
    if unnamed:
        return unnamed[0]
    used = {name for stage in stages for name in used_by(stage, named)}
    ends = [stage for stage in stages if stage.name not in used]
    if len(ends) == 1:
        return ends[0]
    if not ends:
        raise _circle(_find_circle(stages[0], named))
    places = " and ".join(f"{str(end.name)!r} (line {_line(end)})" for end in ends)
    raise ends[1].document.error(
        ("name",),
        f"which recipe is the final one? No other uses {places}; take the `name:` away from the "
        "one to be written",
    )


def _line(stage: Stage) -> int:
    return stage.document.place(("name",)).line


def _ordered(final: Stage, named: Mapping[str, Stage]) -> list[Stage]:
    """The final stage and all it builds on, each after those that it uses."""
    order: list[Stage] = []
    above: list[Stage] = []

    def visit(stage: Stage) -> None:
        if stage in order:
            return
        if stage in above:
            raise _circle([*above[above.index(stage) :], stage])
        above.append(stage)
        for name in used_by(stage, named):
            visit(named[name])
        order.append(above.pop())

    visit(final)
    return order


def _find_circle(start: Stage, named: Mapping[str, Stage]) -> list[Stage]:
    """Where every stage is used by another, going from one to the next comes round."""
    way = [start]
    while True:
        users = (one for one in named.values() if way[0].name in used_by(one, named))
        before = next(users)
        if before in way:
            return [before, *way[: way.index(before) + 1]]
        way.insert(0, before)


def _circle(way: Sequence[Stage]) -> RecipeError:
    first, last = way[0], way[-2]
    names = " uses ".join(repr(stage.name) for stage in way)
    own = f"; to mean a folder of that name, write ./{first.name}" if len(way) == 2 else ""
    lines = " and ".join(str(_line(stage)) for stage in dict.fromkeys(way))
    where = f" (lines {lines})" if len(way) > 2 else ""
    return last.document.error(
        _place_of(last, str(first.name)),
        f"stages cannot use each other in a circle: {names}{where}{own}",
    )


def _place_of(stage: Stage, name: str) -> tuple[str | int, ...]:
    """Where a stage names another."""
    return next(
        (
            path
            for path, model in named_models(stage.document.data)
            if model.partition("+")[0].partition("@")[0] == name
        ),
        (),
    )


def named_models(
    data: object, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every model that a recipe's data name, and where."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key in ("model", "base_model") and isinstance(value, str):
                yield (*path, key), value
            elif key != "parameters":
                yield from named_models(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from named_models(value, (*path, index))


def _unused(stage: Stage) -> Notice:
    return stage.document.notice(
        ("name",), f"the final recipe does not build on {stage.name!r}; it is not merged"
    )


def _same_masks(order: Sequence[Stage]) -> Iterator[Notice]:
    """Random stages that draw with one seed drop the same elements again."""
    first: dict[int, Stage] = {}
    for stage in order:
        if not METHODS[stage.recipe.merge_method].random:
            continue
        seed = stage.recipe.mask_seed
        other = first.setdefault(seed, stage)
        if other is not stage:
            yield stage.document.notice(
                ("merge_method",),
                f"draws the same masks as {other.name!r}; `eutectic: {{mask_seed: {seed + 1}}}` "
                "in one of them would draw others",
            )

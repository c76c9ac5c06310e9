"""The runs of layers of a recipe in one form: `models` are one section, each slice is another.

A section says who takes part, who is the base, and which levels of `parameters:` stand above a
source's own. Those of a module carry its name. The base that `models` does not list is added last,
as in mergekit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from .document import Path
from .methods.method import Method
from .methods.table import find_method
from .recipe import ModelReference, Module, Parameters, Recipe, Slice, Source


@dataclass(frozen=True, slots=True)
class Section:
    """Sources that make one run of output layers.

    `base` is the model that task vectors start from, None where the method has none. `levels` are
    the parameters of the slice, of the module and of the recipe, as far as they are there, and
    `level_paths` where each stands. `path`: where the sources stand. `module`: whose layers they
    are, None where the recipe has no modules.
    """

    sources: tuple[Source, ...]
    base: ModelReference | None
    levels: tuple[Parameters, ...]
    level_paths: tuple[Path, ...]
    path: Path
    module: str | None = None

    @property
    def sliced(self) -> bool:
        """Whether the sources have a `layer_range`."""
        return self.path[-1] == "sources"

    def experts(self) -> tuple[tuple[Path, Source], ...]:
        """The sources with numbers of their own (all but the base), and where they stand."""
        return tuple(
            ((*self.path, index), source)
            for index, source in enumerate(self.sources)
            if source.model != self.base
        )


def method_of(recipe: Recipe) -> Method:
    """The recipe's method, with mergekit's own bounds where the recipe is exact."""
    method = find_method(recipe.merge_method)
    return method.loosened() if recipe.exact else method


@dataclass(frozen=True, slots=True)
class _Around:
    """What stands around the sections of a recipe or of one of its modules."""

    recipe: Recipe
    method: Method
    path: Path
    levels: tuple[Parameters, ...]
    level_paths: tuple[Path, ...]
    module: str | None


def sections_of(recipe: Recipe, method: Method) -> tuple[Section, ...]:
    """The sections of a recipe: module by module, in the order of the output's layers."""
    whole = _Around(recipe, method, (), (recipe.parameters,), (("parameters",),), None)
    parts: list[tuple[_Around, Recipe | Module]] = [(whole, recipe)]
    for module in recipe.modules:
        path = ("modules", module.name)
        levels = (module.parameters, recipe.parameters)
        paths = ((*path, "parameters"), ("parameters",))
        parts.append((_Around(recipe, method, path, levels, paths, module.name), module))
    return tuple(section for around, part in parts for section in _sections(around, part))


def reference_of(section: Section) -> ModelReference:
    """The model whose tensor names and shapes a section has: its base, else its first source."""
    return section.base or section.sources[0].model


def _sections(around: _Around, part: Recipe | Module) -> Iterator[Section]:
    if part.models:
        yield _of_models(around, part.models)
    for index, one in enumerate(part.slices):
        yield _of_slice(around, index, one)


def _of_models(around: _Around, sources: tuple[Source, ...]) -> Section:
    method, base = around.method, around.recipe.base_model
    if base is not None and base not in {source.model for source in sources}:
        if method.takes_in({name for level in around.levels for name in level}):
            sources = (*sources, Source(base, {}))
    return Section(
        sources,
        base if method.base_apart else None,
        around.levels,
        around.level_paths,
        (*around.path, "models"),
        around.module,
    )


def _of_slice(around: _Around, index: int, one: Slice) -> Section:
    base = one.base_model or around.recipe.base_model
    path = (*around.path, "slices", index)
    return Section(
        one.sources,
        base if around.method.base_apart else None,
        (one.parameters, *around.levels),
        ((*path, "parameters"), *around.level_paths),
        (*path, "sources"),
        around.module,
    )

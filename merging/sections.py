"""The runs of layers of a recipe in one form: `models` are one section, each slice is another.

A section says who takes part, who is the base, and which levels of `parameters:` stand above a
source's own. The base that `models` does not list is added last, as in mergekit.
"""

from dataclasses import dataclass

from .document import Path
from .methods.method import Method
from .methods.table import find_method
from .recipe import ModelReference, Parameters, Recipe, Slice, Source


@dataclass(frozen=True, slots=True)
class Section:
    """Sources that make one run of output layers.

    `base` is the model that task vectors start from, None where the method has none. `levels` are
    the parameters of the slice, if it is one, and of the recipe. `path`: where the sources stand.
    """

    sources: tuple[Source, ...]
    base: ModelReference | None
    levels: tuple[Parameters, ...]
    path: Path

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


def sections_of(recipe: Recipe, method: Method) -> tuple[Section, ...]:
    """The sections of a recipe, in the order of the output's layers."""
    if recipe.slices:
        return tuple(_of_slice(recipe, method, at, one) for at, one in enumerate(recipe.slices))
    sources = recipe.models
    base = recipe.base_model
    if base is not None and base not in {source.model for source in sources}:
        if method.takes_in(recipe.parameters):
            sources = (*sources, Source(base, {}))
    return (
        Section(sources, base if method.base_apart else None, (recipe.parameters,), ("models",)),
    )


def reference_of(section: Section) -> ModelReference:
    """The model whose tensor names and shapes a section has: its base, else its first source."""
    return section.base or section.sources[0].model


def _of_slice(recipe: Recipe, method: Method, index: int, one: Slice) -> Section:
    base = one.base_model or recipe.base_model
    return Section(
        one.sources,
        base if method.base_apart else None,
        (one.parameters, recipe.parameters),
        ("slices", index, "sources"),
    )

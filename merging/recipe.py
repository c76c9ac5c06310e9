"""A merge recipe: mergekit's YAML as frozen dataclasses, and back, without loss.

Meaning of each field: docs of mergekit; differences: README. A recipe here has numbers only; ranges are the
business of `search.space`, which fills them before a recipe is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Scalar = bool | int | float
Gradient = tuple[float, ...]
"""Values along depth, interpolated linearly; at least one."""


@dataclass(frozen=True, slots=True)
class Conditional:
    """One entry of a filter list; `filter` None matches every tensor."""

    filter: str | None
    value: Scalar | Gradient


Setting = Scalar | Gradient | tuple[Conditional, ...]
Parameters = Mapping[str, Setting]


@dataclass(frozen=True, slots=True)
class ModelReference:
    """`path`, `path@revision`, or `path+adapter`: a model as a recipe writes it; hashable; str() gives it back."""

    path: str
    revision: str | None = None
    adapter: str | None = None
    adapter_revision: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A model in a recipe with its own parameters; `layer_range` [start, end) only inside slices."""

    model: ModelReference
    parameters: Parameters
    layer_range: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """A run of layers taken from several sources."""

    sources: tuple[Source, ...]
    base_model: ModelReference | None
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Recipe:
    """One merge. Exactly one of `models` and `slices` is not empty."""

    merge_method: str
    base_model: ModelReference | None
    models: tuple[Source, ...]
    slices: tuple[Slice, ...]
    parameters: Parameters
    dtype: str | None
    out_dtype: str | None
    mask_seed: int

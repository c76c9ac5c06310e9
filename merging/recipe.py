"""A merge recipe: mergekit's YAML as frozen dataclasses.

`recipe_reader` makes them of a document, `recipe_writer` prints them, without loss. Meaning of
each field: docs/study_file.md; differences from mergekit: docs/mergekit.md. A recipe here has
numbers only; ranges are the business of `search.space`, which fills them before it is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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
    """A model as a recipe writes it; hashable; str() gives it back.

    `path`, `path@revision`, `path+adapter`, `path@revision+adapter@revision`; see `references`.
    """

    path: str
    revision: str | None = None
    adapter: str | None = None
    adapter_revision: str | None = None

    def __str__(self) -> str:
        model = self.path if self.revision is None else f"{self.path}@{self.revision}"
        if self.adapter is None:
            return model
        if self.adapter_revision is None:
            return f"{model}+{self.adapter}"
        return f"{model}+{self.adapter}@{self.adapter_revision}"


@dataclass(frozen=True, slots=True)
class Source:
    """A model in a recipe with its own parameters; `layer_range` [start, end) inside slices."""

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
class Module:
    """A part of a model by name (a tower, an encoder), merged on its own; see `modules`.

    Exactly one of `models` and `slices` is not empty.
    """

    name: str
    models: tuple[Source, ...]
    slices: tuple[Slice, ...]
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class TokenRow:
    """Whose row a token takes: its own in `model`, or that of another `token` or `token_id`.

    Zeros where `model` is None.
    """

    model: ModelReference | None
    token: str | None = None
    token_id: int | None = None


@dataclass(frozen=True, slots=True)
class TokenRule:
    """Where one token's row comes from in models that lack it; `force`: in all models.

    `source` None: as for any other token.
    """

    source: TokenRow | None
    force: bool


@dataclass(frozen=True, slots=True)
class TokenizerSection:
    """The vocabulary of the output: all models' tokens, the base's, or those of one model."""

    source: ModelReference | Literal["union", "base"]
    tokens: Mapping[str, TokenRule]
    pad_to_multiple_of: int | None


@dataclass(frozen=True, slots=True)
class Recipe:
    """One merge. Exactly one of `models`, `slices` and `modules` is not empty.

    `tokenizer` None: the models share one vocabulary. `chat_template` is `auto`, the name of a
    built-in one or a Jinja text; None leaves the tokenizer's own.
    `exact`: rounded at every step, and read, as mergekit does; see `merging.differences`.
    """

    merge_method: str
    base_model: ModelReference | None
    models: tuple[Source, ...]
    slices: tuple[Slice, ...]
    parameters: Parameters
    dtype: str | None
    out_dtype: str | None
    mask_seed: int
    modules: tuple[Module, ...] = ()
    tokenizer: TokenizerSection | None = None
    chat_template: str | None = None
    exact: bool = False


def parts_of(recipe: Recipe) -> "tuple[Recipe | Module, ...]":
    """What may have `models` or `slices`: the recipe itself, then its modules."""
    return recipe, *recipe.modules


def models_of(recipe: Recipe) -> tuple[ModelReference, ...]:
    """Every distinct model of a recipe, the base first, the others in the order of the recipe."""
    named = [recipe.base_model]
    for part in parts_of(recipe):
        named += [source.model for source in part.models]
        for one in part.slices:
            named += [one.base_model, *(source.model for source in one.sources)]
    return tuple(dict.fromkeys(model for model in named if model is not None))


def donor_of(recipe: Recipe) -> ModelReference:
    """The model that gives config, tokenizer and tensor names: the base, else the first one."""
    return models_of(recipe)[0]

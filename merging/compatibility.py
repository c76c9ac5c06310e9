"""Whether the models of a recipe fit together: layers, names, shapes and dtypes, from headers.

One message a fault, naming the models, a tensor and both shapes, before any weight is read. Not
here: what makes each tensor (`alignment`), the numbers (`plan`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .checkpoint import Checkpoint, TensorInfo
from .consistency import embedding_name, head_name
from .document import Document, Path
from .errors import SourceError, UnsupportedError
from .layers import Layout, claimed_layers, layer_layout, layer_of
from .recipe import ModelReference, Source
from .sections import Section, reference_of

MERGEABLE = ("float32", "bfloat16", "float16")
_BUFFERS = ("inv_freq", "masked_bias", "position_ids")
_MASKS = ("attn.bias", "attention.bias")


@dataclass(frozen=True, slots=True)
class Models:
    """A recipe's opened models, their layouts, and the recipe's text for messages, if any."""

    checkpoints: Mapping[ModelReference, Checkpoint]
    layouts: Mapping[ModelReference, Layout]
    document: Document | None

    def message(self, path: Path, text: str) -> str:
        """The text with its place in the recipe, where there is a document."""
        return self.document.message(path, text) if self.document else text


@dataclass(frozen=True, slots=True)
class Target:
    """One tensor of the output: its layer, its depth t, and its name in each source."""

    name: str
    layer: int | None
    t: float
    section: Section
    names: tuple[str, ...]


def open_layouts(
    models: Sequence[ModelReference],
    checkpoints: Mapping[ModelReference, Checkpoint],
    document: Document | None,
) -> Models:
    """The layouts of a recipe's models.

    Raises:
        SourceError: a model has fewer layers than its config says.
    """
    layouts: dict[ModelReference, Layout] = {}
    for model in models:
        checkpoint = checkpoints[model]
        try:
            layouts[model] = layer_layout(checkpoint.tensors, checkpoint.config)
        except SourceError as error:
            raise SourceError(f"model {str(model)!r}: {error}") from None
    return Models(checkpoints, layouts, document)


def is_buffer(name: str, info: TensorInfo) -> bool:
    """Whether a stored tensor is no weight: transformers computes it when it builds the model."""
    return name.endswith(_BUFFERS) or (name.endswith(_MASKS) and len(info.shape) == 4)


def check_layers(models: Models, section: Section) -> None:
    """Every source has the layers that the section takes of it.

    Raises:
        SourceError: with both numbers.
        UnsupportedError: slices of a model with several stacks of layers.
    """
    reference = models.layouts[reference_of(section)]
    for index, source in enumerate(section.sources):
        layout = models.layouts[source.model]
        path = (*section.path, index)
        if source.layer_range is not None:
            _check_range(models, path, source, layout)
        elif _heights(layout) != _heights(reference):
            text = (
                f"model {str(source.model)!r} has {_stacks(layout)}, "
                f"{str(reference_of(section))!r} has {_stacks(reference)}; models of one "
                "architecture and depth can be merged, others layer by layer with `slices`"
            )
            raise SourceError(models.message(path, text))


def check_sources(models: Models, section: Section, targets: Sequence[Target]) -> None:
    """Every source has every tensor, of the reference's shape, in a dtype that can be merged.

    Raises:
        SourceError: with model, tensor and both shapes, or the sizes of both vocabularies.
        UnsupportedError: a stored dtype that cannot be merged.
    """
    models_in = [source.model for source in section.sources]
    at = models_in.index(reference_of(section))
    reference = models.checkpoints[models_in[at]].tensors
    for index, source in enumerate(section.sources):
        own = models.checkpoints[source.model].tensors
        pairs = [(target.names[index], target.names[at]) for target in targets]
        text = (
            _missing(section, source, [name for name, _ in pairs if name not in own])
            or _shape_fault(section, source, own, reference, pairs)
            or _surplus(section, source, models.layouts[source.model], own, {n for n, _ in pairs})
        )
        if text is not None:
            raise SourceError(models.message((*section.path, index), text))
        _check_dtypes(
            models, (*section.path, index), source, {name: own[name] for name, _ in pairs}
        )


def extra_tensors(models: Models, section: Section) -> Iterator[tuple[Path, str]]:
    """Tensors outside the layers that only a source has (a value head), with the source's path."""
    known = models.checkpoints[reference_of(section)].tensors
    for index, source in enumerate(section.sources):
        layout = models.layouts[source.model]
        tensors = models.checkpoints[source.model].tensors
        for name in (*layout.before, *layout.after):
            if name not in known and not is_buffer(name, tensors[name]):
                yield (*section.path, index), name


def _heights(layout: Layout) -> dict[str, int]:
    return {stack.prefix: len(stack.layers) for stack in layout.stacks}


def _stacks(layout: Layout) -> str:
    heights = [f"{count} layers ({prefix})" for prefix, count in _heights(layout).items()]
    return " and ".join(heights) or "no layers"


def _check_range(models: Models, path: Path, source: Source, layout: Layout) -> None:
    first, end = source.layer_range or (0, 0)
    at = (*path, "layer_range")
    if len(layout.stacks) > 1:
        text = (
            f"model {str(source.model)!r} has {_stacks(layout)}; `slices` take models with one: "
            "name each stack under `modules` and give it slices of its own"
        )
        raise UnsupportedError(models.message(at, text))
    if claimed_layers(models.checkpoints[source.model].config) is None:
        text = (
            f"the config.json of model {str(source.model)!r} does not say how many layers it has, "
            "so it cannot be written for others; use `models`"
        )
        raise UnsupportedError(models.message(at, text))
    beyond = f"{layout.stacks[0].prefix}." if layout.stacks else ""
    if beyond and any(name.startswith(beyond) for name in (*layout.before, *layout.after)):
        text = f"model {str(source.model)!r} has layers beyond those of its config; use `models`"
        raise UnsupportedError(models.message(at, text))
    if end > layout.length:
        text = f"[{first}, {end}] is beyond the {layout.length} layers of {str(source.model)!r}"
        raise SourceError(models.message(at, text))


def _missing(section: Section, source: Source, names: list[str]) -> str | None:
    if not names:
        return None
    return (
        f"model {str(source.model)!r} lacks {_some(names)}, which {str(reference_of(section))!r} "
        "has; models of one architecture can be merged"
    )


def _surplus(
    section: Section,
    source: Source,
    layout: Layout,
    own: Mapping[str, TensorInfo],
    used: set[str],
) -> str | None:
    """Tensors in the source's layers, or a head, that the reference has no place for."""
    ranges = [source.layer_range or (0, len(stack.layers)) for stack in layout.stacks]
    names = [
        name
        for stack, (first, end) in zip(layout.stacks, ranges, strict=True)
        for layer in stack.layers[first:end]
        for name in layer
        if name not in used and not is_buffer(name, own[name])
    ]
    head = head_name(own)
    if head in (*layout.before, *layout.after) and head not in used and not section.sliced:
        names.append(head)
    if not names:
        return None
    return (
        f"model {str(source.model)!r} has {_some(names)}, which {str(reference_of(section))!r} "
        "lacks (an output head that is not stored is tied to the embedding); models of one "
        "architecture can be merged"
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more tensors" if len(names) > 1 else ""
    return f"the tensor {names[0]!r}{more}"


def _shape_fault(
    section: Section,
    source: Source,
    own: Mapping[str, TensorInfo],
    reference: Mapping[str, TensorInfo],
    pairs: Sequence[tuple[str, str]],
) -> str | None:
    wrong = [(a, b) for a, b in pairs if own[a].shape != reference[b].shape]
    if not wrong:
        return None
    name, known = next(
        (pair for pair in wrong if not _differ_in_rows(own, reference, *pair)), wrong[0]
    )
    here, there = own[name].shape, reference[known].shape
    base = str(reference_of(section))
    shapes = (
        f"{name!r} has the shape {list(here)} in {str(source.model)!r}, {list(there)} in {base!r}"
    )
    vocabulary = (embedding_name(reference), head_name(reference))
    if known in vocabulary and _differ_in_rows(own, reference, name, known):
        return (
            f"the vocabularies differ: {here[0]} and {there[0]} tokens ({shapes}); write "
            "`tokenizer: {source: union}` (or base) into the recipe to align them"
        )
    more = f" (and {len(wrong) - 1} more tensors differ)" if len(wrong) > 1 else ""
    heads = all(layer_of(b) is None and _differ_in_rows(own, reference, a, b) for a, b in wrong)
    rule = (
        "heads of different tasks cannot be merged; take models with the same head"
        if heads
        else "models of one architecture and size can be merged"
    )
    return f"{shapes}{more}; {rule}"


def _differ_in_rows(
    own: Mapping[str, TensorInfo], reference: Mapping[str, TensorInfo], name: str, known: str
) -> bool:
    return own[name].shape[1:] == reference[known].shape[1:]


def _check_dtypes(
    models: Models, path: Path, source: Source, infos: Mapping[str, TensorInfo]
) -> None:
    """Floats that can be merged; integers are copied, unless they stand where a weight should."""
    for name, info in infos.items():
        integer = info.dtype.startswith(("int", "uint", "bool"))
        if info.dtype not in MERGEABLE and (not integer or name.endswith("weight")):
            text = (
                f"model {str(source.model)!r} stores {name!r} as {info.dtype}; expected "
                f"{', '.join(MERGEABLE)}: use the model before quantisation, or convert it"
            )
            raise UnsupportedError(models.message(path, text))

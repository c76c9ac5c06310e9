"""Which tensor of each source makes each tensor of the output.

The output's names are those of each section's reference: its base, else its first source. Layers
are renumbered in the order of the sections. Tensors before the layers come from the first section,
those after them from the last, both at depth 0; with modules, each has its own. Buffers that
transformers computes itself are left out. A head that is tied in one model and stored in another
is read from the embedding there.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from .compatibility import Models, Target, check_layers, check_sources, is_buffer
from .consistency import embedding_name, head_name, is_tied
from .errors import RecipeError, SourceError, UnsupportedError
from .layers import kind_of, layer_of, rename_layer
from .modules import split_modules
from .recipe import Source
from .schedule import depth
from .sections import Section, reference_of


def align(
    models: Models, sections: Sequence[Section], *, lose_sources: bool = False
) -> tuple[Target, ...]:
    """The output's tensors in order: before the layers, layer by layer, after them.

    lose_sources: tensors after the layers have no more sources than the first section has, as in
    mergekit, instead of all of the last one's.

    Raises:
        SourceError: layers, names or shapes of the models do not fit.
        RecipeError: a module that the model has not.
        UnsupportedError: a dtype that cannot be merged, slices of several stacks of layers.
    """
    parts = split_modules(models, sections)
    before: list[Target] = []
    inside: list[Target] = []
    after: list[Target] = []
    tail: list[Target] = []
    for own, runs in parts:
        for section in runs:
            check_layers(own, section)
        first, last = runs[0], runs[-1]
        before += _outside(own, first, own.layouts[reference_of(first)].before)
        layers = list(_stacked(own, runs))
        _require_first(own, runs[0], layers)
        inside += layers
        names = own.layouts[reference_of(last)].after
        after += _outside(own, last, names)
        fewer = lose_sources and len(last.sources) > len(first.sources)
        tail += _outside(own, _cut(own, last, len(first.sources)) if fewer else last, names)
    targets = [*before, *inside, *after]
    for own, runs in parts:
        for section in runs:
            check_sources(own, section, [one for one in targets if one.section is section])
        _require_one_size(own, runs, targets)
    return (*before, *inside, *tail)


def _cut(models: Models, section: Section, count: int) -> Section:
    """The section with its first sources alone."""
    kept = replace(section, sources=section.sources[:count])
    if section.base is not None and section.base not in {one.model for one in kept.sources}:
        text = (
            f"mergekit gives the tensors after the layers the first {count} of these sources, "
            "because the first slice has no more, and fails without the base model; list the base "
            "model first"
        )
        raise SourceError(models.message(section.path, text))
    return kept


def _stacked(models: Models, sections: Sequence[Section]) -> Iterator[Target]:
    """The layers of one module: those of each section after those of the section before."""
    done = 0
    for section in sections:
        yield from _inside(models, section, done)
        done += _length(section)
    _require_layers(models, sections, done)


def _require_layers(models: Models, sections: Sequence[Section], done: int) -> None:
    section = sections[0]
    if section.module is None or not section.sliced or done > 0:
        return
    if models.layouts[reference_of(section)].stacks:
        path = ("modules", section.module, "slices")
        text = "no slice has a layer; expected [first, end] with end > first"
        raise RecipeError(models.message(path, text))


def _require_first(models: Models, section: Section, targets: Sequence[Target]) -> None:
    """Tensors that only the first layer has (T5's relative positions) serve the whole stack."""
    stacks = models.layouts[reference_of(section)].stacks
    tensors = models.checkpoints[reference_of(section)].tensors
    if not section.sliced or not stacks or len(stacks[0].layers) < 2:
        return
    first, *others = (
        {kind_of(name) for name in layer if not is_buffer(name, tensors[name])}
        for layer in stacks[0].layers
    )
    only = first.difference(*others)
    if not first.issuperset(set().union(*others)) or not only:
        return
    kept = [one.layer for one in targets if kind_of(one.name) in only]
    if kept != [0] * len(only):
        text = (
            f"{min(only)} is in the first layer only, for all: the slices must begin with layer 0 "
            "and take it once"
        )
        raise UnsupportedError(models.message(section.path[:-2], text))


def _require_one_size(
    models: Models, sections: Sequence[Section], targets: Sequence[Target]
) -> None:
    """Layers of models of other widths are no model together."""
    first = reference_of(sections[0])
    known: dict[str, set[tuple[int, ...]]] = defaultdict(set)
    for name, info in models.checkpoints[first].tensors.items():
        known[kind_of(name)].add(info.shape)
    for section in sections[1:]:
        model = reference_of(section)
        at = next(i for i, one in enumerate(section.sources) if one.model == model)
        for target in (one for one in targets if one.section is section):
            name = target.names[at]
            shape = models.checkpoints[model].tensors[name].shape
            sizes = known.get(kind_of(name), {shape})
            if shape not in sizes:
                text = (
                    f"{name!r} has the shape {list(shape)} in {str(model)!r}, "
                    f"{list(min(sizes))} in {str(first)!r} of the first slice; slices of models "
                    "of one size make a model"
                )
                raise SourceError(models.message((*section.path, at), text))


def _length(section: Section) -> int:
    """The number of layers that a slice adds; the `models` form has nothing to add to."""
    first, end = section.sources[0].layer_range or (0, 0)
    return end - first


def _outside(models: Models, section: Section, names: Sequence[str]) -> Iterator[Target]:
    """Targets outside the layers: depth 0."""
    tensors = models.checkpoints[reference_of(section)].tensors
    for name in names:
        if not is_buffer(name, tensors[name]):
            own = tuple(_outside_name(models, section, one, name) for one in section.sources)
            yield Target(name, None, 0.0, section, own)


def _outside_name(models: Models, section: Section, source: Source, name: str) -> str:
    """The name in a source; a head that the source ties to its embedding is that embedding."""
    checkpoint = models.checkpoints[source.model]
    if name in checkpoint.tensors:
        return name
    head = head_name(models.checkpoints[reference_of(section)].tensors)
    if name == head and is_tied(checkpoint.config):
        return embedding_name(checkpoint.tensors) or name
    return name


def _inside(models: Models, section: Section, done: int) -> Iterator[Target]:
    """Targets in layers; slices are renumbered to follow the `done` layers before them."""
    model = reference_of(section)
    tensors = models.checkpoints[model].tensors
    ranges = {one.model: one.layer_range for one in section.sources}
    starts = [(one.layer_range or (0, 0))[0] for one in section.sources]
    for stack in models.layouts[model].stacks:
        first, end = ranges[model] or (0, len(stack.layers))
        for offset, names in enumerate(stack.layers[first:end]):
            t, to = depth(offset, end - first), done + offset
            for name in names:
                if not is_buffer(name, tensors[name]):
                    own = tuple(_in_layer(name, start + offset) for start in starts)
                    yield Target(_in_layer(name, to), to, t, section, own)


def _in_layer(name: str, index: int) -> str:
    return name if layer_of(name) == index else rename_layer(name, index)

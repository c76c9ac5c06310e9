"""Which tensor of each source makes each tensor of the output.

The output's names are those of each section's reference: its base, else its first source. Layers
are renumbered in the order of the sections. Tensors before the layers come from the first section,
those after them from the last, both at depth 0. Buffers that transformers computes itself are left
out. A head that is tied in one model and stored in another is read from the embedding there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .compatibility import Models, Target, check_layers, check_sources, is_buffer
from .consistency import embedding_name, head_name, is_tied
from .errors import SourceError
from .layers import layer_of, rename_layer
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
        UnsupportedError: a dtype that cannot be merged, slices of several stacks of layers.
    """
    for section in sections:
        check_layers(models, section)
    first, last = sections[0], sections[-1]
    targets = [*_outside(models, first, models.layouts[reference_of(first)].before)]
    done = 0
    for section in sections:
        targets += _inside(models, section, done)
        done += _length(section)
    names = models.layouts[reference_of(last)].after
    tail = [*_outside(models, last, names)]
    for section in sections:
        own = [one for one in (*targets, *tail) if one.section is section]
        check_sources(models, section, own)
    if lose_sources and len(last.sources) > len(first.sources):
        tail = [*_outside(models, _cut(models, last, len(first.sources)), names)]
    return (*targets, *tail)


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

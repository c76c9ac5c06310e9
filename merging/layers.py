"""Which tensors are in layers, which before and after them, by the checkpoint's own names.

There is no list of architectures: the first whole number in a name is the index of a layer
(`model.layers.12.mlp.up_proj.weight`, `transformer.h.3.attn.c_attn.weight`, with experts behind it
in `model.layers.0.mlp.experts.3.w1.weight`), provided that the numbers behind a prefix run from 0
without a gap: then the prefix is a stack of layers. A model may have several (an image tower); the
main one has as many layers as the config says, else the most tensors. Layers beyond the config's
number (a head that predicts several tokens) stand outside.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .errors import SourceError

COUNT_KEYS = (
    "num_hidden_groups",  # ALBERT's: its layers share the weights of fewer groups
    "num_hidden_layers",
    "n_layer",
    "num_layers",
    "n_layers",
    "num_decoder_layers",
    "decoder_layers",
    "encoder_layers",
)
"""Where configs say how many layers there are; the main stack's first."""
KIND_KEYS = ("layer_types", "layers_block_type")
"""Lists with the kind of each layer: as good as their number."""

_INDEX = re.compile(r"(?:^|\.)(\d{1,6})(?=\.)")
_EMBEDDING = re.compile(r"emb|(^|\.)(wte|wpe|shared)(\.|$)", re.IGNORECASE)
_HEAD = re.compile(r"(^|\.)(embed_out|lm_head|output|score|classifier)(\.|$)")

KINDS: Mapping[str, frozenset[str]] = {
    "projector": frozenset({"projector", "merger", "connector"}),
    "vision": frozenset({"vision", "visual", "image", "vit"}),
    "audio": frozenset({"audio", "speech"}),
    "text": frozenset({"text", "language", "llm"}),
}
"""What a part of a model is for, by the words in its names; the first kind that fits counts."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A run of layers: the prefix before the index (`model.layers`), each layer's tensor names."""

    prefix: str
    layers: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A checkpoint's names: its stacks (the main one first), and the rest; each part sorted."""

    before: tuple[str, ...]
    stacks: tuple[Stack, ...]
    after: tuple[str, ...]

    @property
    def length(self) -> int:
        """The number of layers of the main stack; 0 where there is none."""
        return len(self.stacks[0].layers) if self.stacks else 0


def layer_layout(tensors: Iterable[str], config: Mapping[str, object]) -> Layout:
    """Sorts tensor names into stacks of layers and the rest.

    Raises:
        SourceError: the names have fewer layers than the config says, or a gap among them.
    """
    names = sorted(tensors)
    found: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        if match := _INDEX.search(name):
            found[name[: match.start()]][int(match[1])].append(name)
    claimed = claimed_layers(config)
    _refuse_gaps(found, claimed)
    stacks = [
        Stack(prefix, tuple(tuple(layers[index]) for index in range(len(layers))))
        for prefix, layers in sorted(found.items())
        if sorted(layers) == list(range(len(layers)))
    ]
    stacks = _main_first(stacks, claimed)
    layered = {name for stack in stacks for layer in stack.layers for name in layer}
    rest = [name for name in names if name not in layered]
    return Layout(
        before=tuple(name for name in rest if is_embedding(name)),
        stacks=tuple(stacks),
        after=tuple(name for name in rest if not is_embedding(name)),
    )


def is_embedding(name: str) -> bool:
    """Whether a tensor outside the layers stands before them: an embedding, by its usual names."""
    return _EMBEDDING.search(name) is not None and _HEAD.search(name) is None


def layer_of(name: str) -> int | None:
    """The first whole number in a name: the index of its layer, if it is in one."""
    match = _INDEX.search(name)
    return int(match[1]) if match else None


def rename_layer(name: str, index: int) -> str:
    """The same tensor in another layer."""
    match = _INDEX.search(name)
    return name if match is None else f"{name[: match.start(1)]}{index}{name[match.end(1) :]}"


def kind_of(name: str) -> str:
    """What a tensor of a layer is, whatever the layer: `mlp.up_proj.weight`."""
    match = _INDEX.search(name)
    return name if match is None else name[match.end() + 1 :]


def kinds_of(name: str) -> list[str]:
    """What a name says about the part of the model it is of: none, or keys of `KINDS`."""
    words = set(re.split(r"[._]", name.lower()))
    return [kind for kind, known in KINDS.items() if words & known]


def prefix_of(name: str) -> str:
    """What stands before the index of a layer: `model.layers`; empty where there is no index."""
    match = _INDEX.search(name)
    return "" if match is None else name[: match.start()]


def claimed_layers(config: Mapping[str, object]) -> int | None:
    """The number of layers of the main stack that a config speaks of, nested ones included."""
    nested = config.get("text_config")
    for part in (config, nested if isinstance(nested, dict) else {}):
        for key in COUNT_KEYS:
            value = part.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
        for key in KIND_KEYS:
            if isinstance(kinds := part.get(key), list) and kinds:
                return len(kinds)
    return None


def _refuse_gaps(found: Mapping[str, Mapping[int, list[str]]], claimed: int | None) -> None:
    """A stack of the right height with layers missing is a broken checkpoint.

    Unless another one is whole: modules in a row are numbered too, and have gaps where one of them
    has no weights.
    """
    whole = (len(layers) == max(layers) + 1 == claimed for layers in found.values())
    if any(whole):
        return
    for prefix, layers in found.items():
        missing = sorted(set(range(max(layers) + 1)) - set(layers)) if max(layers) < 2**16 else []
        if missing and max(layers) + 1 == claimed:
            gone = ", ".join(str(index) for index in missing[:5])
            raise SourceError(
                f"config.json says {claimed} layers, the weights lack {prefix}.{gone}"
                + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            )


def _main_first(stacks: list[Stack], claimed: int | None) -> list[Stack]:
    """The main stack to the front, cut to the number of layers that the config says.

    Where several stacks are equally high, the config's number may be of their passes or their sum.
    """

    def order(stack: Stack) -> tuple[bool, int]:
        return len(stack.layers) != claimed, -sum(len(layer) for layer in stack.layers)

    ordered = sorted(stacks, key=order)
    if not ordered or claimed is None or len(ordered[0].layers) == claimed:
        return ordered
    main = ordered[0]
    heights = [len(stack.layers) for stack in ordered]
    if max(heights) < claimed and heights.count(max(heights)) > 1:
        return ordered
    if len(main.layers) < claimed:
        raise SourceError(
            f"config.json says {claimed} layers, the weights have {len(main.layers)} "
            f"({main.prefix}.0 to {main.prefix}.{len(main.layers) - 1})"
        )
    return [Stack(main.prefix, main.layers[:claimed]), *ordered[1:]]

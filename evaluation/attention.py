"""Trees attended tile by tile, through the attention function that the model would use anyway.

transformers asks a table for the attention function of a layer. While a walk is under way, the
table's answer is `attend`: it calls the model's own function once a tile, on the tile's queries,
keys and values alone (so nothing is computed between items that do not see each other), with the
keys and values of the stem in front. Masks are additive floats: eager attention is silently wrong
with boolean ones. A model whose attention does not come this way leaves `calls` at 0.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from .batches import Forest, Tile

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "eutectic_trees"
ORDINARY = ("sdpa", "eager")
"""Attention functions that can be called on a part of a row."""
KeyValue = tuple[Tensor, Tensor]
Masks = Sequence[Tensor | None]
OwnFunction = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""Queries, keys, values and mask of a part to its output (1, queries, heads, size)."""


class UnfitError(RuntimeError):
    """A model's attention asks for more than trees can give: its rows are padded instead."""


@dataclass(slots=True)
class Walk:
    """One pass over a forest: its tiles with their masks, and what the stem left behind.

    `stem` has one pair of keys and values (1, heads, stem, size) for each call of attention, in
    order; a pass over the stem itself puts them into `kept`.
    """

    tiles: Sequence[Tile]
    masks: Masks
    stem: Sequence[KeyValue] = ()
    kept: list[KeyValue] | None = None
    own: Mapping[int, str] = field(default_factory=dict)
    """Name of each config's attention outside of walks, by the config's id."""
    calls: int = 0


_WALK: ContextVar[Walk] = ContextVar("walk")


def make_masks(forest: Forest, stem: int, dtype: torch.dtype, device: torch.device) -> Masks:
    """For each tile what its queries behind the trunk see, shape (1, 1, queries, stem + keys).

    None where plain causal attention does.
    """
    ends = torch.from_numpy(forest.ends).to(device)
    return [_mask(tile, ends, stem, dtype) for tile in forest.tiles]


def _mask(tile: Tile, ends: Tensor, stem: int, dtype: torch.dtype) -> Tensor | None:
    size = tile.stop - tile.start
    first = 0 if stem else tile.trunk
    if first == size:
        return None
    places = torch.arange(tile.start, tile.stop, device=ends.device)
    queries = places[first:, None]
    seen = (places <= queries) & (queries < ends[tile.start : tile.stop])
    mask = torch.full((size - first, stem + size), torch.finfo(dtype).min, device=ends.device)
    mask[:, :stem] = 0.0
    mask[:, stem:].masked_fill_(seen, 0.0)
    return mask.to(dtype)[None, None]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """What transformers calls in a layer: (1, heads, width, size) to (1, width, heads, size)."""
    walk = _WALK.get()
    if attention_mask is not None or options.get("position_bias") is not None:
        raise UnfitError("its attention is given a mask or a bias of its own")
    if query.shape[0] != 1 or not getattr(module, "is_causal", True):
        raise UnfitError("its attention is not causal over one row")
    before = walk.stem[walk.calls] if walk.stem else None
    walk.calls += 1
    if walk.kept is not None:
        walk.kept.append((key, value))
    call, eager = _own_function(module, walk, options)
    found = [
        part
        for tile, mask in zip(walk.tiles, walk.masks, strict=True)
        for part in _attend_tile(call, eager, (query, key, value), tile, mask, before)
    ]
    return torch.cat(found, dim=1), None


def _attend_tile(
    call: OwnFunction,
    eager: bool,
    states: tuple[Tensor, Tensor, Tensor],
    tile: Tile,
    mask: Tensor | None,
    stem: KeyValue | None,
) -> Iterator[Tensor]:
    """The outputs of a tile (1, queries, heads, size): of its trunk, then of what is behind."""
    query, key, value = (state[:, :, tile.start : tile.stop] for state in states)
    trunk = 0 if stem else tile.trunk
    if trunk:
        causal = _causal(trunk, query) if eager else None
        yield call(query[:, :, :trunk], key[:, :, :trunk], value[:, :, :trunk], causal)
    if mask is not None:
        if stem is not None:
            key, value = (torch.cat(pair, dim=2) for pair in zip(stem, (key, value), strict=True))
        yield call(query[:, :, trunk:], key, value, mask)


def _causal(size: int, query: Tensor) -> Tensor:
    mask = torch.full((size, size), torch.finfo(query.dtype).min, device=query.device)
    return mask.triu_(1).to(query.dtype)[None, None]


def _own_function(
    module: nn.Module, walk: Walk, options: Mapping[str, Any]
) -> tuple[OwnFunction, bool]:
    """The attention function that the layer uses outside of walks, and whether it is eager."""
    source = sys.modules[type(module).__module__]
    eager = walk.own[id(module.config)] == "eager"
    if eager:
        own = getattr(source, "eager_attention_forward", None)
    else:
        own = getattr(source, "ALL_ATTENTION_FUNCTIONS", ALL_ATTENTION_FUNCTIONS)["sdpa"]
    if own is None:
        raise UnfitError("its attention cannot be called on a part of a row")

    def call(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        output: Tensor = own(module, query, key, value, mask, **options)[0]
        return output

    return call, eager


@contextmanager
def walking(model: "PreTrainedModel", walk: Walk) -> Iterator[None]:
    """While open, every layer of `model` attends by the walk.

    Raises:
        UnfitError: the model uses attention that works on whole rows only.
    """
    AttentionInterface.register(NAME, attend)
    found: dict[int, Any] = {
        id(module.config): module.config for module in model.modules() if has_config(module)
    }
    before = {key: config._attn_implementation for key, config in found.items()}
    odd = [name for name in before.values() if name not in ORDINARY]
    if odd:
        raise UnfitError(f"its attention is {odd[0]}")
    walk.own = before
    token = _WALK.set(walk)
    try:
        for config in found.values():
            config._attn_implementation_internal = NAME
        yield
    finally:
        _WALK.reset(token)
        for key, config in found.items():
            config._attn_implementation_internal = before[key]


def has_config(module: nn.Module) -> bool:
    """Whether the module carries a transformers config."""
    return hasattr(getattr(module, "config", None), "_attn_implementation")

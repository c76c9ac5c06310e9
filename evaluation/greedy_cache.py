"""Keys and values of a batch, in memory that is taken once.

transformers' own cache is joined anew for every token, which with 32 rows on a CPU is a third of
a step. Here a layer writes into place. A pass sees a window: some rows, and the columns from
`start` to the one before its own; so prompts are read a few rows at a time into one memory, and a
row that leaves gives its place to the last one. A layer with a sliding window keeps all of its
columns: the mask, which transformers makes from the config, does the sliding.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from transformers import PretrainedConfig

REPLACED = ("DynamicLayer", "DynamicSlidingWindowLayer")
"""Kinds of cache layers that a layer of this module can stand for."""
IDLE = ("DummyLayer",)
"""Kinds that hold nothing: their layers of the model look into another's cache."""


class RoomLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values (rows, heads, columns, size) of one layer of a model."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys: Tensor
        self.values: Tensor
        self.shape = (rows, columns)
        self.open(0, rows, 0, 0)

    def open(self, low: int, high: int, start: int, end: int) -> None:
        """The next pass is of rows `low` to `high`; it has read columns `start` to `end`."""
        self.low, self.high, self.start, self.end = low, high, start, end

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Writes what a pass adds (rows, heads, new, size); gives all that its rows may see."""
        if not self.is_initialized:
            self.keys, self.values = self._room(key_states), self._room(value_states)
            self.is_initialized = True
        before, self.end = self.end, self.end + key_states.shape[-2]
        for room, states in ((self.keys, key_states), (self.values, value_states)):
            room[self.low : self.high, :, before : self.end] = states
        if before == self.start:
            return key_states, value_states
        return (
            self.keys[self.low : self.high, :, self.start : self.end],
            self.values[self.low : self.high, :, self.start : self.end],
        )

    def get_seq_length(self) -> int:
        """Columns that the next pass has before its own."""
        return self.end - self.start

    def copy(self, source: Sequence[int], target: Sequence[int], columns: int) -> None:
        """Rows `target` get the first `columns` of rows `source`."""
        for room in (self.keys, self.values):
            room[target, :, :columns] = room[source, :, :columns]

    def spread(self, first: int, width: int, low: int, high: int, start: int) -> None:
        """Rows `low` to `high` get, from `start` on, `width` columns of row 0 from `first` on."""
        for room in (self.keys, self.values):
            states = room[:1, :, first : first + width].clone()
            room[low:high, :, start : start + width] = states

    def _room(self, states: Tensor) -> Tensor:
        # Zeros: what is masked still gets a weight of zero, and zero times NaN is NaN.
        rows, columns = self.shape
        return states.new_zeros((rows, states.shape[1], columns, states.shape[-1]))


def make_room(
    config: "PretrainedConfig", rows: int, columns: int
) -> tuple[DynamicCache, list[RoomLayer]]:
    """A cache for a model of this config, and the layers that hold something."""
    cache, layers = DynamicCache(config=config), []
    for number, layer in enumerate(cache.layers):
        if type(layer).__name__ not in IDLE:
            layers.append(RoomLayer(rows, columns))
            cache.layers[number] = layers[-1]
    return cache, layers


def unfit_layers(config: "PretrainedConfig") -> tuple[str, ...]:
    """Kinds of layers of the model's own cache for which a `RoomLayer` cannot stand."""
    kinds = {type(layer).__name__ for layer in DynamicCache(config=config).layers}
    return tuple(sorted(kinds - {*REPLACED, *IDLE}))

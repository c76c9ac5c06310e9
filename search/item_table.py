"""Item results of one candidate on one task as columns, and how they are read from the ledger.

A table is a mapping from item key to result, as results are everywhere; whoever asks for one
metric of all items gets its column and pays for no item by itself.
"""

from collections.abc import Collection, ItemsView, Iterator, Mapping, Sequence, ValuesView
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation.task import ItemResult, Rows, Task, result_rows

from .block_codec import (
    Column,
    Layout,
    columns_of,
    decode,
    dicts_of,
    encode,
    head_of,
    is_earlier,
    layout,
    readable,
    unpacked,
)
from .blocks import Block, block_name, blocks
from .ledger import Ledger

Numbers = NDArray[np.float64]
CHUNK = 32
"""Candidates that are read by one query."""


class ItemTable(Mapping[str, ItemResult]):
    """What is known of some items, in an order of its own."""

    __slots__ = ("_found", "_places", "columns", "names")

    def __init__(
        self,
        names: Sequence[str],
        columns: Mapping[str, Column],
        places: Mapping[str, int] | None = None,
    ) -> None:
        """`names` are the items' keys, in the order of the columns' rows; `places` their rows."""
        self.names = names
        self.columns = columns
        self._found: dict[str, ItemResult] | None = None
        self._places = places

    def rows(self, metric: str) -> Rows:
        """What a metric aggregates, as `result_rows`: shape (items, width).

        Raises KeyError where an item lacks the metric.
        """
        column = self.columns[metric]
        if not column.there.all():
            raise KeyError(metric)
        return column.values if column.plain else result_rows(self.values(), metric)

    def first(self, metric: str) -> Numbers:
        """The first figure of every item, shape (items,); NaN where one lacks the metric."""
        column = self.columns.get(metric)
        if column is None:
            return np.full(len(self.names), np.nan)
        if column.plain:
            return np.ascontiguousarray(column.values[:, 0], dtype=np.float64)
        values = column.values.tolist()
        return np.array([np.nan if one is None else float(one[0]) for one in values])

    def _every(self) -> dict[str, ItemResult]:
        if self._found is None:
            rows = dicts_of(self.columns, len(self.names))
            self._found = dict(zip(self.names, rows, strict=True))
        return self._found

    def __getitem__(self, key: str) -> ItemResult:
        """One item by itself, without the others."""
        if self._found is not None:
            return self._found[key]
        if self._places is None:
            self._places = {name: place for place, name in enumerate(self.names)}
        at = slice(place := self._places[key], place + 1)
        found = {name: Column(one.values[at], one.there[at]) for name, one in self.columns.items()}
        return dicts_of(found, 1)[0]

    def items(self) -> ItemsView[str, ItemResult]:
        """Every item with its result."""
        return self._every().items()

    def values(self) -> ValuesView[ItemResult]:
        """Every item's result."""
        return self._every().values()

    def __contains__(self, key: object) -> bool:
        if self._places is None:
            self._places = {name: place for place, name in enumerate(self.names)}
        return key in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def table_of(results: Mapping[str, ItemResult]) -> ItemTable:
    """The table of results in their order."""
    if isinstance(results, ItemTable):
        return results
    return ItemTable(list(results), columns_of(list(results.values())))


def rows_of(results: Mapping[str, ItemResult], metric: str) -> Rows:
    """What a metric aggregates, whatever kind of mapping the results are."""
    if isinstance(results, ItemTable):
        return results.rows(metric)
    return result_rows(results.values(), metric)


@dataclass(frozen=True, slots=True)
class Shelf:
    """The blocks of one split of one task, in order, with their names and the keys of items."""

    blocks: Sequence[Block]
    names: Sequence[str]
    keys: Sequence[Sequence[tuple[str, str]]]
    items: Sequence[str]
    """The keys of all items in order, as tables of all blocks name them."""
    places: Mapping[str, int]

    @classmethod
    def of(cls, task: Task, chosen: Sequence[Block]) -> "Shelf":
        """With everything that follows from the blocks."""
        items = task.items
        keys = [tuple((items[at].key, items[at].prompt_hash) for at in one) for one in chosen]
        names = [block_name(task, one) for one in chosen]
        every = [key for block in keys for key, _ in block]
        places = {key: place for place, key in enumerate(every)}
        return cls(chosen, names, keys, every, places)

    def table(
        self, bodies: Mapping[str, bytes], only: Collection[Block] | None = None
    ) -> ItemTable:
        """What some bodies say, block by block in the shelf's order.

        Args:
            bodies: By name of the block; those of other splits are passed over.
            only: Blocks that count; None: all.
        """
        chosen = [
            (place, bodies[name])
            for place, name in enumerate(self.names)
            if name in bodies and (only is None or self.blocks[place] in only)
        ]
        with readable():
            return self._joined(chosen)

    def _joined(self, chosen: Sequence[tuple[int, bytes]]) -> ItemTable:
        """Blocks one behind the other; those of one layout are read together."""
        names, count = [], 0
        alike: dict[bytes, tuple[list[int], list[bytes]]] = {}
        headers: dict[int, bytes] = {}
        for place, body in chosen:
            keys = self.keys[place]
            if is_earlier(body):
                found = decode(body)
                keys = [one for one in keys if one in found]
                body = encode([found[one] for one in keys])
            head = headers.get(len(keys), b"-")
            if not body.startswith(head):  # seldom: blocks of a size have one layout mostly
                headers[len(keys)] = head = head_of(body)
            starts, payloads = alike.setdefault(head, ([], []))
            starts.append(count)
            payloads.append(body[len(head) :])
            names.append(keys)
            count += len(keys)
        columns: dict[str, Column] = {}
        for head, (starts, payloads) in alike.items():
            _fill(columns, count, layout(head), starts, payloads)
        if count == len(self.items):
            return ItemTable(self.items, columns, self.places)
        return ItemTable([key for keys in names for key, _ in keys], columns)


def _fill(
    columns: dict[str, Column],
    count: int,
    found: Layout,
    starts: Sequence[int],
    payloads: Sequence[bytes],
) -> None:
    """Puts blocks of one layout where they begin; columns are made as they are met."""
    where = (np.array(starts)[:, None] + np.arange(found.items)).ravel()
    for place in found.places:
        column = unpacked(payloads, found.items, place)
        whole = columns.get(place.metric)
        if whole is None:
            columns[place.metric] = whole = _empty(count, column)
        if whole.plain and (not column.plain or whole.values.shape[1] != column.values.shape[1]):
            columns[place.metric] = whole = _as_objects(whole)
        whole.there[where] = column.there
        mine = column if whole.plain else _as_objects(column)
        whole.values[where] = mine.values


def _empty(count: int, like: Column) -> Column:
    there = np.zeros(count, dtype=np.bool_)
    if like.plain:
        return Column(np.full((count, like.values.shape[1]), np.nan), there)
    values: Rows = np.empty(count, dtype=object)
    return Column(values, there)


def _as_objects(column: Column) -> Column:
    """Numbers as a tuple an item, as columns of other forms have them."""
    if not column.plain:
        return column
    values: Rows = np.empty(len(column.there), dtype=object)
    values[:] = [
        tuple(row) if there else None
        for row, there in zip(column.values.tolist(), column.there.tolist(), strict=True)
    ]
    return Column(values, column.there)


@dataclass(slots=True)
class Reader:
    """Reads the item results of a study; what follows from tasks and splits is worked out once."""

    ledger: Ledger
    tasks: Mapping[str, Task]
    splits: Mapping[str, Mapping[str, Sequence[int]]]
    """Task to split to item indices, in order."""
    _shelves: dict[tuple[str, str], Shelf] = field(default_factory=dict, init=False)

    def shelf(self, task: str, split: str) -> Shelf:
        """The blocks of a task's split."""
        at = task, split
        if at not in self._shelves:
            chosen = blocks(self.splits[task][split], split)
            self._shelves[at] = Shelf.of(self.tasks[task], chosen)
        return self._shelves[at]

    def table(
        self,
        merge_hash: str,
        settings: str,
        task: str,
        split: str,
        only: Collection[Block] | None = None,
    ) -> ItemTable:
        """What is known of a candidate on a split, in its order; of some blocks if they are named.

        Only what was scored in these very blocks: in other company an item may differ in its last
        bits.
        """
        shelf = self.shelf(task, split)
        names = shelf.names
        if only is not None:
            pairs = zip(shelf.blocks, shelf.names, strict=True)
            names = [name for block, name in pairs if block in only]
        return shelf.table(self.ledger.bodies(merge_hash, settings, task, names), only)

    def bodies(
        self, hashes: Sequence[str], settings: str, tasks: Sequence[str]
    ) -> Iterator[dict[str, Mapping[str, bytes]]]:
        """For each of many candidates its blocks by task and name, for `Shelf.table`."""
        for start in range(0, len(hashes), CHUNK):
            part = hashes[start : start + CHUNK]
            found = self.ledger.bodies_of(part, settings)
            for one in part:
                yield {task: found.get((one, task), {}) for task in tasks}

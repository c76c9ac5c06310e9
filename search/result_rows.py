"""Item results as the database has them: a row a block of a recipe, and what items a block has.

`block_codec` says what the bytes mean. Everything is a function of a connection, inside whatever
transaction that is in.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa

from evaluation.task import ItemResult

from .block_codec import encode, packed_keys, unpacked_keys
from .blocks import items_name
from .tables import BLOCKS, CANDIDATES, RESULTS, get_meta

Bodies = dict[str, bytes]
"""Blocks by name, as bytes."""

FEW = 16
"""So many blocks are asked for by name; of more all are read, and some are passed over."""
ASKED = 500
"""Names in one query at most."""
RECIPES = 32
"""Recipes whose results are held at once."""
_FACTS = ("identity", "settings", "settings_before", "verdict", "test_opened", "beside")
"""What is settled of a run, beside its candidates."""
_KEY = ("recipe_hash", "settings", "task", "block")


@dataclass(frozen=True, slots=True)
class Scored:
    """One block of results of a recipe, by (item key, prompt hash)."""

    recipe_hash: str
    settings: str
    task: str
    block: str
    results: Mapping[tuple[str, str], ItemResult]


@dataclass(frozen=True, slots=True)
class Row:
    """A block as it is stored; `items` are what its name stands for, if it is such a name."""

    run: str
    recipe_hash: str
    settings: str
    task: str
    block: str
    body: bytes
    items: list[tuple[str, str]] | None


def row_of(run: str, one: Scored) -> Row:
    """What is stored of a block."""
    keys = list(one.results)
    named = items_name(keys) == one.block
    body = encode(list(one.results.values()), None if named else keys)
    key = (one.recipe_hash, one.settings, one.task, one.block)
    return Row(run, *key, body, keys if named else None)


def store(connection: sa.Connection, row: Row, defined: Collection[str]) -> None:
    """Stores a block unless it is there; and its items, but for blocks that are `defined`."""
    if row.items is not None and row.block not in defined:
        _define(connection, row.run, {row.block: packed_keys(row.items)})
    key = {"run": row.run, **{name: getattr(row, name) for name in _KEY}}
    there = sa.and_(*(RESULTS.c[name] == value for name, value in key.items()))
    if connection.execute(sa.select(RESULTS.c.block).where(there)).first() is not None:
        return
    connection.execute(sa.insert(RESULTS).values(**key, body=row.body))


def block_names(
    connection: sa.Connection, run: str, recipe_hash: str, settings: str, task: str
) -> set[str]:
    """The blocks of one recipe on one task that are there."""
    query = _of_task(sa.select(RESULTS.c.block), run, recipe_hash, settings, task)
    return set(connection.scalars(query).all())


def bodies(
    connection: sa.Connection,
    run: str,
    recipe_hash: str,
    settings: str,
    task: str,
    blocks: Collection[str] | None = None,
) -> Bodies:
    """The blocks of one recipe on one task: all of them, or some in the order given."""
    columns = sa.select(RESULTS.c.block, RESULTS.c.body)
    query = _of_task(columns, run, recipe_hash, settings, task)
    if blocks is not None and len(blocks) <= FEW:
        query = query.where(RESULTS.c.block.in_(blocks))
    found: dict[str, bytes] = dict(cast(Any, connection.execute(query).all()))
    if blocks is None:
        return found
    return {name: found[name] for name in blocks if name in found}


def bodies_of(
    connection: sa.Connection, run: str, recipe_hashes: Collection[str], settings: str
) -> dict[tuple[str, str], Bodies]:
    """The blocks of many recipes by (recipe hash, task), in one query."""
    columns = (RESULTS.c.recipe_hash, RESULTS.c.task, RESULTS.c.block, RESULTS.c.body)
    query = (
        sa.select(*columns)
        .where(RESULTS.c.run == run)
        .where(RESULTS.c.recipe_hash.in_(recipe_hashes))
        .where(RESULTS.c.settings == settings)
    )
    found: dict[tuple[str, str], Bodies] = {}
    for recipe_hash, task, block, body in connection.execute(query).tuples().all():
        found.setdefault((recipe_hash, task), {})[block] = body
    return found


def items_of(
    connection: sa.Connection, run: str, blocks: Collection[str]
) -> dict[str, list[tuple[str, str]]]:
    """The items of blocks by name, where names stand for items."""
    columns = sa.select(BLOCKS.c.block, BLOCKS.c["items"]).where(BLOCKS.c.run == run)
    found: dict[str, list[tuple[str, str]]] = {}
    for part in parts(sorted(blocks), ASKED):
        rows = connection.execute(columns.where(BLOCKS.c.block.in_(part))).tuples()
        found |= {block: unpacked_keys(items) for block, items in rows}
    return found


def recipe_hashes(connection: sa.Connection, run: str) -> list[str]:
    """Every recipe of which anything is known, in order."""
    query = sa.select(RESULTS.c.recipe_hash).where(RESULTS.c.run == run).distinct()
    return sorted(connection.scalars(query))


def state_of(connection: sa.Connection, run: str) -> str:
    """A digest of a run's candidates and verdict and the number of its blocks."""
    digest = hashlib.blake2b(digest_size=16)
    columns = (CANDIDATES.c.kind, CANDIDATES.c.number, CANDIDATES.c.body)
    rows = sa.select(*columns).where(CANDIDATES.c.run == run)
    for row in connection.execute(rows.order_by(*columns[:2])).tuples():
        digest.update(repr(row).encode())
    for key in _FACTS:
        digest.update(repr((key, get_meta(connection, run, key))).encode())
    blocks = sa.select(sa.func.count()).select_from(RESULTS).where(RESULTS.c.run == run)
    digest.update(repr(connection.execute(blocks).scalar_one()).encode())
    return digest.hexdigest()


Copied = tuple[Sequence[sa.RowMapping], Mapping[str, bytes]]
"""Rows of results of another run, and the items of their blocks."""


def read_rows(connection: sa.Connection, run: str, recipe_hashes: Sequence[str]) -> Copied:
    """All that a run holds of some recipes."""
    columns = sa.select(*(RESULTS.c[name] for name in (*_KEY, "body")))
    query = columns.where(RESULTS.c.run == run).where(RESULTS.c.recipe_hash.in_(recipe_hashes))
    rows = connection.execute(query).mappings().all()
    items: dict[str, bytes] = {}
    defined = sa.select(BLOCKS.c.block, BLOCKS.c["items"]).where(BLOCKS.c.run == run)
    for part in parts(sorted({row["block"] for row in rows}), ASKED):
        items |= dict(iter(connection.execute(defined.where(BLOCKS.c.block.in_(part))).tuples()))
    return rows, items


def write_rows(
    connection: sa.Connection, run: str, recipe_hashes: Sequence[str], copied: Copied
) -> None:
    """Stores rows of another run that this one lacks."""
    rows, items = copied
    _define(connection, run, items)
    mine = sa.select(*(RESULTS.c[name] for name in _KEY)).where(RESULTS.c.run == run)
    query = mine.where(RESULTS.c.recipe_hash.in_(recipe_hashes))
    there = set(connection.execute(query).tuples())
    fresh = [{**row, "run": run} for row in rows if tuple(row[name] for name in _KEY) not in there]
    if fresh:
        connection.execute(sa.insert(RESULTS), fresh)


def parts(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Runs of at most `size` names."""
    for start in range(0, len(names), size):
        yield names[start : start + size]


def _define(connection: sa.Connection, run: str, items: Mapping[str, bytes]) -> None:
    """Stores which items blocks have, where that is not known yet."""
    known = sa.select(BLOCKS.c.block).where(BLOCKS.c.run == run)
    for part in parts(sorted(items), ASKED):
        there = set(connection.scalars(known.where(BLOCKS.c.block.in_(part))))
        fresh = [
            {"run": run, "block": name, "items": items[name]} for name in part if name not in there
        ]
        if fresh:
            connection.execute(sa.insert(BLOCKS), fresh)


def _of_task(
    query: "sa.Select[*tuple[str, ...]]", run: str, recipe_hash: str, settings: str, task: str
) -> "sa.Select[*tuple[str, ...]]":
    return (
        query.where(RESULTS.c.run == run)
        .where(RESULTS.c.recipe_hash == recipe_hash)
        .where(RESULTS.c.settings == settings)
        .where(RESULTS.c.task == task)
    )

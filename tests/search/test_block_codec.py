"""Blocks of results as bytes: every bit comes back, whatever the results are."""

import json
import math
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluation.task import Item, result_rows
from search.block_codec import decode, encode, is_earlier
from search.blocks import block_name
from search.errors import SearchError
from search.item_table import Shelf, rows_of, table_of
from search.ledger import Ledger

NUMBERS = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, 255.0, 256.0, 65536.0, 4294967296.0, math.nan, math.inf]),
    st.integers(0, 70_000).map(float),
)
PARTS = st.one_of(
    NUMBERS,
    st.sampled_from(["", "yes", '\u00e9\n"', "\U0001f600"]),
    st.integers(-3, 3),
    st.booleans(),
)
NAMES = st.sampled_from(["acc", "acc (margin)", "answer:", "f1", "\u00e9"])
PLAIN = st.dictionaries(NAMES, st.tuples(NUMBERS), max_size=3)
ANY = st.dictionaries(NAMES, st.lists(PARTS, max_size=3).map(tuple), max_size=3)


def bits(part: Any) -> object:
    """What tells one part from another to the last bit; every NaN is one."""
    if isinstance(part, float):
        return "nan" if math.isnan(part) else struct.pack("<d", part)
    return type(part).__name__, part


def exactly(results: Mapping[Any, Mapping[str, Any]]) -> list[Any]:
    return [
        (key, {name: [bits(part) for part in row] for name, row in one.items()})
        for key, one in results.items()
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(PLAIN, ANY), max_size=12))
def test_every_bit_comes_back(results: list[dict[str, Any]]) -> None:
    keyed = {(f"i{n}", "p"): one for n, one in enumerate(results)}
    for own in (None, list(keyed)):
        body = encode(results, own)
        assert exactly(decode(body, list(keyed))) == exactly(keyed)
        assert encode(results, own) == body
    assert exactly(decode(encode(results, list(keyed)))) == exactly(keyed)


def test_right_and_wrong_take_a_byte_an_item() -> None:
    rng = np.random.default_rng(0)
    results = [{"acc": (float(rng.integers(2)),), "nll": (rng.normal(), 17.0)} for _ in range(64)]
    assert len(encode([{"acc": one["acc"]} for one in results])) < 64 + 50
    assert len(encode(results)) < 64 * (1 + 16) + 80


def earlier(results: Mapping[tuple[str, str], Any]) -> bytes:
    """As versions before columns wrote a block."""
    rows = [[key, prompt, dict(result)] for (key, prompt), result in results.items()]
    return zlib.compress(json.dumps(rows).encode(), 1)


def test_what_earlier_versions_wrote_is_read() -> None:
    results = {("a", "p"): {"acc": (1.0,), "nll": (0.1 + 0.2, 3.0)}, ("b", "q"): {"acc": (0.0,)}}
    assert is_earlier(earlier(results)) and decode(earlier(results)) == results


@pytest.mark.parametrize("cut", [0, 1, 3, 8, 30, -1])
def test_a_damaged_block_is_told(cut: int) -> None:
    results = [{"acc": (1.0,), "text": ("yes",)}, {"acc": (0.5,), "text": ("no",)}]
    keys = [("a", "p"), ("b", "p")]
    with pytest.raises(SearchError, match="damaged"):
        decode(encode(results)[:cut], keys)
    with pytest.raises(SearchError, match="damaged"):
        decode(b"\x78nothing that was compressed", keys)
    with pytest.raises(SearchError, match="whose they are"):
        decode(encode(results), keys[:1])


class Questions:
    """A task of ten items."""

    name = "t"
    items = [Item(f"i{n}", n, f"g{n}", "all", (), f"p{n}", {}, f"{n}?") for n in range(10)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(PLAIN, ANY), min_size=10, max_size=10), st.sets(st.integers(0, 9)))
def test_a_table_is_what_the_blocks_say(results: list[dict[str, Any]], old: set[int]) -> None:
    task: Any = Questions()
    blocks = [(3, 1), (0, 2, 4), (9, 8), (7, 6, 5)]
    shelf = Shelf.of(task, blocks)
    bodies = {}
    for place, block in enumerate(blocks):
        keyed = {(task.items[at].key, task.items[at].prompt_hash): results[at] for at in block}
        whole = earlier(keyed) if place in old else encode(list(keyed.values()))
        bodies[block_name(task, block)] = whole
    order = [f"i{at}" for block in blocks for at in block]
    expected = {key: results[int(key[1:])] for key in order}
    table = shelf.table(bodies)
    assert exactly(dict(table)) == exactly(expected)
    assert [exactly({key: shelf.table(bodies)[key]}) for key in order] == [
        exactly({key: expected[key]}) for key in order
    ]
    some = shelf.table(bodies, {blocks[2], blocks[0]})
    assert list(some) == ["i3", "i1", "i9", "i8"] and "i0" not in some
    assert exactly(dict(table_of(expected))) == exactly(expected)


def test_a_metric_of_a_table_is_that_of_its_items() -> None:
    results = {
        f"i{n}": {"acc": (n / 7,), "bits": (n / 3, 5.0), "said": (str(n),)} for n in range(9)
    }
    for metric in ("acc", "bits", "said"):
        found = rows_of(table_of(results), metric)
        wanted = result_rows(results.values(), metric)
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        assert (found == wanted).all() and found.flags.c_contiguous
    lacking = table_of({**results, "other": {"acc": (1.0,)}})
    assert np.isnan(lacking.first("bits")[-1]) and not np.isnan(lacking.first("bits")[:-1]).any()
    with pytest.raises(KeyError):
        lacking.rows("bits")


def test_items_of_a_block_are_stored_once(tmp_path: Any) -> None:
    task: Any = Questions()
    name = block_name(task, range(10))
    results = {(one.key, one.prompt_hash): {"acc": (1.0,)} for one in task.items}
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as ledger:
        for recipe in ("r", "s"):
            ledger.record(recipe, "settings", "t", name, results)
            ledger.record(recipe, "settings", "t", name, {key: {"acc": (0.0,)} for key in results})
        assert ledger.results("r", "settings", "t") == results
        assert ledger.results("s", "settings", "t") == results
        body = ledger.bodies("s", "settings", "t")[name]
        assert len(body) < 10 + 40 and b"i9" not in body
    with Ledger(f"sqlite:///{tmp_path / 'other.db'}") as other:
        with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as ledger:
            other.copy_results(ledger)
            other.copy_results(ledger)
        assert other.results("s", "settings", "t") == results
        assert other.block_names("r", "settings", "t") == {name}

"""Blocks: every item once, rounds of a race, and an order that is a fair sample from the start."""

from collections import Counter

import pytest

from evaluation.task import Item
from search.blocks import FRESH, ROUND, blocks, fresh_round, looks, race_order, rounds, runs


def items(count: int, strata: int = 3) -> list[Item]:
    return [
        Item(f"key{n}", n, f"g{n}", f"s{n * n % strata}", (), "p", {}, "") for n in range(count)
    ]


def test_runs_are_of_bounded_length() -> None:
    assert [len(one) for one in runs(range(300))] == [128, 128, 44]
    assert runs([]) == [] == blocks([], "search")
    assert [index for one in runs(range(300)) for index in one] == list(range(300))


@pytest.mark.parametrize("count", [1, 31, 32, 33, 47, 48, 100, 128, 129, 191, 192, 300, 405, 1000])
def test_rounds_hold_every_item_once_in_order(count: int) -> None:
    found = rounds(range(count))
    assert [index for one in found for block in one for index in block] == list(range(count))
    assert blocks(range(count), "search") == [block for one in found for block in one]
    sizes = [[len(block) for block in one] for one in found]
    assert all(one[: len(ROUND) - 1] == list(ROUND[: len(one)])[:3] for one in sizes[:-1])
    assert min(min(one) for one in sizes) >= min(count, 8)
    if count < 32:
        assert sizes == [[count]]


@pytest.mark.parametrize("fresh", [None, 0, 1, 7])
@pytest.mark.parametrize("count", [20, 100, 300, 1500])
def test_looks_hold_the_same_blocks_and_double(count: int, fresh: int | None) -> None:
    found = looks(range(count), fresh)
    flat = [block for step in found for block in step]
    assert sorted(flat) == sorted(blocks(range(count), "search"))
    assert all(len(step) == 1 for step in found[: len(rounds(range(count))[0]) - 1])
    if count == 1500:
        seen = [sum(len(block) for step in found[: n + 1] for block in step)
                for n in range(len(found))]  # fmt: skip
        assert seen[:6] == [16, 32, 64, 128, 256, 512]
    if fresh is not None and count >= 300:
        assert found[0][0] not in rounds(range(count))[0]


def test_every_fifth_trial_is_raced_on_a_later_round() -> None:
    later = [number for number in range(40) if fresh_round(3, number) is not None]
    assert later == list(range(FRESH - 1, 40, FRESH))
    assert len({fresh_round(3, number) for number in later}) > 1
    assert fresh_round(3, 4) == fresh_round(3, 4) != fresh_round(4, 4)


def test_the_order_is_stratified_and_depends_on_seed_and_keys_only() -> None:
    known = items(240)
    order = race_order(known, range(240), 0)
    assert sorted(order) == list(range(240)) and order != tuple(range(240))
    assert order == race_order(known, list(reversed(range(240))), 0)
    assert order != race_order(known, range(240), 1)
    share = Counter(known[index].stratum for index in range(240))
    for size in (16, 32, 64, 128):
        part = Counter(known[index].stratum for index in order[:size])
        assert all(abs(part[name] - size * share[name] / 240) <= 1.0 for name in share)


def test_a_part_of_the_order_is_a_shuffle_of_each_stratum() -> None:
    known = items(90, strata=1)
    firsts = Counter(race_order(known, range(90), seed)[0] for seed in range(300))
    assert len(firsts) > 60 and max(firsts.values()) < 15

"""Splits: stable under appended rows, balanced in every stratum, groups never separated."""

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import EvaluationError
from evaluation.splits import (
    DEFAULT_FRACTIONS,
    MIN_GROUPS,
    SPLITS,
    assign_bound_splits,
    assign_splits,
    check_fractions,
    split_counts,
    split_faults,
)


def rows(n: int, strata: int = 1) -> tuple[list[str], list[str]]:
    return [f"row {i}" for i in range(n)], [f"kind {i * 7 % strata}" for i in range(n)]


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4)), min_size=1, max_size=120),
    cut=st.integers(1, 120),
    seed=st.integers(0, 10),
)
def test_appended_rows_move_none_and_groups_stay_together(
    pairs: list[tuple[int, int]], cut: int, seed: int
) -> None:
    groups = [f"g{group}" for group, _ in pairs]
    strata = [f"s{stratum}" for _, stratum in pairs]
    whole = assign_splits(groups, strata, DEFAULT_FRACTIONS, seed)
    assert assign_splits(groups[:cut], strata[:cut], DEFAULT_FRACTIONS, seed) == whole[:cut]
    assert len(set(zip(groups, whole, strict=True))) == len(set(groups))


@pytest.mark.parametrize("strata", [1, 2, 7, 20, 137])
def test_counts_are_near_their_share_in_each_stratum_and_over_all(strata: int) -> None:
    fractions = {"calibration": 0.1, "search": 0.57, "select": 0.22, "test": 0.11}
    groups, kinds = rows(137, strata)
    errors = []
    for seed in range(30):
        splits = assign_splits(groups, kinds, fractions, seed)
        pairs = Counter(zip(kinds, splits, strict=True))
        for kind, n in Counter(kinds).items():
            assert all(abs(pairs[kind, s] - fractions[s] * n) < 3.5 for s in SPLITS)
        errors += [Counter(splits)[s] - fractions[s] * 137 for s in SPLITS]
    assert max(map(abs, errors)) < 3.5
    assert sum(e * e for e in errors) / len(errors) < 1  # coin tosses: 13 to 34


def test_a_place_in_the_file_says_nothing_about_the_split() -> None:
    groups, strata = rows(40, strata=2)
    draws = [assign_splits(groups, strata, DEFAULT_FRACTIONS, seed) for seed in range(600)]
    for start in range(5):  # rows of five kinds in turn, and nobody told
        seen = Counter(split for draw in draws for split in draw[start::5])
        assert all(abs(seen[s] / 4800 - DEFAULT_FRACTIONS[s]) < 0.03 for s in SPLITS)


def test_neighbours_are_drawn_apart() -> None:
    groups, strata = rows(40)
    draws = [assign_splits(groups, strata, DEFAULT_FRACTIONS, seed) for seed in range(300)]
    assert len(set(draws)) == 300


def test_a_split_of_zero_stays_empty() -> None:
    fractions = {"calibration": 0.0, "search": 0.6, "select": 0.4, "test": 0.0}
    groups, strata = rows(90, 4)
    splits = assign_splits(groups, strata, fractions, 0)
    assert set(splits) == {"search", "select"}
    assert split_faults(groups, splits, fractions) == ()


def test_a_group_takes_the_stratum_of_its_first_row() -> None:
    groups, strata = rows(60)
    twice = [g for group in groups for g in (group, group)]
    mixed = [s for _ in groups for s in ("a", "b")]
    splits = assign_splits(twice, mixed, DEFAULT_FRACTIONS, 0)
    assert splits[::2] == splits[1::2] == assign_splits(groups, ["a"] * 60, DEFAULT_FRACTIONS, 0)
    counts = split_counts(twice, splits)
    assert counts["test"].items == 2 * counts["test"].groups == 2 * splits[::2].count("test")
    assert list(counts) == list(SPLITS)


def test_small_splits_are_faults() -> None:
    groups, strata = rows(40)
    splits = assign_splits(groups, strata, DEFAULT_FRACTIONS, 0)
    faults = split_faults(groups, splits, DEFAULT_FRACTIONS)
    n = splits.count("calibration")
    assert len(faults) == 3
    assert f"'calibration' has {n} of the 40 groups, at least 10 are needed" in faults[0]
    assert split_counts(groups, splits)["search"].groups >= MIN_GROUPS


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"search": 0.5, "test": 0.4}, "sum to 0.9"),
        ({"search": 1.2, "test": -0.2}, "split.test: expected a fraction from 0 to 1, got -0.2"),
        ({"search": float("nan")}, "got nan"),
        ({"search": 0.5, "dev": 0.5}, "'dev' is not one of calibration, search"),
        ({"select": 0.5, "test": 0.5}, "split.search: must be above 0"),
    ],
)
def test_bad_fractions_are_refused(fractions: dict[str, float], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        assign_splits(["a"], ["b"], fractions, 0)


def test_fractions_are_scaled_and_ordered() -> None:
    fractions = check_fractions({"test": 0.3333333, "search": 0.6666666})
    assert list(fractions) == list(SPLITS)
    assert sum(fractions.values()) == pytest.approx(1, abs=1e-15)


def test_the_draw_does_not_follow_the_hash_seed() -> None:
    code = (
        "from evaluation.splits import *;"
        "g=[f'row {i}' for i in range(50)];print(assign_splits(g,['']*50,DEFAULT_FRACTIONS,7))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{assign_splits(rows(50)[0], [''] * 50, DEFAULT_FRACTIONS, 7)}\n"}


def test_rows_bound_to_test_leave_the_other_splits_their_shares() -> None:
    groups = [str(number) for number in range(400)]
    bound = ["test" if number % 2 else "" for number in range(400)]
    chosen = assign_bound_splits(groups, [""] * 400, bound, DEFAULT_FRACTIONS, 0)
    assert all((split == "test") == bool(own) for split, own in zip(chosen, bound, strict=True))
    counts = split_counts(groups, chosen)
    assert counts["test"].items == 200
    for name, share in (("calibration", 0.15), ("search", 0.45), ("select", 0.2)):
        assert counts[name].items == pytest.approx(200 * share / 0.8, abs=6)
    free = [group for group, own in zip(groups, bound, strict=True) if not own]
    shares = {"calibration": 3 / 16, "search": 9 / 16, "select": 1 / 4}
    alone = assign_splits(free, [""] * 200, shares, 0)
    assert [s for s, own in zip(chosen, bound, strict=True) if not own] == list(alone)
    assert assign_bound_splits(groups, [""] * 400, [""] * 400, DEFAULT_FRACTIONS, 0) == (
        assign_splits(groups, [""] * 400, DEFAULT_FRACTIONS, 0)
    )

"""Random merges are judged under five masks, and whoever is not random under one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from evaluation.errors import NonFiniteError
from evaluation.task import ItemResult
from search.executors import Merge
from search.ledger import Ledger, label
from search.mask_seeds import MASK_SEEDS, mask_seed_of, mask_seeds, redrawn, reseeded
from search.verdict import decide, stored_verdict
from search.winner import WinnerRule
from tests.search.conftest import killed_often

from .conftest import ToyExecutor

UP = WinnerRule("task", {}, "up")
SELECT, TEST = range(6, 9), range(9, 12)


def luck(math: float, seed: int) -> float:
    """What a mask adds to every item: a candidate of little math is lucky under seed 0 alone."""
    low = math < 0.45
    return (0.9 if low else 0.0) if seed == 0 else (-0.5 if low else 0.05 * (seed % 3))


class Random(ToyExecutor):
    """The toy, but that task arithmetic has luck with its mask."""

    __slots__ = ("_luck",)

    def prepare(self, data: Mapping[str, Any]) -> Merge:
        """Another hash for another seed."""
        merge = super().prepare(data)
        if data["merge_method"] == "linear":
            return merge
        seed = mask_seed_of(data)
        return Merge(merge.recipe, (seed,), f"{merge.hash}:{seed}")

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, ItemResult]:
        """The toy's results and the luck."""
        found = super().score(task, indices)
        if not self._now.jobs:
            return found
        more = luck(self._now.recipe["math"], self._now.jobs[0])
        return {key: {"skill": (one["skill"][0] + more,)} for key, one in found.items()}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as opened:
        yield opened


def random_search(world, ledger: Ledger, **changes: Any):
    """One objective, so that every trial is a finalist."""
    search = world.search(ledger, executor=Random(**changes))
    only = replace(search, objectives=search.objectives[:1])
    only.proposing = replace(only.proposing, objectives=only.objectives)
    return only


def test_seeds_are_derived_from_the_own_one_which_is_the_first() -> None:
    seeds = mask_seeds(7)
    assert seeds == mask_seeds(7) and seeds[0] == 7
    assert len(set(seeds)) == len(seeds) == MASK_SEEDS == 5
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert not set(seeds[1:]) & set(mask_seeds(8))
    assert mask_seeds(seeds[1])[0] == seeds[1]


def test_another_seed_changes_nothing_else() -> None:
    data = {"merge_method": "dare_ties", "eutectic": {"exact": True}}
    assert mask_seed_of(data) == 0 and mask_seed_of({"eutectic": None}) == 0
    assert reseeded(data, 3) == {**data, "eutectic": {"exact": True, "mask_seed": 3}}
    assert mask_seed_of(reseeded(data, 3)) == 3 and data["eutectic"] == {"exact": True}


def test_a_merge_is_random_where_two_seeds_give_two_hashes() -> None:
    def prepare(data: Mapping[str, Any]) -> Merge:
        drawn = mask_seed_of(data) if data["density"] < 1 else ""
        return Merge(None, (), f"{data['density']} {drawn}")

    own, *others = redrawn({"density": 0.5, "eutectic": {"mask_seed": 4}}, prepare)
    assert own[0] == 4 and [seed for seed, _, _ in others] == list(mask_seeds(4)[1:])
    assert len({merge.hash for _, _, merge in (own, *others)}) == 5
    assert [seed for seed, _, _ in redrawn({"density": 1.0}, prepare)] == [0]


def test_random_finalists_are_ranked_by_the_mean_of_five_masks(world, ledger: Ledger) -> None:
    search = random_search(world, ledger)
    world.run(search)
    verdict = decide(search, UP)
    assert verdict.draws and all(name.startswith("trial") for name in verdict.draws)
    assert set(verdict.utilities) - set(verdict.draws) == {"base", "math", "code", "uniform"}
    for name, draws in verdict.draws.items():
        assert [one.mask_seed for one in draws] == list(mask_seeds(0))
        assert verdict.utilities[name] == pytest.approx(mean(one.utility for one in draws))
        for one in draws:
            values = UP.utility(verdict.scales, one.values)
            assert one.utility == pytest.approx(values)
    lucky = max(verdict.draws, key=lambda name: verdict.draws[name][0].utility)
    assert verdict.best != lucky  # under its own mask it would have won
    own = [one.utility for name, one in ((n, d[0]) for n, d in verdict.draws.items())
           if name != lucky]  # fmt: skip
    assert verdict.draws[lucky][0].utility > max(own)
    assert stored_verdict(ledger) == verdict


def test_nothing_random_is_scored_once(world, ledger: Ledger) -> None:
    search = world.search(ledger)
    world.run(search)
    search.executor.scored.clear()
    verdict = decide(search, UP)
    assert verdict.draws == {}
    assert len(search.executor.scored) == len(set(search.executor.scored))
    assert len({one for one, _, index in search.executor.scored if index in TEST}) <= 5


def test_the_test_split_sees_the_winners_five_masks_and_each_reference_once(
    world, ledger: Ledger
) -> None:
    search = random_search(world, ledger)
    world.run(search)
    verdict = decide(search, UP)
    everyone = [*ledger.candidates("reference"), *ledger.candidates("trial")]
    known = {label(one): one.recipe_hash for one in everyone}
    assert verdict.winner in verdict.draws
    masks = {one.recipe_hash for one in verdict.draws[verdict.winner]}
    assert len(masks) == 5 and known[verdict.winner] in masks
    seen = {recipe for recipe, _, index in search.executor.scored if index in TEST}
    assert seen == masks | {known[name] for name in ("base", "math", "code", "uniform")}
    assert ledger.meta("test_opened")[-1]["winner"] == known[verdict.winner]


def test_killed_anywhere_it_ends_the_same_and_scores_nothing_twice(
    world, ledger: Ledger, tmp_path: Path
) -> None:
    whole = random_search(world, ledger)
    world.run(whole)
    undisturbed = decide(whole, UP)
    with Ledger(f"sqlite:///{tmp_path / 'killed.db'}") as other:
        first = random_search(world, other)
        world.run(first)
        verdict, stops, scored = killed_often(
            lambda: random_search(world, other), lambda one: decide(one, UP), 4
        )
        scored = [*first.executor.scored, *scored]
    assert stops > 10 and verdict == undisturbed
    assert len(scored) == len(set(scored)) and set(scored) == set(whole.executor.scored)


def test_a_mask_that_gives_nan_puts_its_candidate_out(world, ledger: Ledger) -> None:
    search = random_search(world, ledger)
    world.run(search)
    favourite = decide(search, UP).winner
    again = random_search(world, ledger, settings="anew")
    number = int(favourite.removeprefix("trial "))
    data = ledger.candidates("trial")[number].data
    broken = again.executor.prepare(reseeded(data, mask_seeds(0)[3])).hash

    def spoil(weights: object, task: str, indices: Sequence[int]) -> None:
        if again.executor.built[-1] == broken:
            raise NonFiniteError("NaN")

    again.executor.spoil = spoil
    verdict = decide(again, UP)
    assert favourite not in verdict.utilities and verdict.winner != favourite

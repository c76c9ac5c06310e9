"""Blocks of items: scored once, recorded whole, and only ever reused in the same company."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from search import blocks as layout
from search.blocks import block_name, blocks
from search.ledger import Candidate, Ledger
from search.observer import Step
from search.scoring import Scorer, Spent, known_results


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as opened:
        yield opened


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "UNRACED", 2)
    monkeypatch.setattr(layout, "ROUND", (4, 4))


def a_merge(scorer: Scorer, math: float = 0.5):
    models = [{"model": "math", "parameters": {"weight": math}}]
    return scorer.executor.prepare({"merge_method": "task_arithmetic", "models": models})


def test_every_item_once_in_its_order(world, ledger: Ledger, small_blocks: None) -> None:
    scorer = world.search(ledger).scorer
    spent = Spent()
    found = scorer.score(a_merge(scorer), "search", ["up", "down"], spent)
    assert list(found["up"]) == [f"up{index}" for index in range(6)]
    assert found["up"]["up3"] == {"skill": (0.53,)}
    assert (spent.items, len(scorer.executor.built)) == (12, 1)
    again = Spent()
    assert scorer.score(a_merge(scorer), "search", ["up", "down"], again) == found
    assert again.items == 0 and len(scorer.executor.scored) == 12


def test_who_watches_is_told_how_far_it_is(world, ledger: Ledger, small_blocks: None) -> None:
    told: list[Step] = []
    scorer = replace(world.search(ledger).scorer, tell=told.append)
    merge = a_merge(scorer)
    scorer.score(merge, "search", ["up", "down"], Spent())
    assert told[0] == Step("building", 0, 12)
    assert told[1:] == [Step("scoring", done, 12) for done in (0, 4, 6, 10)]
    told.clear()
    looks = {"up": blocks(range(6), "select"), "down": blocks(range(6, 9), "search")}
    scorer.score_blocks(merge, looks, Spent())
    assert told == [Step("scoring", 6, 9)]  # the rest is known


def test_what_was_missing_is_scored_and_the_order_stays(
    world, ledger: Ledger, small_blocks: None
) -> None:
    scorer = world.search(ledger).scorer
    merge = a_merge(scorer)
    whole = scorer.score(merge, "search", ["up"], Spent())
    ledger.close()
    with Ledger(str(ledger.database.url)) as other:
        first, second = blocks(range(6), "search")
        task = scorer.tasks["up"]
        assert known_results(other, merge.hash, "toy", task, [second]).keys() == {"up4", "up5"}
        fresh = world.search(other).scorer
        fresh.executor.settings = "other"  # the second block only is known under these
        keyed = {(f"up{n}", f"p{n}"): whole["up"][f"up{n}"] for n in second}
        other.record(merge.hash, "other", "up", block_name(task, second), keyed)
        assert list(fresh.known(merge.hash, "search", ["up"])["up"]) == ["up4", "up5"]
        spent = Spent()
        assert fresh.score(merge, "search", ["up"], spent) == whole
        assert list(fresh.score(merge, "search", ["up"], spent)["up"]) == list(whole["up"])
        assert spent.items == len(first) == 4


def test_results_from_other_company_are_not_taken(world, ledger: Ledger) -> None:
    scorer = world.search(ledger).scorer
    merge = a_merge(scorer)
    scorer.score(merge, "search", ["up"], Spent())
    task = scorer.tasks["up"]
    assert len(known_results(ledger, merge.hash, "toy", task, [(0, 1, 2, 3, 4, 5)])) == 6
    assert known_results(ledger, merge.hash, "toy", task, [(1, 2, 3, 4, 5)]) == {}
    assert known_results(ledger, merge.hash, "toy", task, [(1, 0, 2, 3, 4, 5)]) == {}


def test_a_block_is_named_by_its_items_and_their_prompts(world, ledger: Ledger) -> None:
    tasks = world.search(ledger).tasks
    names = [
        block_name(tasks[task], block)
        for task, block in (("up", [0, 1]), ("up", [1, 0]), ("up", [0]), ("down", [0, 1]))
    ]
    assert len(set(names)) == 4 and names[0] == block_name(tasks["up"], [0, 1])


def test_one_build_a_candidate_and_none_for_what_is_known(world, ledger: Ledger) -> None:
    scorer = world.search(ledger).scorer
    one, other = a_merge(scorer, 0.5), a_merge(scorer, 0.6)
    for merge in (one, one, other, one):
        scorer.score(merge, "search", ["up", "down"], Spent())
    assert scorer.executor.built == [one.hash, other.hash]
    scorer.score(one, "select", ["up"], Spent())
    assert scorer.executor.built == [one.hash, other.hash, one.hash]


def test_a_build_that_fails_is_not_taken_for_built(world, ledger: Ledger) -> None:
    scorer = world.search(ledger).scorer
    good, build = a_merge(scorer), scorer.executor.build

    def broken(merge: object) -> None:
        build(merge)
        raise KeyboardInterrupt

    scorer.executor.__class__.build, kept = broken_once(broken), scorer.executor.__class__.build
    try:
        with pytest.raises(KeyboardInterrupt):
            scorer.score(good, "search", ["up"], Spent())
    finally:
        scorer.executor.__class__.build = kept
    scorer.score(good, "search", ["up"], Spent())
    assert scorer.executor.built == [good.hash, good.hash]


def broken_once(build):
    return lambda _, merge: build(merge)


def test_the_owner_is_kept_with_every_block(world, ledger: Ledger, small_blocks: None) -> None:
    scorer = world.search(ledger).scorer
    merge = a_merge(scorer)
    owner = Candidate("trial", 0, "tpe", {}, merge.hash)
    seen = []

    def spoil(weights: object, task: str, indices: object) -> None:
        seen.append([one.items for one in ledger.candidates("trial")])

    scorer.executor.spoil = spoil
    spent = Spent(items=100, score_seconds=5.0, owner=owner)
    scorer.score(merge, "search", ["up"], spent)
    assert seen == [[], [104]]
    (last,) = ledger.candidates("trial")
    assert (last.items, last.state) == (106, "running") and last.score_seconds >= 5.0
    assert spent.of(owner).items == 106

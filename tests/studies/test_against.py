"""Items gained and lost, counted anew from the ledger of a real search."""

from collections.abc import Mapping

import pytest

from evaluation.answers import ANSWER
from evaluation.task import ItemResult
from search.ledger import Candidate, label
from studies import against
from studies.against import Comparison
from studies.preflight import Permissions, inspect
from studies.reopen import reopened
from studies.results import Found, build_view, gather, stored_view
from studies.run import find_run
from studies.view import RunView

from .conftest import Bench

Open = tuple[Found, RunView]


@pytest.fixture(scope="module")
def opened(searched: Bench):
    """The candidates of a run and its view, its ledger open."""
    from search.ledger import Ledger

    run = find_run(searched.run)
    study, maps = reopened(run)
    with Ledger(run.url) as ledger:
        preflight = inspect(study, maps, Permissions())
        yield gather(preflight, ledger), build_view(preflight, ledger, "finished")


def on(found: Found, one: Candidate, task: str, *splits: str) -> Mapping[str, ItemResult]:
    return {
        key: result
        for split in splits
        for key, result in found.scores.results(one, task, split).items()
    }


def counted(found: Found, one: Candidate, other: Candidate, column: str, *splits: str):
    """(items, gained, lost), item by item, higher bits per byte being worse."""
    task, metric = column.rsplit(" ", 1)
    mine, theirs = (on(found, each, task, *splits) for each in (one, other))
    both = mine.keys() & theirs.keys()
    gaps = [mine[key][metric][0] - theirs[key][metric][0] for key in both]
    signs = [-gap if metric == "bits_per_byte" else gap for gap in gaps]
    return len(both), sum(s > 1e-9 for s in signs), sum(s < -1e-9 for s in signs)


def test_counts_are_those_of_the_items_that_both_were_scored_on(opened: Open) -> None:
    found, view = opened
    parents = {label(one): one for one in found.references if one.role == "parent"}
    seen = 0
    for trial, shown in zip(found.trials, view.trials, strict=True):
        splits = ("search", "select") if shown.select else ("search",)
        for told in shown.against:
            wanted = counted(found, trial, parents[told.rival], told.column, *splits)
            assert (told.items, told.gained, told.lost) == wanted
            assert told.right_or_wrong == told.column.endswith("acc")
            seen += told.items
    assert seen > 100 and {told.rival for t in view.trials for told in t.against} == set(parents)


def test_a_parent_is_not_beside_itself(opened: Open) -> None:
    found, view = opened
    for one in view.references:
        assert one.name not in {told.rival for told in one.against}
        assert one.against or one.kind == "base"
    assert len(view.references[0].against) == 2 * sum(r.kind == "parent" for r in view.references)


def test_examples_are_of_search_and_select_and_tell_what_was_answered(opened: Open) -> None:
    found, view = opened
    tasks = found.preflight.tasks
    texts = {(name, item.key): item for name, task in tasks.items() for item in task.items}
    sealed = {
        (name, tasks[name].items[index].text)
        for name, splits in found.preflight.splits.items()
        for index in splits["test"]
    }
    assert sealed and view.items
    known = {(name, item.text) for (name, _), item in texts.items()} - sealed
    for item in view.items:
        assert item.split in ("search", "select")
        if item.task == "lines":
            assert ("lines", item.question) in known and not item.choices and not item.gold
        else:
            assert any(text.startswith(item.question) for name, text in known if name == "sums")
            assert item.gold in item.choices
    shown = [
        (told, example, gained)
        for trial in view.trials
        for told in trial.against
        for gained, some in ((True, told.gains), (False, told.losses))
        for example in some
    ]
    assert shown
    for told, example, gained in shown:
        item = view.items[example.item]
        assert f"{item.task} " == told.column[: len(item.task) + 1]
        if told.right_or_wrong:
            assert (example.mine == item.gold) is gained
            assert (example.theirs == item.gold) is not gained


def test_examples_are_bounded_and_the_first_to_be_asked_about_has_them(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = opened
    monkeypatch.setattr(against, "MOST_EXAMPLES", 5)
    comparison = Comparison(found)
    comparison._left = 5
    told = [comparison.of(one, whole=False, many=True) for one in found.trials]
    counts = [sum(len(t.gains) + len(t.losses) for t in of_trial) for of_trial in told]
    assert sum(counts) == 5 and counts[0] > 0
    comparison = Comparison(found)
    comparison.shelf.most = 2
    for one in found.trials:
        comparison.of(one, whole=False, many=True)
    assert len(comparison.items) == 2


def test_a_run_of_before_has_numbers_and_no_answers(opened: Open) -> None:
    found, view = opened
    comparison = Comparison(found)
    column = next(one for one in comparison.columns if one.task.name == "sums")
    item, _ = column.items[0]
    result = dict(on(found, found.references[0], "sums", "search", "select")[item.key])
    with_answer = comparison._answered(column, item, {"sums": {item.key: result}})
    del result[ANSWER]
    assert with_answer and comparison._answered(column, item, {"sums": {item.key: result}}) == ""


def test_the_stored_view_is_the_view(searched: Bench, opened: Open) -> None:
    found, view = opened
    kept = stored_view(found.ledger)
    assert kept is not None and kept.items == view.items
    assert [one.against for one in kept.trials] == [one.against for one in view.trials]

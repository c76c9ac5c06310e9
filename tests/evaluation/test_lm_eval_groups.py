"""Groups and tags of lm-eval's: its figures, its subtasks, and any part of them anew."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.errors import TaskError
from evaluation.lm_eval_tasks import load_lm_eval_task
from evaluation.lm_eval_tasks_index import shipped_names
from evaluation.lm_eval_tasks_members import GroupAggregate, LmEvalGroup
from evaluation.resampling import WideSumAggregate
from evaluation.spec import LmEvalSpec
from evaluation.statistics import bootstrap_interval, paired_p_value, standard_error
from evaluation.task import ItemResult, Response, result_rows

DATA = Path(__file__).parents[1] / "data" / "lm_eval"
pytestmark = pytest.mark.usefixtures("datasets_cache")


def spec(task: str, include: Path | None = DATA, **keys: Any) -> LmEvalSpec:
    return LmEvalSpec("t", task, include, **keys)


def group(task: str, include: Path = DATA, **keys: Any) -> LmEvalGroup:
    found = load_lm_eval_task(spec(task, include, **keys), trust_task_code=True)
    assert isinstance(found, LmEvalGroup)
    return found


def refused(task: str, include: Path | None, **keys: Any) -> str:
    with pytest.raises(TaskError) as caught:
        load_lm_eval_task(spec(task, include, **keys), trust_task_code=True)
    return str(caught.value)


def results(task: LmEvalGroup, lm_eval: Any) -> dict[str, ItemResult]:
    pairs = zip(task.items, lm_eval.answers(task), strict=True)
    return {item.key: task.score(item, answers) for item, answers in pairs}


def by_subtask(task: LmEvalGroup, found: Mapping[str, ItemResult]) -> dict[str, list[ItemResult]]:
    parts: dict[str, list[ItemResult]] = {}
    for item in task.items:
        parts.setdefault(item.stratum, []).append(found[item.key])
    return parts


@pytest.mark.parametrize("name", ["own_by_size", "own_evenly"])
@pytest.mark.parametrize("shots", [None, 2])
def test_figures_are_lm_evals(name: str, shots: int | None, lm_eval: Any) -> None:
    theirs = lm_eval.evaluate(DATA, name, num_fewshot=shots)
    task = group(name, fewshot=shots)
    assert list(dict.fromkeys(item.stratum for item in task.items)) == list(theirs["n-samples"])
    for subtask, samples in theirs["samples"].items():
        items = [item for item in task.items if item.stratum == subtask]
        arguments = {s["doc_id"]: [tuple(pair) for pair in s["arguments"]] for s in samples}
        asked = [[(r.context, r.continuation) for r in item.requests] for item in items]
        assert asked == [arguments[number] for number in range(len(items))]
    figures = theirs["groups"][name]
    ours = lm_eval.values(task, lm_eval.answers(task))
    assert set(ours) == {key.split(",")[0] for key in figures if "," in key and "std" not in key}
    for metric, value in ours.items():
        assert value == pytest.approx(figures[f"{metric},none"], rel=1e-12), metric


def test_a_part_is_aggregated_anew(lm_eval: Any) -> None:
    task = group("own_by_size")
    found = results(task, lm_eval)
    parts = by_subtask(task, found)
    means = {name: float(np.mean([r["acc"][1] for r in part])) for name, part in parts.items()}
    assert task.metrics["acc"].aggregate(result_rows(found.values(), "acc")) == pytest.approx(
        (6 * means["own_words"] + 12 * means["own_sums"] + 12 * means["own_signs"]) / 30
    )
    evenly = group("own_evenly")
    found = results(evenly, lm_eval)
    parts = by_subtask(evenly, found)
    some = [*parts["own_words"], *parts["own_sums"][:5]]  # of the other two there is no item
    means = {
        name: float(np.mean([r["acc"][1] for r in part]))
        for name, part in (("own_words", parts["own_words"]), ("sums", parts["own_sums"][:5]))
    }
    value = evenly.metrics["acc"].aggregate(result_rows(some, "acc"))
    assert value == pytest.approx((means["own_words"] + means["sums"]) / 2)
    sums = result_rows(by_subtask(task, results(task, lm_eval))["own_sums"], "perplexity")
    assert np.isnan(task.metrics["perplexity"].aggregate(sums))


@pytest.mark.parametrize("name", ["own_by_size", "own_evenly", "own_counts"])
def test_all_resamples_at_once_are_those_one_by_one(name: str, lm_eval: Any) -> None:
    task = group(name)
    found = results(task, lm_eval)
    groups = [item.key for item in task.items]
    strata = [item.stratum for item in task.items]
    for metric in task.metrics.values():
        fast, rows = metric.aggregate, result_rows(found.values(), metric.name)
        assert isinstance(fast, WideSumAggregate) and isinstance(fast, GroupAggregate)
        plain = GroupAggregate(fast.parts, fast.by_size)
        assert not isinstance(plain, WideSumAggregate)
        one, other = (
            bootstrap_interval(rows, groups, strata, aggregate, seed=3, resamples=200)
            for aggregate in (fast, plain)
        )
        assert one.value == other.value and one.low is not None and one.low < one.value
        assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-9)
        a, b = (standard_error(rows, groups, strata, x) for x in (fast, plain))
        assert a == pytest.approx(b, rel=1e-9)
        better = rows.copy()
        better[rows[:, 0] == 0, -1] = rows[0, -1]
        a, b = (
            paired_p_value(rows, better, groups, x, seed=3, resamples=99) for x in (fast, plain)
        )
        assert a == b


def test_items_keep_apart_and_equal_documents_together() -> None:
    task = group("own_by_size")
    assert len({item.key for item in task.items}) == len(task.items) == 30
    assert [item.index for item in task.items] == list(range(30))
    assert task.items[0].key.startswith("own_words/")
    sums = [item for item in task.items if item.stratum == "own_sums"]
    signs = [item for item in task.items if item.stratum == "own_signs"]
    assert [item.group for item in sums] == [item.group for item in signs]
    assert not {item.prompt_hash for item in sums} & {item.prompt_hash for item in signs}


def test_a_limit_is_that_of_all_items() -> None:
    every, some = group("own_by_size"), group("own_by_size", limit=9)
    assert [item.index for item in some.items] == list(range(9))
    prompts = {item.key: item.prompt_hash for item in every.items}
    assert all(prompts[item.key] == item.prompt_hash for item in some.items)
    assert len({item.stratum for item in some.items}) > 1


def test_a_mere_list_has_what_its_subtasks_share(lm_eval: Any) -> None:
    task = group("own_list")
    assert list(task.metrics) == ["acc"] and task.metrics["acc"].width == 2
    found = by_subtask(task, results(task, lm_eval))
    right = sum(r["acc"][1] for part in found.values() for r in part)
    assert lm_eval.values(task, lm_eval.answers(task)) == {"acc": pytest.approx(right / 18)}


def test_a_tag_is_a_mere_list(folder: Path, lm_eval: Any) -> None:
    for name in ("own_words", "own_sums"):
        with (folder / f"{name}.yaml").open("a") as file:
            file.write("tag: [mine, other]\n")
    task = group("mine", folder)
    assert [len(part) for part in by_subtask(task, results(task, lm_eval)).values()] == [12, 12, 6]
    assert {item.stratum for item in task.items} == {"own_signs", "own_sums", "own_words"}
    (folder / "of_tag.yaml").write_text(
        "group: of_tag\ntask:\n  - task: mine\n    num_fewshot: 1\n"
    )
    shots = {item.requests[0].context.count("\n\n") for item in group("of_tag", folder).items}
    assert shots == {1}


def test_the_order_of_the_subtasks_is_part_of_what_is_asked(folder: Path) -> None:
    before = {item.key: item.prompt_hash for item in group("own_list", folder).items}
    (folder / "own_list.yaml").write_text("group: own_list\ntask: [own_sums, own_words]\n")
    after = {item.key: item.prompt_hash for item in group("own_list", folder).items}
    assert set(before) == set(after) and not set(before.values()) & set(after.values())


def test_shots_that_a_subtask_fixes_stay(folder: Path) -> None:
    with (folder / "own_words.yaml").open("a") as file:
        file.write("num_fewshot: 0\n")
    task = group("own_list", folder, fewshot=2)
    shots = {item.stratum: item.requests[0].context.count("\n\n") for item in task.items}
    assert shots == {"own_words": 0, "own_sums": 2}
    with (folder / "own_sums.yaml").open("a") as file:
        file.write("num_fewshot: 0\n")
    assert "every subtask of it fixes 0 shots" in refused("own_list", folder, fewshot=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: [own_words, own_sum]", "no task 'own_sum' of group 'g' .*nearest are own_sum"),
        ("task: [own_words, g]", "the group 'g' holds itself"),
        ("task: [own_list, own_words]", "'g' holds the task 'own_words' twice"),
        ("task: own_words", "has no list of tasks; where `group` was .* write `tag`"),
        ("task: [3]", "expected a name or `task: NAME`, got 3"),
        ("task: [own_words, own_lines]", "has no figure .* share no metric.*word_perplexity"),
        (
            "task: [own_words]\naggregate_metric_list: [{metric: bleu}]",
            "has no figure .bleu: no subtask has it",
        ),
        (
            "task: [own_words]\naggregate_metric_list: [{metric: acc, aggregation: median}]",
            "aggregate_metric_list: .*'mean' is the only",
        ),
        ("task: [own_words]\ndoc_to_txt: x", "/own_words.*unknown key 'doc_to_txt'"),
    ],
)
def test_faults_of_a_group_are_one_message(folder: Path, text: str, message: str) -> None:
    (folder / "g.yaml").write_text(f"group: g\n{text}\n")
    with pytest.raises(TaskError, match=rf"(?s)^s\.yml:3:1 task 't.*{message}") as caught:
        load_lm_eval_task(spec("g", folder, place="s.yml:3:1"), trust_task_code=True)
    assert len(str(caught.value)) < 500


def test_a_name_that_a_group_asks_for_stands_in_one_file(folder: Path) -> None:
    shutil.copy(folder / "own_words.yaml", folder / "copy.yaml")
    assert "both" in refused("own_list", folder)


def test_names_and_members_are_those_of_lm_evals_own_index() -> None:
    names = shipped_names()
    assert (names["mmlu"].kind, names["arc_easy"].kind) == ("group", "task")
    stem = names["mmlu_stem_tasks"]
    assert stem.kind == "tag" and len(stem.members) == 19 and "mmlu_anatomy" in stem.members
    assert "t/mmlu_abstract_algebra" in refused("mmlu", None)
    assert "--allow-benchmark-test" in refused("mmlu_stem_tasks", None)


def test_a_group_that_is_allowed_covers_the_tasks_it_names(folder: Path) -> None:
    wish = spec("own_list", folder)
    for allowed in (frozenset[Path](), frozenset({folder / "own_sums.yaml"})):
        with pytest.raises(
            TaskError, match="own_list.yaml is code: .* the tasks it names"
        ) as told:
            load_lm_eval_task(wish, allowed_code=allowed)
        assert str(told.value).count("--allow-code") == 1
    assert len(load_lm_eval_task(wish, allowed_code=frozenset({folder / "own_list.yaml"})).items)


def test_each_task_of_a_tag_is_allowed_by_its_own_name(folder: Path) -> None:
    for name in ("own_words", "own_lines"):
        with (folder / f"{name}.yaml").open("a") as file:
            file.write("tag: mine\n")
    with pytest.raises(TaskError) as caught:
        load_lm_eval_task(
            spec("mine", folder), allowed_code=frozenset({folder / "own_words.yaml"})
        )
    told = str(caught.value)
    assert f"--allow-code {folder / 'own_lines.yaml'}" in told and told.count("--allow-code") == 1


def test_official_test_splits_of_all_subtasks(folder: Path) -> None:
    for name in ("own_words", "own_capitals"):
        path = folder / f"{name}.yaml"
        text = path.read_text().replace("    validation:", "    test: test.jsonl\n    validation:")
        path.write_text(text + "test_split: test\ntag: mine\n")
    rows = [{"q": "France", "a": "Paris"}, {"q": "Chad", "a": "N'Djamena"}]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "g.yaml").write_text(
        "group: g\ntask: [own_words, own_capitals]\n"
        "aggregate_metric_list: [{metric: acc}, {metric: exact_match, filter_list: [word]}]\n"
    )
    task = group("g", folder, test="official")
    sealed = [item for item in task.items if item.split == "test"]
    assert [item.stratum for item in sealed] == ["own_words"] * 2 + ["own_capitals"] * 2
    assert len(task.items) == 2 * 5 + 2 * 2  # France is sealed in both
    assert len({item.key for item in task.items}) == 14
    assert [item.index for item in task.items] == list(range(14))
    assert list(task.metrics) == ["acc,none", "exact_match,word"] and not task.official_test


@pytest.mark.parametrize("name", ["own_by_size", "own_evenly", "own_list"])
def test_a_groups_items_have_the_gold_of_their_subtasks(name: str) -> None:
    task = group(name)
    metric = next(iter(task.metrics))
    for item in task.items:
        member = task.members[task.owners[item.key]]
        own = task.figures[metric].sources[task.owners[item.key]]
        gold = task.gold(item, metric)
        assert gold == member.gold(item, own)
        if gold.right is not None:
            answers = [Response(-1.0 if k == gold.right else -9.0) for k in range(len(gold.sizes))]
            assert member.score(item, answers)["acc"] == (1.0,)

"""Items of `test` that the search has seen under another name: found, told, and kept out."""

import json
import random
import re
from pathlib import Path

import pytest

from evaluation.duplicates import normalised
from search.ledger import Ledger
from studies.config import read_study
from studies.preflight import Permissions, Preflight, inspect, load_tasks, split_tasks
from studies.results import stored_view


def row(draw: random.Random, number: int) -> dict[str, object]:
    one, other, right = draw.randrange(1000), draw.randrange(1000), draw.randrange(3)
    choices = [str(one + other + shift) for shift in (1, 10, 3)]
    choices[right] = str(one + other)
    return {
        "id": number,
        "question": f"{one} plus {other} is",
        "choices": choices,
        "answer": right,
    }


def write(file: Path, rows: list[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def restated(bench):
    """A bench whose sums say 18 of 80 questions twice: every third in other letters."""
    draw = random.Random(1)
    rows = [row(draw, number) for number in range(80)]
    for number in range(18):
        again = {**rows[number], "id": 80 + number}
        if number % 3 == 0:
            again["question"] = f" {str(again['question']).upper()}?"
        rows.append(again)
    write(bench.folder / "sums.jsonl", rows)
    return bench


def opened(bench) -> Preflight:
    return inspect(read_study(bench.study), {}, Permissions())


def by_hand(bench) -> tuple[dict[str, int], set[int]]:
    """The counts of the sums, all pairs compared, and the items of test that are kept out."""
    found = opened(bench)
    study = found.study
    tasks = load_tasks(study, found.base, found.checkpoints[found.base], Permissions())
    splits = split_tasks(study, tasks)["sums"]
    at = {index: split for split, indices in splits.items() for index in indices}
    texts = {index: tasks["sums"].items[index].row["question"] for index in at}
    twice = {}
    for name, key in (("alike", normalised), ("exact", str)):
        said = {index: key(str(text)) for index, text in texts.items()}
        twice[name] = {i for i in at for j in at if said[i] == said[j] and at[i] != at[j]}
    test = {index for index in twice["alike"] if at[index] == "test"}
    counts = {
        "in_several_splits": len(twice["alike"]),
        "in_several_splits_word_for_word": len(twice["exact"]),
        "kept_out_of_test": len(test),
        "kept_out_of_test_word_for_word": len(test & twice["exact"]),
        "kept_out_of_test_for_other_tasks": 0,
    }
    assert set(splits["test"]) - test == set(found.splits["sums"]["test"])
    assert all(
        sorted(found.splits["sums"][one]) == list(splits[one]) for one in ("search", "select")
    )
    return counts, test


def test_check_counts_them(restated) -> None:
    counts, test = by_hand(restated)
    assert 0 < counts["kept_out_of_test_word_for_word"] < len(test) < counts["in_several_splits"]
    found = json.loads(restated.call("check", restated.study, "--json").stdout)
    assert found["restated"]["sums"] == counts
    assert set(found["restated"]["lines"].values()) == {0}
    said = (
        f"Task sums: {len(test)} items of test are stated again in other splits "
        f"({counts['kept_out_of_test_word_for_word']} word for word): they are kept out of test."
    )
    assert said in found["warnings"]
    shown = restated.call("check", restated.study)
    table = " ".join(shown.stdout.split())
    assert "said twice kept out sums" in table
    row = rf"sums( \d+){{4}} {counts['in_several_splits']} {len(test)}\b"
    assert re.search(row, table) and f"warning: {said}" in shown.stderr


def test_a_search_leaves_them_out_of_test_and_says_so(restated) -> None:
    _, test = by_hand(restated)
    found = opened(restated)
    assert restated.search("--out", restated.run).exit_code == 0
    with Ledger(f"sqlite:///{restated.run / 'study.db'}") as ledger:
        view = stored_view(ledger)
        hashes = {one.recipe_hash for one in ledger.candidates("reference")}
        settings = ledger.meta("settings")
        scored = {key for one in hashes for key, _ in ledger.results(one, settings, "sums")}
    keys = {index: item.key for index, item in enumerate(found.tasks["sums"].items)}
    assert not scored & {keys[index] for index in test}
    assert {keys[index] for index in found.splits["sums"]["test"]} <= scored
    left = len(found.splits["sums"]["test"])
    assert view.tasks["sums"]["test"] == left
    assert {row.values["sums acc"].items for row in view.test_rows} == {left}
    (said,) = (one for one in view.notices if "stated again" in one)
    assert said.startswith(f"Task sums: {len(test)} items of test")
    assert said in (restated.run / "report.html").read_text(encoding="utf-8")
    assert restated.call("verify", restated.run).exit_code == 0
    again = restated.call(
        "evaluate", "alpha", "--study", restated.study, "--split", "test", "--threads", 1, "--json"
    )
    assert json.loads(again.stdout)["tasks"]["sums"]["acc"]["items"] == left


def test_a_run_begun_before_they_were_kept_out_is_not_told_with_them(
    restated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results are kept by their blocks: a smaller test split is scored anew, not cut out."""
    with monkeypatch.context() as patch:
        patch.setattr("studies.preflight.seal_test", lambda study, tasks, splits: (splits, {}))
        assert restated.search("--out", restated.run).exit_code == 0
    assert restated.call("report", restated.run).exit_code == 0
    left = len(opened(restated).splits["sums"]["test"])
    result = restated.search("--out", restated.run, "--json")
    assert result.exit_code == 0, result.stderr
    with Ledger(f"sqlite:///{restated.run / 'study.db'}") as ledger:
        view, seen = stored_view(ledger), ledger.meta("test_opened")
    assert {row.values["sums acc"].items for row in view.test_rows} == {left}
    assert len(seen) == 1  # the same winner on fewer of the same questions


def test_what_another_task_searches_on_is_kept_out(restated) -> None:
    text = (restated.folder / "sums.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()[20:50]]
    draw = random.Random(3)
    others = [row(draw, number) for number in range(1000, 1060)]
    write(restated.folder / "other.jsonl", others + [{**one, "id": -one["id"]} for one in rows])
    second = restated.text.replace("name: sums", "name: other").replace(
        "sums.jsonl", "other.jsonl"
    )
    start, end = second.index("  - name: other"), second.index("  - name: lines")
    restated.change(("  - name: lines", second[start:end] + "  - name: lines"))
    found = opened(restated)
    for task, other in (("sums", "other"), ("other", "sums")):
        seen = {
            normalised(found.tasks[one].items[index].text)
            for one in (task, other)
            for split in ("search", "select")
            for index in found.splits[one][split]
        }
        kept = [found.tasks[task].items[index].text for index in found.splits[task]["test"]]
        assert kept and not {normalised(text) for text in kept} & seen
        assert found.restated[task].elsewhere > 0
    said = restated.call("check", restated.study).stderr
    assert f"{found.restated['other'].elsewhere} in other tasks only" in " ".join(said.split())


def test_too_few_left_is_refused_with_what_to_do(bench) -> None:
    draw = random.Random(2)
    rows = [row(draw, number) for number in range(45)]
    write(bench.folder / "sums.jsonl", rows + [{**one, "id": one["id"] + 100} for one in rows])
    result = bench.call("check", bench.study)
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "study.yaml:13:" in said and "task 'sums': " in said
    assert "stated again in other splits" in said and "at least 10 are needed" in said
    assert "give them one `group`" in said
    text = bench.text.replace("    answer: answer", "    answer: answer\n    group: question")
    bench.study.write_text(text, encoding="utf-8")
    assert bench.call("check", bench.study).exit_code == 0  # together in one split

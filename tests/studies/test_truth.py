"""What keeps a winner honest, from a real search of random merges to every place that tells it."""

import html
import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest

from evaluation.statistics import holm, paired_p_value
from search.beside import stored_beside
from search.inline import InlineExecutor
from search.ledger import Ledger, label
from search.mask_seeds import mask_seeds
from search.verdict import stored_verdict
from studies import results
from studies.estimates import metric_estimate
from studies.masks import GAIN
from studies.plots import figures
from studies.preflight import Permissions, inspect
from studies.reopen import reopened
from studies.results import gather, stored_view
from studies.run import find_run
from studies.truth_text import beside_sentences, masks_sentences, optimism_sentences
from studies.view import RunView
from studies.wording import number, signed

from .conftest import Bench, PicoFamily, furnish

DARE = (
    ("merge_method: ties", "merge_method: dare_ties"),
    ("constraints:\n  - {task: lines, metric: bits_per_byte, max_drop: 5.0}\n", ""),
    ("search: 0.4, select: 0.3, test: 0.3", "search: 0.2, select: 0.4, test: 0.4"),
    ("sampler: random", "sampler: tpe"),
)


def more_rows(folder: Path) -> None:
    """150 questions a task, so that `select` and `test` have 30 groups each."""
    draw = random.Random(1)
    sums, lines = [], []
    for _ in range(150):
        one, other, right = draw.randrange(90), draw.randrange(90), draw.randrange(3)
        choices = [str(one + other + shift) for shift in (1, 10, 3)]
        choices[right] = str(one + other)
        sums.append({"question": f"{one} + {other} =", "choices": choices, "answer": right})
        lines.append({"text": "".join(draw.choice("abc de fgh i") for _ in range(20))})
    for name, rows in (("sums", sums), ("lines", lines)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, pico_family: PicoFamily, propose_here: None
) -> Iterator[tuple[Bench, str]]:
    """A run of random merges with a random search beside it, and what the terminal said."""
    bench = furnish(tmp_path_factory.mktemp("told"), pico_family)
    more_rows(bench.folder)
    here = Path.cwd()
    os.chdir(bench.folder)
    bench.change(*DARE)
    arguments = ("search", bench.study, "--threads", "1", "--out", bench.run)
    result = bench.call(*arguments, "--beside", "random")
    assert result.exit_code == 0, result.stderr
    yield bench, " ".join(result.stdout.split())
    os.chdir(here)


@pytest.fixture(scope="module")
def masked(told: tuple[Bench, str]) -> Bench:
    """The same study with a constraint that no reference keeps, so that a random merge wins."""
    bench, _ = told
    other = Bench(bench.folder, bench.text)
    bound = "constraints:\n  - {task: lines, metric: bits_per_byte, max: 6.918}\n"
    other.change(*DARE[:1], (DARE[1][0], bound), *DARE[2:], ("name: pico", "name: masked"))
    run = bench.folder / "runs" / "masked"
    arguments = ("search", other.study, "--threads", "1", "--quiet", "--out", run)
    result = other.call(*arguments, "--from", bench.run)
    bench.change(*DARE)
    assert result.exit_code == 0, result.stderr
    return bench


def open_run(bench: Bench, name: str = "pico") -> Ledger:
    return Ledger(f"sqlite:///{bench.folder / 'runs' / name / 'study.db'}")


def view_of(bench: Bench, name: str = "pico") -> RunView:
    with open_run(bench, name) as ledger:
        view = stored_view(ledger)
    assert view is not None and view.winner is not None
    return view


def page_of(bench: Bench, name: str = "pico") -> str:
    text = (bench.folder / "runs" / name / "report.html").read_text(encoding="utf-8")
    return " ".join(re.sub(r"<[^>]+>", " ", html.unescape(text)).split())


def plain(sentence: str) -> str:
    return " ".join(sentence.split())


def test_the_search_score_stands_beside_the_select_score(told) -> None:
    bench, said = told
    view = view_of(bench)
    with open_run(bench) as ledger:
        everyone = [*ledger.candidates("reference"), *ledger.candidates("trial")]
        scores = {label(one): one.scores for one in everyone}
    for index, one in enumerate(view.optimism):
        assert one.objective == ("sums", "lines")[index]
        assert one.search.value == pytest.approx(scores[view.winner.name][index], abs=1e-12)
        sign = 1 if one.objective == "sums" else -1
        assert one.too_good == pytest.approx(sign * (one.search.value - one.select.value))
        base = sign * scores["base"][index]
        assert one.base is not None and abs(one.base - base) < abs(base) * 1.5
    sentences = optimism_sentences(view)
    assert len(sentences) == 3
    page = page_of(bench)
    assert all(plain(one) in said for one in sentences) and plain(sentences[0]) in page
    for one in view.optimism:
        assert number(one.search.value) in page and signed(one.too_good) in page


def test_prices_are_against_the_best_parent_and_the_uniform_merge_in_one_family(told) -> None:
    bench, said = told
    view = view_of(bench)
    study, maps = reopened(find_run(bench.run))
    with open_run(bench) as ledger:
        found = gather(inspect(study, maps, Permissions()), ledger)
        winner = found.named(view.winner.name)
        raw, named = [], []
        for column, (task, metric) in results.test_columns(found.preflight).items():
            parents = [one for one in found.references if one.role == "parent"]
            better = max if metric == "acc" else min
            best = better(parents, key=lambda one: metric_estimate(
                found.scores, one, task, metric, "select").value)  # fmt: skip
            uniform = next(one for one in found.references if one.role == "uniform")
            for name, rival in ((f"its best parent, {label(best)}", best),
                                ("the uniform merge", uniform)):  # fmt: skip
                if rival.recipe_hash != winner.recipe_hash:
                    sides = [found.scores.rows(one, task, metric, "test")
                             for one in (winner, rival)]  # fmt: skip
                    groups = [item.group for item in found.scores.items(task, "test")]
                    aggregate = found.preflight.tasks[task].metrics[metric].aggregate
                    raw.append(paired_p_value(*sides, groups, aggregate, seed=study.seed))
                    named.append((column, name))
    assert len(raw) >= 3 and len(view.prices) == len(raw)
    for sentence, (column, name), p in zip(view.prices, named, holm(raw), strict=True):
        assert sentence.startswith(f"{column}: ") and name in sentence
        assert (f"p = {p:.3f} after Holm" if p >= 0.001 else "p < 0.001 after Holm") in sentence
        assert plain(sentence) in said and plain(sentence) in page_of(bench)


def test_a_random_finalist_is_ranked_by_its_mean_whatever_its_own_mask_gave(told) -> None:
    bench, _ = told
    with open_run(bench) as ledger:
        verdict = stored_verdict(ledger)
    assert verdict is not None and verdict.draws
    for name, draws in verdict.draws.items():
        assert [one.mask_seed for one in draws] == list(mask_seeds(0))
        assert verdict.utilities[name] == pytest.approx(fmean(one.utility for one in draws))
    assert any(
        max(one.utility for one in draws) - min(one.utility for one in draws) > 0.01
        for draws in verdict.draws.values()
    )


def test_random_search_beside_it_is_told_and_opens_no_test(told) -> None:
    bench, said = told
    view = view_of(bench)
    found = view.beside
    assert found is not None and found.difference is not None and found.random
    with open_run(bench) as ledger:
        trials, drawn = ledger.candidates("trial"), ledger.candidates("beside")
        outcome, verdict = stored_beside(ledger), stored_verdict(ledger)
        settings = ledger.meta("settings")
        seen = {one.recipe_hash: len(ledger.results(one.recipe_hash, settings, "sums"))
                for one in drawn}  # fmt: skip
    assert outcome is not None and verdict is not None
    assert found.items == sum(one.items for one in trials)
    assert (
        len(drawn) == found.candidates == -(-found.items // outcome.each) == len(found.hypervolume)
    )
    sizes = view.tasks["sums"]
    assert set(seen.values()) <= {sizes["search"], sizes["search"] + sizes["select"]}
    assert found.difference.value == pytest.approx(found.search_utility - found.random_utility)
    low, high = found.difference.low, found.difference.high
    assert low is not None and high is not None and low <= found.difference.value <= high
    drawing = figures(view)["hypervolume"]
    assert [trace.name for trace in drawing.data] == ["the search", "random search"]
    assert list(drawing.data[1].x) == [items for items, _ in found.hypervolume]
    for sentence in beside_sentences(view):
        assert plain(sentence) in said and plain(sentence) in page_of(bench)
    assert found.recipe_yaml.startswith("# random ")


def test_json_has_all_of_it(told) -> None:
    bench, _ = told
    arguments = ("search", bench.study, "--json", "--threads", "1", "--out", bench.run)
    found = json.loads(bench.call(*arguments).stdout)
    view = view_of(bench)
    winner = found["winner"]
    assert winner["claim"] == view.winner.claim and winner["prices"] == list(view.prices)
    assert winner["improved"] is view.winner.improved
    assert set(winner["optimism"]) == {"sums", "lines"}
    assert winner["optimism"]["lines"]["too_good"] == view.optimism[1].too_good
    assert found["beside"]["difference"]["low"] == view.beside.difference.low
    assert found["beside"]["random"]["name"] == view.beside.random  # kept without the option


def test_a_random_winner_shows_its_spread_everywhere(masked: Bench) -> None:
    view = view_of(masked, "masked")
    masks = view.masks
    assert view.winner.number is not None and masks is not None
    assert masks.seeds == mask_seeds(0)
    assert [one.name for one in masks.select] == ["sums", "lines", "utility"]
    assert [one.name for one in masks.test] == ["sums", "lines", GAIN]
    with open_run(masked, "masked") as ledger:
        verdict, settings = stored_verdict(ledger), ledger.meta("settings")
        assert verdict is not None
        for draw in verdict.draws[view.winner.name]:
            assert len(ledger.results(draw.recipe_hash, settings, "sums")) >= sum(
                view.tasks["sums"][split] for split in ("select", "test")
            )
    for one in (*masks.select, *masks.test):
        assert one.low <= min(one.own, one.mean) and max(one.own, one.mean) <= one.high
        assert one.low < one.high and one.deviation > 0
    row = view.test_rows[0]
    assert row.values["lines bits_per_byte"].value == pytest.approx(masks.test[1].own)
    gain = view.winner.utility_gain
    assert gain is not None and masks.test[2].own == pytest.approx(gain.value)
    assert masks.gain is not None and masks.gain.value == pytest.approx(masks.test[2].mean)
    assert "eutectic:\n  mask_seed: 0" in view.winner.recipe_yaml
    page = page_of(masked, "masked")
    assert plain(masks_sentences(view)[0]) in page and "With other masks" in page
    assert masked.call("export", "runs/masked", "--weights", "weights").exit_code == 0
    card = (masked.folder / "weights" / "README.md").read_text(encoding="utf-8")
    assert "## Other masks" in card and "mergekit draws other masks" in card
    assert "## Search score against select score" in card
    assert masked.call("verify", "runs/masked").exit_code == 0
    shown = json.loads(masked.call("check", masked.study, "--json").stdout)
    sizes = [view.tasks[task] for task in ("sums", "lines")]
    select, test = (sum(one[split] for one in sizes) for split in ("select", "test"))
    assert shown["items_for_select_and_test_at_most"] == (4 + 5 * 16) * select + (4 + 5) * test


def test_ctrl_c_in_the_random_search_loses_nothing(
    told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, _ = told
    run = tmp_path / "run"
    arguments = ("search", bench.study, "--threads", "1", "--quiet", "--trials", "7")
    arguments += ("--out", run, "--from", bench.run)
    assert bench.call(*arguments).exit_code == 0
    score, calls = InlineExecutor.score, []

    def stopping(self: InlineExecutor, task: str, indices: list[int]) -> object:
        calls.append(indices)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return score(self, task, indices)

    with monkeypatch.context() as patch:
        patch.setattr(InlineExecutor, "score", stopping)
        stopped = bench.call(*arguments, "--beside", "random")
    assert stopped.exit_code == 130 and "is saved" in stopped.stderr and len(calls) == 2
    assert bench.call(*arguments, "--beside", "random").exit_code == 0
    with Ledger(f"sqlite:///{run / 'study.db'}") as ledger, open_run(bench) as before:
        drawn, first = ledger.candidates("beside"), before.candidates("beside")
        assert [one.scores for one in drawn[:6]] == [one.scores for one in first]
        assert [one.values for one in drawn[:6]] == [one.values for one in first]
        assert len(drawn) == 7 and all(one.state == "complete" for one in drawn)


def test_another_sampler_beside_is_refused(bench: Bench) -> None:
    result = bench.search("--beside", "tpe")
    assert result.exit_code == 2 and "random" in result.stderr and not bench.run.exists()

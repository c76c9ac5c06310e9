"""Who is chosen on `select`: the best, or a simpler recipe within one standard error of it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evaluation.task import ItemResult
from search.contest import choose, contest
from search.ledger import Candidate, Ledger, label
from search.mask_seeds import mask_seeds
from search.objectives import Scale
from search.pairs import pair
from search.verdict import decide
from search.winner import WinnerRule

from .conftest import ToyExecutor

UP = WinnerRule("task", {}, "up")
SCALES = {"up": Scale(0.0, 1.0), "down": Scale(0.0, -1.0)}


class Noisy(ToyExecutor):
    """The toy, but that `mixed` candidates are ahead by LEAD on average, with noise by item."""

    noise = 0.0
    lead = 0.0

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, ItemResult]:
        """Everybody alike, the mixed ones ahead and noisy: +noise, -noise, 0 on three items."""
        super().score(task, indices)
        weights: Any = self._now.recipe
        mixed = len([one for one in weights.values() if one]) > 1
        sign = 1 if task == "up" else -1
        return {
            f"{task}{index}": {
                "skill": (sign * mixed * (self.lead + self.noise * (index % 3 - 1)),)
            }
            for index in indices
        }


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as opened:
        yield opened


def candidate(number: int, math: float, code: float, kind: Any = "trial") -> Candidate:
    models = [{"model": name, "parameters": {"weight": weight}}
              for name, weight in (("math", math), ("code", code))]  # fmt: skip
    data = {"merge_method": "task_arithmetic", "base_model": "base", "models": models}
    return Candidate(kind, number, f"c{number}", data, f"h{number}", state="complete")


def chosen(world, ledger: Ledger, candidates: list[Candidate], **noise: float):
    executor = Noisy(settings="noisy")
    Noisy.noise, Noisy.lead = noise.get("noise", 0.0), noise.get("lead", 0.0)
    search = world.search(ledger, executor=executor)
    found = [one.ended(recipe_hash=executor.prepare(one.data).hash) for one in candidates]
    contenders = contest(search, UP, SCALES, found)
    choice = choose(search, UP, SCALES, contenders)
    return label(choice.chosen.candidate), label(choice.best.candidate), choice


def test_a_lead_within_its_noise_goes_to_the_simpler_recipe(world, ledger: Ledger) -> None:
    both, alone = candidate(0, 0.5, 0.4), candidate(1, 0.9, 0.0)
    # Three items: the differences' deviation is 0.816 noise, the error 0.471 noise.
    name, best, choice = chosen(world, ledger, [both, alone], lead=0.4, noise=1.0)
    assert (name, best) == ("trial 1", "trial 0")
    assert choice.lead == pytest.approx(0.4) and 0.42 < choice.error < 0.53


def test_a_lead_beyond_its_noise_wins(world, ledger: Ledger) -> None:
    both, alone = candidate(0, 0.5, 0.4), candidate(1, 0.9, 0.0)
    name, best, choice = chosen(world, ledger, [both, alone], lead=0.6, noise=1.0)
    assert name == best == "trial 0" and (choice.lead, choice.error) == (0.0, 0.0)


def test_a_reference_is_simpler_than_any_trial(world, ledger: Ledger) -> None:
    both, parent = candidate(0, 0.5, 0.4), candidate(1, 1.0, 0.0, "reference")
    assert chosen(world, ledger, [parent, both], lead=0.4, noise=1.0)[:2] == ("c1", "trial 0")


def test_of_equally_simple_ones_the_more_useful_wins(world, ledger: Ledger) -> None:
    one, other = candidate(0, 0.3, 0.6), candidate(1, 0.5, 0.4)
    search = world.search(ledger)  # the plain toy: up likes math
    found = [c.ended(recipe_hash=search.executor.prepare(c.data).hash) for c in (one, other)]
    contenders = contest(search, UP, SCALES, found)
    choice = choose(search, UP, SCALES, contenders)
    assert label(choice.chosen.candidate) == label(choice.best.candidate) == "trial 1"
    # And of equal ones the simpler, however exact the tie.
    equal = candidate(2, 0.5, 0.5)
    assert chosen(world, ledger, [one, equal], lead=0.0)[0] == "trial 2"


def test_the_verdict_says_who_was_ahead_and_by_how_much(world, ledger: Ledger) -> None:
    Noisy.noise, Noisy.lead = 1.0, 0.2
    search = world.search(ledger, executor=Noisy())
    world.run(search)
    verdict = decide(search, UP)
    assert verdict.winner in ("base", "math", "code")
    assert verdict.utilities[verdict.best] - verdict.utilities[verdict.winner] == pytest.approx(
        verdict.lead
    )
    assert 0 < verdict.lead <= verdict.error


def test_five_draws_against_one_are_the_mean_of_five(world, ledger: Ledger) -> None:
    search = world.search(ledger)
    splits = search.scorer.splits

    def results(up: float) -> dict[str, dict[str, ItemResult]]:
        return {"up": {f"up{n}": {"skill": (up + n,)} for n in splits["up"]["select"]}}

    only = search.objectives[:1]
    five = [results(0.1 * n) for n in range(len(mask_seeds(0)))]
    found = pair(search.tasks, splits, "select", only, UP, SCALES, five, [results(0.0)])
    (task,) = found.tasks
    assert len(task.metrics) == 5 and len(task.groups) == 3
    ones = [metric.aggregate(metric.a) for metric in task.metrics]
    others = [metric.aggregate(metric.b) for metric in task.metrics]
    assert found.utility(ones) - found.utility(others) == pytest.approx(0.2)

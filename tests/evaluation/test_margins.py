"""Margins of choices: in closed form, and none where the metric says something else."""

from dataclasses import dataclass
from typing import Any

import pytest

from evaluation.gold import choice_gold
from evaluation.margins import choice_golds, margin_name, with_margins
from evaluation.metrics import METRICS
from evaluation.native import NativeTask
from evaluation.rules import ChoiceRule, MatchRule
from evaluation.task import Item, Request, Response

ASKED = tuple(Request("loglikelihood", "q", f" {one}") for one in ("a", "bcd"))


def native(rule: Any, requests: tuple[Request, ...], *metrics: str) -> NativeTask:
    item = Item("k", 0, "g", "s", requests, "p", {}, "q")
    return NativeTask("pick", (item,), {name: METRICS[name] for name in metrics}, (rule,))


def scored(sums: list[float], gold: int) -> dict[str, Any]:
    task = native(ChoiceRule((1, 3), gold), ASKED, "acc", "acc_norm")
    item = task.items[0]
    responses = [Response(one) for one in sums]
    return dict(with_margins(task.score(item, responses), choice_golds(task, item), responses))


def test_the_gold_choice_against_the_best_other_divided_as_the_metric_divides() -> None:
    found = scored([-2.0, -3.0], 1)
    assert found["acc"] == (0.0,) and found[margin_name("acc")] == (-1.0,)
    assert found["acc_norm"] == (1.0,) and found[margin_name("acc_norm")] == (1.0,)


@pytest.mark.parametrize("gold", [0, 1])
def test_equal_choices_have_a_margin_of_nothing_whoever_counts_as_right(gold: int) -> None:
    found = scored([-2.0, -2.0], gold)
    assert found["acc"] == (float(gold == 0),) and found[margin_name("acc")] == (0.0,)


def test_three_choices_and_six_digits() -> None:
    requests = (*ASKED, Request("loglikelihood", "q", " e"))
    golds = {"acc": choice_gold(requests, 2, "acc")}
    responses = [Response(-1.0), Response(-0.25), Response(-1 / 3)]
    found = with_margins({"acc": (0.0,)}, golds, responses)
    assert found[margin_name("acc")] == (-0.0833333,)


def test_no_margin_that_contradicts_the_metric_or_is_no_number() -> None:
    golds = {"acc": choice_gold(ASKED, 0, "acc")}
    two_right = with_margins({"acc": (1.0,)}, golds, [Response(-2.0), Response(-1.0)])
    assert two_right == {"acc": (1.0,)}
    never = [Response(float("-inf")), Response(float("-inf"))]
    assert with_margins({"acc": (1.0,)}, golds, never) == {"acc": (1.0,)}


def test_texts_that_are_written_have_none() -> None:
    task = native(MatchRule("a"), (Request("generate", "q"),), "exact_match")
    assert choice_golds(task, task.items[0]) == {}


@dataclass(frozen=True, slots=True)
class Nameless:
    """A rule of two requests that names no gold choice."""

    def signature(self) -> object:
        """Nothing."""
        return []


def test_a_task_without_a_gold_answer_has_none() -> None:
    task = native(Nameless(), ASKED, "acc")
    assert choice_golds(task, task.items[0]) == {}

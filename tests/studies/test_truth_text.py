"""The words of optimism, masks and random search, and where report and card put them."""

import dataclasses
import html
import re
from pathlib import Path

import pytest

from studies import view as v
from studies.card import model_card
from studies.conduct import Outcome
from studies.plots import figures
from studies.report import render
from studies.run import RunFolder
from studies.summary import print_outcome
from studies.truth_text import (
    beside_json,
    beside_sentences,
    masks_sentences,
    optimism_lead,
    optimism_sentence,
    optimism_sentences,
    truth_json,
)

HOSTILE = "<img src=x onerror=alert(1)>|*x*"


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def one(too_good: float, base: float | None = 0.006) -> v.Optimism:
    return v.Optimism("logic", v.Estimate(0.842), v.Estimate(0.801), too_good, base)


def test_optimism_is_said_with_both_scores_and_what_the_base_says() -> None:
    text = optimism_sentence(one(0.041))
    assert "0.842 on search, 0.801 on select: the search score is 0.041 too good" in text
    assert "the base, never searched, differs by +0.006" in text
    assert "not too good" in optimism_sentence(one(-0.01))
    assert "base" not in optimism_sentence(one(0.041, None))


@pytest.mark.parametrize(
    ("gaps", "said", "unsaid"),
    [
        ((0.04, 0.01), "says by how much.", "loses nothing"),
        ((0.04, -0.02), "where it loses nothing, that is not seen.", "not seen here"),
        ((0.0, -0.02), "the winner loses nothing on the select split.", "overfitted"),
    ],
)
def test_a_winner_that_loses_nothing_on_select_is_not_said_to(make_view, gaps, said, unsaid):
    view = dataclasses.replace(make_view(), optimism=tuple(map(one, gaps)))
    lead = optimism_lead(view)
    assert lead.endswith(said) and unsaid not in lead


def test_a_reference_that_won_was_not_searched(make_view, truthful) -> None:
    view = truthful(make_view())
    assert "overfitted" in optimism_lead(view)
    won = dataclasses.replace(view.winner, number=None, name="zoo/code")
    assert "no trial" in optimism_lead(dataclasses.replace(view, winner=won))
    assert optimism_sentences(dataclasses.replace(view, winner=None)) == ()
    assert optimism_sentences(make_view()) == () == masks_sentences(make_view())
    assert beside_sentences(make_view()) == ()


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0.02, 0.2, "The search found more."),
        (-0.2, -0.02, "Random search found more."),
        (-0.1, 0.2, "That the search finds more than chance is not shown."),
        (None, None, "too few groups of questions for an interval."),
    ],
)
def test_who_found_more_follows_from_the_interval_alone(make_view, truthful, low, high, told):
    view = truthful(make_view())
    gap = v.Estimate(0.11, low, high, 240)
    view = dataclasses.replace(view, beside=dataclasses.replace(view.beside, difference=gap))
    said = beside_sentences(view)[1]
    assert said.endswith(told) and "trial 55" in said and "random 12" in said


def test_nothing_is_compared_where_a_side_has_no_candidate(make_view, truthful) -> None:
    view = truthful(make_view())
    none = dataclasses.replace(view.beside, random="", random_utility=None, difference=None)
    text = beside_sentences(dataclasses.replace(view, beside=none))[-1]
    assert text == "No usable candidate of random search: nothing is compared."
    late = dataclasses.replace(view, beside=dataclasses.replace(view.beside, trials=50))
    assert "It was run after 50 trials, 10 came since." in beside_sentences(late)


def test_report_and_card_have_every_sentence(make_view, truthful) -> None:
    view = truthful(make_view(3))
    page = words(html.unescape(render(view)))
    card = re.sub(r"\\(.)", r"\1", model_card(view, "merge_method: ties\n", None))
    for sentence in (*view.prices, view.winner.choice, *beside_sentences(view)):
        assert sentence in page and sentence in card
    for sentences in (optimism_sentences(view), masks_sentences(view)):
        assert sentences[0] in page and all(text in card for text in sentences)
    for spread in (*view.masks.select, *view.masks.test):
        assert spread.name in page
    assert "+0.041" in page and "random search" in page


def test_names_in_it_stay_text(make_view, truthful) -> None:
    view = truthful(make_view())
    odd = dataclasses.replace(view.beside, search=HOSTILE, random=HOSTILE)
    optimism = tuple(dataclasses.replace(one, objective=HOSTILE) for one in view.optimism)
    spreads = tuple(dataclasses.replace(one, name=HOSTILE) for one in view.masks.select)
    masks = dataclasses.replace(view.masks, select=spreads)
    view = dataclasses.replace(view, beside=odd, optimism=optimism, masks=masks)
    page, card = render(view), model_card(view, "merge_method: ties\n", None)
    assert "<img" not in page and page.count("&lt;img") >= 6
    assert not re.search(r"(?<!\\)<img", card) and "|*x*" not in card


def test_both_curves_are_on_one_plot(make_view, truthful) -> None:
    view = truthful(make_view())
    drawn = figures(view)["hypervolume"]
    assert [trace.name for trace in drawn.data] == ["the search", "random search"]
    assert drawn.layout.showlegend and list(drawn.data[1].y) == [
        value for _, value in view.beside.hypervolume
    ]
    assert len(figures(make_view())["hypervolume"].data) == 1


def test_as_data(make_view, truthful) -> None:
    view = truthful(make_view())
    found = truth_json(view)
    assert found["improved"] is True and found["prices"] == list(view.prices)
    assert found["masks"]["select"]["utility"] == {
        "own": 0.80, "mean": 0.78, "sd": 0.012, "min": 0.765, "max": 0.801,
    }  # fmt: skip
    assert beside_json(view.beside)["difference"] == {"value": 0.11, "low": 0.02, "high": 0.20}
    assert beside_json(None) is None and truth_json(dataclasses.replace(view, winner=None)) == {}


def test_the_terminal_shows_names_as_they_are_and_no_empty_table(make_view, capsys) -> None:
    view = make_view()
    won = dataclasses.replace(view.winner, claim="no better than [b]:fire:\u202e.")
    for rows in (view.test_rows, ()):
        shown = dataclasses.replace(view, winner=won, test_rows=rows)
        outcome = Outcome(RunFolder(Path("runs/[b]:fire:")), None, "trials", 60, 2, 9, shown, {})
        print_outcome(outcome)
        out = capsys.readouterr().out
        assert "no better than [b]:fire: .\n" in out and "runs/[b]:fire:/winner.yaml" in out
        assert ("On the sealed test split" in out) is bool(rows)

"""What is claimed follows from the interval alone, and no gain is said in words."""

import pytest

from studies.claims import RULES, claim_text
from studies.view import Estimate

RULE = RULES["maximin"]


def test_a_gain_whose_interval_is_above_zero() -> None:
    text = claim_text(Estimate(0.3, 0.1, 0.5, 90), "trial 7", "math", RULE, is_trial=True)
    assert text.startswith("trial 7 is better than the best parent, math")
    assert "+0.300 (95% interval +0.100 to +0.500)" in text and RULE in text


@pytest.mark.parametrize("low", [0.0, -0.1])
def test_an_interval_that_includes_zero_is_no_gain(low: float) -> None:
    text = claim_text(Estimate(0.3, low, 0.5, 90), "trial 7", "math", RULE, is_trial=True)
    assert text.startswith("No improvement was shown: trial 7 against the best parent, math")
    assert "better" not in text and text.endswith("The interval includes zero.")


def test_a_loss_is_called_one() -> None:
    text = claim_text(Estimate(-0.3, -0.5, -0.1, 90), "trial 7", "math", RULE, is_trial=True)
    assert text.startswith("No improvement was shown: trial 7 against the best parent, math")
    assert text.endswith("trial 7 is worse.") and "includes zero" not in text


def test_too_few_groups_and_no_test_split_claim_nothing() -> None:
    few = claim_text(Estimate(0.3, None, None, 9), "trial 7", "math", RULE, is_trial=True)
    assert "too few" in few and "nothing is claimed" in few and "better" not in few
    none = claim_text(None, "trial 7", "math", RULE, is_trial=True)
    assert "nothing is claimed" in none and "better" not in none


def test_a_reference_that_wins_is_no_find() -> None:
    itself = claim_text(None, "math", "math", RULE, is_trial=False)
    assert itself.startswith("No improvement was found: no merge is better than the best parent")
    assert "standard error" not in itself
    other = claim_text(Estimate(0.3, 0.1, 0.5, 90), "uniform", "math", RULE, is_trial=False)
    assert other.startswith("No candidate of the search was better than uniform on the select")


def test_a_reference_that_wins_within_the_noise_says_so() -> None:
    noise = "by more than one standard error"
    itself = claim_text(None, "math", "math", RULE, is_trial=False, within=True)
    assert f"on the select split {noise}. It wins itself" in itself
    gain = Estimate(0.3, 0.1, 0.5, 90)
    other = claim_text(gain, "uniform", "math", RULE, is_trial=False, within=True)
    assert other.startswith(f"No candidate of the search was better than uniform {noise} on the")


def test_the_table_and_the_claim_are_those_of_the_ledger(searched) -> None:
    import numpy as np

    from search.ledger import Ledger
    from studies.results import stored_view

    with Ledger(f"sqlite:///{searched.run / 'study.db'}") as ledger:
        view, verdict = stored_view(ledger), ledger.meta("verdict")
        settings = ledger.meta("settings")
        names = {one.name: one for one in ledger.candidates("reference")}
        names |= {f"trial {one.number}": one for one in ledger.candidates("trial")}
        every = {name: ledger.results(one.recipe_hash, settings, "sums")
                 for name, one in names.items()}  # fmt: skip
        blocks = {name: known for name, known in every.items() if len(known) == 50}
    assert view is not None and view.winner is not None
    assert [row.name for row in view.test_rows][0] == verdict["winner"] == view.winner.name
    assert {row.name for row in view.test_rows} >= {"base", "alpha", "beta", "uniform"}
    assert view.columns == ("sums acc", "lines bits_per_byte")
    winner = view.test_rows[0]
    assert winner.difference == {} and winner.values["sums acc"].items == 15
    for row in view.test_rows[1:]:
        gap = winner.values["sums acc"].value - row.values["sums acc"].value
        assert row.difference["sums acc"].value == pytest.approx(gap, abs=1e-12)
        assert row.values["sums acc"].low is None  # fifteen groups: too few for an interval
        overall = np.mean([one["acc"][0] for one in blocks[row.name].values()])
        search = names[row.name].scores[0]
        select = (overall * 50 - search * 20 - row.values["sums acc"].value * 15) / 15
        assert -1e-9 <= select <= 1 + 1e-9  # the three splits make up the whole

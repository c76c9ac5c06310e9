"""The one claim of a study, and the table of the sealed test split."""

from collections.abc import Mapping, Sequence

from search.ledger import Candidate, label
from search.objectives import Objective
from search.verdict import Verdict

from .estimates import Scores, metric_difference, metric_estimate, utility_difference
from .view import Estimate, TestRow


def utility_gain(
    scores: Scores,
    winner: Candidate,
    rival: Candidate,
    objectives: Sequence[Objective],
    verdict: Verdict,
) -> Estimate:
    """The winner's utility on `test` minus the rival's, with its paired interval."""
    return utility_difference(scores, [winner], [rival], objectives, verdict, "test")


def claim_text(
    gain: Estimate | None,
    winner: str,
    rival: str,
    rule: str,
    *,
    is_trial: bool,
    seen: int = 1,
    within: bool = False,
) -> str:
    """What may be said, in words.

    `is_trial`: the winner came out of the search. `seen`: how often the test split was opened.
    `within`: a trial was ahead of the winner on `select`, by less than one standard error.
    """
    noise = " by more than one standard error" if within else ""
    if winner == rival:
        return (
            f"No improvement was found: no merge is better than the best parent, {rival}, on the "
            f"select split{noise}. It wins itself ({rule})."
        )
    known = f"No candidate of the search was better than {winner}{noise} on the select split. "
    text = ("" if is_trial else known) + _gain_text(gain, winner, rival, rule)
    fresh = "on questions that nothing was tuned on"
    return text if seen < 2 else text.replace(fresh, f"on a test split that was seen {seen} times")


def _gain_text(gain: Estimate | None, winner: str, rival: str, rule: str) -> str:
    if gain is None:
        return (
            f"{winner} won on the select split. Winner and best parent, {rival}, have no scores "
            "on a test split, so nothing is claimed."
        )
    if gain.low is None or gain.high is None:
        return (
            f"{winner} gains {gain.value:+.3f} in utility over {rival} on the test split, too few "
            "groups of questions for an interval: nothing is claimed."
        )
    interval = f"{gain.value:+.3f} (95% interval {gain.low:+.3f} to {gain.high:+.3f})"
    if gain.low > 0:
        return (
            f"{winner} is better than the best parent, {rival}, on questions that nothing was "
            f"tuned on: utility {interval}, {rule}."
        )
    found = (
        f"No improvement was shown: {winner} against the best parent, {rival}, on the test split: "
        f"utility {interval}, {rule}. "
    )
    if gain.high < 0:
        return found + f"The whole interval is below zero: {winner} is worse."
    return found + "The interval includes zero."


def choice_text(verdict: Verdict) -> str:
    """Why another than the most useful on `select` won; empty where it did not."""
    if verdict.best in ("", verdict.winner):
        return ""
    return (
        f"On select {verdict.best} was ahead of {verdict.winner} by {verdict.lead:.3f} in "
        f"utility, within one standard error ({verdict.error:.3f}); {verdict.winner} is the "
        "simpler recipe."
    )


SCALE = "base at 0 and best parent at 1 (worst parent 0, base 1 where no parent beats the base)"
RULES = {
    "maximin": f"the smallest of the objectives, {SCALE}",
    "weighted": f"the weighted mean of the objectives, {SCALE}",
    "task": f"one objective, {SCALE}",
}


def test_rows(
    scores: Scores,
    winner: Candidate,
    references: Sequence[Candidate],
    columns: Mapping[str, tuple[str, str]],
) -> tuple[TestRow, ...]:
    """The winner first, then every reference that was scored; empty without a test split.

    `columns` maps a column's label to (task, metric).
    """
    rows = []
    others = [one for one in references if label(one) != label(winner)]
    for one in (winner, *others):
        shown = {
            name: part for name, part in columns.items() if scores.complete(one, part[0], "test")
        }
        if not shown:
            continue
        values = {
            name: metric_estimate(scores, one, *part, "test") for name, part in shown.items()
        }
        difference = {
            name: metric_difference(scores, winner, one, *part, "test")
            for name, part in shown.items()
            if one is not winner and scores.complete(winner, part[0], "test")
        }
        kind = "winner" if one is winner else one.role
        rows.append(TestRow(label(one), kind, values, difference))
    return tuple(rows)

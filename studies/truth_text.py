"""What keeps a winner honest, in words and as data: report, card, terminal and `--json` say it.

The optimism of its search score, the spread over masks, a simpler recipe that won within the
noise, the random search beside. Strings are raw: whoever writes them escapes them.
"""

from .view import Beside, Estimate, Masks, Optimism, RunView, Spread
from .wording import count, has_interval, interval, number, signed


def optimism_lead(view: RunView) -> str:
    """Why search and select differ; empty where there is nothing to show."""
    if view.winner is None or not view.optimism:
        return ""
    if view.winner.number is None:
        return (
            "The winner is no trial, nothing was searched for it: its scores on the search and "
            "the select split differ by their questions alone."
        )
    lost = [one.too_good > 0 for one in view.optimism]
    if not any(lost):
        return (
            "The search chose among scores on the search split, and with them it may have chosen "
            "luck. That is not seen here: the winner loses nothing on the select split."
        )
    elsewhere = "" if all(lost) else "; where it loses nothing, that is not seen"
    return (
        "The search split is overfitted: the search chose among scores there, and with them it "
        f"chose luck. What the winner loses on the select split says by how much{elsewhere}."
    )


def optimism_sentence(one: Optimism) -> str:
    """Both scores of an objective and their difference."""
    scores = f"{one.objective}: {number(one.search.value)} on search, {number(one.select.value)} "
    flattered = (
        f"on select: the search score is {number(one.too_good)} too good"
        if one.too_good > 0
        else f"on select: the search score is not too good ({signed(one.too_good)})"
    )
    base = "" if one.base is None else f"; the base, never searched, differs by {signed(one.base)}"
    return f"{scores}{flattered}{base}."


def optimism_sentences(view: RunView) -> tuple[str, ...]:
    """The reason, then a sentence an objective; none before there is a winner."""
    lead = optimism_lead(view)
    return (lead, *map(optimism_sentence, view.optimism)) if lead else ()


def masks_lead(masks: Masks) -> str:
    """What was done about chance."""
    return (
        f"The winner draws random masks. It was ranked by its mean over {len(masks.seeds)} mask "
        f"seeds; the exported recipe holds the first, {masks.seeds[0]}, and the claim is about "
        "that one. mergekit draws other masks; `eutectic merge` draws the scored one."
    )


def spread_sentence(split: str, one: Spread) -> str:
    """One figure over the mask seeds."""
    return (
        f"{one.name} on {split}: {number(one.own)} as exported, mean {number(one.mean)}, standard "
        f"deviation {number(one.deviation)}, {number(one.low)} to {number(one.high)}."
    )


def masks_sentences(view: RunView) -> tuple[str, ...]:
    """None where the winner draws no masks."""
    masks = view.masks
    if masks is None:
        return ()
    told = [spread_sentence("select", one) for one in masks.select]
    told += [spread_sentence("test", one) for one in masks.test]
    return (masks_lead(masks), *told, *([mask_gain(masks.gain)] if masks.gain else []))


def mask_gain(gain: Estimate) -> str:
    """The gain of the recipe, whatever its mask."""
    sure = f" (95% interval {interval(gain, difference=True)})" if has_interval(gain) else ""
    return f"Mean gain over the mask seeds on test: {signed(gain.value)} in utility{sure}."


def beside_sentences(view: RunView) -> tuple[str, ...]:
    """How random search did with as many items; none where it was not asked for."""
    found = view.beside
    if found is None:
        return ()
    failed = f", {found.failed} of them failed" if found.failed else ""
    given = (
        f"Beside the search: random search with as many item evaluations ({found.items:,}, "
        f"{count(found.candidates, 'candidate')} in full{failed})."
    )
    late = len(view.trials) - found.trials
    since = [f"It was run after {found.trials} trials, {late} came since."] if late > 0 else []
    return (given, *since, *_compared(found))


def _compared(found: Beside) -> tuple[str, ...]:
    if found.difference is None:
        sides = {"the search": found.search, "random search": found.random}
        missing = [name for name, one in sides.items() if not one]
        if not missing:
            return ("Their scores on select are not all there: nothing is compared.",)
        return (f"No usable candidate of {' and of '.join(missing)}: nothing is compared.",)
    return (
        f"On select the search's best trial, {found.search}, has a utility of "
        f"{number(found.search_utility)}, the best random candidate, {found.random}, "
        f"{number(found.random_utility)}: {_outcome(found.difference)}",
        "Both were chosen on these questions, by the same rule. The test split is not opened for "
        "a second candidate: that would be a second claim.",
    )


def _outcome(difference: Estimate) -> str:
    if difference.low is None or difference.high is None:
        return f"{signed(difference.value)}, too few groups of questions for an interval."
    sure = f"{signed(difference.value)} (95% interval {interval(difference, difference=True)})"
    if difference.low > 0:
        return f"{sure}. The search found more."
    if difference.high < 0:
        return f"{sure}. Random search found more."
    return f"{sure}. That the search finds more than chance is not shown."


def truth_json(view: RunView) -> dict[str, object]:
    """The winner's part of `search --json` that keeps it honest."""
    winner, masks = view.winner, view.masks
    if winner is None:
        return {}
    return {
        "improved": winner.improved,
        "utility_gain": estimate_json(winner.utility_gain),
        "choice": winner.choice,
        "prices": list(view.prices),
        "optimism": {
            one.objective: {
                "search": one.search.value,
                "select": one.select.value,
                "too_good": one.too_good,
                "base": one.base,
            }
            for one in view.optimism
        },
        "masks": None
        if masks is None
        else {
            "seeds": list(masks.seeds),
            "select": {one.name: _spread_json(one) for one in masks.select},
            "test": {one.name: _spread_json(one) for one in masks.test},
            "utility_gain": estimate_json(masks.gain),
        },
    }


def beside_json(found: Beside | None) -> dict[str, object] | None:
    """The random search of `search --json`, None where none was asked for."""
    if found is None:
        return None
    return {
        "sampler": "random",
        "candidates": found.candidates,
        "items": found.items,
        "search": {"name": found.search, "select_utility": found.search_utility},
        "random": {"name": found.random, "select_utility": found.random_utility},
        "difference": estimate_json(found.difference),
    }


def estimate_json(one: Estimate | None) -> dict[str, float | None] | None:
    """`{value, low, high}`."""
    return None if one is None else {"value": one.value, "low": one.low, "high": one.high}


def _spread_json(one: Spread) -> dict[str, float]:
    return {
        "own": one.own,
        "mean": one.mean,
        "sd": one.deviation,
        "min": one.low,
        "max": one.high,
    }

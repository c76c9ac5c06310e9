"""The next trial of a search: from a gradient where one is due, else as proposed."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from .gradients import Gradients
from .ledger import Candidate
from .proposals import Proposal, Proposer
from .shadow import Shadow
from .trials import Proposing


def next_trial(
    proposing: Proposing,
    gradients: Gradients | None,
    trials: Sequence[Candidate],
    prepared: "Future[Proposal] | None",
    shadow: Shadow | None,
    proposer: Proposer,
    tell: Callable[[str], None],
) -> Candidate:
    """The trial after `trials`, charged with what gradients that it is due to have cost.

    `tell` is told once that the points of gradients are dropped.
    """
    if proposing.dropped(trials, shadow):
        tell("what gradients predict does not rank candidates: their other points are dropped")
    if gradients is None or shadow is None:
        return proposing.next(trials, prepared, shadow, proposer)
    if (refined := gradients.refined(trials, shadow)) is not None:
        return proposing.from_gradient(len(trials), refined)
    trial = proposing.next(trials, prepared, shadow, proposer)
    items, seconds = gradients.charged(len(trials))
    seconds += trial.propose_seconds
    return trial.ended(items=trial.items + items, propose_seconds=seconds)

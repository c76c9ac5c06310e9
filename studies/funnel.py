"""How a race narrowed: trials at each look, then how few were left to choose from. Plain data."""

from dataclasses import dataclass

from .view import RunView, TrialView
from .wording import count


@dataclass(frozen=True, slots=True)
class Step:
    """How many trials came so far, and what became of them here.

    `on` went on from here (or won), `waiting` were left at this step, `dropped` were shown to be
    dominated here, `failed` could not be scored.
    """

    title: str
    note: str
    on: int
    waiting: int = 0
    dropped: int = 0
    failed: int = 0
    race: bool = True
    """Whether it is a step of the race; else of the choice that follows."""

    @property
    def trials(self) -> int:
        """All that came so far."""
        return self.on + self.waiting + self.dropped + self.failed


def funnel(view: RunView) -> tuple[Step, ...]:
    """The steps in order; none where the run does not say how often trials were looked at."""
    if not any(trial.looks for trial in view.trials):
        return ()
    last = max(len(view.looks), max(trial.looks for trial in view.trials))
    begun = [t for t in view.trials if t.looks or t.state not in ("running", "paused")]
    steps = [_begun(view, begun)]
    for look in range(1, last + 1):
        here = [one for one in begun if one.looks >= look or one.state == "complete"]
        if here:
            steps.append(_look(view, here, look, last))
    return (*steps, *_choice(view))


def _begun(view: RunView, begun: list[TrialView]) -> Step:
    failed = sum(trial.looks == 0 for trial in begun)
    waits = len(view.trials) - len(begun)
    return Step("begun", "proposed, built", len(begun) - failed, waits, failed=failed)


def _look(view: RunView, here: list[TrialView], look: int, last: int) -> Step:
    ended = [trial for trial in here if trial.looks == look and trial.state != "complete"]
    states = [trial.state for trial in ended]
    items = view.looks[look - 1] if look <= len(view.looks) else 0
    about = "" if look == last else "about "
    return Step(
        "every item" if look == last else f"look {look}",
        f"{about}{count(items, 'item')}" if items else "",
        len(here) - len(ended),
        sum(state in ("paused", "running") for state in states),
        states.count("dropped"),
        states.count("failed"),
    )


def _choice(view: RunView) -> list[Step]:
    """Who was nominated, who met on select, who won; those that cannot be known are left out."""
    front = sum(trial.on_front for trial in view.trials)
    steps = [Step("on the front", "nominated", front, race=False)] if front else []
    met = sum(bool(trial.select) for trial in view.trials)
    if met:
        steps.append(Step("finalists", "met on select", met, race=False))
    if view.winner:
        note = view.winner.name if view.winner.number is not None else "a reference won"
        steps.append(Step("winner", note, int(view.winner.number is not None), race=False))
    return steps

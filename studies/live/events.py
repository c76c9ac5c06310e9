"""What happens in a search, told in three ways: a plain line, a short one, a JSON object.

The JSON lines of `--progress json` are documented in docs/progress.md; scripts read them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from search.ledger import Candidate, label
from search.objectives import Objective

from ..wording import clean, count
from .snapshot import Told

Kind = Literal["start", "phase", "candidate", "note", "warning", "end"]
STYLES = {"complete": "", "paused": "dim", "dropped": "dim", "failed": "red"}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; `line` empty: nothing to say of it in words."""

    kind: Kind
    line: str
    brief: str
    """For the picture, which says the rest elsewhere."""
    data: Mapping[str, Any] = field(default_factory=dict)
    style: str = ""

    def told(self, clock: str) -> Told:
        """As the picture shows it."""
        return Told(clock, self.brief, self.style)

    @property
    def many(self) -> bool:
        """Whether so many of its kind may come that not every one need be told."""
        return self.kind == "candidate" and self.data.get("kind") != "reference"


def said(kind: Literal["note", "warning"], text: str) -> Event:
    """A line for whoever watches; a warning is told to whoever wants quiet too."""
    one = clean(text)
    line = f"warning: {one}" if kind == "warning" else one
    return Event(kind, line, line, {"text": one}, "yellow" if kind == "warning" else "dim")


def entered(phase: str, candidates: int) -> Event:
    """Another part of the search begins."""
    line = f"{phase}: {count(candidates, 'candidate')}" if candidates else phase
    return Event("phase", line, line, {"phase": phase, "candidates": candidates}, "bold")


def candidate_ended(
    one: Candidate,
    objectives: Sequence[Objective],
    *,
    front: int,
    budget: Mapping[str, tuple[float, float]],
) -> Event:
    """A candidate was scored, on all or on some items, or failed.

    Args:
        one: The candidate.
        objectives: Of the study, in its order.
        front: Members of the front so far; 0 before the first trial.
        budget: What is used of each limit, and it.
    """
    names = [f"{clean(each.name)} " for each in objectives]
    name, limit = clean(label(one)), budget.get("trials")
    wanted = f"/{limit[1]:.0f}" if limit and one.kind == "trial" else ""
    seconds = f"built {one.build_seconds:.2f} s, scored {one.score_seconds:.2f} s"
    shown = f", front {front}" if front else ""
    line = f"{name}{wanted} [{clean(one.name)}] {_outcome(one, names)}; {seconds}{shown}"
    brief = f"{name}: {_outcome(one, [''] * len(names))}"
    used = {name: {"used": spent, "limit": most} for name, (spent, most) in budget.items()}
    data = {**_data(one, objectives), "front": front, "budget": used}
    return Event("candidate", line, brief, data, STYLES.get(one.state, ""))


def _data(one: Candidate, objectives: Sequence[Objective]) -> dict[str, Any]:
    values = one.scores or one.estimates
    named = zip(objectives, values, strict=True) if values else ()
    return {
        "kind": one.kind,
        "number": one.number,
        "label": label(one),
        "origin": one.name,
        "state": one.state,
        "objectives": {each.name: _finite(value) for each, value in named},
        "estimated": one.scores is None and values is not None,
        "dropped_for": one.dropped_for or None,
        "error": one.error,
        "items": one.items,
        "propose_seconds": one.propose_seconds,
        "build_seconds": one.build_seconds,
        "score_seconds": one.score_seconds,
    }


def _outcome(one: Candidate, names: Sequence[str]) -> str:
    """The scores behind their names, or what became of it, after how many items."""
    values = one.scores or one.estimates
    if values is None:
        return f"{one.state}: {clean(one.error or '')}"
    pairs = zip(names, values, strict=True)
    scores = "  ".join(f"{name}{score:.4g}" for name, score in pairs)
    if one.scores is not None:
        return scores
    after = f"after {count(one.items, 'item')}"
    rival = f" against {clean(one.dropped_for)}" if one.dropped_for else ""
    told = {"dropped": f"dropped{rival} {after}", "paused": f"waits {after}"}
    return f"{told.get(one.state, one.state)}, about {scores}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

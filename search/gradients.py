"""Gradients of the merge coefficients: starting points along the front, and steps from it.

theta(c) = theta_0 + sum_g c_g tau_g, so dL/dc_g = <grad L, tau_g>: one backward pass on
calibration items gives the derivative of a task's loss by every weight and lambda at every tensor
(`merging.slopes`), the chain rule those by the dimensions of the space (`space_slopes`), and a
trust region the points (`chebyshev`). After AdaMerging (Yang et al.,
https://arxiv.org/abs/2310.02575), with labels, and along a front.

The loss is that of the gold answers, not the metric; it is only believed as long as it ranks
candidates as their scores do (`predictions`). Items of the `calibration` split only. Densities,
epsilons and choices stay as they are where it begins. Methods without a derivative, tasks without
a gold answer, and budgets that have no room for it are told, and searched without.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

from evaluation.errors import EvaluationError
from evaluation.task import Task
from merging.errors import MergeError
from merging.methods.table import METHODS
from merging.sloped import refusal

from .chebyshev import (
    APART,
    Evaluation,
    Point,
    directions,
    ideal_of,
    scalarised,
    search_front,
)
from .coordinates import Coordinates
from .executors import Executor
from .front import pareto_front
from .gradient_plan import PASSES, GradientPlan, gold_items, plan_gradients
from .gradient_starts import GradientStart, standing
from .ledger import Candidate, Ledger
from .losses import Losses, Taken
from .objectives import Budget, Objective, Scale, make_scale
from .space_parts import Dimension, Values
from .space_points import Space
from .space_ranges import Value
from .space_slopes import moved_dimensions, scaled, stretch, unscaled
from .trials import with_mask_seed
from .warm_start import Reference, WarmStart
from .winner import front

REFINE_EVERY = 8
"""With `gradients: refine`, one proposal in so many is a gradient's step from the front."""
REFINE_STEPS = 3
"""Evaluations of slopes of one such step."""
POINTS, PLAN = "gradient_points", "gradient_plan"


class Unfit(Exception):
    """Gradients do not apply; the message says why."""


@dataclass(slots=True)
class Gradients:
    """The gradient phase of one search. `tell` takes a line for whoever watches."""

    ledger: Ledger
    executor: Executor
    space: Space
    coordinates: Coordinates
    tasks: Mapping[str, Task]
    splits: Mapping[str, Mapping[str, Sequence[int]]]
    objectives: Sequence[Objective]
    references: Sequence[Reference]
    warm_starts: Sequence[WarmStart]
    budget: Budget
    items_per_candidate: int
    seed: int
    mask_seed: int
    refine: bool
    tell: Callable[[str], None]
    _scales: tuple[Scale, ...] = field(default=(), init=False)
    _starts: tuple[GradientStart, ...] = field(default=(), init=False)

    def starts(self, trials: Sequence[Candidate]) -> tuple[GradientStart, ...]:
        """The starting points, found once and kept in the ledger.

        Args:
            trials: Those there are. A run that went on without gradients goes on so.
        """
        stored = self.ledger.meta(POINTS)
        if stored is None and len(trials) > len(self.warm_starts):
            return ()
        if stored is None:
            stored = self._found()
            self.ledger.set_meta(POINTS, stored)
        self._scales = tuple(Scale(*one) for one in stored["scales"])
        self._starts = tuple(
            _start(self.space, name, values, predicted, *cost)
            for name, values, predicted, cost in stored["points"]
        )
        return self._starts

    def refined(self, trials: Sequence[Candidate]) -> GradientStart | None:
        """A step from a member of the front, where the next trial's number is due for one.

        Like a proposal it knows the trials but for the last; None: propose as usual.
        """
        stored = self._step_of(trials)
        if stored is None or stored["values"] is None:
            return None
        name = f"gradient step {len(trials)} from trial {stored['from']}"
        return _start(self.space, name, stored["values"], stored["predicted"], *stored["cost"])

    def charged(self, number: int) -> tuple[int, float]:
        """Items and seconds of a step that led nowhere: the proposal in its place bears them."""
        stored = self.ledger.meta(f"gradient step {number}")
        if stored is None or stored["values"] is not None:
            return 0, 0.0
        return int(stored["cost"][0]), float(stored["cost"][1])

    def _step_of(self, trials: Sequence[Candidate]) -> dict[str, Any] | None:
        number, known = len(trials), [one for one in trials[:-1] if one.values is not None]
        first = len(self.warm_starts) + len(self._starts)
        turn, due = divmod(number - first, REFINE_EVERY)
        if not self.refine or number < first or due != REFINE_EVERY - 1:
            return None
        members = [one for one in front(known, self.objectives) if self._moves(one.values or {})]
        if (
            not members
            or not self._scales
            or not standing(self._starts, known, self.objectives)[0]
        ):
            return None
        plan = self._plan()
        key = f"gradient step {number}"
        stored: dict[str, Any] | None = self.ledger.meta(key)
        if isinstance(plan, str) or (stored is None and self._spent(number) > self._room(plan)):
            return None
        if stored is None:
            try:
                stored = self._stepped(plan, members[turn % len(members)], known)
            except (EvaluationError, MergeError) as error:
                self.tell(f"no gradient step: {error}")
                return None
            self.ledger.set_meta(key, stored)
        return stored

    def _found(self) -> dict[str, Any]:
        """The points as they are stored; none, the reason told, where gradients do not apply."""
        try:
            plan = self._plan()
            if isinstance(plan, str):
                raise Unfit(plan)
            self.ledger.set_meta(PLAN, list(astuple(plan)))
            return self._searched(plan)
        except (Unfit, EvaluationError, MergeError) as error:
            self.tell(f"no starting points from gradients: {error}")
            return {"points": [], "items": 0, "scales": []}

    def _searched(self, plan: GradientPlan) -> dict[str, Any]:
        losses = self._losses(plan)
        begin, known = self._begun(losses, plan.starts)
        method = self.space.method(begin)
        moved = moved_dimensions(self.space, method)
        weights = directions(len(self.objectives), plan.points)
        history = list(known)

        def evaluate(at: Sequence[float]) -> Evaluation:
            found = self._evaluated(losses, begin, moved, at)
            history.append(found)
            return found

        points = search_front(evaluate, known, weights, plan.evaluations)
        points = _filled(points, history, plan.points)
        stored = self._named(points, begin, moved)
        cost = (losses.items, losses.seconds)
        self.tell(
            f"gradients: {len(stored)} starting points, by at most {plan.evaluations} backward "
            f"passes over up to {plan.items} calibration items a task; this cost "
            f"{losses.items:,} item evaluations"
        )
        named = [
            (name, values, predicted, cost if number == 0 else (0, 0.0))
            for number, (name, values, predicted) in enumerate(stored)
        ]
        scales = [(one.zero, one.unit) for one in self._scales]
        return {"points": named, "items": losses.items, "scales": scales}

    def _begun(self, losses: Losses, count: int) -> tuple[Values, list[Evaluation]]:
        """Where it begins: the warm start of the best loss; and those like it but for weights."""
        starts = self._able()[:count]
        self._scaled(losses)
        taken = [losses.of_point(one.values, slopes=False) for one in starts]
        found = [
            (one.values, self._utilities(each))
            for one, each in zip(starts, taken, strict=True)
            if each.finite
        ]
        if not found:
            raise Unfit("no warm start has a finite loss")
        middle = directions(len(self.objectives), 1)[0]
        ideal = ideal_of([Evaluation((), utilities, None) for _, utilities in found])
        begin, _ = min(found, key=lambda one: scalarised(middle, ideal, one[1]))
        moved = moved_dimensions(self.space, self.space.method(begin))
        names = {one.name for one in moved}
        others = {name: value for name, value in begin.items() if name not in names}
        return begin, [
            Evaluation(tuple(scaled(one.range, values[one.name]) for one in moved), own, None)
            for values, own in found
            if {name: value for name, value in values.items() if name not in names} == others
        ]

    def _able(self) -> list[WarmStart]:
        """The warm starts whose merge method has a derivative."""
        found = [one for one in self.warm_starts if self._moves(one.values)]
        if not found:
            why = [text for name in self.space.methods if (text := refusal(METHODS[name]))]
            raise Unfit(why[0] if why else "no weight and no lambda is searched")
        merge = self.executor.prepare(found[0].data)
        if any(job.stepwise is not None for job in merge.jobs):
            raise Unfit("candidates are rounded at every step, as mergekit does")
        return found

    def _moves(self, values: Values) -> bool:
        method = self.space.method(values)
        return not refusal(METHODS[method]) and bool(moved_dimensions(self.space, method))

    def _evaluated(
        self,
        losses: Losses,
        begin: Values,
        moved: Sequence[Dimension],
        at: Sequence[float],
    ) -> Evaluation:
        values = _moved_to(begin, moved, at)
        really = tuple(scaled(one.range, values[one.name]) for one in moved)
        taken = losses.of_point(values, slopes=True)
        utilities = self._utilities(taken)
        if not taken.finite:
            return Evaluation(really, utilities, tuple((0.0,) * len(moved) for _ in utilities))
        slopes = tuple(
            tuple(
                own[one.name] * stretch(one.range, values[one.name]) / scale.unit for one in moved
            )
            for own, scale in zip(taken.slopes, self._scales, strict=True)
        )
        return Evaluation(really, utilities, slopes)

    def _utilities(self, taken: Taken) -> tuple[float, ...]:
        """Losses on the scale of base and best parent; -inf where there is none."""
        pairs = zip(self._scales, taken.losses, strict=True)
        return tuple(
            scale.utility(loss) if taken.finite else -float("inf") for scale, loss in pairs
        )

    def _scaled(self, losses: Losses) -> None:
        """Freezes the scales: the base's loss is 0, the best parent's 1."""
        named = [one for one in self.references if one.role in ("base", "parent")]
        taken = [losses.of_recipe(one.data) for one in named]
        base = next(own for one, own in zip(named, taken, strict=True) if one.role == "base")
        if not base.finite:
            raise Unfit("the base has no finite loss")
        parents = [
            own
            for one, own in zip(named, taken, strict=True)
            if one.role == "parent" and own.finite
        ]
        self._scales = tuple(
            make_scale(base.losses[k], [one.losses[k] for one in parents], False)
            for k in range(len(self.objectives))
        )

    def _named(
        self, points: Sequence[Point], begin: Values, moved: Sequence[Dimension]
    ) -> list[tuple[str, Values, tuple[float, ...]]]:
        """Name, values and predictions of the points that no warm start is."""
        seen = [self.coordinates.rounded(one.values) for one in self.warm_starts]
        named: list[tuple[str, Values, tuple[float, ...]]] = []
        for one in points:
            values = _moved_to(begin, moved, one.at)
            place = self.coordinates.rounded(values)
            if place not in seen and self._can_be_planned(values):
                seen.append(place)
                named.append((f"gradient {len(named) + 1}", values, one.utilities))
        return named

    def _can_be_planned(self, values: Values) -> bool:
        try:
            self.executor.prepare(with_mask_seed(self.space.fill(values), self.mask_seed))
        except MergeError:
            return False
        return True

    def _stepped(
        self, plan: GradientPlan, member: Candidate, known: Sequence[Candidate]
    ) -> dict[str, Any]:
        """A handful of steps from a trial, for the scalarisation that it is best for.

        No values where they lead to a trial that is known.
        """
        begin = member.values or {}
        losses = self._losses(plan)
        moved = moved_dimensions(self.space, self.space.method(begin))
        at = tuple(scaled(one.range, begin[one.name]) for one in moved)
        start = self._evaluated(losses, begin, moved, at)
        ideal = ideal_of([start])
        inverse = [1 / max(z - u, 1e-3) for z, u in zip(ideal, start.utilities, strict=True)]
        weights = tuple(one / sum(inverse) for one in inverse)

        def evaluate(there: Sequence[float]) -> Evaluation:
            return self._evaluated(losses, begin, moved, there)

        (point,) = search_front(evaluate, [start], [weights], REFINE_STEPS - 1)
        values = _moved_to(begin, moved, point.at)
        seen = [self.coordinates.rounded(one.values or {}) for one in known]
        new = self.coordinates.rounded(values) not in seen and self._can_be_planned(values)
        return {
            "from": member.number,
            "values": values if new else None,
            "predicted": point.utilities,
            "cost": (losses.items, losses.seconds),
        }

    def _losses(self, plan: GradientPlan) -> Losses:
        asked = gold_items(self.objectives, self.tasks, self.splits, plan.items, self.seed)
        return Losses(
            self.ledger,
            self.executor,
            self.space,
            self.tasks,
            self.objectives,
            asked,
            self.mask_seed,
        )

    def _plan(self) -> GradientPlan | str:
        """The plan that the run was begun with, else what the budget allows now."""
        stored = self.ledger.meta(PLAN)
        if stored is not None:
            return GradientPlan(*stored)
        parts = {task for one in self.objectives for task, _ in one.parts}
        available = {task: len(self.splits[task].get("calibration", ())) for task in sorted(parts)}
        parents = sum(one.role in ("base", "parent") for one in self.references)
        return plan_gradients(
            len(self.objectives),
            available,
            self.budget,
            self.items_per_candidate,
            parents,
            len(self._able()),
        )

    def _spent(self, number: int) -> int:
        """Item evaluations that gradients have cost before a trial."""
        phase = (self.ledger.meta(POINTS) or {}).get("items", 0)
        steps = (self.ledger.meta(f"gradient step {one}") for one in range(number))
        return int(phase) + sum(int(one["cost"][0]) for one in steps if one is not None)

    def _room(self, plan: GradientPlan) -> float:
        """What may have been spent before another step still fits under the limit."""
        if plan.limit is None:
            return float("inf")
        each = sum(
            len(one.indices)
            for one in gold_items(self.objectives, self.tasks, self.splits, plan.items, self.seed)
        )
        return plan.limit - PASSES * REFINE_STEPS * each


def _start(
    space: Space,
    name: str,
    values: Mapping[str, Value],
    predicted: Sequence[float],
    items: int,
    seconds: float,
) -> GradientStart:
    own = WarmStart(name, dict(values), space.fill(values))
    return GradientStart(own, tuple(predicted), items, seconds)


def _moved_to(begin: Values, moved: Sequence[Dimension], at: Sequence[float]) -> dict[str, Value]:
    """The point with its moved dimensions at places of the unit cube."""
    shares = zip(moved, at, strict=True)
    return {**begin, **{one.name: unscaled(one.range, share) for one, share in shares}}


def _filled(points: Sequence[Point], history: Sequence[Evaluation], count: int) -> list[Point]:
    """The points, and others of the front of what was evaluated, up to a count."""
    found = list(points[:count])
    known = [one for one in history if one.slopes is not None]
    while len(found) < count:
        apart = [
            one for one in known if all(_distance(one.at, other.at) >= APART for other in found)
        ]
        if not apart:
            break
        best = pareto_front([one.utilities for one in apart], [True] * len(apart[0].utilities))
        if not best:
            break
        one = apart[min(best)]
        found.append(Point(one.at, one.utilities, True, ()))
    return found


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))

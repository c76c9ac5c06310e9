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
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from evaluation.errors import EvaluationError, ExhaustedError
from evaluation.task import Task
from merging.errors import MergeError
from merging.methods.table import METHODS
from merging.sloped import refusal

from .chebyshev import Point
from .errors import CrashedError
from .executors import Executor
from .gradient_plan import PASSES, GradientPlan, GradientTerms, gold_items, plan_gradients
from .gradient_starts import GradientStart, standing
from .landscape import Landscape, UnfitError, begin_at_best, loss_scales
from .ledger import Candidate, Ledger
from .losses import Losses
from .objectives import Objective, Scale
from .shadow import Shadow
from .space_parts import Values
from .space_points import Space
from .space_ranges import Value
from .space_slopes import can_move, moved_dimensions
from .stages import Stages, stage_of
from .trials import with_mask_seed
from .warm_start import Reference, WarmStart
from .winner import front

REFINE_EVERY = 8
"""With `gradients: refine`, one proposal in so many is a gradient's step from the front."""
REFINE_STEPS = 3
"""Evaluations of slopes of one such step."""
ROUNDED = "candidates are rounded at every step, as mergekit does"
POINTS, PLAN = "gradient_points", "gradient_plan"


@dataclass(slots=True)
class Gradients:
    """The gradient phase of one search. `tell` takes a line for whoever watches."""

    ledger: Ledger
    executor: Executor
    stages: Stages
    tasks: Mapping[str, Task]
    splits: Mapping[str, Mapping[str, Sequence[int]]]
    objectives: Sequence[Objective]
    references: Sequence[Reference]
    warm_starts: Sequence[WarmStart]
    terms: GradientTerms
    seed: int
    mask_seed: int
    tell: Callable[[str], None]
    _scales: tuple[Scale, ...] = field(default=(), init=False)
    _starts: tuple[GradientStart, ...] = field(default=(), init=False)
    _losses_taken: Losses | None = field(default=None, init=False)

    @property
    def space(self) -> Space:
        """Where the search begins."""
        return self.stages.spaces[0]

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

    def uncharged(self, trials: Sequence[Candidate]) -> int:
        """Items that the starting points cost and no trial bears yet."""
        stored = self.ledger.meta(POINTS)
        if stored is None:
            return 0
        bearer = [name for name, *_ in stored["points"][:1]]
        borne = any(one.name in bearer for one in trials)
        return 0 if borne else int(stored["items"])

    def refined(self, trials: Sequence[Candidate], shadow: Shadow) -> GradientStart | None:
        """A step from a member of the front, where the next trial's number is due for one.

        Like a proposal it knows what its shadow says; None: propose as usual.
        """
        stored = self._step_of(trials, shadow)
        if stored is None or stored["values"] is None:
            return None
        name = f"gradient step {len(trials)} from trial {stored['from']}"
        stage = int(stored["stage"])
        values, predicted = stored["values"], stored["predicted"]
        space = self.stages.spaces[stage]
        return replace(_start(space, name, values, predicted, *stored["cost"]), stage=stage)

    def charged(self, number: int) -> tuple[int, float]:
        """Items and seconds of a step that led nowhere: the proposal in its place bears them."""
        stored = self.ledger.meta(f"gradient step {number}")
        if stored is None or stored["values"] is not None:
            return 0, 0.0
        return int(stored["cost"][0]), float(stored["cost"][1])

    def _step_of(self, trials: Sequence[Candidate], shadow: Shadow) -> dict[str, Any] | None:
        number, known = len(trials), [one for one in trials if one.values is not None]
        first = len(self.warm_starts) + len(self._starts)
        turn, due = divmod(number - first, REFINE_EVERY)
        if self.terms.mode != "refine" or number < first or due != REFINE_EVERY - 1:
            return None
        stage = max((stage_of(one.system_attrs) for one in known), default=0)
        told = front([_as_told(one, shadow) for one in known], self.objectives)
        lifted = [self._lifted(one, stage) for one in told]
        members = [one for one in lifted if one is not None and self._can_move(one)]
        followed, _ = standing(self._starts, trials, shadow.scores, self.objectives)
        if not members or not self._scales or not followed:
            return None
        plan = self._plan()
        key = f"gradient step {number}"
        stored: dict[str, Any] | None = self.ledger.meta(key)
        if isinstance(plan, str) or (stored is None and self._spent(number) > self._room(plan)):
            return None
        if stored is None:
            try:
                stored = self._stepped(plan, members[turn % len(members)], known, stage)
            except ExhaustedError:
                raise
            except (EvaluationError, MergeError, CrashedError) as error:
                self.tell(f"no gradient step: {error}")
                return None
            self.ledger.set_meta(key, stored)
        return stored

    def _found(self) -> dict[str, Any]:
        """The points as they are stored; none, the reason told, where gradients do not apply."""
        try:
            self._refuse_unable()
            plan = self._plan()
            if isinstance(plan, str):
                raise UnfitError(plan)
            self.ledger.set_meta(PLAN, list(astuple(plan)))
            return self._searched(plan)
        except ExhaustedError:
            raise  # fewer tokens at once are tried, with the whole search
        except (UnfitError, EvaluationError, MergeError, CrashedError) as error:
            self.tell(f"no starting points from gradients: {error}")
            paid = self._losses_taken.items if self._losses_taken else 0
            return {"points": [], "items": paid, "scales": []}

    def _searched(self, plan: GradientPlan) -> dict[str, Any]:
        losses = self._losses_taken = self._losses(plan)
        scales = loss_scales(losses, self.references)
        starts = self._able()[: plan.starts]
        landscape, known = begin_at_best(losses, scales, self.space, starts)
        points = landscape.points(known, plan.points, plan.evaluations)
        named = self._named(points, landscape)
        self.tell(
            f"gradients: {len(named)} starting points, by at most {plan.evaluations} backward "
            f"passes over up to {plan.items} calibration items a task; this cost "
            f"{losses.items:,} item evaluations"
        )
        return {
            "points": [
                (name, values, predicted, (0, 0.0) if number else (losses.items, losses.seconds))
                for number, (name, values, predicted) in enumerate(named)
            ],
            "items": losses.items,
            "scales": [(one.zero, one.unit) for one in scales],
        }

    def _able(self) -> list[WarmStart]:
        return able(self.space, self.warm_starts)

    def _refuse_unable(self) -> None:
        """Refuses where none has, and candidates whose numbers are rounded on the way."""
        if why := unable(self.space, self.warm_starts):
            raise UnfitError(why)
        merge = self.executor.prepare(self._able()[0].data)
        if any(job.stepwise is not None for job in merge.jobs):
            raise UnfitError(ROUNDED)

    def _can_move(self, trial: Candidate) -> bool:
        return can_move(self.space, trial.values or {})

    def _named(
        self, points: Sequence[Point], landscape: Landscape
    ) -> list[tuple[str, Values, tuple[float, ...]]]:
        """Name, values and predictions of the points that no warm start is."""
        coordinates = self.stages.coordinates[0]
        seen = [coordinates.rounded(one.values) for one in self.warm_starts]
        named: list[tuple[str, Values, tuple[float, ...]]] = []
        for one in points:
            values = landscape.values(one.at)
            place = coordinates.rounded(values)
            if place not in seen and self._can_be_planned(self.space, values):
                seen.append(place)
                named.append((f"gradient {len(named) + 1}", values, one.utilities))
        return named

    def _can_be_planned(self, space: Space, values: Values) -> bool:
        try:
            self.executor.prepare(with_mask_seed(space.fill(values), self.mask_seed))
        except MergeError:
            return False
        return True

    def _stepped(
        self, plan: GradientPlan, member: Candidate, known: Sequence[Candidate], stage: int
    ) -> dict[str, Any]:
        """A handful of steps from a trial; no values where they lead to a trial that is known."""
        begin, coordinates = member.values or {}, self.stages.coordinates[stage]
        space = coordinates.space
        losses = self._losses(plan, space)
        moved = moved_dimensions(space, space.method(begin))
        landscape = Landscape(losses, self._scales, begin, moved)
        about: dict[str, Any] = {"from": member.number, "stage": stage}
        try:
            point = landscape.step(REFINE_STEPS)
        except UnfitError:
            paid = losses.items, losses.seconds
            return {**about, "values": None, "predicted": (), "cost": paid}
        values = landscape.values(point.at)
        lifted = [self._lifted(one, stage) for one in known]
        seen = [coordinates.rounded(one.values or {}) for one in lifted if one is not None]
        new = coordinates.rounded(values) not in seen and self._can_be_planned(space, values)
        return {
            **about,
            "values": values if new else None,
            "predicted": point.utilities,
            "cost": (losses.items, losses.seconds),
        }

    def _lifted(self, trial: Candidate, stage: int) -> Candidate | None:
        """The trial as a point of a later stage; None where its grid has no such point."""
        own = stage_of(trial.system_attrs)
        values = None if trial.values is None else self.stages.told(trial.values, own, stage)
        return None if values is None else replace(trial, values=values)

    def _losses(self, plan: GradientPlan, space: Space | None = None) -> Losses:
        asked = gold_items(self.objectives, self.tasks, self.splits, plan.items, self.seed)
        return Losses(
            self.ledger,
            self.executor,
            space or self.space,
            self.tasks,
            self.objectives,
            asked,
            self.mask_seed,
        )

    def _plan(self) -> GradientPlan | str:
        """The plan that the run was begun with, else what the budget allows now."""
        stored = self.ledger.meta(PLAN)
        return plan_gradients(self.terms) if stored is None else GradientPlan(*stored)

    def _spent(self, number: int) -> int:
        """Item evaluations that gradients have cost before a trial."""
        phase = (self.ledger.meta(POINTS) or {}).get("items", 0)
        steps = (self.ledger.meta(f"gradient step {one}") for one in range(number))
        return int(phase) + sum(int(one["cost"][0]) for one in steps if one is not None)

    def _room(self, plan: GradientPlan) -> int:
        """What may have been spent before another step still fits under the limit."""
        each = sum(
            len(one.indices)
            for one in gold_items(self.objectives, self.tasks, self.splits, plan.items, self.seed)
        )
        return plan.limit - PASSES * REFINE_STEPS * each


def able(space: Space, starts: Sequence[WarmStart]) -> list[WarmStart]:
    """The warm starts whose merge method has a derivative."""
    return [one for one in starts if can_move(space, one.values)]


def unable(space: Space, starts: Sequence[WarmStart]) -> str:
    """Why none has; empty where one does."""
    if able(space, starts):
        return ""
    why = [text for name in space.methods if (text := refusal(METHODS[name]))]
    return why[0] if why else "no weight and no lambda is searched"


def _as_told(trial: Candidate, shadow: Shadow) -> Candidate:
    """The trial as a proposal is told of it."""
    scores = shadow.scores.get(trial.number)
    return replace(
        trial,
        state="failed" if scores is None else "complete",
        scores=scores,
        estimates=None,
        violations=shadow.violations.get(trial.number, ()),
    )


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

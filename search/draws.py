"""One draw of one sampler: what it is told of the trials so far, and what it answers.

Optuna's samplers get a study in memory with all trials in it: ended ones as complete or failed,
those under way as running. They are seeded afresh for every draw, so nothing is kept between
draws but the generation of a trial.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .coordinates import Coordinate, Coordinates
from .space_parts import METHOD

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, Trial


@dataclass(frozen=True, slots=True)
class Told:
    """One trial as a sampler is told of it.

    `scores` None: it failed, or is under way where `pending`. `violations` above 0 are violated
    constraints.
    """

    number: int
    coordinates: Mapping[str, Coordinate]
    scores: tuple[float, ...] | None
    violations: tuple[float, ...]
    generation: int | None
    pending: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """What one draw depends on, but for its seed. `told` is in order of number."""

    coordinates: Coordinates
    higher_is_better: tuple[bool, ...]
    told: tuple[Told, ...]
    population: int
    """Members of a generation, for samplers that have them."""


@dataclass(frozen=True, slots=True)
class Draw:
    """The coordinates drawn, and the generation they are of, for samplers that have them."""

    coordinates: Mapping[str, Coordinate]
    generation: int | None = None


def draw_with_optuna(
    make: Callable[[int, int], "BaseSampler"], tag: str | None, ask: Ask, seed: int
) -> Draw:
    """A draw of the Optuna sampler that `make(seed, population)` gives.

    `tag` is the system attribute in which it keeps the generation of a trial; trials without one
    are of the first.
    """
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental arguments, independent sampling
            study = optuna.create_study(
                sampler=make(seed, ask.population),
                directions=["maximize" if up else "minimize" for up in ask.higher_is_better],
            )
            distributions = ask.coordinates.distributions()
            for told in ask.told:
                study.add_trial(_frozen(told, distributions, tag))
            trial = study.ask()
            drawn = _suggested(trial, ask.coordinates)
            kept = study.get_trials(deepcopy=False)[-1].system_attrs
            generation = kept.get(tag) if tag else None
    finally:
        optuna.logging.set_verbosity(level)
    return Draw(drawn, generation)


def with_worst_for_failed(ask: Ask) -> Ask:
    """The same with failed trials scored as the worst seen, in every objective and constraint.

    A model that is not told of them proposes the same spot again and again.
    """
    done = [one for one in ask.told if one.scores is not None]
    if not done:
        return ask
    scores = tuple(
        (min if up else max)(one.scores[index] for one in done if one.scores is not None)
        for index, up in enumerate(ask.higher_is_better)
    )
    violations = tuple(map(max, zip(*(one.violations for one in done), strict=True)))
    told = (
        one
        if one.pending or one.scores is not None
        else Told(one.number, one.coordinates, scores, violations, one.generation, False)
        for one in ask.told
    )
    return Ask(ask.coordinates, ask.higher_is_better, tuple(told), ask.population)


def is_finite(scores: Sequence[float]) -> bool:
    """Whether every score is a number that can be compared."""
    return all(math.isfinite(one) for one in scores)


def _frozen(
    told: Told, distributions: Mapping[str, "BaseDistribution"], tag: str | None
) -> "FrozenTrial":
    from optuna.trial import TrialState, create_trial

    state = TrialState.RUNNING if told.pending else TrialState.FAIL
    if told.scores is not None:
        state = TrialState.COMPLETE
    return create_trial(
        state=state,
        values=told.scores,
        params=dict(told.coordinates),
        distributions={name: distributions[name] for name in told.coordinates},
        system_attrs={tag: told.generation or 0} if tag else {},
        constraints={f"{index}": one for index, one in enumerate(told.violations)} or None,
    )


def _suggested(trial: "Trial", coordinates: Coordinates) -> dict[str, Coordinate]:
    """Every coordinate of the trial: the merge method first, then what that reads."""
    space = coordinates.space
    drawn: dict[str, Coordinate] = {}
    if len(space.methods) > 1:
        drawn[METHOD] = trial.suggest_categorical(METHOD, space.methods)
    method = str(drawn.get(METHOD, space.methods[0]))
    for name, distribution in coordinates.distributions(method).items():
        if name != METHOD:
            drawn[name] = _suggest(trial, name, distribution)
    return drawn


def _suggest(trial: "Trial", name: str, distribution: "BaseDistribution") -> Coordinate:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        found = trial.suggest_categorical(name, distribution.choices)
        assert found is not None
        return found
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(
        name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
    )

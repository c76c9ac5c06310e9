"""One draw of one sampler: what it is told of the trials so far, and what it answers.

Optuna's samplers get a study in memory with all trials in it: ended ones as complete or failed,
those under way as running. They are made afresh for every draw, with a seed of its own, so
nothing is kept between draws but what `kept` describes.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from .coordinates import Coordinate, Coordinates
from .errors import SamplerError
from .kept import Keeping, Kept, kept_of, told_attributes, told_study
from .space_parts import METHOD

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, Trial

_Number = TypeVar("_Number", int, float)


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
    kept: Kept
    """What the sampler that draws kept of it; empty where another one proposed it."""
    pending: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """What one draw depends on, but for its seed. `told` is in order of number."""

    coordinates: Coordinates
    higher_is_better: tuple[bool, ...]
    told: tuple[Told, ...]
    population: int
    """Members of a generation, for samplers that have them."""
    seed: int = 0
    """The same for every draw of a search, for samplers that follow one sequence."""
    study: Kept = field(default_factory=dict)
    """What the sampler kept of the study, as of the last trial."""


@dataclass(frozen=True, slots=True)
class Draw:
    """The coordinates drawn, and what the sampler keeps of them."""

    coordinates: Mapping[str, Coordinate]
    kept: Kept = field(default_factory=dict)


Make = Callable[[int, Ask], "BaseSampler"]
"""A sampler of Optuna's kind from the seed of a draw and what is known."""


def draw_with_optuna(make: Make, keeping: Keeping, ask: Ask, seed: int) -> Draw:
    """A draw of the Optuna sampler that `make(seed, ask)` gives.

    Raises:
        SamplerError: it drew a value outside its range, or keeps what cannot be kept.
    """
    with _quiet():
        study = _rebuilt(make(seed, ask), keeping, ask)
        drawn = _suggested(study.ask(), ask.coordinates)
        return Draw(drawn, kept_of(study, keeping))


def _rebuilt(sampler: "BaseSampler", keeping: Keeping, ask: Ask) -> "Study":
    """A study in memory that holds the trials told."""
    import optuna

    study = optuna.create_study(
        sampler=sampler,
        directions=["maximize" if up else "minimize" for up in ask.higher_is_better],
    )
    setattr(study, "stop", lambda: None)  # noqa: B010 - the budget ends a search, nothing else
    told_study(study, ask.study, keeping)
    distributions = ask.coordinates.distributions()
    learns = _learns_from_ends(sampler)
    for told in ask.told:
        if learns and not told.pending:
            number = len(study.get_trials(deepcopy=False))
            study.add_trial(_frozen(told, distributions, keeping, ended=False))
            state = optuna.trial.TrialState.FAIL if told.scores is None else None
            study.tell(number, told.scores, state)
        else:
            study.add_trial(_frozen(told, distributions, keeping, ended=True))
    return study


def _learns_from_ends(sampler: "BaseSampler") -> bool:
    """Whether somebody's own sampler wants to be told when a trial ends.

    Those of Optuna do nothing then that is not in the trials.
    """
    return not type(sampler).after_trial.__module__.startswith("optuna.")


@contextmanager
def _quiet() -> Iterator[None]:
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental arguments, independent sampling
            yield
    finally:
        optuna.logging.set_verbosity(level)


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
        else replace(one, scores=scores, violations=violations)
        for one in ask.told
    )
    return replace(ask, told=tuple(told))


def is_finite(scores: Sequence[float]) -> bool:
    """Whether every score is a number that can be compared."""
    return all(math.isfinite(one) for one in scores)


def _frozen(
    told: Told,
    distributions: Mapping[str, "BaseDistribution"],
    keeping: Keeping,
    *,
    ended: bool,
) -> "FrozenTrial":
    from optuna.trial import TrialState, create_trial

    state = TrialState.RUNNING if told.pending or not ended else TrialState.FAIL
    if ended and told.scores is not None:
        state = TrialState.COMPLETE
    system, user = told_attributes(told.kept, keeping)
    made = create_trial(
        state=state,
        values=told.scores if ended else None,
        params=dict(told.coordinates),
        distributions={name: distributions[name] for name in told.coordinates},
        constraints={f"{index}": one for index, one in enumerate(told.violations)} or None,
        system_attrs=system,
        user_attrs=user,
    )
    made.__class__ = _given_away(type(made))
    return made


@cache
def _given_away(kind: "type[FrozenTrial]") -> "type[FrozenTrial]":
    """Trials of this kind that are given to a storage as they are, once.

    A storage in memory begins by copying a trial, deeply: of a thousand trials that is most of a
    proposal's time, and nobody else has these.
    """

    def itself(trial: "FrozenTrial", _: object) -> "FrozenTrial":
        trial.__class__ = kind
        return trial

    return type(kind.__name__, (kind,), {"__deepcopy__": itself})


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
    """A coordinate inside its range; one between two steps is put on the grid when decoded."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        found = trial.suggest_categorical(name, distribution.choices)
        assert found is not None
        return distribution.choices[int(distribution.to_internal_repr(found))]  # type: ignore[return-value]
    if isinstance(distribution, IntDistribution):
        whole = trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step
        )
        return _inside(int(whole), name, distribution)
    assert isinstance(distribution, FloatDistribution)
    number = float(
        trial.suggest_float(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    )
    return _inside(number, name, distribution)


def _inside(
    number: _Number, name: str, distribution: "FloatDistribution | IntDistribution"
) -> _Number:
    """The number; raises SamplerError where a sampler drew it outside its range."""
    if not distribution.low <= number <= distribution.high:
        raise SamplerError(
            f"drew {name} = {number:g}, which is not in [{distribution.low:g}, "
            f"{distribution.high:g}]"
        )
    return number

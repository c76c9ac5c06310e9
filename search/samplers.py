"""The samplers by name: one explicit table, what each can search, and which one a study gets by itself.

All are Optuna's but CMA-ES (`cma`): Optuna's keeps its state pickled in the trials, which would have to be read back
from a file that may be a stranger's.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from merging.document import did_you_mean

from .coordinates import Coordinates
from .errors import SamplerError

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

GENERATION = "generation"
"""What a trial keeps of the sampler that proposed it: which generation it is of."""
STARTUP = 10
"""Trials that a model needs before it beats drawing at random."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampler: what it can search, and how it is made for one proposal.

    `make` takes the seed of the proposal and the population size. `tag` is the key of Optuna's system attribute that
    holds the generation, None for samplers without generations.
    """

    name: str
    make: Callable[[int, int], "BaseSampler"]
    many_objectives: bool = True
    choices: bool = True
    conditions: bool = True
    tag: str | None = None


def _random(seed: int, population: int) -> "BaseSampler":
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _tpe(seed: int, population: int) -> "BaseSampler":
    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # group is marked experimental
        return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=STARTUP)


def _gp(seed: int, population: int) -> "BaseSampler":
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=STARTUP)


def _cmaes(seed: int, population: int) -> "BaseSampler":
    from .cma import ReplayedCma

    return ReplayedCma(seed)


def _nsgaii(seed: int, population: int) -> "BaseSampler":
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=population)


def _nsgaiii(seed: int, population: int) -> "BaseSampler":
    from optuna.samplers import NSGAIIISampler

    return NSGAIIISampler(seed=seed, population_size=population)


SAMPLERS: Mapping[str, Sampler] = {
    one.name: one
    for one in (
        Sampler("random", _random),
        Sampler("tpe", _tpe),
        Sampler("gp", _gp, conditions=False),
        Sampler("cmaes", _cmaes, False, False, False, tag="eutectic:cma:generation"),
        Sampler("nsgaii", _nsgaii, tag="NSGAIISampler:generation"),
        Sampler("nsgaiii", _nsgaiii, tag="NSGAIIISampler:generation"),
    )
}


def choose_sampler(
    name: str, *, objectives: int, coordinates: Coordinates, trials: int | None
) -> tuple[str, str]:
    """The sampler of a study, and why.

    Args:
        name: A sampler, or `auto`.
        objectives: How many the study has.
        coordinates: Of its space.
        trials: Its budget of trials, None where items or minutes end it.

    Raises:
        SamplerError: an unknown sampler, or one that cannot search this space.
    """
    if name == "auto":
        return _automatic(objectives, coordinates, trials)
    if name not in SAMPLERS:
        hint = did_you_mean(name, (*SAMPLERS, "auto"))
        known = ", ".join(("auto", *SAMPLERS))
        raise SamplerError(f"sampler: unknown sampler {name!r}{hint} (known: {known})")
    if fault := _unsuited(SAMPLERS[name], objectives, coordinates):
        other, _ = _automatic(objectives, coordinates, trials)
        raise SamplerError(f"sampler: {name} {fault}; use {other}, or auto")
    return name, "named in the study"


def population_size(trials: int | None) -> int:
    """Members of a generation, 24 to 50, so that a budget holds at least 20 generations where it can."""
    return 24 if trials is None else max(24, min(50, trials // 20))


def _unsuited(sampler: Sampler, objectives: int, coordinates: Coordinates) -> str | None:
    if objectives > 1 and not sampler.many_objectives:
        return f"takes one objective, the study has {objectives}"
    if coordinates.space.conditional and not sampler.conditions:
        return "needs the same dimensions in every trial; here they depend on merge_method"
    if _has_choices(coordinates) and not sampler.choices:
        return "takes numbers only, the recipe has a choice"
    return None


def _automatic(objectives: int, coordinates: Coordinates, trials: int | None) -> tuple[str, str]:
    size = len(coordinates.distributions())
    budget = trials if trials is not None else 0
    numbers = not _has_choices(coordinates)
    facts = (
        f"{objectives} objective{'s' if objectives > 1 else ''}, {size} "
        f"dimension{'s' if size > 1 else ''}{'' if numbers else ' with choices'}"
    )
    facts += f", {trials} trials" if trials is not None else ""
    if objectives == 1 and numbers and (budget > 250 or size > 50):
        return "cmaes", f"{facts}: CMA-ES, for many trials or dimensions"
    if budget > 1000 and not coordinates.space.conditional:
        chosen = "nsgaiii" if objectives >= 4 else "nsgaii"
        return chosen, f"{facts}: an evolutionary search, over 1,000 trials"
    if objectives <= 3 and numbers and size <= 25 and budget <= 250:
        return "gp", f"{facts}: a Gaussian process, for few trials and dimensions"
    return "tpe", f"{facts}: TPE, for choices, many objectives or many trials"


def _has_choices(coordinates: Coordinates) -> bool:
    return any(one.kind == "choice" for one in coordinates.space.dimensions)

"""The samplers by name: what each can search, and which one a study gets by itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from merging.document import did_you_mean

from .cma import draw_cma
from .coordinates import Coordinates
from .draws import Ask, Draw, draw_with_optuna, with_worst_for_failed
from .errors import SamplerError

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

STARTUP = 10
"""Trials that a model needs before it beats drawing at random."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampler: what it can search, and how it draws from what it is told and a seed.

    `redraws`: how often it is asked again for a point that has been tried before chance takes
    over.
    """

    name: str
    draw: Callable[[Ask, int], Draw]
    many_objectives: bool = True
    choices: bool = True
    conditions: bool = True
    models_scores: bool = False
    """Whether it models the scores themselves, so that their scale matters."""
    redraws: int = 5


def _random(seed: int, population: int) -> "BaseSampler":
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _tpe(seed: int, population: int) -> "BaseSampler":
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=STARTUP)


def _gp(seed: int, population: int) -> "BaseSampler":
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=STARTUP)


def _nsgaii(seed: int, population: int) -> "BaseSampler":
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=population)


def _nsgaiii(seed: int, population: int) -> "BaseSampler":
    from optuna.samplers import NSGAIIISampler

    return NSGAIIISampler(seed=seed, population_size=population)


def _draw_gp(ask: Ask, seed: int) -> Draw:
    return draw_with_optuna(_gp, None, with_worst_for_failed(ask), seed)


SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        one.name: one
        for one in (
            Sampler("random", partial(draw_with_optuna, _random, None)),
            Sampler("tpe", partial(draw_with_optuna, _tpe, None)),
            Sampler("gp", _draw_gp, conditions=False, models_scores=True, redraws=1),
            Sampler("cmaes", draw_cma, many_objectives=False, choices=False, conditions=False),
            Sampler("nsgaii", partial(draw_with_optuna, _nsgaii, "NSGAIISampler:generation")),
            Sampler("nsgaiii", partial(draw_with_optuna, _nsgaiii, "NSGAIIISampler:generation")),
        )
    }
)


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
    """Members of a generation, 24 to 50: 20 generations in the budget where it can."""
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
    whole = any(one.kind == "int" for one in coordinates.space.dimensions)
    numbers = not _has_choices(coordinates) and not whole
    facts = (
        f"{objectives} objective{'s' if objectives > 1 else ''}, {size} "
        f"dimension{'s' if size > 1 else ''}"
        f"{' with choices' if _has_choices(coordinates) else ''}{' with layers' if whole else ''}"
    )
    facts += f", {trials} trials" if trials is not None else ""
    if objectives == 1 and numbers and (budget > 250 or size > 50):
        return "cmaes", f"{facts}: CMA-ES, for many trials or dimensions"
    if budget > 1000 and not coordinates.space.conditional:
        chosen = "nsgaiii" if objectives >= 4 else "nsgaii"
        return chosen, f"{facts}: an evolutionary search, over 1,000 trials"
    if objectives <= 3 and numbers and size <= 25 and budget <= 250:
        return "gp", f"{facts}: a Gaussian process, for few trials and dimensions"
    return "tpe", f"{facts}: TPE, for choices, layers, many objectives or many trials"


def _has_choices(coordinates: Coordinates) -> bool:
    return any(one.kind == "choice" for one in coordinates.space.dimensions)

"""Optuna's samplers by class name, with their own arguments and their own defaults.

What each can search is known here; what is not here cannot propose for a study, and says why.
`CmaEsSampler` is drawn by `cma`: Optuna's keeps its state pickled in the database.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from merging.document import did_you_mean

from .cma import CmaOptions, draw_cma
from .draws import Ask, Draw, Make, draw_with_optuna, with_worst_for_failed
from .errors import SamplerError, SamplerOptionError
from .kept import NOTHING, Keeping
from .sampler import Sampler
from .sampler_options import refuse_options
from .sampler_spec import SamplerSpec

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

_A_FUNCTION = (
    "a function, which a study file cannot hold; write one in a Python file that makes the "
    "sampler, and name it: `sampler: my_sampler.py:make`"
)
_REFUSED = {
    "constraints_func": "the study's `constraints` are told to every sampler",
    "independent_sampler": _A_FUNCTION.replace("a function", "another sampler"),
    "warn_independent_sampling": "warnings of samplers are not shown",
    "warn_asynchronous_seeding": "warnings of samplers are not shown",
    **dict.fromkeys(
        (
            "gamma",
            "weights",
            "elite_population_selection_strategy",
            "child_generation_strategy",
            "after_trial_strategy",
        ),
        _A_FUNCTION,
    ),
}
_NOT_IN_OURS = "the CMA-ES of eutectic (search/cma.py) does not have it"
_REFUSED_BY_CMA = {
    **_REFUSED,
    "n_startup_trials": "the warm starts come first, and say where the first generation begins",
    "source_trials": "the trials before the first generation are its source trials",
    "consider_pruned_trials": "no trial of a search is pruned",
    "restart_strategy": "Optuna itself ignores it since 4.4",
    "inc_popsize": "Optuna itself ignores it since 4.4",
    "use_separable_cma": _NOT_IN_OURS,
    "with_margin": _NOT_IN_OURS,
    "independent_sampler": "nothing is drawn independently",
}
UNSUITED: Mapping[str, str] = MappingProxyType(
    {
        "GridSampler": (
            "its grid would stand beside the study's ranges; give each range a `step` and use "
            "BruteForceSampler, which visits every point of that grid"
        ),
        "PartialFixedSampler": (
            "a value that is fixed stands in the recipe as a plain number, in the place of a range"
        ),
        "BaseSampler": "it is the base class of samplers, and draws nothing",
        "BaseGASampler": "it is the base class of genetic samplers, and draws nothing",
    }
)


def _plain(spec: SamplerSpec) -> Sampler:
    return Sampler(spec.name, _drawing(spec, NOTHING))


def _gp(spec: SamplerSpec) -> Sampler:
    draw = _drawing(spec, NOTHING)

    def told_of_failures(ask: Ask, seed: int) -> Draw:
        return draw(with_worst_for_failed(ask), seed)

    return Sampler(spec.name, told_of_failures, conditions=False, models_scores=True, redraws=1)


def _genetic(spec: SamplerSpec) -> Sampler:
    return Sampler(spec.name, _drawing(spec, Keeping(tag=f"{spec.name}:generation")))


def _qmc(spec: SamplerSpec) -> Sampler:
    """One sequence for the whole search: one seed, and the count that the study keeps."""
    draw = draw_with_optuna

    def next_of_sequence(ask: Ask, seed: int) -> Draw:
        return draw(_make(spec), Keeping(study=True), ask, ask.seed)

    return Sampler(spec.name, next_of_sequence, conditions=False)


def _brute_force(spec: SamplerSpec) -> Sampler:
    return Sampler(spec.name, _drawing(spec, NOTHING), continuous=False)


def _cma(spec: SamplerSpec) -> Sampler:
    x0 = spec.options.get("x0")
    if x0 is not None and not isinstance(x0, Mapping):
        raise SamplerOptionError(f"x0: expected a value for every parameter, got {x0!r}", "x0")
    for name, low in (("popsize", 3), ("sigma0", 0)):
        value = spec.options.get(name)
        if value is not None and not low < value < math.inf:
            raise SamplerOptionError(f"{name}: expected more than {low}, got {value!r}", name)
    own = CmaOptions(**spec.options)

    def draw(ask: Ask, seed: int) -> Draw:
        _refuse_start(own.x0, ask)
        return draw_cma(ask, seed, own)

    return Sampler(spec.name, draw, many_objectives=False, choices=False, conditions=False)


def _refuse_start(x0: Mapping[str, Any] | None, ask: Ask) -> None:
    """Raises SamplerOptionError for a starting point that is not one of the space."""
    for name, one in ask.coordinates.distributions().items() if x0 is not None else ():
        value = (x0 or {}).get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SamplerOptionError(f"x0: expected a number for {name}, got {value!r}", "x0")
        if not one._contains(float(value)):
            raise SamplerOptionError(f"x0: {name} = {value} is outside its range", "x0")
    names = set(ask.coordinates.distributions())
    for name in x0 or ():
        if name not in names:
            hint = did_you_mean(str(name), names)
            raise SamplerOptionError(f"x0: no parameter is named {name!r}{hint}", "x0")


OPTUNA: Mapping[str, Callable[[SamplerSpec], Sampler]] = MappingProxyType(
    {
        "TPESampler": _plain,
        "GPSampler": _gp,
        "CmaEsSampler": _cma,
        "NSGAIISampler": _genetic,
        "NSGAIIISampler": _genetic,
        "QMCSampler": _qmc,
        "RandomSampler": _plain,
        "BruteForceSampler": _brute_force,
    }
)


def optuna_sampler(spec: SamplerSpec) -> Sampler:
    """The sampler of a class name in `OPTUNA`.

    Raises:
        SamplerOptionError: an argument that its constructor does not have, or a study cannot give.
    """
    refused = _REFUSED_BY_CMA if spec.name == "CmaEsSampler" else _REFUSED
    refuse_options(spec.options, _class(spec.name), refused)
    return OPTUNA[spec.name](spec)


def refuse_unsuited(name: str) -> None:
    """Raises SamplerError, with the reason, for a class of Optuna that cannot propose here."""
    if name in UNSUITED:
        raise SamplerError(f"{name} cannot be used: {UNSUITED[name]}")


def _drawing(spec: SamplerSpec, keeping: Keeping) -> Callable[[Ask, int], Draw]:
    return partial(draw_with_optuna, _make(spec), keeping)


def _make(spec: SamplerSpec) -> Make:
    options = {name: _object(name, value) for name, value in spec.options.items()}

    def make(seed: int, ask: Ask) -> "BaseSampler":
        made = {name: one() if isinstance(one, type) else one for name, one in options.items()}
        sampler: BaseSampler = _class(spec.name)(seed=seed, **made)
        return sampler

    return make


def _class(name: str) -> Any:
    import optuna.samplers

    return getattr(optuna.samplers, name)


def _object(name: str, value: Any) -> Any:
    """What YAML cannot hold: classes of operators of a genetic sampler, reference points."""
    if name == "reference_points":
        import numpy as np

        try:
            return np.asarray(value, dtype=float)
        except (TypeError, ValueError):
            raise SamplerOptionError("reference_points: expected rows of numbers", name) from None
    if name not in ("crossover", "mutation") or value is None:
        return value
    from optuna.samplers import nsgaii

    ending = name.capitalize()
    known = [one for one in nsgaii.__all__ if one.endswith(ending) and not one.startswith("Base")]
    if value not in known:
        hint = did_you_mean(str(value), known) or f"; known: {', '.join(known)}"
        raise SamplerOptionError(f"{name}: no {name} is named {value!r}{hint}", name)
    return getattr(nsgaii, value)

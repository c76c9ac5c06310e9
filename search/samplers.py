"""The samplers by name: what each can search, and which one a study gets by itself."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from merging.document import did_you_mean

from .cma import draw_cma
from .coordinates import Coordinates
from .draws import Ask, Draw, draw_with_optuna, with_worst_for_failed
from .errors import SamplerError, SamplerOptionError
from .kept import NOTHING, Keeping
from .optuna_samplers import OPTUNA, UNSUITED, optuna_sampler, refuse_unsuited
from .own_samplers import own_sampler
from .sampler import STARTUP, Sampler, has_choices
from .sampler_spec import SamplerSpec, spec_of

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def _random(seed: int, ask: Ask) -> "BaseSampler":
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _tpe(seed: int, ask: Ask) -> "BaseSampler":
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=STARTUP)


def _gp(seed: int, ask: Ask) -> "BaseSampler":
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=STARTUP)


def _nsgaii(seed: int, ask: Ask) -> "BaseSampler":
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=ask.population)


def _nsgaiii(seed: int, ask: Ask) -> "BaseSampler":
    from optuna.samplers import NSGAIIISampler

    return NSGAIIISampler(seed=seed, population_size=ask.population)


def _draw_gp(ask: Ask, seed: int) -> Draw:
    return draw_with_optuna(_gp, NOTHING, with_worst_for_failed(ask), seed)


_NSGAII, _NSGAIII = Keeping("NSGAIISampler:generation"), Keeping("NSGAIIISampler:generation")

SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        one.name: one
        for one in (
            Sampler("random", partial(draw_with_optuna, _random, NOTHING)),
            Sampler("tpe", partial(draw_with_optuna, _tpe, NOTHING)),
            Sampler("gp", _draw_gp, conditions=False, models_scores=True, redraws=1),
            Sampler("cmaes", draw_cma, many_objectives=False, choices=False, conditions=False),
            Sampler("nsgaii", partial(draw_with_optuna, _nsgaii, _NSGAII)),
            Sampler("nsgaiii", partial(draw_with_optuna, _nsgaiii, _NSGAIII)),
        )
    }
)


def sampler_of(spec: SamplerSpec) -> Sampler:
    """What a spec means; `auto` is nobody's name here (`choose_sampler`).

    Raises:
        SamplerError: an unknown name, arguments that it does not take, code that fails.
    """
    try:
        return _sampler_of(spec)
    except SamplerOptionError as error:
        raise SamplerOptionError(f"sampler: {spec}: {error}", error.option) from error
    except SamplerError as error:
        raise SamplerError(f"sampler: {error}") from error


def _sampler_of(spec: SamplerSpec) -> Sampler:
    if spec.code is not None:
        return own_sampler(spec)
    if spec.name in OPTUNA:
        return optuna_sampler(spec)
    if spec.options and spec.name in (*SAMPLERS, "auto"):
        raise SamplerOptionError(
            f"{spec.name} is set up by eutectic and takes no arguments; those belong to Optuna's "
            f"own: {', '.join(OPTUNA)}",
            next(iter(spec.options)),
        )
    refuse_unsuited(spec.name)
    if spec.name not in SAMPLERS:
        hint = did_you_mean(spec.name, (*SAMPLERS, "auto", *OPTUNA, *UNSUITED))
        known = ", ".join(("auto", *SAMPLERS, *OPTUNA))
        raise SamplerError(
            f"unknown sampler {spec.name!r}{hint} (known: {known}; also "
            "optunahub:samplers/PACKAGE, or FILE.py:CLASS)"
        )
    return SAMPLERS[spec.name]


def choose_sampler(
    named: str | SamplerSpec, *, objectives: int, coordinates: Coordinates, trials: int | None
) -> tuple[SamplerSpec, str]:
    """The sampler of a study, and why.

    Args:
        named: A sampler, or `auto`.
        objectives: How many the study has.
        coordinates: Of its space.
        trials: Its budget of trials, None where items or minutes end it.

    Raises:
        SamplerError: an unknown sampler, or one that cannot search this space.
    """
    spec = spec_of(named)
    if spec.name == "auto" and not spec.options:
        chosen, reason = _automatic(objectives, coordinates, trials)
        return SamplerSpec(chosen), reason
    if fault := sampler_of(spec).unsuited(objectives, coordinates):
        other, _ = _automatic(objectives, coordinates, trials)
        raise SamplerError(f"sampler: {spec} {fault}; use {other}, or auto")
    return spec, "named in the study"


def takes_guesses(named: str | SamplerSpec, chosen: SamplerSpec) -> bool:
    """Whether guesses (`guesses`) take turns with the sampler: where a study leaves it to `auto`.

    A sampler that is named proposes alone. So do evolution strategies, which learn from their own
    generations, and have trials enough.
    """
    return spec_of(named).name == "auto" and chosen.name in ("tpe", "gp")


def population_size(trials: int | None) -> int:
    """Members of a generation, 24 to 50: 20 generations in the budget where it can."""
    return 24 if trials is None else max(24, min(50, trials // 20))


def _automatic(objectives: int, coordinates: Coordinates, trials: int | None) -> tuple[str, str]:
    size = len(coordinates.distributions())
    budget = trials if trials is not None else 0
    whole = any(one.kind == "int" for one in coordinates.space.dimensions)
    numbers = not has_choices(coordinates) and not whole
    facts = (
        f"{objectives} objective{'s' if objectives > 1 else ''}, {size} "
        f"dimension{'s' if size > 1 else ''}"
        f"{' with choices' if has_choices(coordinates) else ''}{' with layers' if whole else ''}"
    )
    facts += f", {trials} trials" if trials is not None else ""
    if objectives == 1 and numbers and (budget > 250 or size > 50):
        return "cmaes", f"{facts}: CMA-ES, for many trials or dimensions"
    if budget > 1000 and not coordinates.space.conditional:
        chosen = "nsgaiii" if objectives >= 4 else "nsgaii"
        return chosen, f"{facts}: an evolutionary search, over 1,000 trials"
    if objectives == 1 and numbers and size <= 25 and budget <= 250:
        return "gp", f"{facts}: a Gaussian process, for few trials and dimensions"
    # Of several objectives TPE found more at equal items, and in no time: docs/search.md.
    return "tpe", f"{facts}: TPE, for several objectives, choices, layers or many trials"

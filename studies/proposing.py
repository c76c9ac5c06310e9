"""Which sampler proposes for a study, and where its trials come from."""

from search.samplers import choose_sampler
from search.trials import Proposing

from .preflight import Preflight


def sampler_of(preflight: Preflight) -> tuple[str, str]:
    """(name, why) of the sampler; raises SamplerError for one that cannot search this space."""
    study = preflight.study
    return choose_sampler(
        study.sampler,
        objectives=len(preflight.objectives),
        coordinates=preflight.coordinates,
        trials=study.budget.trials,
    )


def proposing_of(preflight: Preflight) -> Proposing:
    """The trials of a study; the study's seed is also that of the masks."""
    study = preflight.study
    return Proposing(
        space=preflight.space,
        coordinates=preflight.coordinates,
        warm_starts=preflight.warm_starts,
        sampler=sampler_of(preflight)[0],
        seed=study.seed,
        mask_seed=study.seed,
        objectives=preflight.objectives,
        trials=study.budget.trials,
    )

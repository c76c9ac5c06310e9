"""Which samplers propose for a study, and where its trials come from."""

from search.loop import searched_tasks
from search.refinement import Refinement
from search.samplers import choose_sampler
from search.trials import Proposing

from .preflight import Preflight


def samplers_of(preflight: Preflight) -> tuple[tuple[str, str], ...]:
    """For each stage (name, why) of its sampler.

    Raises:
        SamplerError: one that cannot search this space.
    """
    study = preflight.study
    return tuple(
        choose_sampler(
            study.sampler,
            objectives=len(preflight.objectives),
            coordinates=coordinates,
            trials=_affordable(preflight),
        )
        for coordinates in preflight.stages.coordinates
    )


def _affordable(preflight: Preflight) -> int | None:
    """How many candidates the budget pays for; None where minutes end the search."""
    budget = preflight.study.budget
    if budget.trials or budget.items is None:
        return budget.trials
    searched = searched_tasks(preflight.tasks, preflight.objectives, preflight.study.constraints)
    each = sum(len(preflight.splits[task]["search"]) for task in searched)
    return max(1, budget.items // max(1, each))


def proposing_of(preflight: Preflight) -> Proposing:
    """The trials of a study; the study's seed is also that of the masks."""
    study, stages = preflight.study, preflight.stages
    samplers = tuple(name for name, _ in samplers_of(preflight))
    refinement = None
    if len(stages.coordinates) > 1:
        refinement = Refinement(
            stages=stages,
            samplers=samplers,
            higher_is_better=tuple(one.higher_is_better for one in preflight.objectives),
            first=len(preflight.warm_starts),
            trials=_affordable(preflight),
        )
    return Proposing(
        space=preflight.space,
        coordinates=stages.coordinates[0],
        warm_starts=preflight.warm_starts,
        sampler=samplers[0],
        seed=study.seed,
        mask_seed=study.seed,
        objectives=preflight.objectives,
        trials=study.budget.trials,
        refinement=refinement,
    )

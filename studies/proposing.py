"""Which sampler proposes for a study, and where its trials come from."""

from collections.abc import Callable

from search.executors import Executor
from search.gradients import Gradients
from search.ledger import Ledger
from search.loop import searched_tasks
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
        trials=study.budget.trials or _affordable(preflight),
    )


def _affordable(preflight: Preflight) -> int | None:
    """How many candidates a budget of items pays for; None where minutes end the search."""
    items = preflight.study.budget.items
    searched = searched_tasks(preflight.tasks, preflight.objectives, preflight.study.constraints)
    each = sum(len(preflight.splits[task]["search"]) for task in searched)
    return None if items is None else max(1, items // max(1, each))


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


def gradients_of(
    preflight: Preflight, ledger: Ledger, executor: Executor, tell: Callable[[str], None]
) -> Gradients | None:
    """The gradient phase of a study; None where the study wants none."""
    study = preflight.study
    if study.gradients == "off":
        return None
    searched = searched_tasks(preflight.tasks, preflight.objectives, study.constraints)
    return Gradients(
        ledger=ledger,
        executor=executor,
        space=preflight.space,
        coordinates=preflight.coordinates,
        tasks=preflight.tasks,
        splits=preflight.splits,
        objectives=preflight.objectives,
        references=preflight.references,
        warm_starts=preflight.warm_starts,
        budget=study.budget,
        items_per_candidate=sum(len(preflight.splits[task]["search"]) for task in searched),
        seed=study.seed,
        mask_seed=study.seed,
        refine=study.gradients == "refine",
        tell=tell,
    )

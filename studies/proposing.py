"""Which samplers propose for a study, and where its trials come from."""

from collections.abc import Callable
from typing import Any

from search.blocks import looks
from search.errors import SamplerError, SamplerOptionError
from search.executors import Executor
from search.gradient_plan import GradientPlan, GradientTerms, cost_of, plan_gradients
from search.gradients import ROUNDED, Gradients, able, unable
from search.ledger import Ledger
from search.loop import searched_tasks
from search.own_samplers import with_code
from search.refinement import Refinement
from search.rehearsal import rehearse
from search.sampler_spec import SamplerSpec
from search.samplers import SAMPLERS, choose_sampler, takes_guesses
from search.space_slopes import most_moved
from search.trials import Proposing

from .config_sampler import read_sampler
from .errors import StudyError
from .preflight import Preflight


def samplers_of(preflight: Preflight) -> tuple[tuple[SamplerSpec, str], ...]:
    """For each stage the sampler and why it is that one, with the code it names.

    Raises:
        SamplerError: one that cannot search this space, or whose code was not permitted.
    """
    study = preflight.study
    spec = with_code(study.sampler, study.folder, preflight.permissions.allow_code)
    return tuple(
        choose_sampler(
            spec,
            objectives=len(preflight.objectives),
            coordinates=coordinates,
            trials=_affordable(preflight),
        )
        for coordinates in preflight.stages.coordinates
    )


def refuse_sampler(preflight: Preflight) -> None:
    """Refuses a sampler that cannot search the study; one that is not ours is tried out.

    Raises:
        SamplerError: what the command line says is at fault.
        StudyError: what the file says, with its place.
    """
    study = preflight.study
    try:
        found = zip(samplers_of(preflight), preflight.stages.coordinates, strict=True)
        for (spec, _), coordinates in found:
            if spec.name in SAMPLERS:
                continue
            rehearse(
                spec,
                coordinates,
                tuple(one.higher_is_better for one in preflight.objectives),
                len(study.constraints),
                study.seed,
                study.budget.trials,
            )
    except SamplerError as error:
        data: Any = study.document.data
        written = data.get("sampler")
        if written is None or read_sampler(study.document, written) != study.sampler:
            raise
        option = error.option if isinstance(error, SamplerOptionError) else ""
        path = ("sampler", option) if option else ("sampler",)
        place = study.document.place(path, key=bool(option))
        raise StudyError(f"{place} {error}") from error


def code_digest(preflight: Preflight) -> str | None:
    """The hash of the code that the study's sampler is made of, None for Optuna's and ours."""
    study = preflight.study
    code = with_code(study.sampler, study.folder, preflight.permissions.allow_code).code
    return None if code is None else code.digest


def changed_code(preflight: Preflight, ledger: Ledger) -> str:
    """What to say where a sampler's code is not what the run was begun with; notes what it is.

    A run may go on with another sampler. With the same name it would pass for the same.
    """
    known: dict[str, str] = ledger.meta("sampler_code") or {}
    name, digest = str(preflight.study.sampler), code_digest(preflight)
    if digest is None:
        return ""
    ledger.set_meta("sampler_code", {**known, name: digest})
    if known.get(name, digest) == digest:
        return ""
    return f"note: the code of {name} is another than before; trials from here on are its own"


def _affordable(preflight: Preflight) -> int | None:
    """How many candidates the budget pays for; None where minutes end the search."""
    budget = preflight.study.budget
    if budget.trials or budget.items is None:
        return budget.trials
    return max(1, budget.items // max(1, _items_per_trial(preflight)))


def _items_per_trial(preflight: Preflight) -> int:
    """Item evaluations of one trial: in full, or what a race spends on one."""
    searched = searched_tasks(preflight.tasks, preflight.objectives, preflight.study.constraints)
    splits = [preflight.splits[task]["search"] for task in searched]
    each = sum(map(len, splits))
    if not preflight.study.racing:
        return each
    first = sum(len(block) for one in splits for block in looks(one, None)[0])
    return min(each, 2 * first)  # half of the items go to first looks


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
        guesses=_guesses(preflight),
    )


def gradients_of(
    preflight: Preflight, ledger: Ledger, executor: Executor, tell: Callable[[str], None]
) -> Gradients | None:
    """The gradient phase of a study; None where the study wants none."""
    study, terms = preflight.study, gradient_terms(preflight)
    if terms is None:
        return None
    return Gradients(
        ledger=ledger,
        executor=executor,
        stages=preflight.stages,
        tasks=preflight.tasks,
        splits=preflight.splits,
        objectives=preflight.objectives,
        references=preflight.references,
        warm_starts=preflight.warm_starts,
        terms=terms,
        seed=study.seed,
        mask_seed=study.seed,
        tell=tell,
    )


def gradient_terms(preflight: Preflight) -> GradientTerms | None:
    """What the study says of its gradients; None where it wants none."""
    study, space = preflight.study, preflight.space
    if study.gradients == "off":
        return None
    parts = sorted({task for one in preflight.objectives for task, _ in one.parts})
    return GradientTerms(
        mode=study.gradients,
        weights=most_moved(space),
        objectives=len(preflight.objectives),
        available={task: len(preflight.splits[task].get("calibration", ())) for task in parts},
        budget=study.budget,
        items_per_trial=_items_per_trial(preflight),
        references=sum(one.role in ("base", "parent") for one in preflight.references),
        starts=len(able(space, preflight.warm_starts)),
        guessed=_guesses(preflight) and not study.constraints,
    )


def _guesses(preflight: Preflight) -> bool:
    """Whether guesses take turns with the sampler, as far as that is the sampler's affair."""
    return takes_guesses(preflight.study.sampler, samplers_of(preflight)[0][0])


def planned_gradients(preflight: Preflight) -> tuple[GradientPlan, int] | str:
    """The plan of the phase with its items at most, or why there is none.

    A task may still have no gold answers.
    """
    terms = gradient_terms(preflight)
    if terms is None:
        return "off"
    why = unable(preflight.space, preflight.warm_starts)
    plan = why or (ROUNDED if preflight.recipe.exact else plan_gradients(terms))
    return f"none: {plan}" if isinstance(plan, str) else (plan, cost_of(plan, terms))


def gradients_text(preflight: Preflight) -> str:
    """What gradients will cost, or why there are none."""
    planned = planned_gradients(preflight)
    if isinstance(planned, str):
        return planned
    plan, cost = planned
    return (
        f"at most {plan.points} starting points by {plan.evaluations} backward passes over "
        f"{plan.items} items a task: {cost:,} item evaluations"
    )

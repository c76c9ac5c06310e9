"""From the ledger to all that a report says: values, intervals, the claim. Scores nothing."""

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import TypeAdapter, ValidationError

from merging.document import Document
from merging.plan import plan_recipe
from merging.recipe_reader import read_recipe
from search.front import hypervolume_history
from search.importance import importances
from search.ledger import Candidate, Ledger, label
from search.objectives import Budget, ConstraintSpec, resolve_metric
from search.stages import in_one_stage
from search.study_log import recipe_distributions
from search.verdict import Verdict, stored_verdict
from search.winner import feasible, front

from . import view
from .benchmarks import benchmarks_of
from .beside import beside_view, random_best
from .candidate_views import look_items, reference_views, trial_views, with_comparisons
from .claims import RULES, choice_text, claim_text, test_rows, utility_gain
from .estimates import Scores
from .export import candidate_yaml
from .masks import winner_masks
from .notices import notices_of
from .optimism import optimism_of
from .preflight import Preflight
from .prices import constraint_sentences, price_sentences
from .profiles import Lines, depth_lines, depth_profiles
from .resolved import model_hashes, resolved_study, task_hash
from .versions import versions


@dataclass(frozen=True, slots=True)
class Found:
    """A run's candidates, read once."""

    preflight: Preflight
    ledger: Ledger
    scores: Scores
    references: list[Candidate]
    trials: list[Candidate]
    front: list[Candidate]
    verdict: Verdict | None

    def named(self, name: str) -> Candidate:
        """The candidate of a label."""
        return next(one for one in (*self.references, *self.trials) if label(one) == name)

    def yaml(self, candidate: Candidate) -> str:
        """The candidate as it is exported.

        Empty where it has no recipe hash (it could not be read).
        """
        study = self.preflight.study
        if not candidate.recipe_hash:
            return ""
        return candidate_yaml(
            candidate, study.recipe, study.folder, self.preflight.maps, run=study.name
        )


def gather(preflight: Preflight, ledger: Ledger) -> Found:
    """Reads candidates and verdict from the ledger."""
    study = preflight.study
    trials = ledger.candidates("trial")
    settings = [ledger.meta("settings") or "", *(ledger.meta("settings_before") or [])]
    return Found(
        preflight,
        ledger,
        Scores(ledger, settings, preflight.tasks, preflight.splits, study.seed),
        ledger.candidates("reference"),
        trials,
        front(trials, preflight.objectives),
        stored_verdict(ledger),
    )


def build_view(preflight: Preflight, ledger: Ledger, state: str) -> view.RunView:
    """Everything that a report, a table or a notebook shows of a run."""
    found = gather(preflight, ledger)
    study = preflight.study
    columns = test_columns(preflight)
    together, dimensions = in_one_stage(preflight.stages, found.trials)
    sampler = next((one.sampler for one in reversed(found.trials)), str(study.sampler))
    winner = _winner(found)
    chosen = found.named(found.verdict.winner) if found.verdict else None
    shown = view.RunView(
        name=study.name,
        state=state,
        created=_now(),
        seed=study.seed,
        sampler=sampler,
        rule=RULES[study.rule],
        models=tuple(str(model) for model in preflight.checkpoints),
        tasks={
            task: {split: len(indices) for split, indices in splits.items()}
            for task, splits in preflight.splits.items()
        },
        objectives=tuple(
            view.Objective(one.name, one.metric, one.higher_is_better)
            for one in preflight.objectives
        ),
        columns=tuple(columns),
        directions={
            name: preflight.tasks[task].metrics[metric].higher_is_better
            for name, (task, metric) in columns.items()
        },
        trials=trial_views(found),
        references=reference_views(found),
        winner=winner,
        test_rows=()
        if chosen is None
        else test_rows(found.scores, chosen, found.references, columns),
        profiles=() if chosen is None else _profiles(found, chosen),
        importance=importances(together, preflight.objectives, recipe_distributions(dimensions)),
        hypervolume=_hypervolume(found),
        notices=notices_of(found),
        versions=versions(),
        prices=() if chosen is None else _prices(found, chosen, columns),
        budget=budget_text(study.budget),
        constraints=tuple(_constraint(spec) for spec in study.constraints),
        provenance={
            **{f"model {name}": short for name, short in model_hashes(preflight).items()},
            **{f"task {name}": task_hash(task) for name, task in preflight.tasks.items()},
        },
        optimism=() if chosen is None else optimism_of(found, chosen),
        masks=None
        if found.verdict is None or chosen is None
        else winner_masks(found, found.verdict, chosen, found.named(found.verdict.rival)),
        beside=beside_view(found),
        benchmarks=benchmarks_of(preflight.tasks),
        looks=look_items(found),
    )
    return with_comparisons(found, shown, random_best(found))


def test_columns(preflight: Preflight) -> dict[str, tuple[str, str]]:
    """Columns of the test table: what objectives and constraints read.

    Then other tasks' first metrics.
    """
    parts = [part for one in preflight.objectives for part in one.parts]
    tasks = preflight.tasks
    parts += [resolve_metric(one.metric, tasks) for one in preflight.study.constraints]
    named = {task for task, _ in parts}
    parts += [(task, next(iter(tasks[task].metrics))) for task in tasks if task not in named]
    return {f"{task} {metric}": (task, metric) for task, metric in dict.fromkeys(parts)}


def _prices(
    found: Found, winner: Candidate, columns: Mapping[str, tuple[str, str]]
) -> tuple[str, ...]:
    prices = price_sentences(found.scores, winner, found.references, columns)
    constraints = found.preflight.study.constraints
    return prices + constraint_sentences(found.scores, winner, found.references, constraints)


def budget_text(budget: Budget) -> str:
    """The limits in words."""
    limits = {"trials": budget.trials, "items": budget.items, "minutes": budget.minutes}
    return ", ".join(f"{limit:,} {name}" for name, limit in limits.items() if limit is not None)


def _constraint(spec: ConstraintSpec) -> str:
    """A constraint in words."""
    name = " ".join(filter(None, (spec.metric.task, spec.metric.metric)))
    if spec.max_drop is not None:
        return f"{name} at most {spec.max_drop:g} worse than {spec.source.replace('_', ' ')}"
    low = [] if spec.low is None else [f"at least {spec.low:g}"]
    high = [] if spec.high is None else [f"at most {spec.high:g}"]
    return f"{name} {' and '.join(low + high)}"


def store_view(ledger: Ledger, shown: view.RunView) -> None:
    """Keeps a view in the run, so that `report` and `trials` need neither models nor tasks."""
    text = TypeAdapter(view.RunView).dump_json(shown).decode()
    ledger.set_meta("view", text)


def current_view(preflight: Preflight, ledger: Ledger, state: str) -> view.RunView:
    """The view of a run, which is kept in it; that of before where nothing has changed since."""
    # Names and the winner rule too: a run goes on under others.
    told = ledger.state(), state, resolved_study(preflight), preflight.notices, versions()
    digest = hashlib.blake2b(repr(told).encode(), digest_size=16).hexdigest()
    known = stored_view(ledger) if ledger.meta("view_of") == digest else None
    shown = build_view(preflight, ledger, state) if known is None else known
    shown = replace(shown, created=_now())
    store_view(ledger, shown)
    ledger.set_meta("view_of", digest)
    return shown


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def stored_view(ledger: Ledger) -> view.RunView | None:
    """The last stored view, None where the run never ended in order."""
    text = ledger.meta("view")
    if text is None:
        return None
    try:
        return TypeAdapter(view.RunView).validate_json(text)
    except ValidationError:
        return None  # written by another version: it is computed anew


def _winner(found: Found) -> view.Winner | None:
    verdict = found.verdict
    if verdict is None:
        return None
    chosen, rival = found.named(verdict.winner), found.named(verdict.rival)
    gain = _gain(found, verdict, chosen, rival)
    is_trial = chosen.kind == "trial"
    text = claim_text(
        gain,
        label(chosen),
        label(rival),
        RULES[verdict.rule.rule],
        is_trial=is_trial,
        seen=len(found.ledger.meta("test_opened") or []),
        within=verdict.lead > 0,
    )
    if verdict.trials < len(found.trials):
        text += f" It was chosen after {verdict.trials} trials; the search has gone on since."
    number = chosen.number if is_trial else None
    same = label(chosen) == label(rival)
    improved = False if same else None if gain is None or gain.low is None else gain.low > 0
    yaml = found.yaml(chosen)
    return view.Winner(label(chosen), number, yaml, text, gain, choice_text(verdict), improved)


def _gain(
    found: Found, verdict: Verdict, chosen: Candidate, rival: Candidate
) -> view.Estimate | None:
    """The winner's gain on `test`, None where one of the two was not scored there."""
    objectives = found.preflight.objectives
    tasks = {task for one in objectives for task, _ in one.parts}
    scored = all(
        found.scores.complete(one, task, "test") for one in (chosen, rival) for task in tasks
    )
    if not scored or label(chosen) == label(rival):
        return None
    return utility_gain(found.scores, chosen, rival, objectives, verdict)


def _lines(found: Found, candidate: Candidate) -> Lines:
    document: Document = found.preflight.study.recipe
    recipe, _ = read_recipe(document.with_data(candidate.data), strict=True)
    jobs = plan_recipe(recipe, found.preflight.checkpoints)
    return depth_lines(jobs, found.preflight.space.labels)


def _profiles(found: Found, winner: Candidate) -> tuple[view.Profile, ...]:
    return depth_profiles(_lines(found, winner), [_lines(found, one) for one in found.front])


def _hypervolume(found: Found) -> tuple[tuple[int, float], ...]:
    scored = ("complete", "paused")
    done = [one for one in found.trials if one.state in scored and feasible(one)]
    if not done:
        return ()
    so_far, at = sum(one.items for one in found.references), {}
    for one in found.trials:
        so_far += one.items
        at[one.number] = so_far
    directions = [one.higher_is_better for one in found.preflight.objectives]
    references = [one.scores for one in found.references if one.scores is not None]
    values: Sequence[tuple[float, ...]] = [one.standing or () for one in done]
    volumes = hypervolume_history(values, directions, references)
    return tuple((at[one.number], volume) for one, volume in zip(done, volumes, strict=True))

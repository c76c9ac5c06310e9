"""`search` from end to end: preflight, the run folder, the search, the verdict.

What is left behind.
"""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from search.executors import Executor
from search.ledger import Ledger
from search.loop import Observer, Search, constraint_name
from search.objectives import Budget
from search.proposals import Proposer
from search.scoring import Scorer
from search.study_log import StudyLog
from search.verdict import NoWinner, decide
from search.winner import MAX_FINALISTS, WinnerRule

from .config import Study, read_study
from .errors import NoWinnerError
from .outputs import write_outputs
from .preflight import Permissions, Preflight, inspect
from .progress import Display
from .proposing import proposing_of
from .resolved import identity, resolved_study
from .results import test_columns
from .run import RunFolder, RunLock, claim_identity, find_run
from .session import Hardware, open_executor
from .view import RunView

DEFAULT_TRIALS = 100


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What the command line changes about one search."""

    trials: int | None = None
    items: int | None = None
    minutes: float | None = None
    sampler: str | None = None
    seed: int | None = None
    out: Path | None = None
    fresh: bool = False
    source: Path | None = None
    """`--from RUN`: another run whose results are reused where they apply."""
    max_failed: float = 0.2
    quiet: bool = False
    maps: Mapping[str, Path] = field(default_factory=dict)
    hardware: Hardware = Hardware()
    permissions: Permissions = Permissions()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a search ended. `reached` is the limit that ended it, or `interrupted`."""

    run: RunFolder
    preflight: Preflight
    reached: str
    trials: int
    failed: int
    items: int
    view: RunView
    columns: Mapping[str, tuple[str, str]]
    """Column of the test table to (task, metric)."""


def conduct(path: Path, options: SearchOptions) -> Outcome:
    """Runs or goes on with a study's search.

    KeyboardInterrupt leaves everything written, and is raised on.
    """
    study = overridden(read_study(path), options)
    preflight = inspect(study, options.maps, options.permissions)
    run = RunFolder(options.out or Path("runs") / study.name)
    if options.fresh and run.path.exists():
        with RunLock(find_run(run.path)):
            pass  # refuse to delete what another process holds
        shutil.rmtree(run.path)
    run.path.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(RunLock(run))
        ledger = stack.enter_context(Ledger(run.url))
        claim_identity(ledger, identity(preflight), run)
        if options.source is not None:
            _reuse(ledger, options.source)
        hardware = options.hardware.resolved(ledger.meta("hardware"))
        display = Display(preflight.objectives, study.budget.trials, options.quiet)
        for notice in preflight.notices:
            display.note(f"warning: {notice}")
        executor = open_executor(preflight, hardware, options.permissions)
        ledger.set_meta("hardware", asdict(hardware))
        ledger.set_meta("settings", executor.settings)
        run.study.write_text(resolved_study(preflight, options.maps), encoding="utf-8")
        log = stack.enter_context(closing(_study_log(preflight, run)))
        search = assemble(preflight, ledger, executor, log, display)
        stack.enter_context(display)
        return _search(search, preflight, run, display)


def overridden(study: Study, options: SearchOptions) -> Study:
    """The study with the command line's budget, sampler and seed in the place of its own."""
    own = study.budget
    budget = Budget(
        options.trials or own.trials, options.items or own.items, options.minutes or own.minutes
    )
    if budget == Budget(None, None, None):
        budget = replace(budget, trials=DEFAULT_TRIALS)
    return replace(
        study,
        budget=budget,
        sampler=options.sampler or study.sampler,
        seed=study.seed if options.seed is None else options.seed,
    )


def assemble(
    preflight: Preflight,
    ledger: Ledger,
    executor: Executor,
    log: StudyLog,
    display: Observer,
) -> Search:
    """The search of a study over an open ledger."""
    study = preflight.study
    scorer = Scorer(ledger, executor, preflight.tasks, preflight.splits)
    return Search(
        ledger=ledger,
        executor=executor,
        tasks=preflight.tasks,
        scorer=scorer,
        proposing=proposing_of(preflight),
        references=preflight.references,
        objectives=preflight.objectives,
        constraints=study.constraints,
        budget=study.budget,
        reserved_items=_reserved(preflight),
        log=log,
        observer=display,
    )


def rule_of(study: Study) -> WinnerRule:
    """The study's winner rule as the search knows it."""
    return WinnerRule(study.rule, study.weights, study.rule_task)


def _study_log(preflight: Preflight, run: RunFolder) -> StudyLog:
    study = preflight.study
    constraints = [constraint_name(spec) for spec in study.constraints]
    return StudyLog(run.url, study.name, preflight.objectives, preflight.space, constraints)


def _search(search: Search, preflight: Preflight, run: RunFolder, display: Display) -> Outcome:
    state = "interrupted"
    try:
        with Proposer() as proposer:
            state = search.run(proposer)
        decide(search, rule_of(preflight.study))
    except NoWinner as error:
        write_outputs(run, preflight, search.ledger, "finished")
        raise NoWinnerError(str(error)) from None
    except KeyboardInterrupt:
        state = "interrupted"
        display.note("interrupted: the run is saved, the same command goes on with it")
    ended = state if state == "interrupted" else "finished"
    view = write_outputs(run, preflight, search.ledger, ended)
    trials = search.ledger.candidates("trial")
    everything = [*search.ledger.candidates("reference"), *trials]
    return Outcome(
        run,
        preflight,
        state,
        len(trials),
        sum(trial.state == "failed" for trial in trials),
        sum(one.items for one in everything),
        view,
        test_columns(preflight),
    )


def _reuse(ledger: Ledger, source: Path) -> None:
    """Takes over the item results of another run; what does not apply is never asked for."""
    with Ledger(find_run(source).url) as other:
        ledger.copy_results(other)


def _reserved(preflight: Preflight) -> int:
    """Item evaluations that select and test will take at most."""
    entrants = len(preflight.references)
    total = 0
    for splits in preflight.splits.values():
        total += (entrants + MAX_FINALISTS) * len(splits["select"])
        total += (entrants + 1) * len(splits["test"])
    return total

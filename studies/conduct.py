"""`search` from end to end: preflight, run folder, search, verdict, outputs."""

from collections.abc import Mapping
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evaluation.errors import ExhaustedError
from search.beside import search_beside
from search.errors import SamplerError, WorkersError
from search.executors import Executor, Pool, Terms
from search.ledger import Ledger
from search.limits import Limits
from search.log_thread import LogThread
from search.loop import Search, constraint_name
from search.observer import Observer
from search.proposals import Proposer
from search.scoring import Scorer
from search.study_log import StudyLog
from search.verdict import NoWinner, decide
from search.winner import WinnerRule

from .conclusion import note_markdown, summary_attributes
from .config import Study
from .crew import Crew, assembled, refuse_workforce
from .errors import RunError
from .live.display import Display
from .live.tally import Heading, Tally
from .live.voices import refuse_mode
from .outputs import write_outputs
from .preflight import Preflight, inspect
from .proposing import changed_code, gradients_of, proposing_of
from .reopen import begun_exact, open_study
from .resolved import identity, resolved_study
from .results import test_columns
from .run import (
    Identity,
    RunFolder,
    find_source,
    hold,
    refuse_other_study,
    run_folder,
    same_run,
    server_of,
)
from .scoring_terms import refuse_other_scoring
from .session import Hardware, refuse_hardware
from .terms import (
    SearchOptions,
    items_per_candidate,
    overridden,
    refuse_hopeless,
    reserved_items,
)
from .tracking.watch import watching
from .view import RunView
from .writing import replace_text


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
    problem: str = ""
    """Why nothing could win; empty where something did, or nothing was decided."""


def conduct(path: Path, options: SearchOptions) -> Outcome:
    """Runs or goes on with a study's search; Ctrl-C ends it in order, and the outcome says so.

    What can be refused is refused before a weight is loaded, and before an old run is touched.
    """
    refuse_mode(options.progress)
    named, remembered = open_study(path)
    run = run_folder(options.out or Path("runs") / named.name, named.name, options.storage)
    if not options.fresh and begun_exact(run):
        options = replace(options, exact=True)
    study, maps = overridden(named, options), {**remembered, **options.maps}
    preflight = inspect(study, maps, options.permissions)
    refuse_hopeless(preflight)
    refuse_workforce(options.workforce, options.hardware.device)
    crew_here = {
        "here": not options.workforce.elsewhere,
        "ours": options.workforce.kind == "inline",
    }
    refuse_hardware(options.hardware, **crew_here)
    source = None if options.source is None else find_source(options.source, options.storage)
    if options.fresh and source is not None and same_run(source, run):
        raise RunError(f"--fresh would delete {run.path}, whose results --from is to reuse")
    with ExitStack() as stack:
        run = stack.enter_context(hold(run))
        begun = {} if options.fresh else _begun(run, identity(preflight))
        stored = begun.get("hardware") or _hardware(source)
        hardware = options.hardware.resolved(stored, options.workforce.here)
        _refuse_other_settings(run, begun.get("hardware"), asdict(hardware))
        crew = stack.enter_context(assembled(preflight, hardware, options.workforce))
        hardware = replace(hardware, token_budget=crew.working.terms.token_budget)
        if options.fresh:
            run.clear()
        ledger = stack.enter_context(run.ledger())
        refuse_other_scoring(ledger, crew.working.terms, run)
        replace_text(run.study, resolved_study(preflight, server_of(run)))
        _begin(ledger, preflight, hardware, crew.working.terms)
        if source is not None:
            _reuse(ledger, source)
        log = stack.enter_context(closing(study_log(preflight, ledger)))
        display = stack.enter_context(Display(_tally(preflight), run.log, options.progress))
        ledger.database.patience.tell = display.warn
        if (pool := crew.pool) is not None:
            ledger.database.patience.stopped = lambda: pool.stopped
        for notice in preflight.notices:
            display.warn(notice)
        for note in (*crew.notes, *filter(None, [crew.working.terms.slow])):
            display.note(note)
        crew.tell(display.note)
        if changed := changed_code(preflight, ledger):
            display.note(changed)
        watch = stack.enter_context(watching(display, options.tracks, preflight, ledger, run))
        search = assemble(preflight, ledger, crew.executor, log, watch, crew.pool)
        beside = options.beside is not None
        outcome = _search_in_memory(search, preflight, run, display, crew, hardware, beside)
        log.conclude(summary_attributes(outcome.view), note_markdown(outcome.view))
        watch.finish(outcome.view)
        return outcome


def _begun(run: RunFolder, wanted: Identity) -> Mapping[str, Any]:
    """The settings that a run was begun with; refuses to go on with another study in it."""
    if not run.begun:
        return {}
    with run.ledger() as ledger:
        refuse_other_study(ledger, wanted, run)
        return {"hardware": ledger.meta("hardware")}


def _begin(ledger: Ledger, preflight: Preflight, hardware: Hardware, terms: Terms) -> None:
    """Writes down what must stay the same for as long as the run goes on."""
    ledger.set_meta("identity", identity(preflight))
    ledger.set_meta("hardware", asdict(hardware))
    ledger.set_meta("settings", terms.settings)
    ledger.set_meta("scoring", terms.scoring)


def _refuse_other_settings(
    run: RunFolder, before: Mapping[str, Any] | None, now: Mapping[str, Any]
) -> None:
    """Raises RunError where candidates would not be scored as those before were."""
    for name, value in (before or {}).items():
        if now.get(name) != value:
            raise RunError(
                f"{run.path}: was begun with {name.replace('_', ' ')} {value}, now it is "
                f"{now.get(name)}; what can change scores is fixed at the start of a run. Leave "
                f"it as it was, start anew with --fresh, or {run.another}"
            )


def assemble(
    preflight: Preflight,
    ledger: Ledger,
    executor: Executor,
    log: StudyLog,
    display: Observer,
    pool: Pool | None = None,
) -> Search:
    """The search of a study over an open ledger."""
    study = preflight.study
    scorer = Scorer(ledger, executor, preflight.tasks, preflight.splits, display.step)
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
        reserved_items=reserved_items(preflight),
        log=log if pool is None else LogThread(log),
        observer=display,
        gradients=gradients_of(preflight, ledger, executor, display.note),
        racing=study.racing,
        rule=rule_of(study),
        pool=pool,
    )


def _tally(preflight: Preflight) -> Tally:
    """What the display counts, before anything has happened."""
    study = preflight.study
    limits = Limits(study.budget, items_per_candidate(preflight), reserved_items(preflight))
    heading = Heading(study.name, str(study.sampler), study.seed)
    return Tally(heading, preflight.objectives, limits)


def rule_of(study: Study) -> WinnerRule:
    """The study's winner rule as the search knows it."""
    return WinnerRule(study.rule, study.weights, study.rule_task)


def study_log(preflight: Preflight, ledger: Ledger) -> StudyLog:
    """The Optuna study of a run, with the parameters of all stages."""
    study = preflight.study
    constraints = [constraint_name(spec) for spec in study.constraints]
    dimensions = preflight.stages.dimensions
    return StudyLog(ledger.database, study.name, preflight.objectives, dimensions, constraints)


def _search(
    search: Search, preflight: Preflight, run: RunFolder, display: Display, beside: bool
) -> Outcome:
    state, problem = "interrupted", ""
    try:
        with Proposer() as proposer:
            state = search.run(proposer)
        decide(search, rule_of(preflight.study))
        if beside:
            display.note("random search beside it, of as many item evaluations")
            search_beside(search, rule_of(preflight.study))
    except NoWinner as error:
        problem = str(error)
    except (SamplerError, WorkersError) as error:
        write_outputs(run, preflight, search.ledger, "interrupted")
        way = ", with another --sampler too" if isinstance(error, SamplerError) else ""
        raise RunError(
            f"{error}; {run.path} is saved, the same command goes on with it{way}"
        ) from error
    except BrokenExecutor:
        raise RunError(
            f"{run.path}: the process that proposes was killed (out of memory?); the run is "
            "saved, the same command goes on with it"
        ) from None
    except KeyboardInterrupt:
        search.ledger.database.patience.stopped = lambda: True  # nobody waits for a server now
        state = "interrupted"
        display.note("interrupted")
        if isinstance(search.log, LogThread):
            search.log.flush()  # else it lacks trials, and writes on where others may by now
    ended = state if state == "interrupted" else "finished"
    display.phase("report")
    view = write_outputs(run, preflight, search.ledger, ended)
    display.over(state == "interrupted")
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
        problem,
    )


def _search_in_memory(
    search: Search,
    preflight: Preflight,
    run: RunFolder,
    display: Display,
    crew: Crew,
    hardware: Hardware,
    beside: bool,
) -> Outcome:
    """The search with fewer and fewer tokens at once, as long as memory runs out.

    Raises:
        ExhaustedError: the fewest are too many; the run keeps the settings it had.
    """
    ledger = search.ledger
    kept = {name: ledger.meta(name) for name in ("hardware", "settings", "scoring")}
    while True:
        try:
            return _search(search, preflight, run, display, beside)
        except ExhaustedError:
            before = crew.working.terms.settings
            try:
                hardware = hardware.smaller(crew.working.shrink())
            except ExhaustedError:
                for name, value in kept.items():
                    ledger.set_meta(name, value)
                raise
            earlier = ledger.meta("settings_before") or []
            ledger.set_meta("settings_before", [before, *(s for s in earlier if s != before)])
            _begin(ledger, preflight, hardware, crew.working.terms)
            display.note(
                f"out of memory: {hardware.token_budget} tokens at once from now on; what is "
                "compared is scored again"
            )


def _reuse(ledger: Ledger, source: RunFolder) -> None:
    """Takes over the item results of another run; what does not apply is never asked for."""
    with source.ledger() as other:
        ledger.copy_results(other)
        seen = other.meta("test_opened") or []
        theirs = other.meta("identity") or {}
    mine, ours = ledger.meta("test_opened") or [], ledger.meta("identity")
    same = all(theirs.get(name) == ours[name] for name in ("split", "seed"))
    if same and set(theirs.get("tasks") or []) & set(ours["tasks"]):
        # Whoever goes on from a run whose test split was opened has seen it.
        ledger.set_meta("test_opened", [*(one for one in seen if one not in mine), *mine])


def _hardware(source: RunFolder | None) -> Mapping[str, Any] | None:
    """How the run was scored whose results are to be reused: else none of them would apply."""
    if source is None:
        return None
    with source.ledger() as other:
        found: Mapping[str, Any] | None = other.meta("hardware")
    return found

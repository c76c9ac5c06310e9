"""The Optuna study beside the ledger: a log of finished trials for Optuna's own tools.

Never read back: proposals come from the ledger. Trials are added whole, in order of number, so
that a kill between two of them leaves nothing half done; adding the ones that are missing is how
a resumed run catches up. Optuna's trials are written once: one that a race dropped or left waiting
is pruned there, and if it comes back and is scored on everything it stands in the log again, with
the same user attribute `trial`.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .errors import StorageError
from .ledger import Candidate
from .objectives import Objective
from .space import Dimension
from .storage import Database, engine_options
from .winner import feasible

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


_STATES = {"complete": "COMPLETE", "failed": "FAIL", "dropped": "PRUNED", "paused": "PRUNED"}
"""The ledger's states as Optuna has them; one under way is not logged."""


class StudyLog:
    """An Optuna study in a database that others may read while the search runs."""

    def __init__(
        self,
        where: Database | str,
        name: str,
        objectives: Sequence[Objective],
        dimensions: Iterable[Dimension],
        constraints: Sequence[str],
    ) -> None:
        """Creates or opens the study `name` in the ledger's database, or at an SQLAlchemy URL.

        `dimensions` are those of all stages; `constraints` are names.

        Raises:
            StorageError: the database refuses, or its Optuna tables are of another version.
        """
        self._database = where if isinstance(where, Database) else Database(where)
        self._distributions = recipe_distributions(dimensions)
        self._constraints = constraints
        self._names = [one.name for one in objectives]
        up = [one.higher_is_better for one in objectives]
        with self._database.making_tables():
            self._storage = self._database.patience(lambda: open_storage(self._database))
        try:
            self._study = self._database.patience(lambda: self._opened(name, up))
        except BaseException:
            self.close()
            raise

    def _opened(self, name: str, up: Sequence[bool]) -> "optuna.Study":
        import optuna

        study = optuna.create_study(
            study_name=name,
            storage=self._storage,
            directions=["maximize" if one else "minimize" for one in up],
            load_if_exists=True,
        )
        there = self._storage.get_study_name_from_id(study._study_id)
        if there != name:
            raise StorageError(
                f"{self._database.where}: holds a study {there!r}, from which MySQL does not tell "
                f"{name!r}; give the study another `name`"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # marked experimental since Optuna 3.2
            study.set_metric_names(self._names)
        return study

    def _patiently(self, work: Callable[[], None]) -> None:
        """Does work that may be done twice, as the holder of the run."""

        def anew() -> None:
            try:
                work()
            except Exception:
                with suppress(Exception):  # the next attempt begins with a session of its own
                    self._storage.remove_session()
                raise

        self._database.check_held()
        self._database.patience(anew)

    def add(self, trials: Sequence[Candidate], *, ended: bool = False) -> None:
        """Logs the ended trials that are not there yet; `trials` are in order of number.

        One that waits is logged once a later one has begun or the search has `ended`: until then
        it is still being raced.

        Raises:
            StorageError: the database is away for too long, or somebody else has the run.
        """
        self._patiently(lambda: self._add(trials, ended))

    def _add(self, trials: Sequence[Candidate], ended: bool) -> None:
        there = {
            (one.user_attrs.get("trial", one.number), one.state.name)
            for one in self._study.get_trials(deepcopy=False)
        }
        for trial in trials:
            waits = trial.state == "paused" and trial is trials[-1] and not ended
            state = _STATES.get(trial.state)
            if state is not None and not waits and (trial.number, state) not in there:
                frozen = _frozen(trial, self._distributions, self._constraints)
                frozen.user_attrs |= self._named(trial)
                self._study.add_trial(frozen)

    def _named(self, trial: Candidate) -> dict[str, Any]:
        """What only the study's names make readable."""
        named = zip(self._names, trial.estimates or (), strict=False)
        return {"estimates": estimates} if (estimates := dict(named)) else {}

    def conclude(self, attributes: Mapping[str, str], note: str) -> None:
        """Shows how the search ended: user attributes of the study, and a note in Markdown.

        The note is optuna-dashboard's; where that is not installed there is none.
        """

        def tell() -> None:
            for name, text in attributes.items():
                self._study.set_user_attr(name, text)
            try:
                from optuna_dashboard import save_note
            except ImportError:
                return
            save_note(self._study, note)

        self._patiently(tell)

    def close(self) -> None:
        """Lets go of the database."""
        self._storage.remove_session()
        self._storage.engine.dispose()


def open_storage(database: Database) -> "optuna.storages.RDBStorage":
    """Optuna's own view of a database.

    Raises:
        StorageError: its tables are of another version of Optuna.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = database.url.render_as_string(hide_password=False)
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=engine_options(database.url))
    except RuntimeError:
        raise StorageError(
            f"{database.where}: its Optuna tables are of another version of Optuna than this one "
            f"({optuna.__version__}); bring them up to date with `optuna storage upgrade`"
        ) from None


def forget_study(database: Database) -> None:
    """Deletes the Optuna study of a run on a server, where there is one."""

    def forget() -> None:
        storage = open_storage(database)
        try:
            number = storage.get_study_id_from_name(database.run)
            if storage.get_study_name_from_id(number) == database.run:  # MySQL ignores case
                storage.delete_study(number)
        except KeyError:
            return
        finally:
            storage.remove_session()
            storage.engine.dispose()

    with database.making_tables():
        database.patience(forget)


def _frozen(
    trial: Candidate,
    distributions: Mapping[str, "BaseDistribution"],
    constraints: Sequence[str],
) -> "FrozenTrial":
    import optuna

    complete = trial.state == "complete"
    values = dict(trial.values or {})
    frozen = optuna.trial.create_trial(
        state=optuna.trial.TrialState[_STATES[trial.state]],
        values=list(trial.scores or ()) if complete else None,
        params=values,
        distributions={name: distributions[name] for name in values},
        constraints=dict(zip(constraints, trial.violations, strict=True)) if complete else None,
        user_attrs=_attributes(trial),
    )
    # Timelines and durations would show nothing: a trial is added when it has ended.
    spent = trial.propose_seconds + trial.build_seconds + trial.score_seconds
    assert frozen.datetime_complete is not None  # it has ended
    frozen.datetime_start = frozen.datetime_complete - timedelta(seconds=spent)
    return frozen


def _attributes(trial: Candidate) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "origin": trial.name,
        "recipe_hash": trial.recipe_hash,
        "items": trial.items,
        "build_seconds": round(trial.build_seconds, 3),
        "score_seconds": round(trial.score_seconds, 3),
        **({"feasible": feasible(trial)} if trial.violations else {}),
        **({"error": trial.error} if trial.error else {}),
    }


def recipe_distributions(dimensions: Iterable[Dimension]) -> dict[str, "BaseDistribution"]:
    """The range of every dimension in recipe values, as Optuna has them."""
    return {one.name: one.distribution() for one in dimensions}

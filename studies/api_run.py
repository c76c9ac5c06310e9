"""A run folder in Python: `Run` does what `trials`, `report`, `export` and `verify` do.

Results are pandas frames and plotly figures, read from what the search left behind.
"""

import html
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .api_options import PathLike, let_threads_sleep, storage_of
from .errors import StudyError

if TYPE_CHECKING:
    import pandas as pd

    from .verification import Verification
    from .view import Estimate, RunView


@dataclass(frozen=True, slots=True)
class Winner:
    """What a search found. `trial` is None where a reference won: `name` says which."""

    name: str
    trial: int | None
    recipe: str
    """YAML that mergekit reads."""
    claim: str
    """One sentence with its interval, or in words that nothing is claimed."""
    gain: "Estimate | None"
    """The winner's utility minus the best parent's on `test`; None where there is no such test."""
    improved: bool | None
    """Whether it was shown to be better than the best parent; None: nothing is claimed."""


class Run:
    """What a search left behind, or has found so far.

    Read once, when first asked for; `refresh` reads it again while a search goes on.
    """

    def __init__(self, path: PathLike, *, storage: str | None = None) -> None:
        """Opens a run folder; raises RunError for one that is not there.

        Args:
            path: The folder.
            storage: URL of the database server that keeps the run, if one does; by default
                EUTECTIC_STORAGE.
        """
        let_threads_sleep()
        from .run import find_run

        self._storage = storage_of(storage)
        self.path = find_run(Path(path), self._storage).path
        self._view: RunView | None = None

    @property
    def view(self) -> "RunView":
        """Everything that a report shows, as plain data."""
        from .show import run_view

        if self._view is None:
            self._view = run_view(self.path, self._storage)
        return self._view

    def refresh(self) -> "Run":
        """Forgets what was read; gives itself."""
        self._view = None
        return self

    def trials(self, *, front: bool = False) -> "pd.DataFrame":
        """One row a trial: `number`, `state`, each parameter, each objective, `items`.

        Objectives are values on the search split. `front`: the Pareto set only.
        """
        from .table import trial_frame

        return trial_frame(self.view, front)

    def front(self) -> "pd.DataFrame":
        """The Pareto set of the trials, as `trials` has it."""
        return self.trials(front=True)

    @property
    def references(self) -> "pd.DataFrame":
        """The base, the parents and the uniform merge on the search split.

        `name`, `kind`, `objective`, `value`, `low`, `high`, `items`.
        """
        from .frames import reference_frame

        return reference_frame(self.view)

    @property
    def test(self) -> "pd.DataFrame":
        """The sealed split, a row a model and metric; no rows before there is a winner.

        `name`, `kind`, `metric`, `higher_is_better`, `value` with its 95% interval (`low`,
        `high`; missing where too few groups were seen), `items`, and the winner's value minus
        this one, paired: `difference`, `difference_low`, `difference_high`.
        """
        from .frames import test_frame

        return test_frame(self.view)

    @property
    def winner(self) -> Winner:
        """Who won; raises NoWinnerError where nothing has."""
        from .show import nothing_won

        one = self.view.winner
        if one is None:
            raise nothing_won(self.path, self.view)
        return Winner(
            one.name, one.number, one.recipe_yaml, one.claim, one.utility_gain, one.improved
        )

    @property
    def claim(self) -> str:
        """The winner's gain over the best parent on `test`, in one sentence."""
        return self.winner.claim

    @property
    def notices(self) -> tuple[str, ...]:
        """What must be known beside the figures: few items, failed trials, random masks, ..."""
        return self.view.notices

    def figures(self, *, dark: bool = False) -> dict[str, Any]:
        """Every chart of the report as a plotly figure, by name: `front`, `forest`, ..."""
        from .plots import figures
        from .plots_style import DARK, LIGHT

        return figures(self.view, DARK if dark else LIGHT)

    def export(
        self,
        path: PathLike | None = None,
        *,
        trial: int | None = None,
        weights: PathLike | None = None,
        names: str = "absolute",
        allow_pickle: bool = False,
    ) -> str:
        """The winner's recipe, or a trial's, as YAML text; raises NoWinnerError without one.

        Args:
            path: Also written there.
            trial: Instead of the winner.
            weights: A folder for a loadable checkpoint with its model card.
            names: How local models are named: `absolute`, or `original` as the study has them.
            allow_pickle: Read pickle checkpoints.
        """
        from .show import export_run

        if names not in ("absolute", "original"):
            raise StudyError(f"names={names!r}: expected absolute or original")
        folder = None if weights is None else Path(weights)
        text = export_run(
            self.path, trial, names, folder, allow_pickle=allow_pickle, storage=self._storage
        )
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def verify(
        self,
        trial: int | None = None,
        *,
        allow_pickle: bool = False,
        allow_code: Iterable[PathLike] = (),
        trust_remote_code: bool = False,
        trust_task_code: bool = False,
    ) -> "Verification":
        """Rebuilds the winner, or a trial, scores it again and compares with what was recorded.

        `.different` says whether anything is not as it was, `.flips` which items.
        """
        from .preflight import Permissions
        from .verification import verify_run

        permissions = Permissions(
            allow_pickle,
            trust_remote_code,
            trust_task_code,
            allow_benchmark_test=True,  # the search was allowed it, or there would be no run
            allow_code=frozenset(Path(one).resolve() for one in allow_code),
        )
        return verify_run(self.path, trial, permissions, self._storage)

    def report(self, path: PathLike | None = None) -> Path:
        """Writes the HTML report and says where; `report.html` in the run folder by default."""
        from .show import write_run_report

        target = None if path is None else Path(path)
        return write_run_report(self.path, target, self._storage)

    def __repr__(self) -> str:
        view = self.view
        won = f"winner: {view.winner.name}" if view.winner else "no winner"
        return f"Run({str(self.path)!r}: {view.state}, {len(view.trials)} trials, {won})"

    def _repr_html_(self) -> str:
        """The claim and the table of the sealed split, for a notebook."""
        from .frames import readable_test

        view = self.view
        said = view.winner.claim if view.winner else "Nothing has won yet."
        head = f"<b>{html.escape(view.name)}</b>: {html.escape(said)}"
        table = readable_test(view).to_html(border=0, escape=True) if view.test_rows else ""
        return f"<p>{head}</p>{table}"

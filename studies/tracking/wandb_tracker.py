"""Weights & Biases: one run, a row of its history for every look at a trial.

Online, offline or disabled as `wandb` itself is set (WANDB_MODE). Neither the command line nor the
machine is told to it, nor code: a place given on the command line may hold a password.
"""

import netrc
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..conclusion import claim_markdown
from ..errors import StudyError
from ..view import RunView
from .facts import CandidateFacts, EndFacts, RunFacts, Value, summary_of

PROJECT = "eutectic"


def refuse_unknown_user() -> None:
    """Asks in a terminal for a key if there is none; elsewhere raises StudyError, before work.

    Speaks to no server where there is one: it may be away.
    """
    import wandb

    settings = wandb.setup(settings=wandb.Settings(silent=True)).settings
    if settings.mode not in (None, "online") or _has_key(settings):
        return
    try:
        known = wandb.login()
    except wandb.errors.Error as error:
        known, reason = False, str(error)
    else:
        reason = "nobody is logged in."
    if not known:
        raise StudyError(
            f"--track wandb: {reason} Or set WANDB_API_KEY, or WANDB_MODE=offline and "
            "`wandb sync` later"
        )


def _has_key(settings: Any) -> bool:
    """Whether a key is set, or was kept by `wandb login` in the user's netrc file."""
    if settings.api_key or settings.identity_token_file or os.environ.get("WANDB_API_KEY"):
        return True
    default = Path.home() / ("_netrc" if os.name == "nt" else ".netrc")
    try:
        known = netrc.netrc(os.environ.get("NETRC") or default)
    except (OSError, netrc.NetrcParseError):
        return False
    return known.authenticators(urlsplit(settings.base_url).hostname or "") is not None


class WandbTracker:
    """One W&B run with the id of the eutectic run, so that a resumed search goes on with it."""

    def __init__(self, place: str) -> None:
        self._entity, _, self._project = place.rpartition("/")
        self._run: Any = None

    def begin(self, run: RunFacts) -> None:
        """Opens the run."""
        import wandb

        quiet = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            x_disable_meta=True,
            x_save_requirements=False,
            init_timeout=20,
            finish_timeout=45,
        )
        self._run = wandb.init(
            project=self._project or os.environ.get("WANDB_PROJECT") or PROJECT,
            entity=self._entity or None,
            id=run.id,
            name=run.name,
            config=dict(run.settings),
            allow_val_change=True,  # another budget, another sampler
            resume="allow",
            reinit="create_new",
            settings=quiet,
        )
        self._run.define_metric("*", step_metric="items so far")

    def candidate(self, facts: CandidateFacts) -> None:
        """A row of the history; references stand in the summary."""
        if facts.kind == "reference":
            for name, value in facts.objectives.items():
                self._run.summary[f"reference/{facts.name}/{name}"] = value
            return
        row: dict[str, Value] = {
            "trial": facts.number,
            "state": facts.state,
            "origin": facts.origin,
            **{f"parameter/{name}": value for name, value in facts.parameters.items()},
            **facts.measures,
            "items so far": facts.items_so_far,
            "hypervolume": facts.hypervolume,
            "front": facts.front,
        }
        self._run.log(row)

    def end(self, facts: EndFacts) -> None:
        """Summary, tables of the trials and of the test split, files; closes the run."""
        if self._run is None:
            return
        self._run.summary["search"] = facts.state
        if facts.view is not None:
            self._conclude(facts.view)
            self._keep(facts)
        self._run.finish(exit_code=0 if facts.view is not None else 1)

    def _conclude(self, view: RunView) -> None:
        for name, value in summary_of(view).items():
            self._run.summary[name] = value
        tables = {"trials": trial_table(view)}
        if view.winner is not None:
            self._run.notes = claim_markdown(view)
        if view.test_rows:
            tables["test split"] = test_table(view)
        self._run.log(tables)

    def _keep(self, facts: EndFacts) -> None:
        import wandb

        artifact = wandb.Artifact(f"run-{self._run.id}", type="eutectic-run")
        for file in facts.files:
            artifact.add_file(str(file), name=file.name)
        self._run.log_artifact(artifact)


def trial_table(view: RunView) -> Any:
    """The trials with their last estimates: what a parallel-coordinates panel reads."""
    import wandb

    from ..table import trial_frame

    frame = trial_frame(view)
    cells = frame.astype(object).where(frame.notna(), None)
    data: list[Any] = cells.values.tolist()
    return wandb.Table(columns=list(cells.columns), data=data, allow_mixed_types=True)


def test_table(view: RunView) -> Any:
    """The sealed split: a row a model, each figure with its interval."""
    import wandb

    ends = [f"{column}{end}" for column in view.columns for end in ("", " low", " high")]
    rows: list[Any] = []
    for row in view.test_rows:
        cells: list[Any] = [row.name, row.kind]
        for column in view.columns:
            one = row.values.get(column)
            cells += [None] * 3 if one is None else [one.value, one.low, one.high]
        rows.append(cells)
    return wandb.Table(columns=["model", "kind", *ends], data=rows, allow_mixed_types=True)

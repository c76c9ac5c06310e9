"""TensorBoard: event files below a folder, RUN/tensorboard by default.

`SCALARS` has the objectives by trial and the hypervolume by item evaluations, `HPARAMS` the
trials with their parameters, `TEXT` the claim, the test table and the winner's recipe.
"""

from pathlib import Path
from typing import Any

from ..conclusion import claim_markdown, recipe_markdown
from ..run import EVENTS
from ..view import RunView
from .facts import CandidateFacts, EndFacts, RunFacts, final_measures, summary_of


class TensorboardTracker:
    """Writes with torch's SummaryWriter; the events of a resumed search join those before."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._writer: Any = None
        self._looks: dict[int, int] = {}

    def begin(self, run: RunFacts) -> None:
        """Opens DIR/NAME-ID."""
        from torch.utils.tensorboard import SummaryWriter

        root = Path(self._place).expanduser() if self._place else run.folder / EVENTS
        folder = root / f"{run.name}-{run.id}"
        self._writer = SummaryWriter(str(folder), flush_secs=10)
        lines = [f"- {name}: `{value}`" for name, value in run.settings.items()]
        self._writer.add_text("settings", "\n".join(lines))

    def candidate(self, facts: CandidateFacts) -> None:
        """A point of each curve, and a line of the table."""
        if facts.kind == "trial":
            self._looks[facts.number] = facts.looks
            for name, value in facts.objectives.items():
                self._writer.add_scalar(f"objective/{name}", value, facts.number)
            seen = facts.items_so_far
            self._writer.add_scalar("hypervolume", facts.hypervolume, seen)
            self._writer.add_scalar("front", facts.front, seen)
        told = {"origin": facts.origin, "state": facts.state, **facts.parameters}
        measures = {f"trial/{name}": value for name, value in facts.measures.items()}
        self._hparams(facts.key, told, measures, facts.looks)
        self._writer.flush()

    def end(self, facts: EndFacts) -> None:
        """Claim, table and recipe as text, the test figures as points."""
        if self._writer is None:
            return
        if facts.view is not None:
            self._conclude(facts.view)
        self._writer.add_text("state", facts.state)
        self._writer.close()

    def _conclude(self, view: RunView) -> None:
        final = dict(final_measures(view))
        for trial in view.trials:
            told = {"origin": trial.origin, "state": trial.state, **trial.parameters}
            found = final.get(trial.number, {})
            measures = {f"trial/{name}": value for name, value in found.items()}
            step = self._looks.get(trial.number, 0) + 1
            self._hparams(f"trial {trial.number}", told, measures, step)
        for name, value in summary_of(view).items():
            if isinstance(value, float):
                self._writer.add_scalar(name, value)
        self._writer.add_text("winner", claim_markdown(view))
        if recipe := recipe_markdown(view):
            self._writer.add_text("recipe", recipe)

    def _hparams(
        self, key: str, told: dict[str, Any], measures: dict[str, float], step: int
    ) -> None:
        self._writer.add_hparams(told, measures, run_name=key.replace(" ", "-"), global_step=step)

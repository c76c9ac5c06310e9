"""MLflow: a run for the search, a child run for every trial and every reference.

The runs are found again by a tag that holds the run's id. Credentials are MLflow's own business
(MLFLOW_TRACKING_USERNAME and its like).
"""

import logging
import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ..conclusion import claim_markdown
from .facts import CandidateFacts, EndFacts, RunFacts, final_measures, summary_of

EXPERIMENT = "eutectic"
ID, KEY = "eutectic.run", "eutectic.candidate"
STATUS = {
    "complete": "FINISHED", "paused": "FINISHED", "dropped": "KILLED", "failed": "FAILED",
    "finished": "FINISHED", "interrupted": "KILLED",
}  # fmt: skip
FORBIDDEN = re.compile(r"[^\w\-. :/]", re.ASCII)
LONGEST_KEY, LONGEST_VALUE, LONGEST_TAG = 240, 5_900, 4_900


class MlflowTracker:
    """Speaks through MlflowClient, so that it shares no active run with anybody."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._client: Any = None
        self._experiment = self._run = ""
        self._children: dict[str, str] = {}

    def begin(self, run: RunFacts) -> None:
        """Opens the experiment and the run, or finds the run of an earlier search."""
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the feed asks again
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # `--json` has it to itself
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        self._client = MlflowClient(tracking_uri=self._place or None)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        known = self._client.get_experiment_by_name(name)
        self._experiment = known.experiment_id if known else self._client.create_experiment(name)
        found = self._search(f"tags.`{ID}` = '{run.id}'")
        if found:
            self._run = found[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            children = self._search(f"tags.mlflow.parentRunId = '{self._run}'")
            self._children = {one.data.tags[KEY]: one.info.run_id for one in children}
        else:
            tags = {ID: run.id, "mlflow.runName": run.name}
            self._run = self._client.create_run(self._experiment, tags=tags).info.run_id
            self._batch(self._run, params=run.settings)
        # A parameter never changes there; budget and sampler may, from search to search.
        self._batch(self._run, tags={name: str(one) for name, one in run.settings.items()})

    def candidate(self, facts: CandidateFacts) -> None:
        """A child run as it stands, and a point of the search's own curves."""
        child = self._children.get(facts.key)
        if child is None:
            tags = {
                "mlflow.parentRunId": self._run,
                "mlflow.runName": facts.name,
                KEY: facts.key,
                "origin": facts.origin,
            }
            child = self._client.create_run(self._experiment, tags=tags).info.run_id
            self._children[facts.key] = child
        told = {"state": facts.state, **({"error": facts.error} if facts.error else {})}
        self._batch(child, facts.measures, params=facts.parameters, tags=told)
        self._client.set_terminated(child, STATUS.get(facts.state, "FINISHED"))
        if facts.kind == "trial":
            curves = {"hypervolume": facts.hypervolume, "front": facts.front}
            self._batch(self._run, curves, facts.items_so_far)

    def end(self, facts: EndFacts) -> None:
        """Last estimates, test figures, claim and files; closes the run."""
        if not self._run:
            return
        if facts.view is not None:
            for number, found in final_measures(facts.view):
                if child := self._children.get(f"trial {number}"):
                    self._batch(child, found)
            summary = summary_of(facts.view)
            figures = {name: one for name, one in summary.items() if isinstance(one, float)}
            told = {name: one for name, one in summary.items() if isinstance(one, str)}
            note = {"mlflow.note.content": claim_markdown(facts.view)}
            self._batch(self._run, figures, tags={**told, **note})
            for file in facts.files:
                self._client.log_artifact(self._run, str(file))
        self._batch(self._run, tags={"search": facts.state})
        self._client.set_terminated(self._run, STATUS.get(facts.state, "FAILED"))

    def _search(self, filter: str) -> list[Any]:
        """All runs of the experiment that a filter finds."""
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], filter, max_results=1000, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def _batch(
        self,
        run: str,
        metrics: Mapping[str, float] | None = None,
        step: int = 0,
        *,
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        now = time.time_ns() // 10**6
        names = valid_keys([*(metrics or {}), *(params or {})])
        points = [
            Metric(names[name], float(one), now, step) for name, one in (metrics or {}).items()
        ]
        settings = [
            Param(names[name], str(one)[:LONGEST_VALUE]) for name, one in (params or {}).items()
        ]
        told = [RunTag(name, one[:LONGEST_TAG]) for name, one in (tags or {}).items()]
        for at in range(0, max(len(points), len(settings), len(told)), 100):
            rows = (part[at : at + 100] for part in (points, settings, told))
            self._client.log_batch(run, *rows)


def valid_keys(names: Iterable[str]) -> dict[str, str]:
    """Each name as MLflow takes it; two that would be one get a number."""
    found: dict[str, str] = {}
    for name in names:
        key = FORBIDDEN.sub("_", name)[:LONGEST_KEY].strip("/. ") or "_"
        taken = set(found.values())
        number = 2
        while key in taken:
            key, number = f"{key.rsplit('~', 1)[0]}_{number}", number + 1
        found[name] = key
    return found

"""`verify`: a candidate rebuilt from its exported file, scored again, compared item by item."""

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evaluation.task import ItemResult
from merging.document import parse_document
from merging.recipe_reader import read_recipe
from merging.sources import open_models
from search.blocks import blocks
from search.executors import InlineExecutor, Merge
from search.ledger import Candidate, Ledger, label
from search.scoring import known_results
from search.verdict import stored_verdict

from .errors import NoWinnerError, RunError
from .export import candidate_yaml, find_candidate
from .preflight import Permissions, Preflight, inspect
from .reopen import reopened
from .resolved import identity
from .run import RunFolder, find_run, refuse_other_study
from .scoring_terms import refuse_other_scoring
from .session import Hardware, open_executor


@dataclass(frozen=True, slots=True)
class Flip:
    """An item whose numbers are not those that the search recorded."""

    task: str
    item: str
    recorded: ItemResult
    found: ItemResult


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found. `recorded_hash` and `rebuilt_hash` name the weights."""

    candidate: str
    recorded_hash: str
    rebuilt_hash: str
    items: int
    flips: tuple[Flip, ...]

    @property
    def different(self) -> bool:
        """Whether anything is not as it was recorded."""
        return bool(self.flips) or self.recorded_hash != self.rebuilt_hash

    @property
    def data(self) -> dict[str, object]:
        """What `--json` prints."""
        return {
            "candidate": self.candidate,
            "same_recipe": self.recorded_hash == self.rebuilt_hash,
            "items": self.items,
            "different": [{"task": flip.task, "item": flip.item} for flip in self.flips],
        }


def verify_run(
    path: Path, trial: int | None, permissions: Permissions, storage: str | None = None
) -> Verification:
    """Verifies the winner (from the run's winner.yaml) or a trial (from its export)."""
    run = find_run(path, storage)
    study, maps = reopened(run)
    preflight = inspect(study, maps, permissions)
    with run.ledger() as ledger:
        # A changed model is what is to be found; other questions could not be compared.
        known = ledger.meta("identity") or {}
        refuse_other_study(ledger, {**identity(preflight), "models": known.get("models")}, run)
        candidate, text = _exported(run, ledger, trial, preflight)
        document = parse_document(text, str(run.path / "winner.yaml"))
        recipe, _ = read_recipe(document, strict=False)
        opened = open_models(
            recipe, folder=run.path, mapping=maps, allow_pickle=permissions.allow_pickle
        )
        both = replace(preflight, checkpoints={**preflight.checkpoints, **opened})
        hardware = Hardware(**(ledger.meta("hardware") or {}))
        executor = open_executor(both, hardware, permissions)
        refuse_other_scoring(ledger, executor, run)
        data = document.data
        assert isinstance(data, Mapping)  # read_recipe accepted it
        merge = executor.prepare(data)
        items, flips = _compare(preflight, ledger, executor, candidate, merge)
    if not items:
        raise RunError(f"{path}: the run holds no results of {label(candidate)} to compare with")
    return Verification(label(candidate), candidate.recipe_hash, merge.hash, items, tuple(flips))


def print_verification(found: Verification) -> None:
    """The outcome in words; differences on standard error."""
    if found.recorded_hash != found.rebuilt_hash:
        print(
            f"{found.candidate}: the exported recipe gives other weights "
            f"({found.rebuilt_hash[:16]}) than the search scored ({found.recorded_hash[:16]}): "
            "was the file, or a model, changed?",
            file=sys.stderr,
        )
    for flip in found.flips[:50]:
        print(
            f"{flip.task} item {flip.item}: recorded {dict(flip.recorded)}, "
            f"now {dict(flip.found)}",
            file=sys.stderr,
        )
    verdict = f"{len(found.flips)} items differ" if found.different else "identical"
    print(f"{found.candidate}: {found.items} recorded item results scored again: {verdict}")


def _exported(
    run: RunFolder, ledger: Ledger, trial: int | None, preflight: Preflight
) -> tuple[Candidate, str]:
    study = preflight.study
    if trial is not None:
        candidate = find_candidate(ledger, trial)
        return candidate, candidate_yaml(
            candidate, study.recipe, study.folder, preflight.maps, run=study.name
        )
    verdict = stored_verdict(ledger)
    file = run.path / "winner.yaml"
    if verdict is None or not file.is_file():
        raise NoWinnerError(f"{run.path}: the search has not ended, there is no winner to verify")
    return find_candidate(ledger, verdict.winner), file.read_text(encoding="utf-8")


def _compare(
    preflight: Preflight,
    ledger: Ledger,
    executor: InlineExecutor,
    candidate: Candidate,
    merge: Merge,
) -> tuple[int, list[Flip]]:
    """Scores every recorded block again, in the search's own blocks."""
    executor.build(merge)
    items, flips = 0, []
    settings = ledger.meta("settings") or ""
    for name, task in preflight.tasks.items():
        for split, indices in preflight.splits[name].items():
            for block in blocks(indices, split):
                recorded = known_results(ledger, candidate.recipe_hash, settings, task, [block])
                if len(recorded) == len(block):
                    items += len(block)
                    flips += _flips(executor, name, block, recorded)
    return items, flips


def _flips(
    executor: InlineExecutor, task: str, block: Sequence[int], recorded: Mapping[str, ItemResult]
) -> list[Flip]:
    found = executor.score(task, block)
    return [
        Flip(task, key, numbers, found[key])
        for key, numbers in recorded.items()
        if not _same(numbers, found[key], executor.harness.tasks[task].metrics)
    ]


def _same(one: ItemResult, other: ItemResult, metrics: Collection[str]) -> bool:
    """Whether what metrics say is equal to the bit; NaN (an item that nanmean leaves out) is."""
    own = ({name: result.get(name) for name in metrics} for result in (one, other))
    texts = (json.dumps(dict(result), sort_keys=True) for result in own)
    return next(texts) == next(texts)

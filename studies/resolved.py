"""What a run writes down of its study: the file, where names led, what must not change."""

import hashlib

import yaml

from evaluation.task import Task
from search.space import describe

from .kept_in import KEY
from .preflight import Preflight
from .proposing import code_digest
from .run import Identity


def identity(preflight: Preflight) -> Identity:
    """What two searches in one folder must share.

    Ranges, models, tasks, split, objectives, seed.
    """
    study = preflight.study
    rounding = {"rounding": "as mergekit, --mergekit-exact"} if preflight.recipe.exact else {}
    return {
        **rounding,
        "ranges": describe(preflight.space),
        "models": sorted(f"{name} {short}" for name, short in model_hashes(preflight).items()),
        "tasks": [f"{name} {task_hash(task)}" for name, task in preflight.tasks.items()],
        "split": dict(study.split),
        "objectives": [repr(one) for one in preflight.objectives],
        "constraints": [repr(one) for one in study.constraints],
        "seed": study.seed,
        "racing": study.racing,
    }


def model_hashes(preflight: Preflight) -> dict[str, str]:
    """Model as written to the first 16 digits of its content hash."""
    return {
        str(model): checkpoint.content_hash[:16]
        for model, checkpoint in preflight.checkpoints.items()
    }


def task_hash(task: Task) -> str:
    """A digest of every item and prompt of a task, in order."""
    digest = hashlib.blake2b(digest_size=8)
    for item in task.items:
        digest.update(f"{item.key}\0{item.prompt_hash}\0{item.group}\n".encode())
    return digest.hexdigest()


def resolved_study(preflight: Preflight, server: str = "") -> str:
    """The study file of the run folder: the user's data plus a `resolved` section.

    `server` is the database that keeps the results, without user and password.
    """
    study = preflight.study
    data = study.document.data
    assert isinstance(data, dict)  # the schema accepted it
    section = {
        **({KEY: server} if server else {}),
        "folder": str(study.folder),
        "maps": {name: str(path) for name, path in preflight.maps.items()},
        "models": model_hashes(preflight),
        "tasks": {name: task_hash(task) for name, task in preflight.tasks.items()},
        **({"sampler": digest} if (digest := code_digest(preflight)) else {}),
    }
    budget = {
        name: value
        for name in ("trials", "items", "minutes")
        if (value := getattr(study.budget, name)) is not None
    }
    changed = {**data, "budget": budget, "sampler": study.sampler.written, "seed": study.seed}
    return yaml.safe_dump(
        {**changed, "resolved": section}, sort_keys=False, allow_unicode=True, width=100
    )

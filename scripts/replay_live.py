"""The demo family searched live, not from the table; the table says what is true of its recipes.

Imported by `bench_search.py`.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from bench_table import SKILLS
from replay import Table
from replay_search import Here, Silent, fast_ledger, own_front, true_volume

from search.objectives import Budget


def live_histories(
    folder: Path, table: Table, seed: int, steps: Sequence[int], sampler: str, gradients: str
) -> list[float]:
    """True hypervolume of the front at each budget of items; `gradients` as the study has it."""
    from replay_search import World

    from studies.conduct import assemble
    from studies.config import read_study
    from studies.demo.family import ensure_family
    from studies.preflight import Permissions, inspect
    from studies.session import Hardware, open_executor

    study = read_study(ensure_family(folder).study)
    study = replace(
        study,
        seed=seed,
        budget=Budget(None, steps[-1], None),
        gradients=cast(Any, gradients),
        split={"calibration": 0.1, "search": 0.11, "select": 0.39, "test": 0.4},
    )
    preflight = inspect(study, {}, Permissions())
    executor = open_executor(preflight, Hardware(threads=1).resolved(None), Permissions())
    world = World(table, SKILLS, {}, {}, preflight.space, False)
    volumes = []
    with fast_ledger() as ledger, tempfile.TemporaryDirectory():
        search = assemble(preflight, ledger, executor, cast(Any, Silent()), cast(Any, Silent()))
        for items in steps:
            search.budget = Budget(None, items, None)
            search.run(cast(Any, Here()))
            truth = np.array([world.truth(_weights(one.data)) for one in own_front(search)])
            volumes.append(true_volume(world, truth))
    return volumes


def _weights(data: Any) -> Any:
    """The six weights of a recipe of the family."""
    found = np.zeros(6)
    total = 1.0
    if data["merge_method"] == "linear":
        total = sum(float(one["parameters"]["weight"]) for one in data["models"])
    for one in data["models"]:
        name = Path(one["model"]).name
        if name in SKILLS:
            weight = one["parameters"]["weight"]
            both = weight if isinstance(weight, list) else [weight, weight]
            at = 2 * SKILLS.index(name)
            found[at : at + 2] = [float(each) / total for each in both]
    return found

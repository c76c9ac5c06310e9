"""The demo family searched live, not from the table, in spaces of 6, 12 or 24 weights.

What is true of a recipe of six weights the table says; of more weights the family itself, on
questions that the search does not see. Imported by `bench_gradients.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from bench_table import HIGHEST, SKILLS
from replay import Array, Table
from replay_search import Here, Silent, fast_ledger, own_front

from search.front import hypervolume
from search.ledger import Candidate
from search.objectives import Budget
from search.trials import with_mask_seed

if TYPE_CHECKING:
    from search.executors import Merge
    from search.inline import InlineExecutor
    from studies.preflight import Preflight

RANGE = f"range: [0.0, {HIGHEST}]"
LAYERS = f"{{{RANGE}, anchors: layers}}"
SPACES = {
    6: f"{{{RANGE}, anchors: 2}}",
    12: LAYERS,
    24: f"[{{filter: self_attn, value: {LAYERS}}}, {{value: {LAYERS}}}]",
}
"""Weights searched (of three experts, four layers) to the weight of one expert in the study."""
MEAN = f"objectives: {{mean: {{mean: [{', '.join(f'{{task: {one}}}' for one in SKILLS)}]}}}}\n"
"""What makes one objective of three."""
SPLIT = {"calibration": 0.1, "search": 0.11, "select": 0.39, "test": 0.4}
QUESTIONS = 200
"""Of each skill's `test`, on which more than six weights are held to be true."""


def live_histories(
    folder: Path, table: Table | None, seed: int, steps: Sequence[int], sampler: str, **own: Any
) -> list[float]:
    """True hypervolume of the front at each budget of items.

    Args:
        folder: Where the family lies.
        table: The truth about six weights; None: asked of the family.
        seed: Of the study.
        steps: Budgets of items, ascending.
        sampler: As the study has it.
        own: `weights` and `objectives` as of `opened_study`; keys of a study (`gradients`).
    """
    from studies.conduct import assemble
    from studies.preflight import Permissions
    from studies.session import Hardware, open_executor

    preflight = opened_study(folder, seed, steps[-1], sampler, **own)
    executor = open_executor(preflight, Hardware(threads=1).resolved(None), Permissions())
    truth: Table | Asked = Asked(preflight, executor) if table is None else table
    silent = cast(Any, Silent())
    volumes = []
    with fast_ledger() as ledger:
        search = assemble(preflight, ledger, executor, silent, silent)
        for items in steps:
            search.budget = Budget(None, items, None)
            search.run(cast(Any, Here()))
            volumes.append(_volume(truth, preflight, own_front(search)))
    return volumes


def opened_study(
    folder: Path,
    seed: int,
    items: int,
    sampler: str,
    *,
    weights: int = 6,
    objectives: int = 3,
    **own: Any,
) -> "Preflight":
    """The family's study with another space, budget and split, checked."""
    from merging.document import parse_document
    from studies.config import study_from
    from studies.config_sampler import sampler_option
    from studies.demo.family import ensure_family
    from studies.preflight import Permissions, inspect

    file = ensure_family(folder).study
    text = file.read_text(encoding="utf-8").replace(SPACES[6], SPACES[weights])
    text += MEAN if objectives == 1 else ""
    study = study_from(parse_document(text, str(file)), file.parent)
    study = replace(
        study,
        seed=seed,
        budget=Budget(None, items, None),
        sampler=sampler_option(sampler),
        split=SPLIT,
        **own,
    )
    return inspect(study, {}, Permissions())


@dataclass(slots=True)
class Asked:
    """What is true of a recipe, asked of the family itself, once."""

    preflight: "Preflight"
    executor: "InlineExecutor"
    known: dict[str, Array] = field(default_factory=dict)

    def of(self, data: Mapping[str, Any]) -> Array:
        """Accuracy of each skill on questions of `test`."""
        merge = self.executor.prepare(with_mask_seed(data, self.preflight.study.seed))
        if merge.hash not in self.known:
            self.known[merge.hash] = self._scored(merge)
        return self.known[merge.hash]

    def _scored(self, merge: "Merge") -> Array:
        self.executor.build(merge)
        found = []
        for skill in SKILLS:
            asked = tuple(self.preflight.splits[skill]["test"])[:QUESTIONS]
            results = self.executor.score(skill, asked)
            found.append(np.mean([one["acc"][0] for one in results.values()]))
        return np.array(found)


def _volume(truth: "Table | Asked", preflight: "Preflight", members: Sequence[Candidate]) -> float:
    """Hypervolume of what is true of a front, on the scale of base and experts.

    Of one objective: how far its best is from the worst of these to the best.
    """

    def of(data: Mapping[str, Any]) -> Array:
        found = truth.of(data) if isinstance(truth, Asked) else truth.truth(_six(data))
        return found if len(preflight.objectives) > 1 else found.mean(keepdims=True)

    scale = [one.data for one in preflight.references if one.role in ("base", "parent")]
    own = np.array([of(one.data) for one in members])
    return hypervolume(own, [True] * own.shape[1], np.array([of(one) for one in scale]))


def _six(data: Any) -> Array:
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

"""What a reader of a run must know before trusting it, in plain sentences."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evaluation.splits import MIN_CLAIM_GROUPS
from merging.methods.table import METHODS
from search.anchors import LADDER
from search.mask_seeds import MASK_SEEDS
from search.stages import stage_of

from .sealing import restated_text

if TYPE_CHECKING:
    from .preflight import Preflight
    from .results import Found


def notices_of(found: "Found") -> tuple[str, ...]:
    """Plain sentences; the report and the card show them all."""
    return (
        *_warnings(found.preflight.notices),
        *_benchmarks(found),
        *shots_notices(found.preflight),
        *_no_base(found),
        *few_groups(found.preflight),
        *restated_items(found.preflight),
        *_seen(found.ledger.meta("test_opened") or []),
        *_failures(found),
        *_random(found),
        *_stages(found),
        *_raced(found),
    )


def _warnings(notices: Sequence[str]) -> list[str]:
    return [f"Recipe: {notice}" for notice in notices]


def _benchmarks(found: "Found") -> list[str]:
    """Which figures are of a benchmark's own test split: searched on, or sealed."""
    tasks = found.preflight.tasks.items()
    searched = [
        f"Task {name} was searched on its official test split: its figures are not comparable "
        "with anybody's."
        for name, task in tasks
        if getattr(task, "official_test", False)
    ]
    sealed = [
        f"Task {name}: the test split is the benchmark's official one; nothing was searched on it."
        for name, task in tasks
        if any(item.split == "test" for item in task.items)
    ]
    return searched + sealed


def shots_notices(preflight: "Preflight") -> list[str]:
    """Which tasks show, as examples, documents that are tested on."""
    return [
        f"Task {name}: as lm-eval does, its worked examples are drawn from all of its documents, "
        "those of test included; give it a training split, or a fewshot_split."
        for name, task in preflight.tasks.items()
        if getattr(task, "shots_from_items", False) and preflight.splits[name]["test"]
    ]


def _no_base(found: "Found") -> list[str]:
    if found.preflight.recipe.base_model is not None:
        return []
    return [f"The recipe has no base model: its first model, {found.preflight.base}, is the base."]


def few_groups(preflight: "Preflight") -> list[str]:
    """For which tasks the test split is too small for a claim."""
    sentences = []
    for task, splits in preflight.splits.items():
        items = preflight.tasks[task].items
        groups = len({items[index].group for index in splits["test"]})
        if not groups:
            sentences.append(f"Task {task} has no test split: nothing is claimed for it.")
        elif groups < MIN_CLAIM_GROUPS:
            sentences.append(
                f"Task {task} has {groups} groups in its test split, fewer than "
                f"{MIN_CLAIM_GROUPS}: too few for an interval."
            )
    return sentences


def restated_items(preflight: "Preflight") -> list[str]:
    """For which tasks the test split lost items that other splits state as well."""
    return [
        f"Task {task}: {restated_text(found)}."
        for task, found in preflight.restated.items()
        if found.test
    ]


def _seen(opened: Sequence[object]) -> list[str]:
    if len(opened) < 2:
        return []
    return [
        f"The test split was seen {len(opened)} times: the search went on after it was opened, so "
        "its figures are no longer those of questions that nothing was tuned on."
    ]


def _failures(found: "Found") -> list[str]:
    failed = [one for one in found.trials if one.state == "failed"]
    if not failed:
        return []
    return [f"{len(failed)} of {len(found.trials)} trials failed; the first: {failed[0].error}"]


def _random(found: "Found") -> list[str]:
    methods = found.preflight.space.methods
    random = [name for name in methods if METHODS[name].random]
    if not random:
        return []
    who, whose = "The merge method draws", "the"
    if len(random) < len(methods):
        who = f"{' and '.join(random)} {'draw' if len(random) > 1 else 'draws'}"
        whose = "their" if len(random) > 1 else "its"
    return [
        f"{who} random masks: {whose} finalists are ranked by their mean over {MASK_SEEDS} mask "
        "seeds, other figures are for one, which the exported recipe holds; mergekit draws other "
        "masks, `eutectic merge` the scored ones."
    ]


def _stages(found: "Found") -> list[str]:
    """Where `anchors: auto` went from one count of anchors to the next."""
    if len(found.preflight.stages.spaces) == 1:
        return []
    begun: dict[int, int] = {}
    for one in found.trials:
        begun.setdefault(stage_of(one.system_attrs), one.number)
    text = "".join(
        f", {LADDER[stage]} from trial {number} on" for stage, number in begun.items() if stage
    )
    return [f"anchors: auto: the search began with one number for all layers{text}."]


def _raced(found: "Found") -> list[str]:
    """How many trials were scored on some items only, and what their figures are."""
    states = [one.state for one in found.trials]
    waiting, dropped = states.count("paused"), states.count("dropped")
    if not waiting + dropped:
        return []
    return [
        f"Trials raced: {states.count('complete')} were scored on every item of the search split, "
        f"{waiting} on some, {dropped} were dropped. Figures of trials on search are estimates "
        "from the items seen and from neighbouring recipes, with their 95% intervals."
    ]

"""Keeps out of `test` what the search has seen: items whose text stands in another split too.

Nothing is moved: the other splits hold what they held, and an item that is kept out of `test` is
scored in none. What is stated again is a function of the tasks' items and of the split alone.
"""

from collections.abc import Mapping

from evaluation.duplicates import Restated, find_restated
from evaluation.splits import MIN_GROUPS
from evaluation.task import Task

from .config import Study
from .errors import StudyError

Splits = Mapping[str, Mapping[str, tuple[int, ...]]]
"""Task to split to item indices."""


def seal_test(
    study: Study, tasks: Mapping[str, Task], splits: Splits
) -> tuple[Splits, Mapping[str, Restated]]:
    """The splits with `test` cleaned, and what was found, for each task.

    Raises:
        StudyError: what is left of a `test` has too few groups.
    """
    texts = {name: [item.text for item in task.items] for name, task in tasks.items()}
    found = find_restated(texts, splits)
    sealed = {
        name: {**of_task, "test": _without(of_task.get("test", ()), found[name])}
        for name, of_task in splits.items()
    }
    for spec in study.tasks:
        left = {tasks[spec.name].items[index].group for index in sealed[spec.name]["test"]}
        if found[spec.name].test and len(left) < MIN_GROUPS:
            raise StudyError(
                f"{spec.place} task {spec.name!r}: {restated_text(found[spec.name])}, which "
                f"leaves it {len(left)} groups, at least {MIN_GROUPS} are needed: remove rows "
                "that say the same, or give them one `group`"
            )
    return sealed, found


def restated_text(found: Restated) -> str:
    """What `test` lost and why; for a task that lost something."""
    n = len(found.test)
    notes = [f"{found.test_exact} word for word"]
    if found.elsewhere:
        notes.append(f"{found.elsewhere} in other tasks only")
    items, are, they = ("item", "is", "it is") if n == 1 else ("items", "are", "they are")
    return (
        f"{n} {items} of test {are} stated again in other splits ({', '.join(notes)}): "
        f"{they} kept out of test"
    )


def restated_counts(found: Restated) -> dict[str, int]:
    """The same in numbers, for `check`."""
    return {
        "in_several_splits": found.across,
        "in_several_splits_word_for_word": found.across_exact,
        "kept_out_of_test": len(found.test),
        "kept_out_of_test_word_for_word": found.test_exact,
        "kept_out_of_test_for_other_tasks": found.elsewhere,
    }


def _without(indices: tuple[int, ...], found: Restated) -> tuple[int, ...]:
    out = set(found.test)
    return tuple(index for index in indices if index not in out)

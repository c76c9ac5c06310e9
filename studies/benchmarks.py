"""Which tasks are benchmarks that others score on too, and what the search did with them."""

from collections.abc import Mapping

from evaluation.task import Task

from .view import Benchmark, RunView


def benchmarks_of(tasks: Mapping[str, Task]) -> dict[str, Benchmark]:
    """The tasks of hub data sets, or of an official test split."""
    found = {}
    for name, task in tasks.items():
        datasets = tuple(getattr(task, "datasets", ()))
        searched = bool(getattr(task, "official_test", False))
        sealed = any(item.split == "test" for item in task.items)
        if datasets or searched or sealed:
            found[name] = Benchmark(datasets, searched, sealed)
    return found


def optimised_sentences(view: RunView) -> tuple[str, ...]:
    """A warning for each benchmark that the merge was chosen on; empty where there is none."""
    sentences = []
    for name, one in view.benchmarks.items():
        if one.searched_on_test:
            sentences.append(
                f"This merge was optimised on the official test split of {name}: its scores there "
                "are not comparable with those of other models."
            )
        elif one.datasets:
            sentences.append(
                f"This merge was chosen by its scores on documents of {', '.join(one.datasets)} "
                f"(task {name}): on that benchmark it is ahead of models that were not."
            )
    return tuple(sentences)

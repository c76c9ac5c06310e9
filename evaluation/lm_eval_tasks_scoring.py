"""Documents of an lm-eval task scored by its own filters and metrics, and its metrics as ours."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from .errors import TaskError
from .lm_eval_tasks_corpus import CorpusAggregate
from .lm_eval_tasks_groups import fault
from .lm_eval_tasks_requests import Asked
from .lm_eval_tasks_results import Kept, Raw, learn_metrics
from .spec import LmEvalSpec
from .task import Item, Response

LONGEST = 300
"""Characters of a stranger's text in a message."""
_PROBED = 32
"""Items on which the form of the results is learnt, from two answers each."""


def raw_results(asked: Asked, responses: Sequence[Response]) -> Raw:
    """What lm-eval says of one document, by our metric names, each filter in turn.

    On fresh instances: lm-eval's filters would return the answers of the candidate before.
    """
    task = asked.task
    fresh = [
        replace(
            instance,
            resps=[_answer(instance, response)] * (instance.repeats or 1),
            filtered_resps={},
        )
        for instance, response in zip(asked.instances, responses, strict=True)
    ]
    raw: dict[str, object] = {}
    for ensemble in task._filters:
        ensemble.apply(fresh)
        answers = [instance.filtered_resps[ensemble.name] for instance in fresh]
        for metric, value in task.process_results(fresh[0].doc, answers).items():
            raw[_metric_name(task, metric, ensemble.name)] = value
    return raw


def _answer(instance: Instance, response: Response) -> object:
    """A response in the form in which lm-eval's models give it."""
    if instance.request_type == "generate_until":
        return response.text
    if instance.request_type == "loglikelihood_rolling":
        return response.loglikelihood
    return response.loglikelihood, response.greedy


def _metric_name(task: Any, metric: str, filter_name: str) -> str:
    """The metric's own name; with the filter, as lm-eval prints it, where there are several."""
    return f"{metric},{filter_name}" if len(task._filters) > 1 else metric


def learnt_metrics(
    spec: LmEvalSpec,
    task: Any,
    items: Sequence[Item],
    asked: Mapping[str, Asked],
) -> tuple[dict[str, Kept], dict[str, str]]:
    """The metrics to keep and those left out, learnt from made-up answers to some items.

    Raises:
        TaskError: the task's code fails on them, or no metric is left.
    """
    some = items[:: max(1, len(items) // _PROBED)]
    own = isinstance(task, ConfigurableTask) and task.config.process_results is None
    choices = max(len(item.requests) for item in items) if own else 0
    kept, dropped = _learnt(task, _samples(spec, some, asked), choices)
    aggregates = [one.metric.aggregate for one in kept.values()]
    if any(isinstance(one, CorpusAggregate) and one.references > 1 for one in aggregates):
        # as many for each item? counts say all only then
        kept, dropped = _learnt(task, _samples(spec, items, asked), choices)
    if not kept:
        why = "; ".join(f"{name}: {reason}" for name, reason in dropped.items())
        raise fault(
            spec, f"none of its metrics can be kept for each item ({why or 'it has none'})"
        )
    return kept, dropped


def _samples(spec: LmEvalSpec, items: Sequence[Item], asked: Mapping[str, Asked]) -> list[Raw]:
    """What lm-eval says of made-up answers to these items, right and wrong ones."""
    samples = []
    for item in items:
        last, first = (
            [Response(-1.0 - sign * n, sign < 0, text) for n in range(len(item.requests))]
            for sign, text in ((1, ""), (-1, "A 1"))
        )
        try:
            samples.append(raw_results(asked[item.key], last))
        except Exception as problem:
            raise failed(spec.name, item, problem) from problem
        with suppress(Exception):  # it may hold every answer but none to be a number, say
            samples.append(raw_results(asked[item.key], first))
    return samples


def _learnt(
    task: Any, samples: Sequence[Raw], choices: int
) -> tuple[dict[str, Kept], dict[str, str]]:
    aggregations = task.aggregation()
    names = {
        _metric_name(task, metric, ensemble.name): metric
        for ensemble in task._filters
        for metric in aggregations
    }
    return learn_metrics(samples, aggregations, task.higher_is_better(), names, choices)


def check_scoring(spec: LmEvalSpec, task: Any, items: Sequence[Item]) -> None:
    """Refuses what lm-eval only logs: a metric it does not know, an answer that is no choice."""
    if not isinstance(task, ConfigurableTask) or task.config.process_results is not None:
        return
    unknown = [name for name, function in task._metric_fn_list.items() if function is None]
    if unknown:
        raise fault(spec, f"metric_list: lm-eval has no metric {unknown[0]!r}")
    if task.OUTPUT_TYPE != "multiple_choice":
        return
    for item in items:
        choices = task.doc_to_choice(item.row)
        gold = (task.doc_to_text if task.multiple_input else task.doc_to_target)(item.row)
        for answer in gold if isinstance(gold, list) else [gold]:
            inside = 0 <= answer < len(choices) if isinstance(answer, int) else answer in choices
            if not inside:
                told = f"the answer {answer!r} is none of {str(choices)[:LONGEST]}"
                raise fault(spec, f"document {item.index}: {told}")


def failed(name: str, item: Item, problem: Exception) -> TaskError:
    """The error about scoring code that raised."""
    text = f"{type(problem).__name__}: {str(problem)[:LONGEST]}"
    return TaskError(f"task {name!r}, item {item.key}: its scoring failed: {text}")

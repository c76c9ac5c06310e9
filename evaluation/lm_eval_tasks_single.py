"""One task of lm-eval's as the harness sees it: its items, and its own filters and metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .gold import Gold
from .lm_eval_tasks_building import Chat, build_requests, built
from .lm_eval_tasks_config import (
    check_config,
    chosen_split,
    hub_datasets,
    is_remote,
    shots_from_items,
    task_config,
    test_spec,
)
from .lm_eval_tasks_gold import gold_of
from .lm_eval_tasks_groups import Config, Plan, Subtask, fault
from .lm_eval_tasks_guard import Compile, compiled_once, offline_if_unreachable
from .lm_eval_tasks_requests import Asked, Place, items_of, rehash, scoring_rule
from .lm_eval_tasks_results import ABSENT, Kept
from .lm_eval_tasks_scoring import check_scoring, failed, learnt_metrics, raw_results
from .spec import LmEvalSpec
from .task import Item, ItemResult, Metric, Response


@dataclass(frozen=True, slots=True)
class Source:
    """Documents to be read: by which configuration, and where their items stand."""

    spec: LmEvalSpec
    """The study's wish; its name is that of the subtask, for messages."""
    declared: Config
    """The YAML with functions as names."""
    config: Config
    place: Place
    allow_test: bool


Read = tuple[Source, Any]
"""A source with lm-eval's task, whose requests are built."""


@dataclass(frozen=True, slots=True)
class LmEvalTask:
    """A task of lm-eval as the harness sees it."""

    name: str
    items: Sequence[Item]
    metrics: Mapping[str, Metric]
    """Those the task lists, its first one first; `metric,filter` where it has several filters."""
    dropped: Mapping[str, str]
    """Metrics of the task that cannot be kept per item, with the reason."""
    kept: Mapping[str, Kept]
    """What an item keeps of each metric's results."""
    official_test: bool
    """Whether the items are a benchmark's own test split: reports are marked."""
    asked: Mapping[str, Asked]
    """Item key to lm-eval's object and instances."""
    filters: tuple[str, ...]
    templates: Compile
    """The task's templates, compiled."""
    shots_from_items: bool = False
    """Whether worked examples are drawn from all documents, those of the study's test included."""
    datasets: tuple[str, ...] = ()
    """The data sets of the Hugging Face hub that its documents are of; empty for local files."""

    def full_name(self, metric: str) -> str:
        """`metric,filter`, as lm-eval prints it."""
        return metric if len(self.filters) > 1 else f"{metric},{self.filters[0]}"

    def score(self, item: Item, responses: Sequence[Response]) -> ItemResult:
        """Every metric's numbers from the responses to the item's requests.

        Raises:
            TaskError: the task's own code fails on these answers, or gives another form of result.
        """
        try:
            with compiled_once(self.templates):
                raw = raw_results(self.asked[item.key], responses)
            result = {name: one.of(raw.get(name, ABSENT)) for name, one in self.kept.items()}
        except Exception as problem:  # a stranger's scoring code may raise anything
            raise failed(self.name, item, problem) from problem
        for name, numbers in result.items():
            if len(numbers) != self.metrics[name].width:
                raise failed(self.name, item, TypeError(f"{name} has {len(numbers)} numbers"))
        return result

    def gold(self, item: Item, metric: str) -> Gold:
        """The loss of the item's gold answer.

        Raises:
            NoGoldError: it has none that lm-eval names.
        """
        with compiled_once(self.templates):
            return gold_of(self.asked[item.key], item, metric.partition(",")[0])


def check_sources(spec: LmEvalSpec, plan: Plan, allow_test: bool) -> None:
    """Refuses what can be refused before any code of the tasks runs.

    Raises:
        TaskError: as `check_config` and `test_spec`; shots where every subtask fixes none.
    """
    for subtask in plan.subtasks:
        own = _named(spec, plan, subtask)
        if spec.test:
            test_spec(own, subtask.config)
        check_config(own, subtask, allow_test)
    fixed = [subtask.config.get("num_fewshot") == 0 for subtask in plan.subtasks]
    if plan.grouped and spec.fewshot and all(fixed):
        raise fault(spec, f"fewshot: {spec.fewshot}, but every subtask of it fixes 0 shots")


def sources_of(
    spec: LmEvalSpec, declared: Plan, plan: Plan, allow_test: bool
) -> list[list[Source]]:
    """What is read for each subtask; `declared` is the plan with functions as names."""
    sources = []
    for before, subtask in zip(declared.subtasks, plan.subtasks, strict=True):
        own = _named(spec, plan, subtask)
        place = Place(f"{subtask.name}/", subtask.name) if plan.grouped else Place()
        config = task_config(own, subtask, plan.grouped, allow_test)
        of_subtask = [Source(own, before.config, config, place, allow_test)]
        if spec.test:
            sealed = replace(place, prefix=f"{place.prefix}test/", split="test")
            own = test_spec(own, subtask.config)
            config = task_config(own, subtask, plan.grouped, True)
            of_subtask.append(Source(own, before.config, config, sealed, True))
        sources.append(of_subtask)
    return sources


def with_requests(
    sources: Sequence[Sequence[Source]], seed: int, chat: Chat | None
) -> list[list[Read]]:
    """lm-eval's task of each source, first all of them, then their requests, as lm-eval does."""
    flat = [one for of_subtask in sources for one in of_subtask]
    with offline_if_unreachable(any(is_remote(one.config) for one in flat)):
        tasks = [built(one.spec, one.config, one.allow_test) for one in flat]
        for one, task in zip(flat, tasks, strict=True):
            build_requests(one.spec, one.config, task, seed, chat)
    made = iter(tasks)
    return [[(one, next(made)) for one in of_subtask] for of_subtask in sources]


def member_of(read: Sequence[Read], templates: Compile) -> LmEvalTask:
    """A task whose requests are built, with what is known of its items and metrics."""
    (source, task), spec = read[0], read[0][0].spec
    items: list[Item] = []
    asked: dict[str, Asked] = {}
    for one, own in read:
        more, asked_more = items_of(one.spec, own, scoring_rule(one.declared), one.place)
        check_scoring(one.spec, own, more)
        items += [replace(item, index=len(items) + item.index) for item in more]
        asked |= asked_more
    kept, dropped = learnt_metrics(spec, task, items, asked)
    metrics = {name: one.metric for name, one in kept.items()}
    forms = {name: one.form for name, one in kept.items() if one.form != "numbers"}
    if forms:  # rows of another form must never meet these in a ledger
        items = [replace(item, prompt_hash=rehash(item, forms)) for item in items]
    in_python = "class" in source.config
    official = task.has_test_docs() if in_python else chosen_split(spec, source.declared)[1]
    filters = tuple(ensemble.name for ensemble in task._filters)
    return LmEvalTask(
        spec.name,
        items,
        metrics,
        dropped,
        kept,
        official,
        asked,
        filters,
        templates,
        not in_python and shots_from_items(source.config),
        hub_datasets(source.config),
    )


def _named(spec: LmEvalSpec, plan: Plan, subtask: Subtask) -> LmEvalSpec:
    return replace(spec, name=f"{spec.name}/{subtask.name}") if plan.grouped else spec

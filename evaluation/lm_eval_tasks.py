"""Tasks of lm-eval, by name or by an own YAML, through lm-eval's own task objects.

Requests are built once, for all documents in order (few-shot examples are drawn one document after
the other); the harness then takes any subset. Answers are scored on fresh instances, because
lm-eval's filters would return the answers of the candidate before. Groups and tags of tasks are
refused: name one task.

Not here: sampled generation, images, sounds, tasks that run what a model wrote. Metrics over
texts (bleu, chrf, ter) are not numbers per item and are left out; `LmEvalTask.dropped` says so.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from .chat import Messages
from .errors import EvaluationError, TaskError
from .fewshot import draw
from .lm_eval_tasks_config import (
    FILE_FORMATS,
    Config,
    chosen_split,
    declared_config,
    fault,
    find_task,
    refuse_test,
    task_config,
)
from .lm_eval_tasks_guard import (
    Compile,
    compiled_once,
    lm_eval_seeds,
    offline_if_unreachable,
    quiet,
    silence_warnings,
    template_cache,
)
from .lm_eval_tasks_requests import items_of, scoring_rule
from .lm_eval_tasks_results import flatten
from .lm_eval_tasks_scoring import LONGEST, check_scoring, failed, learnt_metrics, raw_results
from .spec import LmEvalSpec
from .task import Item, ItemResult, Metric, Response

FEWSHOT_SEED = 1234
"""lm-eval's own default: the same shots as its command line draws."""
Chat = Callable[[Messages], str]
"""From messages that end with the user's to the text that the answer continues."""


@dataclass(frozen=True, slots=True)
class LmEvalTask:
    """A task of lm-eval as the harness sees it."""

    name: str
    items: Sequence[Item]
    metrics: Mapping[str, Metric]
    """Those the task lists, its first one first; `metric,filter` where it has several filters."""
    dropped: Mapping[str, str]
    """Metrics of the task that cannot be kept per item, with the reason."""
    official_test: bool
    """Whether the items are a benchmark's own test split: reports are marked."""
    task: Any
    """lm-eval's own object."""
    instances: Mapping[str, tuple[Instance, ...]]
    """Item key to lm-eval's instances; answers are never written to them."""
    templates: Compile
    """The task's templates, compiled."""

    def score(self, item: Item, responses: Sequence[Response]) -> ItemResult:
        """Every metric's numbers from the responses to the item's requests.

        Raises:
            TaskError: the task's own code fails on these answers, or gives another form of result.
        """
        try:
            with compiled_once(self.templates):
                raw = raw_results(self.task, self.instances[item.key], responses)
            result = {name: flatten(raw[name])[1] for name in self.metrics}
        except Exception as problem:  # a stranger's scoring code may raise anything
            raise failed(self.name, item, problem) from problem
        for name, numbers in result.items():
            if len(numbers) != self.metrics[name].width:
                raise failed(self.name, item, TypeError(f"{name} has {len(numbers)} numbers"))
        return result


def load_lm_eval_task(
    spec: LmEvalSpec,
    *,
    seed: int = FEWSHOT_SEED,
    trust_task_code: bool = False,
    allow_benchmark_test: bool = False,
    chat: Chat | None = None,
) -> LmEvalTask:
    """Loads a task with all its items and requests.

    Args:
        spec: The task as the study file asks for it.
        seed: Draws few-shot examples, and the rows that `limit` keeps.
        trust_task_code: Allows own YAML files, whose templates and `!function` are code.
        allow_benchmark_test: Allows a test split to be the one that is read.
        chat: Renders messages by the tokenizer's template; needed for `spec.chat_template`.

    Raises:
        TaskError: anything that keeps the task from being scored, in one message.
    """
    file = find_task(spec)
    if file.own and not trust_task_code:
        raise fault(
            spec,
            f"{file.path} is not one of lm-eval's own: its templates and functions are code that "
            "would run here; read it, then allow it with --trust-task-code",
        )
    if spec.chat_template and chat is None:
        raise fault(spec, "chat_template: there is no tokenizer at hand to render it")
    silence_warnings()
    templates = template_cache()
    with quiet(), lm_eval_seeds(), compiled_once(templates):
        declared = declared_config(spec, file, allow_benchmark_test)
        with offline_if_unreachable(declared.get("dataset_path") not in FILE_FORMATS):
            config = task_config(spec, file, allow_benchmark_test)
            task = _loaded(spec, config, seed, allow_benchmark_test, chat)
        every, instances = items_of(spec, task, scoring_rule(declared))
        check_scoring(spec, task, every)
        items = _sample(every, spec.limit, seed)
        metrics, dropped = learnt_metrics(spec, task, items, instances)
    in_python = "class" in config
    official_test = task.has_test_docs() if in_python else chosen_split(spec, declared)[1]
    return LmEvalTask(
        spec.name, items, metrics, dropped, official_test, task, instances, templates
    )


def _loaded(
    spec: LmEvalSpec, config: Config, seed: int, allow_benchmark_test: bool, chat: Chat | None
) -> Any:
    """lm-eval's task with the requests of all its documents."""
    try:
        task = _build(spec, config, allow_benchmark_test)
        task.set_fewshot_seed(seed)
        task.build_all_requests(
            system_instruction=spec.system,
            apply_chat_template=spec.chat_template,
            fewshot_as_multiturn=True,
            chat_template=partial(_render, chat) if chat and spec.chat_template else None,
        )
    except TaskError:
        raise
    except EvaluationError as problem:
        raise fault(spec, str(problem)) from problem
    except Exception as problem:  # a stranger's YAML, functions and data set
        raise fault(spec, _explained(problem, config)) from problem
    return task


def _build(spec: LmEvalSpec, config: Config, allow_benchmark_test: bool) -> Any:
    """lm-eval's object; a task written in Python chooses its documents itself."""
    if "class" not in config:
        return ConfigurableTask(config=config)
    kind = config["class"]
    takes_config = "config" in inspect.signature(kind.__init__).parameters
    task = kind(config=config) if takes_config else kind()
    if task.has_test_docs() and not allow_benchmark_test:
        raise refuse_test(spec)
    if getattr(task, "UNSAFE_CODE", False) or getattr(task, "MULTIMODAL", False):
        raise fault(spec, "it runs what models write, or shows images: eutectic scores text only")
    docs = "test" if task.has_test_docs() else "validation"
    if spec.docs not in (None, docs):
        raise fault(spec, f"docs: this task is written in Python and always reads {docs}")
    task.set_config("num_fewshot", config["num_fewshot"])
    return task


def _render(chat: Chat, messages: Messages, add_generation_prompt: bool = True) -> str:
    """The template as lm-eval calls it; without a generation prompt the last message goes on."""
    if add_generation_prompt:
        return chat(messages)
    return chat(messages[:-1]) + messages[-1]["content"]


def _sample(items: Sequence[Item], limit: int | None, seed: int) -> tuple[Item, ...]:
    """At most `limit` items, those whose keys hash lowest, in order and renumbered."""
    ranked = sorted(items, key=lambda item: (draw(seed, f"limit/{item.key}"), item.index))
    kept = sorted(ranked[:limit], key=lambda item: item.index)
    return tuple(replace(item, index=index) for index, item in enumerate(kept))


def _explained(problem: Exception, config: Config) -> str:
    """The message for what went wrong inside lm-eval or the data set library."""
    source = config.get("dataset_path") or getattr(config.get("class"), "DATASET_PATH", None)
    data = (config.get("dataset_kwargs") or {}).get("data_files") or source
    cause: BaseException = problem
    while cause.__cause__:
        cause = cause.__cause__
    text = (str(cause).strip() or type(cause).__name__).splitlines()[0][:LONGEST]
    if isinstance(cause, StopIteration) or "to no data" in text or "dataset of size 0" in text:
        return f"there are no rows in {data}"
    if isinstance(cause, KeyError):
        return f"there is no split or column {text} in {data}"
    missing = isinstance(problem, OSError) or "find cache" in text
    if missing and source not in FILE_FORMATS:
        return (
            f"its data set {source} is not on this machine: {text}; fetch it once where there is "
            "a network, or write a task over a file of your own"
        )
    return f"{f'{data}: ' if data else ''}{type(cause).__name__}: {text}"

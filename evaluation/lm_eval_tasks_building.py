"""lm-eval's own task objects, with the requests of all their documents.

Few-shot examples are drawn one document after the other, so requests are built once, for all
documents in order; the harness then takes any subset.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from lm_eval.api.task import ConfigurableTask

from .chat import Messages
from .errors import EvaluationError, TaskError
from .lm_eval_tasks_config import FILE_FORMATS, refuse_test
from .lm_eval_tasks_groups import Config, fault
from .lm_eval_tasks_scoring import LONGEST
from .spec import LmEvalSpec

Chat = Callable[[Messages], str]
"""From messages to the text that the answer continues: after the user's last, or what it began."""


def built(spec: LmEvalSpec, config: Config, allow_benchmark_test: bool) -> Any:
    """lm-eval's task with its documents.

    Raises:
        TaskError: what keeps it from being built, in one message.
    """
    with _explained(spec, config):
        return _build(spec, config, allow_benchmark_test)


def build_requests(
    spec: LmEvalSpec, config: Config, task: Any, seed: int, chat: Chat | None
) -> None:
    """Makes the requests of all documents; `seed` draws their few-shot examples.

    Raises:
        TaskError: a template, function or pool of examples that fails.
    """
    with _explained(spec, config):
        task.set_fewshot_seed(seed)
        task.build_all_requests(
            system_instruction=spec.system,
            apply_chat_template=spec.chat_template,
            fewshot_as_multiturn=True,
            chat_template=partial(_render, chat) if chat and spec.chat_template else None,
        )


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
    """The template as lm-eval calls it.

    Without a generation prompt the last message is an answer that was begun, which `chat` sees.
    """
    return chat(messages)


@contextmanager
def _explained(spec: LmEvalSpec, config: Config) -> Iterator[None]:
    """What fails inside lm-eval, a stranger's code or the data set library as one message."""
    try:
        yield
    except TaskError:
        raise
    except EvaluationError as problem:
        raise fault(spec, str(problem)) from problem
    except Exception as problem:  # a stranger's YAML, functions and data set
        raise fault(spec, _explanation(problem, config)) from problem


def _explanation(problem: Exception, config: Config) -> str:
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

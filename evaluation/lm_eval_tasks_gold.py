"""What lm-eval's own task objects name as the gold answer of a document.

By output type: of `multiple_choice` the index that `doc_to_target` gives (of several right ones
the first; of `multiple_input` tasks that of `doc_to_text`), of `loglikelihood` and rolling tasks
the text that is asked for, of `generate_until` the first target. Only what a task's metrics read
of it (`process_results`) is not known: a task that scores log-likelihoods by a function of its own
names no gold text.
"""

from collections.abc import Sequence
from typing import Any

from .errors import NoGoldError
from .gold import Gold, choice_gold, target_gold, text_gold
from .lm_eval_tasks_requests import Asked
from .task import Item


def gold_of(asked: Asked, item: Item, metric: str) -> Gold:
    """The loss of one document.

    Raises:
        NoGoldError: the task names no gold answer.
    """
    task, document = asked.task, asked.instances[0].doc
    kind = str(task.OUTPUT_TYPE)
    try:
        if kind == "multiple_choice":
            return _choice(task, document, item, metric)
        if kind == "generate_until":
            return target_gold(item.requests[0], _joint(task) + _target(task, document))
    except NoGoldError:
        raise
    except Exception as problem:  # a stranger's templates and functions may raise anything
        raise NoGoldError(f"its gold answer: {type(problem).__name__}: {problem}") from None
    if callable(getattr(task.config, "process_results", None)) or len(item.requests) != 1:
        raise NoGoldError("it scores log-likelihoods by a function of its own")
    request = item.requests[0]
    if request.kind == "rolling":
        return text_gold(request, request.context)
    return Gold((request,))


def _choice(task: Any, document: Any, item: Item, metric: str) -> Gold:
    several = getattr(task, "multiple_input", False)
    choices = [str(one) for one in task.doc_to_choice(document)]
    found = task.doc_to_text(document) if several else task.doc_to_target(document)
    if isinstance(found, Sequence) and not isinstance(found, str):
        found = found[0] if found else None
    if isinstance(found, str):
        found = choices.index(found) if found in choices else None
    if type(found) is not int or not 0 <= found < len(choices):
        raise NoGoldError("its gold answer is none of the choices")
    return choice_gold(item.requests[: len(choices)], found, metric, choices)


def _target(task: Any, document: Any) -> str:
    found = task.doc_to_target(document)
    if isinstance(found, Sequence) and not isinstance(found, str):
        found = found[0] if found else None
    if isinstance(found, int) and task.config.doc_to_choice is not None:
        found = task.doc_to_choice(document)[found]
    if found is None:
        raise NoGoldError("it has no target")
    return str(found)


def _joint(task: Any) -> str:
    return str(getattr(task.config, "target_delimiter", " ") or "")

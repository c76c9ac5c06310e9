"""What a document of an lm-eval task says by itself: without description and shots."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .duplicates import statement
from .task import Request


def stated(
    task: Any, document: Any, row: Mapping[str, object], requests: Sequence[Request]
) -> str:
    """The text of one item.

    The question as the task renders it, and the answers it offers; where the task has code of its
    own that does not give a text for that, the whole row.

    Args:
        task: lm-eval's own object.
        document: One of its documents.
        row: The same as plain data.
        requests: What is asked about it. Continuations hold no shots, contexts do.
    """
    if requests[0].kind == "rolling":
        return requests[0].context
    answers = {request.continuation for request in requests}
    try:
        question = task.doc_to_text(document)
        if not isinstance(question, str):  # several contexts and one continuation
            answers |= {str(choice) for choice in task.doc_to_choice(document)}
            question = ""
    except Exception:  # a stranger's function may raise anything
        return json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
    return statement(question, answers)

"""Results of lm-eval's metrics that are no plain numbers, as one text an item, and back.

The ledger keeps numbers and texts. What else a task gives for an item (texts, pairs of them, a
dictionary, the document itself) is written as JSON, in which every object is a tag: what was a
tuple, a dictionary, a set or an array is one again when the metric's aggregation reads it.
"""

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .task import Rows

NOTHING = ""
"""Stands for an item that has no result: no JSON is empty."""
_REVIVED: dict[str, Callable[[list[Any]], Any]] = {
    "tuple": tuple,
    "dict": dict,
    "set": set,
    "array": np.array,
}


@dataclass(frozen=True, slots=True)
class TextAggregate:
    """An aggregation of lm-eval on rows of one text, shape (n, 1).

    NaN where no item has a result, as lm-eval leaves such items out.
    """

    function: Callable[[list[Any]], Any]

    def __call__(self, values: Rows) -> float:
        """What lm-eval reports for these items."""
        items = [from_text(text) for text in values[:, 0].tolist() if text != NOTHING]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(self.function(items)) if items else math.nan


def to_text(value: object) -> str:
    """A result as JSON.

    Raises:
        TypeError: it holds something that has no such form.
    """
    return json.dumps(_plain(value), ensure_ascii=False)


def from_text(text: str) -> Any:
    """The result that `to_text` wrote."""
    return json.loads(text, object_hook=_revived)


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, tuple):
        return {"tuple": [_plain(part) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[_plain(key), _plain(part)] for key, part in value.items()]}
    if isinstance(value, set | frozenset):
        return {"set": sorted((_plain(part) for part in value), key=repr)}
    if isinstance(value, np.ndarray):
        return {"array": _plain(value.tolist())}
    raise TypeError(f"its results hold {type(value).__name__}, which cannot be stored")


def _revived(tagged: dict[str, Any]) -> Any:
    ((tag, parts),) = tagged.items()
    return _REVIVED[tag](parts)

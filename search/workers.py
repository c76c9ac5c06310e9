"""Workers: what executes blocks elsewhere, and what one of them does when it is asked.

A worker is a process, here or on another machine, that opened the study by itself and holds an
executor of its own. It is asked by `Call`s of plain data, one at a time. Processes and Ray actors
fill `Worker`; where they come from is a `Source`. What is common to them, leases and replacement,
is in `pool`.
"""

import pickle
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from merging.errors import MergeError

from .errors import SearchError
from .executors import Executor, Merge, Terms


@dataclass(frozen=True, slots=True)
class Call:
    """What a worker is asked: `name` with `arguments`, about the merge of `data`, if any.

    `hash` is what the coordinator found for the merge: a worker that finds another has other
    models, and says so instead of scoring them.
    """

    name: Literal["build", "score", "gradient"]
    data: Mapping[str, Any]
    hash: str
    arguments: tuple[Any, ...] = ()


class Working(Executor, Protocol):
    """The executor that a worker holds."""

    @property
    def terms(self) -> Terms:
        """How candidates are scored."""
        ...

    def shrink(self) -> int:
        """Fewer tokens at once; raises ExhaustedError."""
        ...


Opening = Callable[[int | None], Working]
"""Opens the study in a worker, with a token budget or, None, that of the study.

Is pickled: it names what it opens, and holds nothing open.
"""


class Worker(Protocol):
    """One worker, used by one thread at a time.

    `label` names it in messages.
    """

    label: str

    def call(self, call: Call, seconds: float) -> Any:
        """The answer within `seconds`; raises what the call raised, or WorkerLostError."""
        ...

    def shrink(self, seconds: float) -> int:
        """Fewer tokens at once from now on: the new budget; raises ExhaustedError."""
        ...

    def kill(self) -> None:
        """Ends it, whatever it is doing; may be called twice, and by any thread."""
        ...


class Source(Protocol):
    """Where workers come from."""

    def wanted(self) -> int:
        """How many there should be now: as many as were asked for, and can be had."""
        ...

    def start(self, place: int, token_budget: int | None) -> tuple[Worker, Terms]:
        """Starts worker number `place`; returns when it is ready, raises WorkerLostError.

        `token_budget` None is the study's own.
        """
        ...

    def close(self) -> None:
        """Ends what the source itself holds."""
        ...


START_SECONDS = 1800.0
"""A worker that is not ready by then is taken for lost."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
KEPT_MERGES = 8


class Servant:
    """Answers calls with an executor: what runs in a worker, whatever carries the calls."""

    def __init__(self, executor: Working) -> None:
        """Takes the worker's own executor."""
        self._executor = executor
        self._merges: OrderedDict[str, Merge] = OrderedDict()
        self._built = ""

    @property
    def terms(self) -> Terms:
        """How this worker scores."""
        return self._executor.terms

    def shrink(self) -> int:
        """Fewer tokens at once."""
        return self._executor.shrink()

    def answer(self, call: Call) -> Any:
        """What a call asks for; raises what the executor raises."""
        merge = self._merge(call)
        if call.name == "gradient":
            asked, slopes = call.arguments
            return self._executor.gradient(merge, asked, slopes=slopes)
        if self._built != call.hash or call.name == "build":
            self._built = ""  # a build that fails half way leaves neither candidate
            self._executor.build(merge)
            self._built = call.hash
        if call.name == "build":
            return None
        task, indices = call.arguments
        return self._executor.score(task, indices)

    def _merge(self, call: Call) -> Merge:
        found = self._merges.pop(call.hash, None)
        if found is None:
            found = self._executor.prepare(call.data)
            if found.hash != call.hash:
                raise OtherModelsError(
                    "a worker finds other weights for the same recipe: models, or files of merge "
                    "methods, differ between machines"
                )
        self._merges[call.hash] = found
        if len(self._merges) > KEPT_MERGES:
            self._merges.popitem(last=False)
        return found


class OtherModelsError(MergeError, SearchError):
    """A worker's models are not the coordinator's."""


def packed(good: bool, found: object) -> bytes:
    """An answer, or what was raised: as it is where that can be pickled, else in words."""
    try:
        message = pickle.dumps((good, found))
        pickle.loads(message)
    except Exception:
        text = (
            "".join(traceback.format_exception(found)) if isinstance(found, BaseException) else ""
        )
        message = pickle.dumps((False, RuntimeError(text or repr(found))))
    return message

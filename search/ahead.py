"""Candidates that are scored in full, ahead of whoever asks for their scores, on all workers.

References, finalists and who meets on `test` are few and large: their blocks are spread over the
workers of a pool, so that none is idle while a handful of candidates is scored. Whoever then asks
finds the results in the ledger. What fails here is left alone: it fails again where it is asked
for, and is judged there.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from .blocks import Block
from .errors import StoppedError
from .executors import Executor, Merge, Pool
from .observer import Step
from .scoring import UNSCORABLE, Scorer, Spent

POLL_SECONDS = 0.5


@dataclass(slots=True, eq=False)
class Whole:
    """A merge whose blocks of a split are wanted; `spent` grows as they end."""

    merge: Merge
    blocks: deque[tuple[str, Block]]
    spent: Spent = field(default_factory=Spent)


@dataclass(slots=True)
class _Rest:
    """What is left to do, shared by threads."""

    wholes: Sequence[Whole]
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: int = 0

    def next(self, current: Whole | None) -> tuple[Whole, str, Block] | None:
        """A block, rather of the merge at hand, which is built already."""
        with self.lock:
            if self.stop.is_set():
                return None
            able = [one for one in self.wholes if one.blocks]
            if not able:
                return None
            one = current if current is not None and current.blocks else max(able, key=_left)
            task, block = one.blocks.popleft()
            return one, task, block


def _left(one: Whole) -> int:
    return len(one.blocks)


def whole(scorer: Scorer, merge: Merge, split: str, tasks: Sequence[str], spent: Spent) -> Whole:
    """What the ledger lacks of a merge on a split."""
    return Whole(merge, deque(scorer.lacking(merge.hash, split, tasks)), spent)


def score_ahead(
    scorer: Scorer, pool: Pool | None, wholes: Sequence[Whole], tell: Callable[[Step], None]
) -> None:
    """Scores what the ledger lacks on all workers of a pool; without one it does nothing."""
    distinct = {one.merge.hash: one for one in wholes}
    rest = _Rest(list(distinct.values()))
    wanted = sum(len(block) for one in rest.wholes for _, block in one.blocks)
    if pool is None or not wanted:
        return
    blocks = sum(map(_left, rest.wholes))
    threads = ThreadPoolExecutor(max(1, min(pool.workers, blocks)), "ahead")
    running = {threads.submit(_work, scorer, pool, rest) for _ in range(pool.workers)}
    try:
        while running:
            over, running = wait(running, POLL_SECONDS, FIRST_EXCEPTION)
            tell(Step("scoring", rest.done, wanted))
            for one in over:
                one.result()
    except BaseException as error:
        rest.stop.set()
        if not isinstance(error, Exception):
            pool.stop()
        raise
    finally:
        threads.shutdown(wait=True, cancel_futures=True)


def _work(scorer: Scorer, pool: Pool, rest: _Rest) -> None:
    """One thread: blocks, one after the other, by a worker of its own."""
    current: Whole | None = None
    while (found := rest.next(current)) is not None:
        current = found[0]
        with pool.lend(current.merge.hash) as executor:
            try:
                _blocks(scorer, executor, rest, found)
            except UNSCORABLE:
                with rest.lock:
                    current.blocks.clear()
            except StoppedError:
                return


def _blocks(
    scorer: Scorer, executor: Executor, rest: _Rest, found: tuple[Whole, str, Block]
) -> None:
    """Blocks of one merge, for as long as it has any."""
    current, task, block = found
    own = scorer.by(executor)
    while True:
        own.block(current.merge, task, block, current.spent, Step("scoring"))
        with rest.lock:
            rest.done += len(block)
        if not current.blocks:
            return
        following = rest.next(current)
        if following is None:
            return
        if following[0] is not current:
            with rest.lock:
                following[0].blocks.appendleft((following[1], following[2]))
            return
        _, task, block = following

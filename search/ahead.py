"""Candidates that are scored in full, ahead of whoever asks for their scores, on all workers.

References, finalists and who meets on `test` are few and large: their blocks are spread over the
workers of a pool, so that none is idle while a handful of candidates is scored. Whoever then asks
finds the results in the ledger. What fails here is left alone: it fails again where it is asked
for, and is judged there.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from .blocks import Block
from .errors import StoppedError
from .executors import Merge, Pool
from .observer import Step
from .scoring import UNSCORABLE, Scorer, Spent

POLL_SECONDS = 0.5
"""How often workers that came or went are looked for."""
MOST_THREADS = 4096


@dataclass(slots=True, eq=False)
class Whole:
    """A merge whose blocks of a split are wanted; `spent` grows as they end.

    Its first block goes to one worker alone (`tasted` until it ends): a merge that kills whoever
    scores it must not kill all of them at once.
    """

    merge: Merge
    blocks: deque[tuple[str, Block]]
    spent: Spent = field(default_factory=Spent)
    tasted: bool = False
    proved: bool = False


@dataclass(slots=True)
class _Rest:
    """What is left to do, shared by threads."""

    wholes: Sequence[Whole]
    stopped: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)
    done: int = 0

    def next(self, current: Whole | None) -> tuple[Whole, str, Block] | None:
        """A block, rather of the merge at hand, which is built already; None: nothing is left."""
        with self.changed:
            while True:
                left = [one for one in self.wholes if one.blocks]
                if self.stopped or not left:
                    return None
                able = [one for one in left if one.proved or not one.tasted]
                if able:
                    break
                self.changed.wait(POLL_SECONDS)
            one = current if current in able else max(able, key=_left)
            one.tasted = True
            task, block = one.blocks.popleft()
            return one, task, block

    def ended(self, one: Whole, items: int, *, failed: bool = False) -> None:
        """A block of a merge has ended; of one that failed the rest is left alone."""
        with self.changed:
            self.done += items
            one.proved = True
            if failed:
                one.blocks.clear()
            self.changed.notify_all()

    def stop(self) -> None:
        """Nothing is begun any more."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()


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
    threads = ThreadPoolExecutor(MOST_THREADS, "ahead")
    running: set[Future[None]] = set()
    try:
        while running or (not rest.stopped and any(one.blocks for one in rest.wholes)):
            # Workers may still be starting, or join later.
            useful = min(pool.workers, len(running) + sum(map(_left, rest.wholes)))
            running |= {
                threads.submit(_work, scorer, pool, rest) for _ in range(useful - len(running))
            }
            over, running = wait(running, POLL_SECONDS, FIRST_EXCEPTION)
            tell(Step("scoring", rest.done, wanted))
            for one in over:
                one.result()
            pool.refresh()
    except BaseException as error:
        rest.stop()
        if not isinstance(error, Exception):
            pool.stop()
        raise
    finally:
        threads.shutdown(wait=True, cancel_futures=True)


def _work(scorer: Scorer, pool: Pool, rest: _Rest) -> None:
    """One thread: block after block, by a worker of its own for as many as are of one merge."""
    found = rest.next(None)
    while found is not None:
        with pool.lend(found[0].merge.hash) as executor:
            own = scorer.by(executor)
            current: Whole = found[0]
            while found is not None and found[0] is current:
                _score(own, rest, *found)
                found = rest.next(current)


def _score(scorer: Scorer, rest: _Rest, one: Whole, task: str, block: Block) -> None:
    items, failed = 0, True
    try:
        scorer.block(one.merge, task, block, one.spent, Step("scoring"))
        items, failed = len(block), False
    except UNSCORABLE:
        pass  # it fails again where it is asked for
    except StoppedError:
        rest.stop()
    finally:
        rest.ended(one, items, failed=failed)

"""Blocks of items: what is scored and recorded together, and in which steps a race looks.

The order of the search split is one shuffle for all candidates, balanced by stratum: any first
part of it is a fair sample. It is cut into rounds of 16, 16, 32 and 64 items, so that a race looks
at 16, 32, 64 and 128 items of a task, and then at all of them; every fifth trial is raced on a
later round, so that no small set of items decides about everybody. Blocks are what is packed
together: in other company an item may differ in its last bits, so they are part of a result's key.
Splits that are not raced are cut into runs of 128.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from evaluation.task import Item, Task

BLOCK_ITEMS = 128
"""Items scored and recorded together where nothing is raced: what an interruption can lose."""
ROUND = (16, 16, 32, 64)
"""Blocks of one round of a race; their sums are its looks: 16, 32, 64, 128."""
UNRACED = 32
"""A task with fewer items is scored as one block."""
FRESH = 5
"""Every trial of this many starts its race on a later round, if there is one."""
LAYOUT = {"block": BLOCK_ITEMS, "round": list(ROUND), "unraced": UNRACED}
"""What the evaluation settings say about blocks."""

Block = tuple[int, ...]


def runs(indices: Sequence[int]) -> list[Block]:
    """Runs of at most BLOCK_ITEMS indices."""
    return [
        tuple(indices[start : start + BLOCK_ITEMS])
        for start in range(0, len(indices), BLOCK_ITEMS)
    ]


def rounds(indices: Sequence[int]) -> list[list[Block]]:
    """The blocks of the search split, round by round; what is left under half a round joins it.

    A task of fewer than UNRACED items is one block; so are up to 64 items behind the last round.
    """
    if len(indices) < UNRACED:
        return [[tuple(indices)]] if indices else []
    found: list[list[Block]] = []
    at = 0
    while at < len(indices):
        current: list[Block] = []
        for size in ROUND:
            left = len(indices) - at
            if left < size + size // 2 or (found and not current and left < sum(ROUND) // 2):
                size = left  # a block that would leave only a scrap takes it along
            if size:
                current.append(tuple(indices[at : at + size]))
                at += size
        found.append(current)
    if len(found) > 1 and len(found[-1]) == 1:
        scrap = found.pop()
        found[-1] += scrap
    return found


def blocks(indices: Sequence[int], split: str) -> list[Block]:
    """Every block of a split, in order."""
    if split != "search":
        return runs(indices)
    return [block for one in rounds(indices) for block in one]


def looks(indices: Sequence[int], fresh: int | None) -> list[list[Block]]:
    """What a race scores between two looks: the blocks of a round, then 1, 2, 4 ... rounds.

    Args:
        indices: The search split of a task, in its order.
        fresh: None begins with the first round; a number chooses one of the later ones.
    """
    found = rounds(indices)
    at = 0 if fresh is None or len(found) < 2 else 1 + fresh % (len(found) - 1)
    if not found:
        return []
    others = [one for number, one in enumerate(found) if number != at]
    steps = [[block] for block in found[at]]
    while others:
        size = 1 << (len(steps) - len(found[at]))
        steps.append([block for one in others[:size] for block in one])
        others = others[size:]
    return steps


def fresh_round(seed: int, number: int) -> int | None:
    """Which later round a trial is raced on; None for most, which begin with the first."""
    if number % FRESH != FRESH - 1:
        return None
    digest = hashlib.blake2b(f"round:{seed}:{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def race_order(items: Sequence[Item], indices: Sequence[int], seed: int) -> tuple[int, ...]:
    """The indices shuffled, strata spread evenly: item k of a stratum of n stands at (k + u) / n.

    A pure function of seed and item keys; u, in [0, 1), is one number a stratum.
    """
    strata: Mapping[str, list[int]] = defaultdict(list)
    for index in indices:
        strata[items[index].stratum].append(index)
    placed: list[tuple[float, float, int]] = []
    for stratum, members in strata.items():
        offset = _share(seed, f"stratum:{stratum}")
        drawn = sorted((_share(seed, items[index].key), index) for index in members)
        placed += [
            ((place + offset) / len(members), share, index)
            for place, (share, index) in enumerate(drawn)
        ]
    return tuple(index for _, _, index in sorted(placed))


def block_name(task: Task, block: Sequence[int]) -> str:
    """A digest of the block's items and what is asked of them, in order."""
    items = (task.items[index] for index in block)
    return items_name((item.key, item.prompt_hash) for item in items)


def items_name(keys: Iterable[tuple[str, str]]) -> str:
    """The name of a block by its items' keys and prompt hashes."""
    text = "\n".join(f"{key}\0{prompt}" for key, prompt in keys)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _share(seed: int, text: str) -> float:
    digest = hashlib.blake2b(f"race:{seed}:{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64

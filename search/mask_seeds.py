"""The mask seeds under which a random merge is judged: its own, and four derived from it.

DARE and DELLA draw what they drop, so a candidate's score is partly the luck of its draw, and the
search keeps the lucky ones. A merge is random where two seeds give two recipe hashes: where all
densities are 1, or the method draws nothing, one score says all.

Not here: how mergekit draws. Its masks are others, and so is a merge that it makes of the recipe.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from .executors import Merge

MASK_SEEDS = 5
"""Draws of a random merge that are ranked by their mean; the recipe's own is the first."""


def mask_seed_of(data: Mapping[str, Any]) -> int:
    """The mask seed of a recipe given as plain data; 0 where it names none."""
    return int((data.get("eutectic") or {}).get("mask_seed", 0))


def mask_seeds(own: int) -> tuple[int, ...]:
    """`own` and MASK_SEEDS - 1 others, 31 bits of BLAKE2b each, all distinct."""
    seeds, number = [own], 0
    while len(seeds) < MASK_SEEDS:
        number += 1
        digest = hashlib.blake2b(f"masks:{own}:{number}".encode(), digest_size=4).digest()
        derived = int.from_bytes(digest, "little") >> 1
        if derived not in seeds:
            seeds.append(derived)
    return tuple(seeds)


def reseeded(data: Mapping[str, Any], mask_seed: int) -> dict[str, Any]:
    """The recipe with another mask seed and nothing else changed."""
    return {**data, "eutectic": {**(data.get("eutectic") or {}), "mask_seed": mask_seed}}


def redrawn(
    data: Mapping[str, Any], prepare: Callable[[Mapping[str, Any]], Merge]
) -> tuple[tuple[int, Mapping[str, Any], Merge], ...]:
    """The draws of a recipe: (mask seed, recipe, merge), its own first.

    A single one where another seed would give the same weights. Raises MergeError.
    """
    own, *others = mask_seeds(mask_seed_of(data))
    draws: list[tuple[int, Mapping[str, Any], Merge]] = [(own, data, prepare(data))]
    for seed in others:
        other = reseeded(data, seed)
        merge = prepare(other)
        if merge.hash == draws[0][2].hash:
            break
        draws.append((seed, other, merge))
    return tuple(draws)

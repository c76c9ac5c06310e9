"""Losses and slopes of points of a space on the calibration split, each taken once.

What was taken is in the ledger, under a key of the recipe's hash and of all that it depends on:
a search that was killed goes on with the same numbers, bit for bit. Counts what it costs.
"""

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluation.errors import EvaluationError, NonFiniteError
from evaluation.task import Task
from merging.errors import MergeError, UnsupportedError
from merging.plan import TensorJob

from .executors import Executor, GoldItems
from .gradient_plan import PASSES
from .ledger import Ledger
from .objectives import Objective
from .space_parts import Dimension, Values
from .space_points import Space
from .space_slopes import Shares, moved_dimensions, shares_at
from .trials import with_mask_seed


@dataclass(frozen=True, slots=True)
class Taken:
    """Objectives' losses (lower is better), and each one's slope by every moved dimension's value.

    Infinite where the model gives NaN or Inf, or the recipe cannot be planned.
    """

    losses: tuple[float, ...]
    slopes: tuple[Mapping[str, float], ...] = ()

    @property
    def finite(self) -> bool:
        """Whether there is a loss."""
        return all(map(math.isfinite, self.losses))


@dataclass(slots=True)
class Losses:
    """Takes losses through an executor. `items` and `seconds` are what they cost so far.

    What the ledger had already counts as much: it was paid for, by this search.
    """

    ledger: Ledger
    executor: Executor
    space: Space
    tasks: Mapping[str, Task]
    objectives: Sequence[Objective]
    asked: tuple[GoldItems, ...]
    mask_seed: int
    items: int = 0
    seconds: float = 0.0
    _shares: dict[str, Shares] = field(default_factory=dict, init=False)

    def of_recipe(self, data: Mapping[str, Any]) -> Taken:
        """The losses of a recipe given as plain data."""
        return self._take(data, None)

    def of_point(self, values: Values, *, slopes: bool) -> Taken:
        """The losses of a point of the space; with slopes by its dimensions."""
        return self._take(self.space.fill(values), values if slopes else None)

    def _take(self, data: Mapping[str, Any], values: Values | None) -> Taken:
        try:
            merge = self.executor.prepare(with_mask_seed(data, self.mask_seed))
        except UnsupportedError:
            raise
        except MergeError:
            return self._nothing()
        cost = sum(len(one.indices) for one in self.asked)
        self.items += cost if values is None else PASSES * cost
        key = self._key(merge.hash, values)
        stored = self.ledger.meta(key)
        if stored is None:
            started = time.perf_counter()
            try:
                own = self.executor.gradient(merge, self.asked, slopes=values is not None)
                shares = None if values is None else self._shares_of(values)
                parts = [
                    (one.loss, {} if shares is None else shares.chained(one.slopes)) for one in own
                ]
            except NonFiniteError:
                parts = []
            except EvaluationError:
                raise
            except ValueError:  # of slopes: infinities of both signs in one sum
                parts = []
            if not all(_is_finite(loss, slopes) for loss, slopes in parts):
                parts = []
            stored = {"parts": parts, "seconds": time.perf_counter() - started}
            self.ledger.set_meta(key, stored)
        self.seconds += stored["seconds"]
        return self._joined(stored["parts"])

    def _joined(self, parts: Sequence[tuple[float, Mapping[str, float]]]) -> Taken:
        """The mean over each objective's parts."""
        if not parts:
            return self._nothing()
        known = {(one.task, one.metric): part for one, part in zip(self.asked, parts, strict=True)}
        losses, slopes = [], []
        for objective in self.objectives:
            own = [known[part] for part in objective.parts]
            losses.append(math.fsum(loss for loss, _ in own) / len(own))
            slopes.append(
                {name: math.fsum(one[name] for _, one in own) / len(own) for name in own[0][1]}
            )
        return Taken(tuple(losses), tuple(slopes) if parts[0][1] else ())

    def _nothing(self) -> Taken:
        return Taken((math.inf,) * len(self.objectives))

    def _shares_of(self, values: Values) -> Shares:
        moved = {one.name for one in self._moved(values)}
        others = repr([(name, one) for name, one in values.items() if name not in moved])
        if others not in self._shares:  # choices may give other layers, or another method
            self._shares[others] = shares_at(self.space, values, self._plan)
        return self._shares[others]

    def _moved(self, values: Values) -> tuple[Dimension, ...]:
        return moved_dimensions(self.space, self.space.method(values))

    def _plan(self, data: Mapping[str, Any]) -> Sequence[TensorJob]:
        return self.executor.prepare(with_mask_seed(data, self.mask_seed)).jobs

    def _key(self, recipe_hash: str, values: Values | None) -> str:
        # One merge may be a point of two spaces (`anchors: auto`), with other dimensions in each.
        moved = [] if values is None else [one.name for one in self._moved(values)]
        asked = [
            [
                one.task,
                one.metric,
                [
                    [self.tasks[one.task].items[k].key, self.tasks[one.task].items[k].prompt_hash]
                    for k in one.indices
                ],
            ]
            for one in self.asked
        ]
        text = json.dumps([recipe_hash, self.executor.settings, asked, moved, GRADIENTS])
        return f"gradient {hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"


def _is_finite(loss: float, slopes: Mapping[str, float]) -> bool:
    return all(map(math.isfinite, (loss, *slopes.values())))


GRADIENTS = 1
"""Raised whenever equal questions may be answered otherwise than before."""

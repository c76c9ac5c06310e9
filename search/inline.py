"""The executor in this process: one live model, written over by every candidate."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evaluation.task import ItemResult
from merging.recipe import ModelReference

from .blocks import LAYOUT
from .executors import GoldItems, GoldSlopes, Merge, Planner, Terms

if TYPE_CHECKING:
    import torch

    from evaluation.harness import Harness
    from merging.candidate import LiveModel
    from merging.layer_pool import LayerPool


class InlineExecutor:
    """Builds into one live model of this process and scores there.

    Where candidates differ in their layers, `pool` gives each the model that it would load as.
    """

    def __init__(
        self,
        planner: Planner,
        live: "LiveModel",
        harness: "Harness",
        threads: int,
        pool: "LayerPool | None" = None,
    ) -> None:
        """Takes a harness whose requests are settled."""
        self.planner = planner
        self._live = live
        self.harness = harness
        self._threads = threads
        self._wanted: Merge | None = None
        self._held: Merge | None = None
        self._pool = pool
        self._terms = terms_of(harness)

    @property
    def terms(self) -> Terms:
        """How candidates are scored, now."""
        return self._terms

    @property
    def settings(self) -> str:
        """Changes when memory ran out."""
        return self._terms.settings

    def shrink(self) -> int:
        """Fewer tokens at once, after memory ran out: the new budget, and other settings.

        Raises:
            ExhaustedError: there are no fewer to be had.
        """
        budget = self.harness.halve_budget()
        self._terms = terms_of(self.harness)
        return budget

    def prepare(self, data: Mapping[str, Any]) -> Merge:
        """Reads, plans and hashes a recipe."""
        return self.planner.prepare(data)

    def build(self, merge: Merge) -> None:
        """Writes the merge into the live model, in place."""
        self._wanted = merge
        self._write(merge)

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, ItemResult]:
        """Scores the live model."""
        if self._wanted is not None and self._held is not self._wanted:
            self._write(self._wanted)  # a gradient was taken of another candidate
        return self.harness.score(task, indices)

    def gradient(
        self, merge: Merge, asked: Sequence[GoldItems], *, slopes: bool = True
    ) -> Sequence[GoldSlopes]:
        """One backward pass a task, over the live model."""
        from merging.live_slopes import live_slopes

        live = self._write(merge)
        found = []
        for one in asked:
            if not slopes:
                loss = self.harness.gold_loss(one.task, one.metric, one.indices)
                found.append(GoldSlopes(loss.value))
                continue
            with self.harness.gold_gradient(one.task, one.metric, one.indices) as loss:
                seed = merge.recipe.mask_seed
                own = live_slopes(live, merge.jobs, self._tensor, seed, loss.of)
                found.append(GoldSlopes(loss.value, tuple(own)))
        return found

    def _write(self, merge: Merge) -> "LiveModel":
        from merging.candidate import build_candidate

        live = self._live if self._pool is None else self._pool.of(merge.jobs)
        self.harness.runner.hold(live.model)
        self._held = None  # a build that fails half way leaves neither candidate
        build_candidate(
            live, merge.jobs, self._tensor, merge.recipe.mask_seed, threads=self._threads
        )
        self._held = merge
        return live

    def _tensor(self, model: ModelReference, name: str) -> "torch.Tensor":
        return self.planner.checkpoints[model].tensor(name)


def terms_of(harness: "Harness") -> Terms:
    """How a harness scores; requests are settled."""
    runner = harness.runner
    return Terms(
        settings=settings_hash(runner.fingerprint()),
        scoring={**runner.fingerprint(), "reasons": runner.reasons()},
        token_budget=runner.settings.token_budget,
        slow=runner.slow(),
        machine=_machine(runner.settings.device),
    )


def settings_hash(fingerprint: Mapping[str, object]) -> str:
    """A digest of everything but recipe and items that can change a score."""
    text = json.dumps({**fingerprint, "blocks": LAYOUT}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _machine(device: str) -> str:
    """The name of a GPU, or what a CPU's vector units can do."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return device if device != "cpu" else f"cpu {torch.backends.cpu.get_cpu_capability()}"

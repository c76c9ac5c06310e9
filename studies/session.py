"""A study with its base model loaded: ready to score anything on its tasks."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from evaluation.settings import Settings
from merging.checkpoint import Checkpoint
from search.executors import Planner
from search.inline import InlineExecutor

from .errors import StudyError
from .preflight import Permissions, Preflight
from .stacks import layer_pool

if TYPE_CHECKING:
    from evaluation.runner import Runner
    from merging.depth import Orders


SCORING_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where and how candidates are built and scored.

    None is chosen at the start and stored with the run; `asked_budget` is the token budget that
    the command line named before memory ran out and a smaller one took its place.
    """

    device: str | None = None
    dtype: str | None = None
    token_budget: int | None = None
    threads: int | None = None
    asked_budget: int | None = None

    def resolved(self, stored: Mapping[str, Any] | None, workers: int = 1) -> "Hardware":
        """The settings a run was started with, where the command line names no other.

        Threads are shared out among `workers` on this machine.
        """
        known = stored or {}
        asked = known.get("asked_budget")
        named = None if self.token_budget == asked else self.token_budget
        return Hardware(
            self.device or known.get("device") or "cpu",
            self.dtype or known.get("dtype"),
            named or known.get("token_budget") or self.token_budget,
            self.threads or known.get("threads") or max(1, (os.cpu_count() or 1) // workers),
            asked,
        )

    def smaller(self, budget: int) -> "Hardware":
        """The same with a smaller token budget, because memory ran out."""
        return replace(
            self, token_budget=budget, asked_budget=self.asked_budget or self.token_budget
        )


def refuse_hardware(hardware: Hardware, *, here: bool = True, ours: bool = True) -> None:
    """Raises StudyError for a device or a dtype that is not there.

    `here`: on this machine; `ours`: this process will score, else it leaves GPUs alone.
    """
    import torch

    if hardware.dtype not in (None, *SCORING_DTYPES):
        raise StudyError(f"--dtype {hardware.dtype}: expected one of {', '.join(SCORING_DTYPES)}")
    if here and not ours and (hardware.device or "").startswith("cuda"):
        if not torch.cuda.is_available():
            raise StudyError(f"--device {hardware.device}: torch finds no GPU on this machine")
        return
    try:
        torch.empty(1, device=hardware.device or "cpu" if here else "meta")
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise StudyError(f"--device {hardware.device}: torch cannot use it: {reason}") from None


def load_runner(
    checkpoint: Checkpoint,
    hardware: Hardware,
    dtype: str | None,
    permissions: Permissions,
    order: "Orders | None" = None,
) -> "Runner":
    """Loads a model and its tokenizer, ready to answer.

    `dtype` None is the checkpoint's own; `order` names the layers of a model that has others.
    """
    import torch

    from evaluation.budget import fitting_budget
    from evaluation.runner import Runner
    from merging.loading import load_model, load_tokenizer

    threads = hardware.threads or 1
    torch.set_num_threads(threads)
    model = load_model(
        checkpoint,
        dtype=hardware.dtype or dtype,
        device=hardware.device or "cpu",
        trust_remote_code=permissions.trust_remote_code,
        order=order,
    )
    tokenizer = load_tokenizer(checkpoint, trust_remote_code=permissions.trust_remote_code)
    name = str(model.dtype).removeprefix("torch.")
    budget = hardware.token_budget or fitting_budget(model)
    settings = Settings(hardware.device or "cpu", name, budget, threads)
    return Runner(model, tokenizer, settings)


def open_executor(
    preflight: Preflight, hardware: Hardware, permissions: Permissions
) -> InlineExecutor:
    """Loads the base as the live model.

    Raises MergeError for an architecture that cannot be mapped.
    """
    from evaluation.harness import Harness
    from merging.candidate import live_model

    base = preflight.checkpoints[preflight.base]
    recipe = preflight.recipe
    runner = load_runner(base, hardware, recipe.out_dtype or recipe.dtype, permissions)
    harness = Harness(tuple(preflight.tasks.values()), runner)
    live = live_model(runner.model, base)
    pool = layer_pool(preflight, live, permissions)
    harness.settle()
    planner = Planner(preflight.study.recipe, preflight.checkpoints)
    return InlineExecutor(planner, live, harness, hardware.threads or 1, pool)

"""A study with its base model loaded: ready to score anything on its tasks."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.executors import InlineExecutor
from search.scoring import BLOCK_ITEMS

from .preflight import Permissions, Preflight


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where and how candidates are built and scored; None is chosen at the start and stored with the run."""

    device: str = "cpu"
    dtype: str | None = None
    token_budget: int | None = None
    threads: int | None = None

    def resolved(self, stored: Mapping[str, Any] | None) -> "Hardware":
        """The settings a run was started with, where the command line names no other."""
        known = stored or {}
        return Hardware(
            self.device,
            self.dtype or known.get("dtype"),
            self.token_budget or known.get("token_budget"),
            self.threads or known.get("threads") or os.cpu_count() or 1,
        )


def open_executor(
    preflight: Preflight, hardware: Hardware, permissions: Permissions
) -> InlineExecutor:
    """Loads the base as the live model and packs the tasks; raises MergeError for what cannot be mapped."""
    import torch

    from evaluation.harness import Harness
    from evaluation.runner import Runner, Settings
    from merging.candidate import live_model, load_model, load_tokenizer

    threads = hardware.threads or 1
    torch.set_num_threads(threads)
    base = preflight.checkpoints[preflight.base]
    model = load_model(
        base,
        dtype=hardware.dtype or preflight.dtype,
        device=hardware.device,
        trust_remote_code=permissions.trust_remote_code,
    )
    tokenizer = load_tokenizer(base, permissions.trust_remote_code)
    settings = Settings(device=hardware.device, dtype=str(model.dtype), threads=threads)
    runner = Runner(model, tokenizer, settings)
    fingerprint = {**runner.settings.fingerprint(), "block": BLOCK_ITEMS}
    digest = hashlib.blake2b(json.dumps(fingerprint, sort_keys=True).encode(), digest_size=16)
    return InlineExecutor(
        preflight.study.recipe,
        preflight.checkpoints,
        live_model(model, base),
        Harness(tuple(preflight.tasks.values()), runner),
        digest.hexdigest(),
        threads,
    )

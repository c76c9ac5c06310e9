"""Golden values: what the real mergekit made of a case, and the jobs that we make of it.

`scripts/golden.py` wrote `tests/data/golden`; nothing here needs mergekit.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from merging.checkpoint import Checkpoint
from merging.document import parse_document
from merging.errors import UnsupportedError
from merging.kernels import masks
from merging.plan import TensorJob, TensorSource, plan_recipe
from merging.recipe import ModelReference, Recipe, models_of
from merging.recipe_reader import read_recipe
from merging.sources import open_checkpoint

GOLDEN = Path(__file__).resolve().parents[2] / "data/golden"
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True, slots=True)
class Golden:
    """A case: our jobs and where their tensors come from, and mergekit's tensors.

    `shapes` are those of all that mergekit wrote, `expected` the stored selection of them. `dtype`
    is what mergekit computes in.
    """

    jobs: tuple[TensorJob, ...]
    fetch: Callable[[ModelReference, str], torch.Tensor]
    expected: Mapping[str, torch.Tensor]
    shapes: Mapping[str, list[int]]
    dtype: torch.dtype

    def stored_jobs(self) -> list[TensorJob]:
        """The jobs whose result is known; at least one."""
        return [job for job in self.jobs if job.name in self.expected]

    def undecided(self, job: TensorJob) -> torch.Tensor:
        """Elements that mergekit keeps or drops by chance: bool, the shape of the tensor.

        Magnitudes (in its dtype) that are equal just where a selection ends; draws between a keep
        probability and that probability rounded, or those of equal magnitudes for DELLA's ranks;
        for Arcee Fusion in float32 importances so near the threshold that it may round across.
        """
        if job.base is None:
            return torch.zeros(self.shapes[job.name], dtype=torch.bool)
        base = self.read(job.base)
        deltas = [self.read(source) - base for source in job.sources]
        found = [_undecided(job, position, delta) for position, delta in enumerate(deltas)]
        if job.method == "sce":
            variance = torch.var(torch.stack(deltas), dim=0, unbiased=False)
            kept = int(torch.count_nonzero(variance) * float(job.parameters["select_topk"]))
            found.append(_cut(variance, variance.numel() - kept))
        if job.method == "arcee_fusion" and self.dtype == torch.float32:
            expert = self.read(job.sources[0])
            found.append(_on_the_threshold(expert.double(), base.double()))
        return torch.stack([torch.zeros_like(base, dtype=torch.bool), *found]).any(0)

    def read(self, source: TensorSource) -> torch.Tensor:
        """A tensor in the dtype that mergekit computes in."""
        return self.fetch(source.model, source.name).to(self.dtype)


@pytest.fixture(scope="session")
def golden_tensors() -> Mapping[str, torch.Tensor]:
    """Everything that mergekit made, as `case/tensor`."""
    return load_file(GOLDEN / "expected.safetensors")


@pytest.fixture(scope="session")
def golden(own_cache, golden_tensors) -> Callable[[dict], Golden]:
    """`golden(case)`: planned; skipped while the method, or a section of it, is not there yet.

    `golden(case, exact=True)`: to be rounded at every step.
    """
    shapes = json.loads((GOLDEN / "cases.json").read_text())["shapes"]

    @cache
    def checkpoint(place: str) -> Checkpoint:
        model = ModelReference("model")
        return open_checkpoint(model, folder=GOLDEN, mapping={"model": GOLDEN / "models" / place})

    def planned(case: dict, exact: bool = False) -> Golden:
        document = parse_document(case["recipe"], "recipe.yml")
        try:
            recipe, _ = read_recipe(document, strict=False)
        except UnsupportedError as error:
            pytest.skip(str(error))
        if exact:
            if "exact" not in {field.name for field in fields(Recipe)}:
                pytest.skip("merging as mergekit rounds is not there yet")
            recipe = replace(recipe, exact=True)
        opened = {model: checkpoint(case["models"][model.path]) for model in models_of(recipe)}
        prefix = f"{case['id']}/"
        return Golden(
            jobs=plan_recipe(recipe, opened, document=document),
            fetch=lambda model, name: opened[model].tensor(name),
            expected={
                key.removeprefix(prefix): tensor
                for key, tensor in golden_tensors.items()
                if key.startswith(prefix)
            },
            shapes=shapes[case["shapes"]],
            dtype=DTYPES[case["arithmetic"]],
        )

    return planned


def _undecided(job: TensorJob, position: int, delta: torch.Tensor) -> torch.Tensor:
    """Of one expert; its delta in mergekit's dtype."""
    numbers, count = job.sources[position].parameters, delta.numel()
    density = float(numbers.get("density", 1.0))
    sizes = delta.abs()
    if density >= 1 or job.method == "task_arithmetic":
        return torch.zeros_like(delta, dtype=torch.bool)
    if job.method == "ties":
        return _cut(sizes, count - max(1, int(density * count)))
    if job.method.startswith("breadcrumbs"):
        kept, above = int(density * count), int(float(numbers["gamma"]) * count)
        first = max(0, count - kept - above)
        return _cut(sizes, first) | _cut(sizes, first + kept)
    draws = masks.draws(masks.mask_keys(0, job.name, position, count), 0, count, delta.device)
    chance = draws.view(delta.shape) / masks.threshold(1.0)
    slack = 0.0 if delta.dtype == torch.float32 else torch.finfo(delta.dtype).eps
    if job.method.startswith("dare"):
        return (chance - density).abs() < slack
    low, high = (_probability(sizes, density, float(numbers["epsilon"]), top) for top in (0, 1))
    return (chance > low - slack) & (chance < high + slack) & (low < high)


def _probability(sizes: torch.Tensor, density: float, epsilon: float, top: int) -> torch.Tensor:
    """DELLA's keep probability, with the lowest or the highest (`top`) rank among equals."""
    rows = sizes.view(1, -1) if sizes.dim() < 2 else sizes
    here, there = rows[:, :, None], rows[:, None, :]
    ranks = (there <= here).sum(2) - 1 if top else (there < here).sum(2)
    share = ranks.double() / (rows.shape[1] - 1)
    return (density - epsilon + 2 * epsilon * share).view(sizes.shape)


def _on_the_threshold(expert: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """Where Arcee Fusion's importance is within 5% of median + 1.5 interquartile ranges.

    The divergence is a sum that nearly cancels: float32 leaves two digits of it.
    """
    p, q = (torch.softmax(tensor, -1) + 1e-8 for tensor in (expert, base))
    importance = (expert - base).abs() * (p * torch.log(p / q)).sum(-1, keepdim=True)
    ordered, last = importance.reshape(-1).sort().values, importance.numel() - 1
    first, median, third = (ordered[int(share * last)] for share in (0.25, 0.5, 0.75))
    threshold = median + 1.5 * (third - first)
    return (importance - threshold).abs() < 0.05 * threshold


def _cut(sizes: torch.Tensor, at: int) -> torch.Tensor:
    """The elements that are equal to both the last below and the first above a cut."""
    ordered = sizes.reshape(-1).sort().values
    if not 0 < at < len(ordered) or ordered[at - 1] != ordered[at]:
        return torch.zeros_like(sizes, dtype=torch.bool)
    return sizes == ordered[at]

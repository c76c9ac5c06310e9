"""Many tensors at once: the same bits whatever the threads, and whatever is known already."""

import pytest
import torch

from merging import batch
from merging.batch import merge_into
from merging.kernels.known import Known
from merging.merge import merge_tensor
from merging.plan import TensorJob, TensorSource
from merging.recipe import ModelReference

SHAPES = {"large": (90, 400), "wide": (3, 700), "small": (30, 40), "vector": (60,), "one": (1,)}
NUMBERS = {"weight": 0.6, "density": 0.5, "epsilon": 0.1}


def family() -> dict[tuple[str, str], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    base = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    tensors = {("base", name): one.bfloat16() for name, one in base.items()}
    for expert in ("a", "b"):
        for name, one in base.items():
            near = one + torch.randn(one.shape, generator=generator) * 0.05
            tensors[expert, name] = near.bfloat16()
    return tensors


def jobs_of(method: str) -> list[TensorJob]:
    sources = [
        tuple(TensorSource(ModelReference(model), name, NUMBERS) for model in ("base", "a", "b"))
        for name in SHAPES
    ]
    return [
        TensorJob(base.name, method, base, tuple(experts), {}, None, "bfloat16")
        for base, *experts in sources
    ]


def places_of() -> dict[str, torch.Tensor]:
    return {name: torch.zeros(shape, dtype=torch.bfloat16) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("method", ["ties", "dare_ties", "della"])
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_threads_change_no_bit(method, threads, monkeypatch):
    monkeypatch.setattr(batch, "BATCH", 1000)  # so that "large" is shared and "wide" is not
    tensors, places = family(), places_of()

    def read(model, name):
        return tensors[model.path, name]

    merge_into(places, jobs_of(method), read, 3, threads=threads)
    for job in jobs_of(method):
        alone = merge_tensor(job, read, 3)
        assert torch.equal(places[job.name], alone) and places[job.name].any()


@pytest.mark.parametrize("limit", [None, 0, 5000])
def test_what_is_known_changes_no_bit(limit):
    tensors, known = family(), Known(limit)

    def read(model, name):
        return tensors[model.path, name]

    first, second = places_of(), places_of()
    merge_into(first, jobs_of("della"), read, 3, threads=2, known=known)
    assert known.held <= (1 << 60 if limit is None else limit)
    if limit is None:  # one byte an element an expert
        assert known.held == 2 * sum(torch.Size(shape).numel() for shape in SHAPES.values())
    merge_into(second, jobs_of("della"), read, 3, threads=2, known=known)
    assert all(torch.equal(first[name], second[name]) for name in SHAPES)


def test_a_fault_of_one_tensor_is_told():
    with pytest.raises(KeyError):
        merge_into(places_of(), jobs_of("ties"), lambda model, name: {}[name], 0, threads=2)

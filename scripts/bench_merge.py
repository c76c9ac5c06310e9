"""Seconds to merge synthetic experts with the shapes of a 135M Llama, method by method.

Run it in the project's environment: `.venv/bin/python scripts/bench_merge.py [METHOD ...]`. Each
line has the best wall time, the processor time of that run, and the wall time over that of moving
the bytes once (reading base and experts, writing the candidate). Kernels are compiled before the
clock runs.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from merging.merge import merge_tensor
from merging.methods.table import METHODS
from merging.plan import TensorJob, TensorSource
from merging.recipe import ModelReference

HIDDEN, KEYS, INNER, LAYERS, WORDS = 576, 192, 1536, 30, 49152
NUMBERS = {"weight": 0.4, "density": 0.6, "epsilon": 0.1}
Models = dict[str, dict[str, torch.Tensor]]


def main() -> None:
    """Builds the models, then times what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=list(METHODS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--experts", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    models = family(options.experts)
    places = {name: torch.empty_like(tensor) for name, tensor in models["base"].items()}
    copies, _ = best(lambda: copy(models["base"], places), options.repeats)
    bytes_once = copies * (options.experts + 2) / 2
    print(f"{'moving the bytes':16} {bytes_once:8.3f} s")
    with ThreadPoolExecutor(options.threads) as pool:
        for method in options.methods:
            wall, cpu = best(lambda: merge(method, models, places, pool), options.repeats)  # noqa: B023
            print(f"{method:16} {wall:8.3f} s {cpu:8.3f} s cpu {wall / bytes_once:6.1f} x")


def family(experts: int) -> Models:
    """A base and experts near it, bfloat16."""
    matrices = [(HIDDEN, HIDDEN)] * 2 + [(KEYS, HIDDEN)] * 2 + [(INNER, HIDDEN)] * 2
    shapes: list[tuple[int, ...]] = [*matrices, (HIDDEN, INNER), (HIDDEN,), (HIDDEN,)]
    generator = torch.Generator().manual_seed(0)

    def normal(shape: tuple[int, ...], scale: float) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * scale

    everything = [(WORDS, HIDDEN), *shapes * LAYERS, (HIDDEN,)]
    base = {str(i): normal(shape, 0.05).bfloat16() for i, shape in enumerate(everything)}
    return {"base": base} | {
        str(e): {
            name: (tensor.float() + normal(tuple(tensor.shape), 0.002)).bfloat16()
            for name, tensor in base.items()
        }
        for e in range(experts)
    }


def copy(models: dict[str, torch.Tensor], places: dict[str, torch.Tensor]) -> None:
    """Reads one model and writes one."""
    for name, place in places.items():
        place.copy_(models[name])


def merge(
    method: str, models: Models, places: dict[str, torch.Tensor], pool: ThreadPoolExecutor
) -> None:
    """One candidate, into the places."""
    for name, place in places.items():
        base, *sources = (TensorSource(ModelReference(model), name, NUMBERS) for model in models)
        job = TensorJob(name, method, base, tuple(sources), {}, None, "bfloat16")
        merge_tensor(job, lambda model, name: models[model.path][name], 0, out=place, pool=pool)


def best(work: Callable[[], None], repeats: int) -> tuple[float, float]:
    """The shortest wall time after a first run, and the processor time of that run, in seconds."""
    work()
    times = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(times)


if __name__ == "__main__":
    main()

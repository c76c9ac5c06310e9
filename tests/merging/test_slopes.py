"""Slopes of a loss by the numbers of a merge: against finite differences of the merge itself."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from merging.candidate import build_candidate, live_model, load_model, load_tokenizer
from merging.errors import UnsupportedError
from merging.live_slopes import live_slopes
from merging.methods.table import METHODS
from merging.recipe import ModelReference
from merging.sloped import refusal
from merging.slopes import dot, tensor_slope

TEXT = "a: 12 + 3 = 15; b: fig, d?"
SLOPED = {
    "linear", "task_arithmetic", "ties", "dare_linear", "dare_ties", "breadcrumbs",
    "breadcrumbs_ties", "della_linear", "della",
}  # fmt: skip
STEP = 1e-2


@pytest.fixture(scope="module")
def family(pico_family_float32, tmp_path_factory):
    """Experts whose weighted deltas are never close to cancelling, so no sign is near a flip."""
    root = tmp_path_factory.mktemp("apart")
    stored = load_file(pico_family_float32.base / "model.safetensors")
    draw = torch.Generator().manual_seed(5)
    sizes = {"base": (0.0,), "alpha": (1e-3, 2e-3), "beta": (8e-3, 1e-2), "gamma": (4e-2, 5e-2)}
    for name, choices in sizes.items():
        folder = root / name
        folder.mkdir()
        for file in pico_family_float32.base.iterdir():
            if file.name != "model.safetensors":
                (folder / file.name).write_bytes(file.read_bytes())
        moved = {}
        for key, tensor in stored.items():
            pick = torch.randint(len(choices), tensor.shape, generator=draw)
            sign = torch.randint(2, tensor.shape, generator=draw) * 2 - 1
            moved[key] = tensor + torch.tensor(choices)[pick] * sign
        save_file(moved, folder / "model.safetensors", {"format": "pt"})
    experts = {name: root / name for name in sizes if name != "base"}
    return replace(pico_family_float32, root=root, base=root / "base", experts=experts)


def loss_of(model, tokens):
    """The mean loss of a text, not rounded to float32 where the model is finer."""
    logits = model(input_ids=tokens).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, tokens[0, 1:])


def differences(function):
    """The derivative at 0: central differences, extrapolated (Richardson)."""
    wide, narrow = ((function(step) - function(-step)) / (2 * step) for step in (2 * STEP, STEP))
    return (4 * narrow - wide) / 3


def jobs_at(jobs, weights, output):
    """The jobs with other weights (by expert) and other numbers of the output."""
    return tuple(
        replace(
            job,
            parameters={**job.parameters, **output},
            sources=tuple(
                replace(source, parameters={**source.parameters, "weight": weight})
                for source, weight in zip(job.sources, weights, strict=True)
            ),
        )
        for job in jobs
    )


def slopes_and_loss(live, jobs, tensors, tokens):
    """(summed slopes by weight, by lambda) and a function of jobs that gives the loss."""
    fine = load_model_double(live.model)

    def loss(changed):
        build_candidate(live, changed, tensors, 7)
        fine.load_state_dict({k: v.double() for k, v in live.model.state_dict().items()})
        with torch.no_grad():
            return float(loss_of(fine, tokens))

    build_candidate(live, jobs, tensors, 7)
    before = {name: one.clone() for name, one in live.model.state_dict().items()}
    live.model.requires_grad_(True)
    loss_of(live.model, tokens).backward()
    found = list(live_slopes(live, jobs, tensors, 7, lambda parameter: parameter.grad))
    live.model.zero_grad(set_to_none=True)
    live.model.requires_grad_(False)
    assert all(torch.equal(one, before[k]) for k, one in live.model.state_dict().items())
    return found, loss


def load_model_double(model):
    import copy

    return copy.deepcopy(model).double()


CASES = [
    ("linear", {"normalize": True}, {}),
    ("linear", {"normalize": False}, {}),
    ("task_arithmetic", {"normalize": False, "lambda": 0.8}, {}),
    ("task_arithmetic", {"normalize": True, "lambda": 1.2}, {}),
    ("ties", {"normalize": True, "lambda": 0.9}, {"density": 0.5}),
    ("ties", {"normalize": False, "lambda": 0.9, "rescale": True}, {"density": 0.5}),
    ("dare_linear", {"normalize": False, "lambda": 0.9}, {"density": 0.6}),
    ("dare_ties", {"normalize": False, "lambda": 0.9}, {"density": 0.6}),
    ("breadcrumbs", {"normalize": True, "lambda": 0.9}, {"density": 0.6, "gamma": 0.1}),
    ("breadcrumbs_ties", {"normalize": True, "lambda": 0.9}, {"density": 0.6, "gamma": 0.1}),
    ("della_linear", {"normalize": False, "lambda": 0.9}, {"density": 0.6, "epsilon": 0.1}),
    ("della", {"normalize": True, "lambda": 0.9}, {"density": 0.6, "epsilon": 0.1}),
]


@pytest.mark.parametrize(("method", "output", "own"), CASES)
def test_slopes_are_finite_differences_of_the_loss(
    family, open_family, make_jobs, tensors_of, method, output, own
):
    checkpoints = open_family(family)
    base = checkpoints[ModelReference("base")]
    live = live_model(load_model(base), base)
    tokens = load_tokenizer(base)(TEXT, return_tensors="pt").input_ids
    weights = [0.4, -0.2 if "linear" in method else 0.3, 0.5]
    plain = make_jobs(checkpoints, method, {"weight": 1.0, **own})
    if method == "linear":
        plain = tuple(replace(job, base=None) for job in plain)
    jobs, tensors = jobs_at(plain, weights, output), tensors_of(checkpoints)
    found, loss = slopes_and_loss(live, jobs, tensors, tokens)
    assert [one.name for one in found] == [job.name for job in jobs]

    wanted = [sum(one.weights[e] for one in found) for e in range(3)]
    for e in range(3):
        expected = differences(
            lambda step, e=e: loss(
                jobs_at(plain, [w + step * (e == k) for k, w in enumerate(weights)], output)
            )
        )
        assert wanted[e] == pytest.approx(expected, rel=1e-3, abs=5e-5)
    assert max(map(abs, wanted)) > 1e-2
    if "lambda" in output:
        expected = differences(
            lambda step: loss(
                jobs_at(plain, weights, {**output, "lambda": output["lambda"] + step})
            )
        )
        assert sum(one.scale for one in found) == pytest.approx(expected, rel=1e-3, abs=5e-5)


def test_each_layer_has_its_own_slope(family, open_family, make_jobs, tensors_of):
    checkpoints = open_family(family)
    base = checkpoints[ModelReference("base")]
    live = live_model(load_model(base), base)
    tokens = load_tokenizer(base)(TEXT, return_tensors="pt").input_ids
    plain = make_jobs(checkpoints, "ties", {"weight": 0.5, "density": 0.5})
    found, loss = slopes_and_loss(live, plain, tensors_of(checkpoints), tokens)

    def moved(step):
        return tuple(
            jobs_at([job], [0.5 + step, 0.5, 0.5], {})[0] if job.layer == 1 else job
            for job in plain
        )

    wanted = differences(lambda step: loss(moved(step)))
    layer = [one for one, job in zip(found, plain, strict=True) if job.layer == 1]
    assert sum(one.weights[0] for one in layer) == pytest.approx(wanted, rel=1e-3, abs=5e-5)


@pytest.mark.parametrize("normalize", [True, False])
def test_a_weight_of_zero_has_the_slope_from_the_right(
    family, open_family, make_jobs, tensors_of, normalize
):
    checkpoints = open_family(family)
    jobs = make_jobs(checkpoints, "dare_ties", {"weight": 0.5, "density": 0.5})
    job = next(one for one in jobs if one.name.endswith("layers.1.mlp.up_proj.weight"))
    tensors = tensors_of(checkpoints)
    gradient = torch.randn(tensors(job.base.model, job.base.name).shape)
    output = {"normalize": normalize}

    def slope(weight):
        return tensor_slope(jobs_at([job], [0.6, weight, 0.3], output)[0], tensors, 3, gradient)

    if normalize:  # jumps where nobody else has a say: only what is continuous is compared
        assert slope(0.0).weights[0] == pytest.approx(slope(1e-6).weights[0], rel=0.3)
    else:
        assert slope(0.0).weights == pytest.approx(slope(1e-6).weights, rel=1e-4)
        assert abs(slope(0.0).weights[1]) > 1e-3


def test_methods_without_a_derivative_are_refused():
    assert {name for name, method in METHODS.items() if not refusal(method)} == SLOPED
    assert "slerp" in refusal(METHODS["slerp"])
    assert "weight" in refusal(METHODS["model_stock"])


def test_what_rounds_at_every_step_is_refused(family, open_family, make_jobs, tensors_of):
    checkpoints = open_family(family)
    job = replace(make_jobs(checkpoints)[0], stepwise="bfloat16")
    tensors = tensors_of(checkpoints)
    with pytest.raises(UnsupportedError, match="rounded at every step"):
        tensor_slope(job, tensors, 0, tensors(job.base.model, job.base.name))
    with pytest.raises(UnsupportedError, match="slerp"):
        other = replace(
            job, stepwise=None, method="slerp", sources=job.sources[:1], parameters={"t": 0.5}
        )
        tensor_slope(other, tensors, 0, tensors(job.base.model, job.base.name))


def test_the_inner_product_does_not_depend_on_threads():
    draw = torch.Generator().manual_seed(0)
    one, other = (torch.randn(3, 50_001, generator=draw) for _ in range(2))
    found, before = set(), torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.add(dot(one, other))
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1
    assert found.pop() == pytest.approx(float((one.double() * other.double()).sum()), rel=1e-12)

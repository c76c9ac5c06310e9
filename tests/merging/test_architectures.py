"""Candidates of many architectures: what the writer writes is bit for bit what is scored."""

import dataclasses
import inspect
import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from merging.candidate import build_candidate, live_model, load_model
from merging.conversion import confirmed, trace, views
from merging.depth import moved_layers
from merging.errors import UnsupportedError
from merging.layers import layer_of
from merging.live_slopes import live_slopes
from merging.recipe import ModelReference
from merging.sources import open_checkpoint
from merging.stored import open_folder

DATA = yaml.safe_load((Path(__file__).parents[1] / "data" / "architectures.yaml").read_text())
REFUSED = {
    "youtu": ({}, "YoutuForCausalLM: model.embed_tokens.weight is changed while"),  # padding row
    "bert": ({"architectures": ["BertForMaskedLM"]}, "BertForMaskedLM is no causal language"),
    "bart": ({"is_encoder_decoder": True}, "is no causal language model"),
}
LINEAR = {
    "merge_method": "linear",
    "models": [
        {"model": "./base", "parameters": {"weight": 0.2}},
        {"model": "./alpha", "parameters": {"weight": 0.5}},
        {"model": "./beta", "parameters": {"weight": 0.3}},
    ],
}
TIES = {
    "merge_method": "ties",
    "base_model": "./base",
    "models": [
        {"model": "./alpha", "parameters": {"weight": 0.7, "density": 0.5}},
        {"model": "./beta", "parameters": {"weight": 0.4, "density": 0.7}},
    ],
}


@pytest.fixture
def here(own_cache):
    """`here(folder)`: opens a checkpoint."""
    return lambda folder: open_folder(folder, allow_pickle=False, cache=own_cache)


@pytest.fixture
def write_family(tmp_path, write_versions):
    """`write_family(kind)`: base, alpha and beta of an architecture; their folder."""

    def written(kind):
        from transformers import AutoModelForCausalLM

        with torch.random.fork_rng():
            torch.manual_seed(7)
            model = AutoModelForCausalLM.from_config(pico_config(kind))
        write_versions(model, tmp_path, torch.bfloat16)
        return tmp_path

    return written


def pico_config(kind):
    from transformers import CONFIG_MAPPING, AutoConfig

    config = CONFIG_MAPPING[kind]
    known = {*inspect.signature(config.__init__).parameters, *config.attribute_map}
    if dataclasses.is_dataclass(config):
        known |= {one.name for one in dataclasses.fields(config)}
    sizes = {name: value for name, value in DATA["sizes"].items() if name in known}
    return AutoConfig.for_model(kind, **{**sizes, **DATA["architectures"].get(kind, {})})


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(3, 11)[None]).logits


def require_same(live, written):
    ours, theirs = live.state_dict(), written.state_dict()
    assert ours.keys() == theirs.keys()
    odd = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not odd
    assert torch.equal(logits(live), logits(written))


@pytest.mark.parametrize("kind", DATA["architectures"])
def test_what_is_scored_is_what_is_written(kind, write_family, here, merge_here):
    plan, write = merge_here
    root = write_family(kind)
    base = here(root / "base")
    live = live_model(load_model(base), base)
    before = logits(live.model)
    for recipe in (LINEAR, TIES):
        jobs, _, tensors = plan(recipe, root)
        assert {job.name for job in jobs} == set(base.tensors)
        assert all(job.layer == layer_of(job.name) for job in jobs)
        build_candidate(live, jobs, tensors, 3)
        written = load_model(here(write(recipe, root, recipe["merge_method"])))
        require_same(live.model, written)
    assert not torch.equal(logits(live.model), before)
    assert bool(live.fusions) == (kind == "hrm_text")
    apart = {name for name, _ in live.model.named_parameters() if name.endswith("gate_up_proj")}
    assert kind not in DATA["experts_apart"] or (apart and not apart & base.tensors.keys())


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_scored_is_refused(kind, write_family, here):
    own, message = REFUSED[kind]
    base = here(write_family(kind) / "base")
    config = base.folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **own}))
    with pytest.raises(UnsupportedError, match=message):
        live_model(load_model(here(base.folder)), base)


def test_experts_in_one_tensor_on_disk_too(write_family, here, merge_here):
    plan, write = merge_here
    root = write_family("mixtral")
    for name in ("base", "alpha", "beta"):
        fused = load_model(here(root / name)).state_dict()
        save_file(fused, root / name / "model.safetensors", {"format": "pt"})
    base = here(root / "base")
    assert "model.layers.0.mlp.experts.gate_up_proj" in base.tensors
    live = live_model(load_model(base), base)
    jobs, _, tensors = plan(TIES, root)
    build_candidate(live, jobs, tensors, 3)
    require_same(live.model, load_model(here(write(TIES, root))))


def test_experts_that_start_alike_have_their_own_places(write_family, here, merge_here):
    plan, write = merge_here
    root = write_family("qwen3_moe")
    file = root / "base" / "model.safetensors"
    weights = load_file(file)
    save_file(
        {name: 0 * one if ".experts." in name else one for name, one in weights.items()},
        file,
        {"format": "pt"},
    )
    base = here(root / "base")
    live = live_model(load_model(base), base)
    jobs, _, tensors = plan(LINEAR, root)
    build_candidate(live, jobs, tensors, 3)
    require_same(live.model, load_model(here(write(LINEAR, root))))


def test_a_wrong_map_is_found_out_whatever_the_weights(write_family, here):
    base = here(write_family("mixtral") / "base")
    model = load_model(base)
    live = model.state_dict(keep_vars=True)
    _, (fusion, *_) = trace(model, live, base.tensors)
    regions = list(views(model, fusion, live).values())
    assert len(regions) == 8
    assert confirmed(model, fusion, regions, live)
    swapped = [regions[1], regions[0], *regions[2:]]
    assert not confirmed(model, fusion, swapped, live)
    assert not confirmed(model, fusion, regions[:-1] + regions[:1], live)


def test_fused_experts_are_written_in_place(write_family, here):
    base = here(write_family("mixtral") / "base")
    model = load_model(base)
    live = live_model(model, base)
    whole = model.get_parameter("model.layers.1.mlp.experts.gate_up_proj")
    part = live.destinations["model.layers.1.block_sparse_moe.experts.2.w3.weight"]
    assert part.shape == (24, 16)
    assert part.data_ptr() == whole[2, 24:].data_ptr()


def test_layers_of_experts_are_stacked(write_family, here, merge_here):
    plan, write = merge_here
    root = write_family("qwen3_moe")
    models = [
        {"model": f"./{name}", "layer_range": [first, end], "parameters": {"weight": 0.5}}
        for name in ("alpha", "beta")
        for first, end in ((0, 2),)
    ]
    middle = [{**one, "layer_range": [1, 2]} for one in models]
    recipe = {"merge_method": "linear", "slices": [{"sources": models}, {"sources": middle}]}
    jobs, donor, tensors = plan(recipe, root)
    order = moved_layers(jobs, donor)
    assert order == {"model.layers": (0, 1, 1)}
    live = live_model(load_model(donor, order=order), donor, [job.name for job in jobs])
    build_candidate(live, jobs, tensors, 3)
    require_same(live.model, load_model(here(write(recipe, root))))


@pytest.mark.parametrize(
    ("kind", "module"),
    [
        ("mixtral", "model.layers.0.block_sparse_moe.experts.1.w1"),
        ("hrm_text", "model.H_module.layers.0.mlp.gate_up_proj"),
    ],
)
def test_adapters_of_experts_and_of_fused_tensors(kind, module, write_family, here):
    root = write_family(kind)
    rows, columns = here(root / "base").tensors[f"{module}.weight"].shape
    adapter = root / "adapter"
    adapter.mkdir()
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": [module]}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    factors = {"A": torch.ones(2, columns), "B": torch.ones(rows, 2)}
    named = {f"base_model.model.{module}.lora_{side}.weight": one for side, one in factors.items()}
    save_file(named, adapter / "adapter_model.safetensors")

    adapted = open_checkpoint(ModelReference("./base", adapter="./adapter"), folder=root)
    assert adapted.changed == {f"{module}.weight"}
    plain = here(root / "base")
    assert not torch.equal(adapted.tensor(f"{module}.weight"), plain.tensor(f"{module}.weight"))
    live_model(load_model(adapted), adapted)  # proves every tensor
    with pytest.raises(UnsupportedError, match="while"):
        live_model(load_model(adapted), plain)


@pytest.mark.parametrize("kind", ["llama", "mixtral", "gpt2"])
def test_slopes_go_back_through_whatever_transformers_does_to_weights(
    kind, write_family, here, merge_here
):
    plan, _ = merge_here
    root = write_family(kind)
    base = here(root / "base")
    live = live_model(load_model(base, dtype="float32"), base)

    def moved(step):
        models = [dict(one) for one in LINEAR["models"]]
        models[1] = {**models[1], "parameters": {"weight": 0.5 + step}}
        recipe = {**LINEAR, "models": models, "dtype": "float32"}
        jobs, _, tensors = plan({**recipe, "parameters": {"normalize": False}}, root)
        build_candidate(live, jobs, tensors, 3)
        return jobs, tensors

    def loss():
        given = live.model(input_ids=torch.arange(3, 11)[None]).logits.double()
        return given.log_softmax(-1)[0, :-1].gather(1, torch.arange(4, 11)[:, None]).mean()

    def at(step):
        moved(step)
        with torch.no_grad():
            return loss().item()

    wide, narrow = ((at(h) - at(-h)) / (2 * h) for h in (2e-2, 1e-2))
    jobs, tensors = moved(0.0)
    live.model.requires_grad_(True)
    loss().backward()
    found = list(live_slopes(live, jobs, tensors, 3, lambda parameter: parameter.grad))
    assert sum(one.weights[1] for one in found) == pytest.approx(
        (4 * narrow - wide) / 3, rel=2e-3, abs=1e-4
    )
    assert sum(any(one.weights) for one in found) > 5


def test_slopes_of_what_is_computed_from_several_tensors(write_family, here, merge_here):
    """Of a linear function of the parameters, whose slopes are known: hrm_text fuses weights."""
    plan, _ = merge_here
    root = write_family("hrm_text")
    base = here(root / "base")
    live = live_model(load_model(base, dtype="float32"), base)
    assert live.fusions

    def along(step):
        models = [dict(one) for one in LINEAR["models"]]
        models[1] = {**models[1], "parameters": {"weight": 0.5 + step}}
        recipe = {**LINEAR, "models": models, "dtype": "float32"}
        jobs, _, tensors = plan({**recipe, "parameters": {"normalize": False}}, root)
        build_candidate(live, jobs, tensors, 3)
        fused = {target for fusion in live.fusions for target in fusion.targets}
        total = sum(
            (one.double() * given[name]).sum().item()
            for name, one in live.model.named_parameters()
            if name in fused
        )
        return total, jobs, tensors, fused

    draw = torch.Generator().manual_seed(0)
    given = {
        name: torch.randn(one.shape, generator=draw) for name, one in live.model.named_parameters()
    }
    up, down = along(0.5)[0], along(-0.5)[0]
    _, jobs, tensors, fused = along(0.0)
    names = {one: name for name, one in live.model.named_parameters()}
    found = live_slopes(
        live, jobs, tensors, 3, lambda one: given[names[one]] if names[one] in fused else None
    )
    assert sum(one.weights[1] for one in found) == pytest.approx(up - down, rel=1e-4)

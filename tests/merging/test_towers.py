"""Encoders, encoder-decoders, vision models, two towers: merged without a tokenizer."""

from pathlib import Path

import pytest
import torch
import yaml

from merging.candidate import load_model
from merging.errors import SourceError, UnsupportedError
from merging.layers import layer_layout
from merging.schedule import depth
from merging.stored import open_folder

DATA = yaml.safe_load((Path(__file__).parents[1] / "data" / "towers.yaml").read_text())["models"]
LINEAR = {
    "merge_method": "linear",
    "models": [
        {"model": "./alpha", "parameters": {"weight": 0.25}},
        {"model": "./beta", "parameters": {"weight": 0.75}},
    ],
}
ARITHMETIC = {
    "merge_method": "task_arithmetic",
    "base_model": "./base",
    "models": [
        {"model": "./alpha", "parameters": {"weight": 0.5}},
        {"model": "./beta", "parameters": {"weight": 0.25}},
    ],
}
RECIPES = ((LINEAR, "linear"), (ARITHMETIC, "task_arithmetic"))
DEEPER = {
    **ARITHMETIC,
    "models": [
        {"model": "./alpha", "parameters": {"weight": 1}},
        {"model": "./beta", "parameters": {"weight": [0.0, 0.5]}},
    ],
}


@pytest.fixture
def write_towers(tmp_path, write_versions):
    """`write_towers(kind)`: base, alpha and beta, in float32; their folder."""

    def written(kind, root=tmp_path, **own):
        import transformers

        config = transformers.AutoConfig.for_model(kind, **DATA[kind]["config"], **own)
        with torch.random.fork_rng():
            torch.manual_seed(7)
            cls = getattr(transformers, DATA[kind]["class"])
            model = cls.from_config(config) if cls is transformers.AutoModel else cls(config)
        write_versions(model, root, torch.float32)
        return root

    return written


def state_of(kind, folder):
    """Everything in the model that transformers makes of a folder, all of it from the folder."""
    import transformers

    cls = getattr(transformers, DATA[kind]["class"])
    model, told = cls.from_pretrained(folder, output_loading_info=True)
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.state_dict()


@pytest.mark.parametrize("kind", DATA)
def test_the_merge_is_the_closed_form_and_loads(kind, write_towers, merge_here):
    _, write = merge_here
    root = write_towers(kind)
    base, alpha, beta = (state_of(kind, root / name) for name in ("base", "alpha", "beta"))
    mean, sum_ = (state_of(kind, write(recipe, root, name)) for recipe, name in RECIPES)
    assert mean.keys() == sum_.keys() == base.keys()
    for name, zero in base.items():
        one, two = alpha[name], beta[name]
        if zero.is_floating_point():
            assert not torch.equal(one, two)
            torch.testing.assert_close(mean[name], 0.25 * one + 0.75 * two)
            moved = zero + 0.5 * (one - zero) + 0.25 * (two - zero)
            torch.testing.assert_close(sum_[name], moved)
        else:
            assert torch.equal(mean[name], one) and torch.equal(sum_[name], zero)


@pytest.mark.parametrize("kind", DATA)
def test_each_stack_has_depths_of_its_own(kind, write_towers, merge_here):
    plan, _ = merge_here
    root = write_towers(kind)
    jobs, base, _ = plan(DEEPER, root)
    layout = layer_layout(base.tensors, base.config)
    assert {one.prefix: len(one.layers) for one in layout.stacks} == DATA[kind]["stacks"]
    assert {job.name for job in jobs} == set(base.tensors)
    weights = {job.name: job.sources[1].parameters["weight"] for job in jobs}
    for stack in layout.stacks:
        for layer, names in enumerate(stack.layers):
            wanted = 0.5 * depth(layer, len(stack.layers))
            assert [weights[name] for name in names] == pytest.approx([wanted] * len(names))
    assert {weights[name] for name in (*layout.before, *layout.after)} <= {0.0}


def test_task_vectors_of_running_statistics_and_counts(write_towers, merge_here):
    from safetensors.torch import load_file, save_file

    _, write = merge_here
    root = write_towers("resnet")
    count = "embedder.embedder.normalization.num_batches_tracked"
    file = root / "base" / "model.safetensors"
    save_file({**load_file(file), count: torch.tensor(41)}, file, {"format": "pt"})
    out = write(ARITHMETIC, root)
    assert state_of("resnet", out)[count].item() == 41
    base, alpha, merged = (state_of("resnet", root / one) for one in ("base", "alpha", "out"))
    name = "embedder.embedder.normalization.running_var"
    beta = state_of("resnet", root / "beta")[name]
    moved = 0.5 * (alpha[name] - base[name]) + 0.25 * (beta - base[name])
    torch.testing.assert_close(merged[name], base[name] + moved)


def test_what_prepares_inputs_comes_along(write_towers, merge_here):
    _, write = merge_here
    root = write_towers("clip")
    files = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
    for name in (*files, "vocab.json", "merges.txt"):
        (root / "alpha" / name).write_text("{}")
    (root / "alpha" / "optimizer.pt").write_text("")
    out = write(LINEAR, root)
    assert {*files, "vocab.json", "merges.txt"} <= {file.name for file in out.iterdir()}
    assert not (out / "optimizer.pt").exists()


def test_heads_of_different_tasks_are_told_apart(write_towers, merge_here, tmp_path):
    plan, _ = merge_here
    root = write_towers("vit")
    write_towers("vit", tmp_path / "other", num_labels=5)
    three = {**LINEAR["models"][1], "model": "./other/beta"}
    recipe = {**LINEAR, "models": [LINEAR["models"][0], three]}
    with pytest.raises(
        SourceError, match=r"'classifier.\w+' has the shape \[5.*\[2.*heads of different tasks"
    ):
        plan(recipe, root)


@pytest.mark.parametrize("kind", ["bert", "t5", "vit", "clip"])
def test_they_are_merged_not_scored(kind, write_towers, own_cache):
    folder = write_towers(kind) / "base"
    with pytest.raises(UnsupportedError, match="no causal language model.*eutectic merge"):
        load_model(open_folder(folder, allow_pickle=False, cache=own_cache))


@pytest.mark.parametrize("kind", ["llava", "qwen2_vl"])
def test_language_models_that_see_images_are_scored(kind, write_towers, merge_here, own_cache):
    from merging.candidate import build_candidate, live_model

    plan, write = merge_here
    root = write_towers(kind)
    jobs, base, tensors = plan(ARITHMETIC, root)
    live = live_model(load_model(base), base)
    build_candidate(live, jobs, tensors, 3)
    out = open_folder(write(ARITHMETIC, root), allow_pickle=False, cache=own_cache)
    ours, theirs = live.model.state_dict(), load_model(out).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not live.ignored

"""Slices that repeat, drop and move layers, of models of several depths: whole merges."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from merging.candidate import build_candidate, live_model
from merging.depth import moved_layers
from merging.document import parse_documents
from merging.errors import MergeError
from merging.loading import load_model
from merging.opening import open_recipe
from merging.writer import write_merged


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """In float32, untied: `base` and `alpha` of 3 layers, `deep` of 5, `wide` of another width."""
    from transformers import LlamaConfig, LlamaForCausalLM

    root = tmp_path_factory.mktemp("zoo")
    options = {"vocab_size": 40, "intermediate_size": 24, "num_attention_heads": 2,
               "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
    shapes = {"base": (3, 16), "alpha": (3, 16), "deep": (5, 16), "wide": (3, 32)}
    with torch.random.fork_rng(), torch.no_grad():
        for seed, (name, (layers, width)) in enumerate(shapes.items()):
            torch.manual_seed(seed)
            config = LlamaConfig(hidden_size=width, num_hidden_layers=layers, **options)
            model = LlamaForCausalLM(config)
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
            model.save_pretrained(root / name)
    return root


@pytest.fixture
def opened(zoo):
    """`opened(text)`: a recipe over the zoo, open."""

    def open_text(text: str):
        return open_recipe(
            parse_documents(text, "s.yml"), folder=zoo, mapping={}, allow_pickle=False
        )

    return open_text


def write(found, out: Path) -> dict[str, torch.Tensor]:
    write_merged(out, found.jobs, found.checkpoints, 0, donor=found.donor, recipe_text="")
    return load_file(out / "model.safetensors")


def by_hand(zoo: Path, layers: list[tuple[str, int]], first: str, last: str):
    """A Llama of these layers; embedding of the model `first`, norm and head of `last`."""
    from transformers import LlamaForCausalLM

    weights = {name: load_file(zoo / name / "model.safetensors") for name in ("base", "deep")}
    state = {"model.embed_tokens.weight": weights[first]["model.embed_tokens.weight"]}
    for name in ("model.norm.weight", "lm_head.weight"):
        state[name] = weights[last][name]
    for to, (model, layer) in enumerate(layers):
        old = f"model.layers.{layer}."
        for name, value in weights[model].items():
            if name.startswith(old):
                state[name.replace(old, f"model.layers.{to}.")] = value
    config = LlamaForCausalLM.from_pretrained(zoo / "base").config
    config.num_hidden_layers = len(layers)
    model = LlamaForCausalLM(config)
    model.load_state_dict(state)
    return model.eval()


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(12).reshape(2, 6)).logits


def slices(*runs: tuple[str, int, int]) -> str:
    lines = "".join(
        f"  - sources: [{{model: {model}, layer_range: [{first}, {end}]}}]\n"
        for model, first, end in runs
    )
    return f"merge_method: linear\nslices:\n{lines}parameters: {{weight: 1.0}}\n"


@pytest.mark.parametrize(
    "runs",
    [
        [("base", 0, 2), ("base", 1, 3)],  # repeated
        [("base", 0, 1), ("base", 2, 3)],  # dropped
        [("base", 2, 3), ("base", 1, 2), ("base", 0, 1)],  # turned round
        [("base", 0, 2), ("deep", 1, 5), ("base", 2, 3)],  # grown out of two
        [("base", 0, 0), ("deep", 0, 5)],  # a zero-length slice gives the embedding
        [("deep", 0, 5), ("base", 0, 0)],  # another norm and head
        [("base", 0, 1), ("deep", 0, 2)],  # as many layers as the donor, not its own
    ],
    ids=str,
)
def test_a_stack_is_the_model_built_by_hand(runs, zoo, opened, tmp_path):
    """On disk and in the live model alike."""
    from transformers import AutoModelForCausalLM

    found = opened(slices(*runs))
    write(found, tmp_path / "out")
    layers = [(model, layer) for model, first, end in runs for layer in range(first, end)]
    expected = by_hand(zoo, layers, runs[0][0], runs[-1][0])
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loaded.config.num_hidden_layers == len(layers)
    assert torch.equal(logits(loaded), logits(expected))

    order = moved_layers(found.jobs, found.donor)
    model = load_model(found.donor, order=order)
    live = live_model(model, found.donor, [job.name for job in found.jobs])
    read = {model: one.tensor for model, one in found.checkpoints.items()}
    build_candidate(live, found.jobs, lambda model, name: read[model](name), 0)
    assert torch.equal(logits(model), logits(expected))


def test_gradients_restart_and_outer_tensors_take_the_first_value(zoo, opened, tmp_path):
    text = """\
merge_method: task_arithmetic
base_model: base
slices:
  - sources:
      - {model: base, layer_range: [0, 3]}
      - {model: deep, layer_range: [2, 5], parameters: {weight: [0.0, 1.0]}}
  - sources:
      - {model: base, layer_range: [1, 3]}
      - {model: alpha, layer_range: [0, 2], parameters: {weight: [0.25, 0.75]}}
  - sources:
      - {model: base, layer_range: [0, 1]}
      - {model: deep, layer_range: [4, 5], parameters: {weight: [0.5, 0.875]}}
"""
    ours = write(opened(text), tmp_path / "out")
    models = {n: load_file(zoo / n / "model.safetensors") for n in ("base", "alpha", "deep")}
    rows = [(0, "deep", 2, 0.0), (1, "deep", 3, 0.5), (2, "deep", 4, 1.0), (1, "alpha", 0, 0.25),
            (2, "alpha", 1, 0.75), (0, "deep", 4, 0.875)]  # fmt: skip
    name = "model.layers.{}.mlp.up_proj.weight"
    for to, (at, expert, layer, weight) in enumerate(rows):
        base = models["base"][name.format(at)]
        expected = base + weight * (models[expert][name.format(layer)] - base)
        torch.testing.assert_close(ours[name.format(to)], expected, rtol=1e-6, atol=1e-6)
    for outer, weight in (("model.embed_tokens.weight", 0.0), ("lm_head.weight", 0.5)):
        base = models["base"][outer]
        expected = base + weight * (models["deep"][outer] - base)
        torch.testing.assert_close(ours[outer], expected, rtol=1e-6, atol=1e-6)


def test_the_last_slice_keeps_all_its_sources(zoo, opened, tmp_path):
    """Those beyond the number of the first slice's, too, which mergekit drops."""
    text = """\
merge_method: linear
slices:
  - sources: [{model: base, layer_range: [0, 2]}]
  - sources:
      - {model: base, layer_range: [2, 3]}
      - {model: deep, layer_range: [4, 5]}
      - {model: alpha, layer_range: [2, 3], parameters: {weight: 2.0}}
parameters: {weight: 1.0}
"""
    ours = write(opened(text), tmp_path / "out")
    models = [load_file(zoo / n / "model.safetensors") for n in ("base", "deep", "alpha")]
    for name in ("model.norm.weight", "lm_head.weight"):
        base, deep, alpha = (model[name] for model in models)
        torch.testing.assert_close(ours[name], (base + deep + 2 * alpha) / 4)
    assert torch.equal(ours["model.embed_tokens.weight"], models[0]["model.embed_tokens.weight"])


def test_a_slice_has_a_base_of_its_own(zoo, opened, tmp_path):
    text = """\
merge_method: ties
base_model: base
slices:
  - sources: [{model: base, layer_range: [0, 2]}, {model: alpha, layer_range: [0, 2]}]
  - sources: [{model: alpha, layer_range: [2, 3]}, {model: deep, layer_range: [3, 4]}]
    base_model: deep
parameters: {weight: 0.5, density: 1.0, normalize: false}
"""
    found = opened(text)
    ours = write(found, tmp_path / "out")
    base, alpha, deep = (load_file(zoo / n / "model.safetensors")
                         for n in ("base", "alpha", "deep"))  # fmt: skip
    name = "model.layers.{}.mlp.up_proj.weight"
    torch.testing.assert_close(
        ours[name.format(0)], (base[name.format(0)] + alpha[name.format(0)]) / 2
    )
    torch.testing.assert_close(
        ours[name.format(2)], (deep[name.format(3)] + alpha[name.format(2)]) / 2
    )
    norm = "model.norm.weight"
    torch.testing.assert_close(ours[norm], (deep[norm] + alpha[norm]) / 2)
    # Layer 2 is made like layer 3 of `deep`, but the donor (`base`) is as deep as the output.
    assert moved_layers(found.jobs, found.donor) == {"model.layers": (0, 1, 3)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (slices(("base", 0, 2), ("base", 1, 5)),
         "s.yml:4:42 slices[1].sources[0].layer_range: [1, 5] is beyond the 3 layers of 'base'"),
        (slices(("base", 0, 2), ("wide", 1, 3)),
         "s.yml:4:15 slices[1].sources[0]: 'model.layers.1.input_layernorm.weight' has the shape "
         "[32] in 'wide', [16] in 'base' of the first slice; slices of models of one size make"),
        (slices(("base", 0, 3), ("wide", 0, 0)),
         "s.yml:4:15 slices[1].sources[0]: 'lm_head.weight' has the shape [40, 32] in 'wide'"),
        ("merge_method: linear\nslices:\n  - sources: [{model: base, layer_range: [0, 1]}, "
         "{model: wide, layer_range: [0, 1]}]\nparameters: {weight: 1}\n",
         "s.yml:3:51 slices[0].sources[1]: 'model.embed_tokens.weight' has the shape [40, 32] "
         "in 'wide', [40, 16] in 'base'"),
    ],
)  # fmt: skip
def test_faults(text, message, opened):
    with pytest.raises(MergeError) as caught:
        opened(text)
    assert message in str(caught.value)

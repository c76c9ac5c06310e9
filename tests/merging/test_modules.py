"""Modules: parts of a model by name, each merged on its own."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from merging.compatibility import open_layouts
from merging.document import parse_document, parse_documents
from merging.errors import MergeError, UnsupportedError
from merging.layers import layer_layout
from merging.merge import merge_tensor
from merging.methods.table import find_method
from merging.modules import split_modules
from merging.opening import open_recipe
from merging.plan import recipe_hash
from merging.recipe import ModelReference, models_of
from merging.recipe_reader import read_recipe
from merging.recipe_writer import recipe_yaml
from merging.sections import sections_of
from merging.writer import write_merged


def save_pair(root: Path, make) -> Path:
    """Two models `one` and `two` of an architecture, of different weights."""
    with torch.random.fork_rng():
        for seed, name in enumerate(("one", "two")):
            torch.manual_seed(seed)
            make().save_pretrained(root / name)
    return root


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    """Two encoders of 2 layers with decoders of 3."""
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=40, d_model=8, d_kv=4, d_ff=16, num_layers=2,
                      num_decoder_layers=3, num_heads=2, feed_forward_proj="gated-gelu",
                      decoder_start_token_id=0)  # fmt: skip
    return save_pair(tmp_path_factory.mktemp("t5"), lambda: T5ForConditionalGeneration(config))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Two pairs of a text tower of 2 layers and a vision tower of 3."""
    from transformers import CLIPConfig, CLIPModel

    tower = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2}
    text = {"vocab_size": 40, "max_position_embeddings": 16, "num_hidden_layers": 2,
            "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
    vision = {"image_size": 8, "patch_size": 4, "num_hidden_layers": 3}
    config = CLIPConfig(
        text_config={**tower, **text}, vision_config={**tower, **vision}, projection_dim=4
    )
    return save_pair(tmp_path_factory.mktemp("clip"), lambda: CLIPModel(config))


@pytest.fixture
def merged(tmp_path):
    """`merged(root, text)`: a recipe over a pair, merged to disk; its folder and notices."""

    def write(root: Path, text: str):
        found = open_recipe(
            parse_documents(text, "m.yml"), folder=root, mapping={}, allow_pickle=False
        )
        out = tmp_path / "merged"
        write_merged(out, found.jobs, found.checkpoints, 0, donor=found.donor, recipe_text=text)
        return out, found.notices

    return write


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


BOTH = "[{model: one, parameters: {weight: %s}}, {model: two, parameters: {weight: %s}}]"
TASK = "[{model: two, parameters: {weight: %s}}]"


def layout_of(prefixes: dict[str, int], outside: list[str], main: int):
    names = [f"{prefix}.{i}.w.weight" for prefix, n in prefixes.items() for i in range(n)]
    return layer_layout([*names, *outside], {"num_hidden_layers": main})


QWEN = layout_of(
    {"model.layers": 2, "visual.blocks": 4},
    ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
     "visual.patch_embed.proj.weight", "visual.merger.ln_q.weight", "visual.merger.mlp.0.weight",
     "visual.merger.mlp.2.weight"],
    2,
)  # fmt: skip
QWEN3 = layout_of(
    {"model.language_model.layers": 4, "model.visual.blocks": 2,
     "model.visual.deepstack_merger_list": 3},
    ["model.language_model.norm.weight", "lm_head.weight", "model.visual.pos_embed.weight",
     "model.visual.merger.norm.weight"],
    4,
)  # fmt: skip
GEMMA = layout_of(
    {"language_model.model.layers": 2, "vision_tower.vision_model.encoder.layers": 3},
    ["language_model.model.norm.weight", "language_model.lm_head.weight",
     "multi_modal_projector.mm_soft_emb_norm.weight"],
    2,
)  # fmt: skip
WHISPER = layout_of(
    {"model.encoder.layers": 2, "model.decoder.layers": 3},
    ["model.encoder.conv1.weight", "model.decoder.embed_tokens.weight", "proj_out.weight",
     "model.decoder.layer_norm.weight"],
    2,
)  # fmt: skip
LLAMA = layout_of({"model.layers": 3}, ["model.embed_tokens.weight", "lm_head.weight"], 3)
CLIP = layout_of(
    {"text_model.encoder.layers": 2, "vision_model.encoder.layers": 3},
    ["text_projection.weight", "visual_projection.weight", "logit_scale"],
    2,
)


def split(layout, *names: str) -> dict[str | None, set[str]]:
    """Module to what it owns: prefixes of stacks, and tensors outside them."""
    modules = "".join(f"  {name}: {{models: [{{model: a}}]}}\n" for name in names)
    text = f"merge_method: linear\nmodules:\n{modules}parameters: {{weight: 1}}\n"
    document = parse_document(text, "m.yml")
    recipe, _ = read_recipe(document, strict=True)
    from merging.compatibility import Models

    models = Models({}, {ModelReference("a"): layout}, document)
    parts = split_modules(models, sections_of(recipe, find_method("linear")))
    return {
        sections[0].module: {
            *(stack.prefix for stack in own.layouts[ModelReference("a")].stacks),
            *own.layouts[ModelReference("a")].before,
            *own.layouts[ModelReference("a")].after,
        }
        for own, sections in parts
    }


@pytest.mark.parametrize("name", ["default", "model.layers", "text_decoder", "model"])
def test_a_model_of_one_stack_is_one_module(name):
    assert split(LLAMA, name) == {
        name: {"model.layers", "model.embed_tokens.weight", "lm_head.weight"},
        None: set(),
    }


@pytest.mark.parametrize(
    ("layout", "names", "owned"),
    [
        (QWEN, {"text_decoder", "vision_tower", "multi_modal_projector"},
         {"text_decoder": {"model.layers", "model.norm.weight", "lm_head.weight",
                           "model.embed_tokens.weight"},
          "vision_tower": {"visual.blocks", "visual.patch_embed.proj.weight"},
          "multi_modal_projector": {"visual.merger.ln_q.weight", "visual.merger.mlp.0.weight",
                                    "visual.merger.mlp.2.weight"}}),
        (QWEN, {"text_decoder"},
         {None: {"visual.blocks", "visual.patch_embed.proj.weight", "visual.merger.ln_q.weight",
                 "visual.merger.mlp.0.weight", "visual.merger.mlp.2.weight"}}),
        (QWEN3, {"vision_tower", "multi_modal_projector"},
         {"vision_tower": {"model.visual.blocks", "model.visual.pos_embed.weight"},
          "multi_modal_projector": {"model.visual.deepstack_merger_list",
                                    "model.visual.merger.norm.weight"},
          None: {"model.language_model.layers", "model.language_model.norm.weight",
                 "lm_head.weight"}}),
        (QWEN3, {"vision_tower", "default"},
         {"vision_tower": {"model.visual.blocks", "model.visual.pos_embed.weight",
                           "model.visual.deepstack_merger_list",
                           "model.visual.merger.norm.weight"},
          None: set()}),
        (GEMMA, {"text_decoder", "vision_tower"},
         {"vision_tower": {"vision_tower.vision_model.encoder.layers"},
          "text_decoder": {"language_model.model.layers", "language_model.model.norm.weight",
                           "language_model.lm_head.weight",
                           "multi_modal_projector.mm_soft_emb_norm.weight"}}),
        (WHISPER, {"encoder", "decoder"},
         {"encoder": {"model.encoder.layers", "model.encoder.conv1.weight"},
          "decoder": {"model.decoder.layers", "model.decoder.embed_tokens.weight",
                      "model.decoder.layer_norm.weight", "proj_out.weight"}, None: set()}),
        (CLIP, {"text_model", "vision_tower"},
         {"text_model": {"text_model.encoder.layers", "text_projection.weight", "logit_scale"},
          "vision_tower": {"vision_model.encoder.layers", "visual_projection.weight"},
          None: set()}),
        (CLIP, {"text_model"},
         {None: {"vision_model.encoder.layers", "visual_projection.weight"}}),
    ],
)  # fmt: skip
def test_names_find_their_part(layout, names, owned):
    found = split(layout, *sorted(names))
    assert {module: found[module] for module in owned} == owned
    parts = [part for own in found.values() for part in own]
    whole = {*(stack.prefix for stack in layout.stacks), *layout.before, *layout.after}
    assert sorted(parts) == sorted(whole)  # each once


@pytest.mark.parametrize(
    ("layout", "names", "message"),
    [
        (WHISPER, ["encodr"], "m.yml:3:11 modules.encodr: the model has no module 'encodr', did "),
        (CLIP, ["encoder"], "'encoder' is in 'text_model', 'vision_model'; write one of them"),
        (GEMMA, ["tail"], "no module 'tail'; it has 'language_model', 'vision_tower', "
                          "'multi_modal_projector', 'default'"),
        (LLAMA, ["default", "model.layers"], "modules.model.layers: the same part of the model as "
                                             "'default'"),
        (LLAMA, ["model.layers.0"], "no module 'model.layers.0'"),
    ],
)  # fmt: skip
def test_names_that_find_nothing_or_too_much(layout, names, message):
    with pytest.raises(MergeError) as caught:
        split(layout, *names)
    assert message in str(caught.value)


def test_each_module_has_its_own_numbers(t5, merged):
    """Precedence: source, module, top; filters and gradients restart in each."""
    text = """\
merge_method: task_arithmetic
base_model: one
modules:
  encoder:
    models: [{model: two, parameters: {weight: 0.25}}]
    parameters: {weight: 0.5, lambda: 0.5}
  decoder:
    models: [{model: two}]
    parameters: {weight: [{filter: SelfAttention, value: [0.0, 1.0]}]}
parameters: {weight: 0.75}
"""
    out, notices = merged(t5, text)
    assert notices == ()
    one, two, ours = (weights_of(folder) for folder in (t5 / "one", t5 / "two", out))
    assert ours.keys() == one.keys()
    for name, value in ours.items():
        share = 0.125 if name.startswith(("encoder", "shared")) else 0.75
        if name.startswith("decoder") and "SelfAttention" in name:
            share = int(name.split(".")[2]) / 2
        expected = one[name] + share * (two[name] - one[name])
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6, msg=name)


@pytest.mark.parametrize("method", ["linear", "task_arithmetic"])
def test_what_no_module_names_is_taken_as_it_is(method, t5, merged):
    base = "base_model: one\n" if method == "task_arithmetic" else ""
    models = TASK % 1.0 if base else BOTH % (0.0, 1.0)
    out, (notice,) = merged(
        t5, f"merge_method: {method}\n{base}modules:\n  decoder:\n    models: {models}\n"
    )
    assert "no module of the recipe has" in notice and "as they are from 'one'" in notice
    one, two, ours = (weights_of(folder) for folder in (t5 / "one", t5 / "two", out))
    assert ours.keys() == one.keys()
    for name, value in ours.items():
        if name.startswith("decoder"):
            torch.testing.assert_close(value, two[name], rtol=1e-6, atol=1e-6)
        else:
            assert torch.equal(value, one[name])


def test_bits_that_are_taken_as_they_are(t5, merged):
    """A negative zero and a NaN's payload pass, which no sum would let through."""
    from merging.plan import TensorJob, TensorSource

    odd = torch.tensor([-0.0, float("nan"), 1e-45])
    job = TensorJob("x", "linear", TensorSource(ModelReference("a"), "x", {}), (), {}, None,
                    "float32")  # fmt: skip
    kept = merge_tensor(job, lambda model, name: odd, 0)
    assert torch.equal(kept.view(torch.int32), odd.view(torch.int32))
    assert recipe_hash([job], {ModelReference("a"): "1"}, 0) != recipe_hash(
        [job], {ModelReference("a"): "2"}, 0
    )


def test_slices_of_an_encoder_and_a_decoder(t5, merged):
    """Each stack has slices of its own; config and logits are those of a model built by hand."""
    from transformers import T5Config, T5ForConditionalGeneration

    text = """\
merge_method: linear
modules:
  encoder:
    slices:
      - sources: [{model: one, layer_range: [0, 2]}]
      - sources: [{model: two, layer_range: [1, 2]}]
      - sources: [{model: two, layer_range: [1, 2]}]
  decoder:
    slices:
      - sources: [{model: two, layer_range: [0, 1]}]
      - sources: [{model: one, layer_range: [2, 3]}]
parameters: {weight: 1.0}
"""
    out, _ = merged(t5, text)
    one, two = weights_of(t5 / "one"), weights_of(t5 / "two")
    config = json.loads((t5 / "one" / "config.json").read_text())
    model = T5ForConditionalGeneration(
        T5Config.from_dict({**config, "num_layers": 4, "num_decoder_layers": 2})
    )
    order = {"encoder": [(one, 0), (one, 1), (two, 1), (two, 1)],
             "decoder": [(two, 0), (one, 2)]}  # fmt: skip
    state = {"shared.weight": one["shared.weight"]}
    for stack, layers in order.items():
        last = one if stack == "decoder" else two
        state[f"{stack}.final_layer_norm.weight"] = last[f"{stack}.final_layer_norm.weight"]
        for to, (source, layer) in enumerate(layers):
            old = f"{stack}.block.{layer}."
            state |= {name.replace(old, f"{stack}.block.{to}."): value
                      for name, value in source.items() if name.startswith(old)}  # fmt: skip
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert unexpected == [] and all(
        "embed_tokens" in name or "lm_head" in name for name in missing
    )
    model.tie_weights()
    loaded = T5ForConditionalGeneration.from_pretrained(out)
    assert (loaded.config.num_layers, loaded.config.num_decoder_layers) == (4, 2)
    tokens = torch.arange(12).reshape(2, 6)
    with torch.no_grad():
        ours = loaded.eval()(input_ids=tokens, decoder_input_ids=tokens).logits
        theirs = model.eval()(input_ids=tokens, decoder_input_ids=tokens).logits
    assert torch.equal(ours, theirs)


def test_a_tower_with_other_layers(clip, merged):
    from transformers import CLIPModel

    text = """\
merge_method: linear
modules:
  vision_tower:
    slices:
      - sources: [{model: one, layer_range: [0, 2]}, {model: two, layer_range: [1, 3]}]
      - sources: [{model: two, layer_range: [1, 3]}]
  text_model: {models: [{model: one}, {model: two}]}
parameters: {weight: 1.0}
"""
    out, notices = merged(clip, text)
    assert notices == ()
    loaded = CLIPModel.from_pretrained(out)
    assert loaded.config.vision_config.num_hidden_layers == 4
    assert loaded.config.text_config.num_hidden_layers == 2
    one, two, ours = (weights_of(folder) for folder in (clip / "one", clip / "two", out))
    mean = {name: (one[name] + two[name]) / 2 for name in one}
    for name in ("text_projection.weight", "text_model.final_layer_norm.weight", "logit_scale",
                 "text_model.encoder.layers.1.mlp.fc1.weight",
                 "vision_model.pre_layrnorm.weight"):  # fmt: skip
        torch.testing.assert_close(ours[name], mean[name])
    # After the last layer stands the last slice, which has one source.
    assert torch.equal(ours["visual_projection.weight"], two["visual_projection.weight"])
    layer = "vision_model.encoder.layers.{}.mlp.fc1.weight"
    torch.testing.assert_close(
        ours[layer.format(1)], (one[layer.format(1)] + two[layer.format(2)]) / 2
    )
    assert torch.equal(ours[layer.format(3)], two[layer.format(2)])
    with torch.no_grad():
        loaded(input_ids=torch.arange(6)[None], pixel_values=torch.zeros(1, 3, 8, 8))


SLICES = "{slices: [{sources: [{model: one, layer_range: %s, parameters: {weight: 1}}]}]}"


@pytest.mark.parametrize(
    ("modules", "kind", "message"),
    [
        ("  encoder: " + SLICES % "[0, 3]", MergeError, "m.yml:3:"),
        ("  encoder: " + SLICES % "[0, 3]", MergeError, "is beyond the 2 layers of 'one'"),
        ("  decoder: " + SLICES % "[1, 3]", UnsupportedError,
         "modules.decoder.slices: layer.0.SelfAttention.relative_attention_bias.weight is in the "
         "first layer only, for all: the slices must begin with layer 0 and take it once"),
        ("  decoder: " + SLICES % "[0, 0]", MergeError,
         "modules.decoder.slices: no slice has a layer"),
        ("  default: " + SLICES % "[0, 2]", UnsupportedError,
         "name each stack under `modules` and give it slices of its own"),
    ],
)  # fmt: skip
def test_faults_of_slices(t5, merged, modules, kind, message):
    with pytest.raises(kind) as caught:
        merged(t5, f"merge_method: linear\nmodules:\n{modules}\n")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ("encoder: {}", "m.yml:2:11 modules.encoder: expected exactly one of `models` and "
                        "`slices`, got neither"),
        ("encoder: {models: [{model: a}], slices: [{}]}", "got both"),
        ("encoder: {modells: [{model: a}]}", "modules.encoder.modells: a module has no key "
                                             "'modells', did you mean 'models'?"),
        ("encoder: [a]", "modules.encoder: expected keys and values, got"),
        ("encoder: {models: [{model: a}, {model: a}]}", "modules.encoder.models[1].model: 'a' is "
                                                        "listed twice"),
        ("encoder: {models: [{model: a}], base_model: b}", "a module has no key 'base_model'"),
        ("encoder: {models: [{model: a, parameters: {weight: x}}]}",
         "modules.encoder.models[0].parameters.weight: expected a finite number, got 'x'"),
        ("encoder: {models: [{model: a}, {model: b}], parameters: {weight: [1, x]}}",
         "modules.encoder.parameters.weight[1]: expected a finite number"),
    ],
)  # fmt: skip
def test_faults_of_form(modules, message):
    text = f"merge_method: linear\nmodules: {{{modules}}}\nparameters: {{weight: 1}}\n"
    with pytest.raises(MergeError) as caught:
        read_recipe(parse_document(text, "m.yml"), strict=True)
    assert message in str(caught.value)


def test_a_conflict_is_told_where_the_module_says_it():
    text = """\
merge_method: della
base_model: b
modules:
  encoder:
    models: [{model: a, parameters: {weight: 1}}]
    parameters: {density: 0.1}
"""
    with pytest.raises(MergeError, match=r"^m.yml:6:27 modules.encoder.parameters.density: "):
        read_recipe(parse_document(text, "m.yml"), strict=True)


def test_written_and_read_again():
    text = """\
merge_method: ties
base_model: base
modules:
  encoder:
    models: [{model: a, parameters: {weight: 1.0, density: [0.1, 0.2]}}]
    parameters: {lambda: 0.5}
  decoder:
    slices:
      - sources: [{model: base, layer_range: [0, 2]}, {model: b, layer_range: [0, 2]}]
        base_model: base
        parameters: {weight: 0.5}
parameters: {normalize: true}
"""
    recipe, notices = read_recipe(parse_document(text, "m.yml"), strict=True)
    assert notices == ()
    assert [str(model) for model in models_of(recipe)] == ["base", "a", "b"]
    again, _ = read_recipe(parse_document(recipe_yaml(recipe), "again.yml"), strict=True)
    assert again == recipe


def test_layouts_are_of_the_models_as_they_are_stored(t5):
    """The fixture has what the tests above think it has."""
    from merging.sources import open_checkpoint

    model = ModelReference("one")
    checkpoint = open_checkpoint(model, folder=t5)
    layout = open_layouts([model], {model: checkpoint}, None).layouts[model]
    assert {stack.prefix: len(stack.layers) for stack in layout.stacks} == {
        "encoder.block": 2, "decoder.block": 3}  # fmt: skip

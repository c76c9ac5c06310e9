"""An adapted checkpoint is what PEFT's merge_and_unload gives, rounded once."""

import json
import math
import threading

import pytest
import torch
from safetensors.torch import load_file, save_file

from merging.errors import SourceError, UnsupportedError
from merging.lora_config import LoraConfig
from merging.recipe import ModelReference
from merging.sources import open_checkpoint

UP = "base_model.model.model.layers.0.mlp.up_proj"


@pytest.fixture
def adapted(pico_family):
    """`adapted(folder, base=None, **options)`: base+folder, opened."""

    def opened(folder, base="base", **options):
        reference = ModelReference(str(base), adapter=str(folder))
        return open_checkpoint(reference, folder=pico_family.root, **options)

    return opened


def merged_by_peft(base, folder):
    """PEFT's own merge, in float32."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, folder).merge_and_unload().state_dict()


def set_config(folder, **settings):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def set_weights(folder, **changes):
    """Replaces tensors of an adapter; None removes one."""
    file = folder / "adapter_model.safetensors"
    weights = {
        **load_file(file),
        **{name.replace("/", "."): value for name, value in changes.items()},
    }
    save_file({name: value for name, value in weights.items() if value is not None}, file)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"model.layers.1.mlp.up_proj": 3}},
        {"rank_pattern": {r"layers\.[01]\.mlp\.up_proj": 5}},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": "all-linear"},
        {"modules_to_save": ["norm"]},
        {"init_lora_weights": "gaussian"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`", "ignore:Model")
def test_as_peft_merges(pico_family, pico_family_float32, pico_adapter, adapted, settings):
    folder = pico_adapter(base=pico_family_float32.base, **settings)
    for family in (pico_family, pico_family_float32):
        checkpoint = adapted(folder, family.base)
        expected = merged_by_peft(family.base, folder)
        plain = open_checkpoint(ModelReference("base"), folder=family.root)
        assert checkpoint.changed
        for name, info in checkpoint.tensors.items():
            ours = checkpoint.tensor(name)
            theirs = expected[name].to(ours.dtype)
            assert str(ours.dtype) == f"torch.{info.dtype}"
            assert tuple(ours.shape) == info.shape
            # Sums in another order differ in float32's last bit, which can turn a rounding.
            rtol = 2**-7 if ours.dtype == torch.bfloat16 else 2e-7
            torch.testing.assert_close(ours, theirs, rtol=rtol, atol=1e-7)
            assert (name in checkpoint.changed) != torch.equal(ours, plain.tensor(name))


def test_the_formula(pico_family_float32, adapted, tmp_path):
    """W + alpha / r * B A, by hand."""
    name = "model.layers.0.mlp.up_proj.weight"
    down, up = torch.randn(2, 16), torch.randn(32, 2)
    save_file(
        {f"{UP}.lora_A.weight": down, f"{UP}.lora_B.weight": up},
        tmp_path / "adapter_model.safetensors",
    )
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 6}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    checkpoint = adapted(tmp_path, pico_family_float32.base)
    weight = load_file(pico_family_float32.base / "model.safetensors")[name]
    torch.testing.assert_close(checkpoint.tensor(name), weight + 3 * up @ down)
    assert checkpoint.changed == {name}


def test_scales():
    config = LoraConfig(8, 16, False, False, {r"q_proj": 4}, {"layers.1.q_proj": 2})
    assert config.scale_of("model.layers.0.v_proj") == 2
    assert config.scale_of("model.layers.0.q_proj") == 4
    assert config.scale_of("model.layers.1.q_proj") == 0.5
    assert config.scale_of("model.layers.0.my_q_proj") == 2  # a whole component has to match
    stable = LoraConfig(9, 6, True, False, {}, {})
    assert stable.scale_of("any") == 6 / math.sqrt(9)


def test_transposed_weights(tmp_path):
    """GPT-2 stores (in, out): fan_in_fan_out."""
    from peft import LoraConfig as PeftConfig
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2))
    model.save_pretrained(tmp_path / "base")
    trained = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tmp_path / "base"),
        PeftConfig(task_type="CAUSAL_LM", target_modules=["c_attn"], fan_in_fan_out=True),
    )
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.1 * parameter.requires_grad * torch.randn_like(parameter))
    trained.save_pretrained(tmp_path / "lora")
    checkpoint = open_checkpoint(ModelReference("./base", adapter="./lora"), folder=tmp_path)
    expected = merged_by_peft(tmp_path / "base", tmp_path / "lora")
    assert len(checkpoint.changed) == 1
    for name in checkpoint.tensors:
        torch.testing.assert_close(checkpoint.tensor(name), expected[name], rtol=2e-7, atol=1e-7)


def test_written_once_and_mapped(pico_adapter, adapted, tmp_path):
    folder, cache = pico_adapter(), tmp_path / "cache"
    first = adapted(folder, cache=cache)
    name = min(first.changed)
    kept = first.tensor(name).clone()
    (file,) = (cache / "adapted").iterdir()
    written = file.stat().st_mtime_ns, file.stat().st_ino
    assert set(load_file(file)) == first.changed
    assert torch.equal(adapted(folder, cache=cache).tensor(name), kept)
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == written


def test_a_damaged_cache_is_written_anew(pico_adapter, adapted, tmp_path):
    folder, cache = pico_adapter(), tmp_path / "cache"
    first = adapted(folder, cache=cache)
    expected = {name: first.tensor(name).clone() for name in first.changed}
    (file,) = (cache / "adapted").iterdir()
    file.write_bytes(file.read_bytes()[:-10])
    again = adapted(folder, cache=cache)
    assert all(torch.equal(again.tensor(name), value) for name, value in expected.items())


def test_without_a_cache_it_stays_in_memory(pico_adapter, adapted, tmp_path):
    folder = pico_adapter()
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the cache folder would be")
    here, there = adapted(folder, cache=blocked), adapted(folder, cache=tmp_path / "cache")
    assert all(torch.equal(here.tensor(name), there.tensor(name)) for name in here.tensors)
    assert here.content_hash == there.content_hash


def test_threads_may_race(pico_adapter, adapted, tmp_path):
    folder, cache = pico_adapter(), tmp_path / "cache"
    checkpoints = [adapted(folder, cache=cache) for _ in range(4)]
    name = min(checkpoints[0].changed)
    read: list[torch.Tensor] = []
    threads = [
        threading.Thread(target=lambda one=one: read.append(one.tensor(name)))
        for one in [*checkpoints, *checkpoints]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read) == 8
    assert all(torch.equal(one, read[0]) for one in read)
    assert len(list((cache / "adapted").iterdir())) == 1


def test_the_hash_is_that_of_both(pico_family, pico_adapter, adapted):
    one, two = pico_adapter("one"), pico_adapter("two", lora_alpha=9)
    hashes = {adapted(one).content_hash, adapted(two).content_hash}
    hashes.add(adapted(one, "alpha").content_hash)
    hashes.add(open_checkpoint(ModelReference("base"), folder=pico_family.root).content_hash)
    assert len(hashes) == 4
    assert adapted(one).content_hash in hashes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"peft_type": "LOHA"}, "peft_type 'LOHA'"),
        ({"use_dora": True}, "use_dora"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"target_parameters": ["experts.gate"]}, "target_parameters"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
        ({"made_up_later": {"x": 1}}, "made_up_later"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights: pissa"),
    ],
)
def test_more_than_plain_lora_is_refused_by_name(pico_adapter, adapted, settings, message):
    folder = pico_adapter()
    set_config(folder, **settings)
    with pytest.raises(UnsupportedError, match=message):
        adapted(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 0}, "r: expected a number above 0, got 0"),
        ({"r": True}, "r: expected a number"),
        ({"lora_alpha": "8"}, "lora_alpha: expected a number"),
        ({"r": 5}, r"says rank 5, the tensors are \[4, 16\] and \[32, 4\]"),
        ({"rank_pattern": ["q_proj"]}, "rank_pattern: expected numbers by module name"),
        ({"rank_pattern": {"(a{9}){9}b": 4}}, "too elaborate"),
        ({"rank_pattern": {"(.|.)" * 24 + "[!?]": 4}}, "needs more than 0.1 seconds"),
        ({"rank_pattern": {"q_proj(": 4}}, "rank_pattern: 'q_proj\\('"),
    ],
)
def test_settings_out_of_range(pico_adapter, adapted, monkeypatch, settings, message):
    monkeypatch.setattr("merging.lora_config.PATIENCE", 0.1)
    folder = pico_adapter()
    set_config(folder, **settings)
    with pytest.raises(SourceError, match=message):
        adapted(folder)


def test_adapters_that_do_not_fit(pico_adapter, adapted):
    folder = pico_adapter("wide")
    set_weights(folder, **{f"{UP}.lora_B.weight": torch.ones(48, 4)})
    with pytest.raises(SourceError, match=r"up_proj.weight is \[32, 16\] in the base, \[48, 16\]"):
        adapted(folder)
    folder = pico_adapter("strange")
    stranger = UP.replace("layers.0.mlp.up_proj", "layers.0.mlp.upper_proj")
    set_weights(
        folder,
        **{
            f"{stranger}.lora_A.weight": torch.ones(4, 16),
            f"{stranger}.lora_B.weight": torch.ones(32, 4),
        },
    )
    with pytest.raises(SourceError, match="nearest is model.layers.0.mlp.up_proj.weight"):
        adapted(folder)
    folder = pico_adapter("half")
    set_weights(folder, **{f"{UP}.lora_A.weight": None})
    with pytest.raises(SourceError, match="expected lora_A and lora_B"):
        adapted(folder)
    folder = pico_adapter("dora")
    set_weights(folder, **{f"{UP}.lora_magnitude_vector": torch.ones(32)})
    with pytest.raises(UnsupportedError, match="DoRA"):
        adapted(folder)


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`", "ignore:Model")
def test_a_tied_head_cannot_be_changed_alone(pico_adapter, adapted):
    folder = pico_adapter(target_modules=["lm_head"])
    with pytest.raises(UnsupportedError, match="lm_head.weight, which .* ties"):
        adapted(folder)


def test_files_that_are_missing(pico_family, pico_adapter, adapted, tmp_path):
    with pytest.raises(SourceError, match="neither a folder in"):
        adapted("nobody/nothing")
    with pytest.raises(SourceError, match=r"adapter_config\.json: no such file"):
        adapted(pico_family.base)
    folder = pico_adapter()
    file = folder / "adapter_model.safetensors"
    torch.save(load_file(file), folder / "adapter_model.bin")
    expected = adapted(folder)
    values = {name: expected.tensor(name).clone() for name in expected.changed}
    file.unlink()
    with pytest.raises(SourceError, match="--allow-pickle"):
        adapted(folder)
    pickled = adapted(folder, allow_pickle=True)
    assert all(torch.equal(pickled.tensor(name), value) for name, value in values.items())
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(SourceError, match=r"expected adapter_model\.safetensors"):
        adapted(folder)


def test_an_adapter_beside_the_recipe_and_a_mapped_one(pico_family, pico_adapter, tmp_path):
    folder = pico_adapter()
    mapping = {"org/base": pico_family.base}
    beside = open_checkpoint(
        ModelReference("org/base", adapter=folder.name), folder=folder.parent, mapping=mapping
    )
    mapped = open_checkpoint(
        ModelReference("org/base", adapter="org/skill"),
        folder=tmp_path,
        mapping={**mapping, "org/skill": folder},
    )
    assert beside.content_hash == mapped.content_hash
    assert beside.changed == mapped.changed

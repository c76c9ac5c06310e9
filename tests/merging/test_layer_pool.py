"""Live models of other layers are bit for bit what their checkpoint would load as."""

from pathlib import Path

import pytest
import torch

from merging.candidate import build_candidate, live_model
from merging.document import parse_documents
from merging.errors import UnsupportedError
from merging.layer_pool import KEPT_MODELS, LayerPool
from merging.loading import load_model
from merging.opening import open_recipe
from merging.stored import open_folder
from merging.writer import write_merged

SIZES = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4,
         "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "bos_token_id": 1,
         "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
KINDS = {
    "llama": {},
    "gemma3_text": {"sliding_window": 4,
                    "layer_types": ["sliding_attention", "full_attention"] * 2},
    "qwen2": {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2},
    "smollm3": {"no_rope_layers": [1, 1, 0, 1]},
    "mixtral": {"num_local_experts": 3, "num_experts_per_tok": 2},
    "gpt2": {"n_embd": 16, "n_layer": 4, "n_head": 2, "scale_attn_by_inverse_layer_idx": True},
}  # fmt: skip
STACKS = [
    [(0, 2), (1, 4)],
    [(0, 1), (3, 4)],
    [(3, 4), (0, 1), (1, 3), (0, 4)],
    [(0, 2), (2, 4)],
    [(0, 0), (1, 4)],
    [(0, 2), (1, 4)],
]


def write_base(root: Path, kind: str, dtype: torch.dtype = torch.float32) -> Path:
    from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

    sizes = SIZES if kind != "gpt2" else {"vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2}
    assert kind in CONFIG_MAPPING
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        config = AutoConfig.for_model(kind, **{**sizes, **KINDS[kind]})
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        model.to(dtype).save_pretrained(root / "base")
    return root


def recipe(runs: list[tuple[int, int]]) -> str:
    lines = "".join(
        f"  - sources: [{{model: base, layer_range: [{first}, {end}]}}]\n" for first, end in runs
    )
    return f"merge_method: passthrough\nslices:\n{lines}"


def opened(root: Path, runs: list[tuple[int, int]]):
    documents = parse_documents(recipe(runs), "s.yml")
    return open_recipe(documents, folder=root, mapping={}, allow_pickle=False)


def build(pool: LayerPool, found):
    live = pool.of(found.jobs)
    read = {model: one.tensor for model, one in found.checkpoints.items()}
    build_candidate(live, found.jobs, lambda model, name: read[model](name), 0)
    return live.model


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(24).reshape(2, 12)).logits


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_scored_is_what_is_written(kind, tmp_path, own_cache):
    """In any order of depths, in one pool; layers that differ in kind among them."""
    root = write_base(tmp_path, kind)
    base = opened(root, [(0, 4)]).donor
    live = live_model(load_model(base), base)
    pool, before = LayerPool(live, base), logits(live.model)
    for number, runs in enumerate(STACKS):
        found = opened(root, runs)
        model = build(pool, found)
        out = tmp_path / f"out{number}"
        write_merged(out, found.jobs, found.checkpoints, 0, donor=base, recipe_text="")
        written = load_model(open_folder(out, allow_pickle=False, cache=own_cache))
        assert torch.equal(logits(model), logits(written)), runs
        # A cache knows its layers by their indices and kinds.
        asked = {"input_ids": torch.arange(3, 11)[None], "max_new_tokens": 8, "do_sample": False}
        assert torch.equal(model.generate(**asked), written.generate(**asked))
    assert torch.equal(logits(build(pool, opened(root, [(0, 4)]))), before)


def test_layers_in_place_are_the_live_model_itself(tmp_path):
    root = write_base(tmp_path, "llama")
    base = opened(root, [(0, 4)]).donor
    live = live_model(load_model(base), base)
    pool = LayerPool(live, base)
    assert pool.of(opened(root, [(0, 3), (3, 4)]).jobs) is live
    other = pool.of(opened(root, [(0, 4), (3, 4)]).jobs)
    assert other is not live and pool.of(opened(root, [(0, 4), (3, 4)]).jobs) is other
    assert other.model.config.num_hidden_layers == 5 and live.model.config.num_hidden_layers == 4
    ours = dict(live.model.named_parameters())
    for name, parameter in other.model.named_parameters():
        assert name.startswith("model.layers.4.") or parameter is ours[name]


def test_the_pool_grows_to_the_largest_and_no_further(tmp_path):
    root = write_base(tmp_path, "llama")
    base = opened(root, [(0, 4)]).donor
    pool = LayerPool(live_model(load_model(base), base), base)
    deep = dict(pool.of(opened(root, [(0, 4), (0, 4)]).jobs).model.named_parameters())
    places = {one.data_ptr() for one in deep.values()}
    for size in range(1, KEPT_MODELS + 4):
        runs = [(0, 1 + size % 4), (3 - size % 3, 4)]
        model = pool.of(opened(root, runs).jobs).model
        assert {one.data_ptr() for one in model.parameters()} <= places


def test_bfloat16_on_the_way_to_disk_too(tmp_path, own_cache):
    root = write_base(tmp_path, "llama", torch.bfloat16)
    base = opened(root, [(0, 4)]).donor
    pool = LayerPool(live_model(load_model(base), base), base)
    found = opened(root, [(0, 3), (1, 4)])
    model = build(pool, found)
    assert model.dtype == torch.bfloat16
    write_merged(tmp_path / "out", found.jobs, found.checkpoints, 0, donor=base, recipe_text="")
    written = load_model(open_folder(tmp_path / "out", allow_pickle=False, cache=own_cache))
    assert torch.equal(logits(model), logits(written))


def test_what_cannot_be_made_without_weights_is_refused(tmp_path, monkeypatch):
    from transformers import LlamaForCausalLM

    root = write_base(tmp_path, "llama")
    base = opened(root, [(0, 4)]).donor
    pool = LayerPool(live_model(load_model(base), base), base)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no meta here")

    monkeypatch.setattr(LlamaForCausalLM, "_from_config", broken)
    with pytest.raises(UnsupportedError, match=r"LlamaForCausalLM: candidates of other.*no meta"):
        pool.of(opened(root, [(0, 3)]).jobs)

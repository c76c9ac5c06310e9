"""Models of different vocabularies become one: rows by token, tokenizer, config, live model."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from merging.aligned import AlignedCheckpoint
from merging.candidate import build_candidate, live_model
from merging.checkpoint import Checkpoint
from merging.document import parse_document
from merging.errors import MergeError, SourceError, UnsupportedError
from merging.loading import load_model, load_tokenizer
from merging.plan import plan_recipe
from merging.recipe import ModelReference, Recipe
from merging.recipe_reader import read_recipe
from merging.sources import open_models
from merging.vocabulary import vocabulary_faults, vocabulary_notices
from merging.writer import write_merged

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
WIDTH = 16
LETTERS = "abcd"
SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")
Opened = tuple[Recipe, dict[str, Checkpoint]]


@pytest.fixture
def model(pico_family_float32, copy_checkpoint, write_pico_tokenizer) -> Callable[..., Path]:
    """`model(name, letters, start)`: a pico model whose row r is full of start + r."""

    def made(
        name: str,
        letters: str,
        start: int,
        *,
        rows: int | None = None,
        head: bool = False,
        special: tuple[str, ...] = SPECIAL,
        config: Mapping[str, object] | None = None,
    ) -> Path:
        count = rows or len(special) + len(letters)
        values = (start + torch.arange(count, dtype=torch.float32))[:, None].repeat(1, WIDTH)
        edit = {EMBEDDING: values, **({HEAD: -values} if head else {})}
        changed = {"vocab_size": count, "tie_word_embeddings": not head, **(config or {})}
        folder = copy_checkpoint(pico_family_float32.base, config=changed, edit=edit, name=name)
        write_pico_tokenizer(folder, letters, special)
        return folder

    return made


@pytest.fixture
def opened(tmp_path) -> Callable[..., Opened]:
    """`opened(more, names)`: linear over models in the test's folder, the first as base."""

    def made(more: str, names: str = "base other", method: str = "linear") -> Opened:
        listed = "".join(
            f"  - {{model: {one}, parameters: {{weight: 1}}}}\n" for one in names.split()
        )
        text = f"merge_method: {method}\nbase_model: {names.split()[0]}\nmodels:\n{listed}{more}\n"
        document = parse_document(text, "r.yml")
        recipe, _ = read_recipe(document, strict=True)
        models = open_models(
            recipe, folder=tmp_path, mapping={}, allow_pickle=False, document=document
        )
        return recipe, {str(name): one for name, one in models.items()}

    return made


@pytest.fixture
def pair(model) -> None:
    """base: a b c d from 0; other: d c e f from 100."""
    model("base", LETTERS, 0)
    model("other", "dcef", 100)


def rows(checkpoint: Checkpoint, name: str = EMBEDDING) -> dict[str, float]:
    """The number in each letter's row."""
    tensor = checkpoint.tensor(name)
    assert tuple(tensor.shape) == checkpoint.tensors[name].shape
    tokens = load_tokenizer(checkpoint).get_vocab()
    return {token: tensor[row, 0].item() for token, row in tokens.items() if token not in SPECIAL}


def test_union_keeps_the_base_and_adds_in_order(pair, opened) -> None:
    _, found = opened("tokenizer: {source: union}")
    tokens = load_tokenizer(found["base"]).get_vocab()
    assert [token for token, _ in sorted(tokens.items(), key=lambda one: one[1])] == [
        *SPECIAL, "a", "b", "c", "d", "e", "f",
    ]  # fmt: skip
    assert rows(found["base"]) == {"a": 4, "b": 5, "c": 6, "d": 7, "e": 106, "f": 107}
    assert rows(found["other"]) == {"a": 4, "b": 5, "c": 105, "d": 104, "e": 106, "f": 107}
    for one in found.values():
        assert one.config["vocab_size"] == 10
        assert one.tensors.keys() == found["base"].tensors.keys()
    assert vocabulary_faults(found) == ()
    assert vocabulary_notices(found) == (
        "union: 2 ordinary tokens become added tokens, as in mergekit",
    )


@pytest.mark.parametrize(
    ("section", "base", "other"),
    [
        ("tokenizer_source: base", {"a": 4, "b": 5, "c": 6, "d": 7}, [4, 5, 105, 104]),
        ("tokenizer: {source: other}", {"d": 7, "c": 6, "e": 106, "f": 107}, [104, 105, 106, 107]),
        (
            "tokenizer: {source: base, tokens: {a: {source: {kind: zero}, force: true}, "
            "c: {source: base, force: true}, g: {source: {kind: model_token, model: other, "
            "token: e}}, h: {source: {kind: model_token, model: base, token_id: 0}}}}",
            {"a": 0, "b": 5, "c": 6, "d": 7, "g": 106, "h": 0},
            [0, 5, 6, 104, 106, 0],
        ),
    ],
)
def test_other_sources(pair, opened, section: str, base: dict, other: list) -> None:
    _, found = opened(section)
    assert rows(found["base"]) == base
    assert rows(found["other"]) == dict(zip(base, other, strict=True))


def test_padding_is_the_mean_of_what_is_real(pair, opened) -> None:
    _, found = opened("tokenizer: {source: union, pad_to_multiple_of: 8}")
    for one in found.values():
        tensor = one.tensor(EMBEDDING)
        assert len(tensor) == one.config["vocab_size"] == 16
        assert torch.equal(tensor[10:], tensor[:10].mean(0).repeat(6, 1))
    _, found = opened("tokenizer: {source: base, pad_to_multiple_of: 8}")
    assert found["base"].tensor(EMBEDDING).shape == (8, WIDTH)
    assert isinstance(found["base"], AlignedCheckpoint) and not found["base"].changed


def test_without_a_base_a_shared_token_is_a_mean(pair, model, tmp_path) -> None:
    model("third", "ea", 200)
    text = (
        "merge_method: linear\nparameters: {weight: 1}\n"
        "models: [{model: base}, {model: other}, {model: third}]\ntokenizer_source: union\n"
    )
    recipe, _ = read_recipe(parse_document(text, "r.yml"), strict=True)
    base, other, third = open_models(
        recipe, folder=tmp_path, mapping={}, allow_pickle=False
    ).values()
    assert rows(base) == {"a": 4, "b": 5, "c": 6, "d": 7, "e": (106 + 204) / 2, "f": 107}
    assert rows(other) == {"a": (4 + 205) / 2, "b": 5, "c": 105, "d": 104, "e": 106, "f": 107}
    assert rows(third) == {"a": 205, "b": 5, "c": 55.5, "d": 55.5, "e": 204, "f": 107}


def test_a_head_takes_what_it_lacks_from_heads(model, opened) -> None:
    model("base", LETTERS, 0, head=True)
    model("other", "dcef", 100, head=True)
    model("tied", "ag", 200)
    recipe, found = opened("tokenizer_source: union", "base other tied")
    assert rows(found["base"], HEAD) == {
        "a": -4, "b": -5, "c": -6, "d": -7, "e": -106, "f": -107, "g": 205,
    }  # fmt: skip
    assert rows(found["tied"], HEAD) == rows(found["base"], HEAD) | {"a": 204}
    assert rows(found["tied"]) == rows(found["base"]) | {"a": 204}
    jobs = {
        job.name: job
        for job in plan_recipe(recipe, {ModelReference(k): v for k, v in found.items()})
    }
    assert [one.name for one in jobs[HEAD].sources] == [HEAD] * 3


def test_rows_without_a_token_and_tokens_without_a_row(model, opened) -> None:
    model("base", LETTERS, 0, rows=7)
    model("other", "dcef", 100, rows=20)
    _, found = opened("tokenizer: {source: union}")
    assert rows(found["base"]) == {"a": 4, "b": 5, "c": 6, "d": 104, "e": 106, "f": 107}
    assert vocabulary_notices(found)[0] == "1 tokens of the tokenizer have no row and are left out"
    _, found = opened("tokenizer: {source: base}")
    assert rows(found["other"]) == {"a": 4, "b": 5, "c": 105}


def test_a_model_without_a_tokenizer_has_the_bases(pair, opened, tmp_path) -> None:
    (tmp_path / "other" / "tokenizer.json").unlink()
    _, found = opened("tokenizer: {source: union}")
    assert rows(found["other"]) == {"a": 104, "b": 105, "c": 106, "d": 107}
    assert vocabulary_notices(found) == (
        "other has no tokenizer; it is taken to have that of base",
    )
    (tmp_path / "base" / "tokenizer.json").unlink()
    with pytest.raises(
        SourceError, match="no tokenizer, and `tokenizer` starts from that of base"
    ):
        opened("tokenizer: {source: union}")


def test_the_tokenizer_may_come_from_outside(pair, model, opened) -> None:
    model("third", "ax", 200)
    _, found = opened("tokenizer_source: third")
    assert rows(found["other"]) == {"a": 4, "x": 0}
    assert vocabulary_notices(found) == (
        "1 tokens of the output are in no model, so their rows are zero; the first is 'x'",
    )


def test_the_content_hash_covers_section_and_lenders(pair, opened, model) -> None:
    def hashes(section: str) -> set[str]:
        return {one.content_hash for one in opened(section)[1].values()}

    union = hashes("tokenizer: {source: union}")
    assert union == hashes("tokenizer_source: union") and len(union) == 2
    for section in (
        "tokenizer_source: base",
        "tokenizer: {pad_to_multiple_of: 8}",
        "tokenizer: {tokens: {c: {source: other}}}",
        "tokenizer: {tokens: {c: {source: other, force: true}}}",
        "tokenizer_source: union\nchat_template: chatml",
    ):
        assert union.isdisjoint(hashes(section))
    base = opened("tokenizer: {source: union}")[1]["base"].content_hash
    model("third", "e", 300)
    assert opened("tokenizer: {source: union}", "base third")[1]["base"].content_hash != base


def test_large_tensors_are_kept_in_the_cache(pair, opened, own_cache, monkeypatch) -> None:
    _, found = opened("tokenizer: {source: union}")
    expected = found["other"].tensor(EMBEDDING)
    monkeypatch.setattr("merging.aligned.SMALL", 0)
    _, found = opened("tokenizer: {source: union}")
    assert torch.equal(found["other"].tensor(EMBEDDING), expected)
    assert (own_cache / "aligned" / f"{found['other'].content_hash}.safetensors").is_file()


def test_mixed_dtypes_keep_every_bit(model, opened, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    model("base", LETTERS, 0)
    file = model("other", "dcef", 1001) / "model.safetensors"
    half = {
        name: tensor.bfloat16()
        for name, tensor in load_file(tmp_path / "base" / file.name).items()
    }
    save_file(half, tmp_path / "base" / file.name, {"format": "pt"})
    recipe, found = opened("tokenizer: {source: union}")
    assert found["base"].tensors[EMBEDDING].dtype == "float32"
    assert rows(found["base"])["e"] == 1007
    jobs = plan_recipe(recipe, {ModelReference(name): one for name, one in found.items()})
    assert {job.dtype for job in jobs} == {"bfloat16"}  # read wider, written as the base is


@pytest.mark.parametrize("method", ["linear", "ties"])
def test_what_is_written_is_what_is_scored(model, opened, tmp_path, method: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    moved = ("</s>", "<pad>", "<unk>", "<s>", "<new>")
    model("base", LETTERS, 0, config={"eos_token_id": [2, 3]})
    model("other", "dcef", 100, special=moved)
    section = "tokenizer: {source: other, pad_to_multiple_of: 16}\nchat_template: chatml"
    recipe, found = opened(section, method=method)
    checkpoints = {ModelReference(name): one for name, one in found.items()}
    jobs = plan_recipe(recipe, checkpoints)

    def read(model: ModelReference, name: str) -> torch.Tensor:
        return checkpoints[model].tensor(name)

    write_merged(tmp_path / "out", jobs, checkpoints, 0, donor=found["base"], recipe_text="")
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    live = live_model(load_model(found["base"]), found["base"])
    build_candidate(live, jobs, read, 0)
    ids = tokenizer("dfec", return_tensors="pt").input_ids
    assert ids.tolist() == [[5, 8, 7, 6]]
    assert torch.equal(live.model(ids).logits, written(ids).logits)
    assert written.config.vocab_size == live.model.config.vocab_size == 16
    for config in (written.config, live.model.config, live.model.generation_config):
        assert (config.bos_token_id, config.pad_token_id) == (3, 1)
    assert written.config.eos_token_id == live.model.config.eos_token_id == [0, 1]
    assert GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id == 0
    spoken = load_tokenizer(found["other"])
    assert spoken.get_vocab() == tokenizer.get_vocab()
    assert spoken.chat_template == tokenizer.chat_template
    assert "local_files_only" not in (tmp_path / "out" / "tokenizer_config.json").read_text()
    assert tokenizer.chat_template.startswith("{%- for message in messages -%}\n{{ '<|im_start|>'")


def test_a_chat_template_alone_changes_no_weight(opened, model, tmp_path) -> None:
    model("base", LETTERS, 0)
    model("other", LETTERS, 100)
    recipe, found = opened("chat_template: '{{ messages[0].content }}!'")
    checkpoints = {ModelReference(name): one for name, one in found.items()}
    tokenizer = load_tokenizer(found["base"])
    assert (
        tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False) == "a!"
    )
    assert torch.equal(found["base"].tensor(EMBEDDING), found["base"].base.tensor(EMBEDDING))
    jobs = plan_recipe(recipe, checkpoints)
    out = tmp_path / "out"
    write_merged(
        out, jobs, checkpoints, 0,
        donor=found["base"], recipe_text="",
    )  # fmt: skip
    assert (out / "chat_template.jinja").read_text() == "{{ messages[0].content }}!"
    assert (out / "tokenizer.json").read_bytes() == (tmp_path / "base/tokenizer.json").read_bytes()
    assert json.loads((out / "config.json").read_text())["vocab_size"] == 8


def test_an_adapter_is_applied_before(pair, opened, pico_adapter, tmp_path) -> None:
    pico_adapter("lora", base=tmp_path / "base")
    _, found = opened("tokenizer: {source: union}", "base+lora other")
    live = live_model(load_model(found["base+lora"]), found["base+lora"])  # proves every tensor
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(live.destinations[name], found["base+lora"].tensor(name))
    assert live.destinations[EMBEDDING].shape == (10, WIDTH)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "tokens: {e: {source: base}}",
            "r.yml:6:34 tokenizer.tokens.e.source: 'base' has no token 'e'; take another model",
        ),
        (
            "tokens: {e: {source: {kind: model_token, model: other, token_id: 8}}}",
            "tokenizer.tokens.e.source: 'other' has 8 rows, there is no row 8",
        ),
        ("source: ./nothing", "r.yml:6:21 tokenizer.source: ./nothing: no folder at"),
    ],
)
def test_rows_and_tokenizers_that_are_not_there(pair, opened, section: str, message: str) -> None:
    with pytest.raises(MergeError) as caught:
        opened(f"tokenizer: {{{section}}}")
    assert message in str(caught.value)


def test_models_that_cannot_be_aligned(pair, model, opened, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    file = tmp_path / "other" / "model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "per_token.weight": torch.zeros(8, 3)}, file, {"format": "pt"})
    with pytest.raises(
        UnsupportedError, match=r"per_token.weight seems to have a row for each of"
    ):
        opened("tokenizer: {source: union}")
    tensors["model.strange.weight"] = tensors.pop(EMBEDDING)
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(UnsupportedError, match="`tokenizer` needs the embedding"):
        opened("tokenizer: {source: union}")
    model("gap", LETTERS, 0)
    file = tmp_path / "gap" / "tokenizer.json"
    data = json.loads(file.read_text())
    del data["model"]["vocab"]["a"]
    file.write_text(json.dumps(data))
    with pytest.raises(UnsupportedError, match="the tokenizer has gaps in its ids"):
        opened("tokenizer: {tokens: {x: {source: {kind: zero}}}}", "gap base")

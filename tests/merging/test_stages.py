"""Several stages in one file give what merging each by hand and reading it again gives."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from merging.document import parse_documents
from merging.errors import MergeError, RecipeError, SourceError
from merging.loading import load_model
from merging.opening import open_recipe
from merging.recipe import ModelReference
from merging.stage_checkpoint import StageCheckpoint
from merging.stages import read_stages
from merging.writer import write_merged

FIRST = """\
name: first
merge_method: task_arithmetic
base_model: base
models:
  - {model: alpha, parameters: {weight: [0.2, 0.9]}}
  - {model: beta, parameters: {weight: 0.4}}
"""
SECOND = """\
name: second
merge_method: dare_ties
base_model: first
models:
  - {model: gamma, parameters: {weight: 1.0, density: 0.6}}
  - {model: beta, parameters: {weight: 0.5, density: 0.4}}
eutectic: {mask_seed: 5}
dtype: float32
out_dtype: bfloat16
"""
STACK = """\
name: stacked
merge_method: linear
slices:
  - sources: [{model: first, layer_range: [0, 2], parameters: {weight: 1}}]
  - sources: [{model: first, layer_range: [1, 3], parameters: {weight: 1}}]
"""
FINAL = """\
merge_method: linear
models:
  - {model: first, parameters: {weight: 0.3}}
  - {model: second, parameters: {weight: 0.7}}
dtype: float32
"""


def joined(*texts: str) -> str:
    return "---\n".join(texts)


@pytest.fixture
def opened_file(pico_family, tmp_path):
    """`opened_file(text, folder=None, **options)`: a recipe file in the family's folder, open."""

    def opened(text: str, folder: Path | None = None, mapping=None, **options):
        options = {"cache": tmp_path / "cache", **options}
        return open_recipe(
            parse_documents(text, "f.yml"),
            folder=folder or pico_family.root,
            mapping=mapping or {},
            allow_pickle=False,
            **options,
        )

    return opened


def write(found, out: Path, text: str = "") -> Path:
    write_merged(
        out,
        found.jobs,
        found.checkpoints,
        found.recipe.mask_seed,
        donor=found.donor,
        recipe_text=text,
    )
    return out


@pytest.fixture
def by_hand(pico_family, opened_file, tmp_path):
    """`by_hand(*texts)`: merges one recipe after the other into folders of their names."""

    def merged(*texts: str) -> Path:
        root = tmp_path / "hand"
        root.mkdir()
        for folder in (pico_family.base, *pico_family.experts.values()):
            (root / folder.name).symlink_to(folder)
        for text in texts:
            (document,) = parse_documents(text, "one.yml")
            name = document.data.get("name", "final")
            write(opened_file(text, folder=root), root / name)
        return root / name

    return merged


def same_model(ours: Path, theirs: Path) -> None:
    """Every file but the recipe has the same bytes."""
    names = {file.name for file in theirs.iterdir()}
    assert {file.name for file in ours.iterdir()} == names
    for name in names - {"mergekit_config.yml"}:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name


@pytest.mark.parametrize("keep", ["nothing", "shared", "donor"])
@pytest.mark.parametrize(
    "texts",
    [
        (FIRST, SECOND, FINAL),
        (FIRST, STACK, FINAL.replace("first", "stacked").replace("second", "stacked2"), STACK),
    ],
    ids=["merged", "stacked"],
)
def test_stages_are_bit_equal_to_merging_by_hand(texts, keep, opened_file, by_hand, tmp_path):
    if len(texts) == 4:  # the second stack takes other layers of the same stage
        other = texts[3].replace("stacked", "stacked2").replace("[1, 3]", "[0, 2]")
        texts = (texts[0], texts[1], other, texts[2])
    expected = by_hand(*texts)
    shuffled = joined(texts[-1], *reversed(texts[:-1]))
    found = opened_file(shuffled, keep=keep)
    assert found.stages[0] == "first" and len(found.stages) == len(texts) - 1
    same_model(write(found, tmp_path / "ours", shuffled), expected)
    assert {str(model) for model in found.stored} <= {"base", "alpha", "beta", "gamma"}


def test_a_stage_is_rounded_to_its_dtype(opened_file):
    text = joined(FIRST + "dtype: bfloat16\n", "merge_method: linear\nmodels:\n"
                  "  - {model: first, parameters: {weight: 1.0}}\ndtype: float32\n")  # fmt: skip
    first = opened_file(text).checkpoints[ModelReference("first")]
    assert isinstance(first, StageCheckpoint)
    assert first.config["dtype"] == "bfloat16"
    assert {info.dtype for info in first.tensors.values()} == {"bfloat16"}
    assert first.tensor("model.norm.weight").dtype == torch.bfloat16


def test_a_stage_is_merged_as_it_is_read(opened_file, monkeypatch):
    """Opening and planning compute nothing; each tensor asked for is merged alone."""
    merged: list[str] = []
    from merging import stage_checkpoint

    real = stage_checkpoint.merge_tensor

    def counting(job, *rest):
        merged.append(job.name)
        return real(job, *rest)

    monkeypatch.setattr(stage_checkpoint, "merge_tensor", counting)
    found = opened_file(joined(FIRST, SECOND, FINAL))
    assert merged == []
    found.checkpoints[ModelReference("second")].tensor("model.norm.weight")
    assert merged == ["model.norm.weight"] * 2


def test_a_stage_used_twice_is_written_once(opened_file, tmp_path):
    found = opened_file(joined(FIRST, SECOND, FINAL), keep="shared")
    kept = found.checkpoints[ModelReference("first")]
    assert kept.folder.parent == tmp_path / "cache" / "stages"
    assert isinstance(found.checkpoints[ModelReference("second")], StageCheckpoint)
    weights = kept.folder / "model.safetensors"
    written = weights.stat().st_mtime_ns
    opened_file(joined(FIRST, SECOND, FINAL), keep="shared")
    assert weights.stat().st_mtime_ns == written
    weights.write_bytes(weights.read_bytes()[:-10])  # damaged: written anew
    again = opened_file(joined(FIRST, SECOND, FINAL), keep="shared")
    same = again.checkpoints[ModelReference("first")].tensor("model.norm.weight")
    assert torch.equal(same, load_file(weights)["model.norm.weight"])


def test_a_fault_of_the_last_recipe_is_told_before_a_stage_is_built(opened_file, tmp_path):
    with pytest.raises(MergeError, match="nobody"):
        opened_file(joined(FIRST, SECOND, FINAL.replace("dtype", "base_model: nobody\ndtype")),
                    keep="donor")  # fmt: skip
    assert not (tmp_path / "cache" / "stages").exists()


def test_a_cache_that_cannot_be_written(opened_file, tmp_path):
    (tmp_path / "cache").write_text("a file where the cache folder would be")
    with pytest.raises(SourceError, match=r"kept in the cache folder: .*EUTECTIC_CACHE=FOLDER"):
        opened_file(joined(FIRST, SECOND, FINAL), keep="shared")


def test_the_hash_of_a_stage_is_that_of_its_recipe(opened_file):
    def content(text: str) -> str:
        end = "merge_method: linear\nmodels: [{model: first, parameters: {weight: 1}}]\n"
        return opened_file(joined(text, end)).checkpoints[ModelReference("first")].content_hash

    assert content(FIRST) == content(FIRST.replace("0.4", "0.40"))
    others = (FIRST, FIRST.replace("0.4", "0.5"), FIRST + "dtype: float32\n",
              FIRST.replace("model: beta", "model: gamma"))  # fmt: skip
    assert len({content(text) for text in others}) == 4


@pytest.mark.parametrize("keep", ["nothing", "donor"])
def test_an_adapter_on_a_stage(keep, pico_adapter, opened_file, by_hand, tmp_path):
    adapter = pico_adapter()
    final = f"""\
merge_method: task_arithmetic
base_model: first+{adapter}
models:
  - {{model: first, parameters: {{weight: 0.5}}}}
"""
    expected = by_hand(FIRST, final)
    found = opened_file(joined(final, FIRST), keep=keep)
    same_model(write(found, tmp_path / "ours"), expected)


def test_an_adapted_stage_as_a_live_model(pico_adapter, opened_file):
    """Loaded from the cache folder, the adapter's changes written over."""
    final = f"""\
merge_method: task_arithmetic
base_model: stacked+{pico_adapter()}
models:
  - {{model: stacked, parameters: {{weight: 0.5}}}}
"""
    found = opened_file(joined(final, FIRST, STACK), keep="donor")
    model = load_model(found.donor)
    assert model.config.num_hidden_layers == 4
    for name, live in model.state_dict().items():
        if name in found.donor.tensors:
            assert torch.equal(live, found.donor.tensor(name)), name
    assert torch.equal(model.lm_head.weight, found.donor.tensor("model.embed_tokens.weight"))


def test_the_final_recipe():
    def final(*texts: str) -> str | None:
        stages, _ = read_stages(parse_documents(joined(*texts), "f.yml"), strict=True)
        return stages.final.name

    last = "name: last\n" + FINAL
    assert final(FIRST) is None  # one recipe may have a name, too
    assert final(FINAL, FIRST, SECOND) is None
    assert final(last, FIRST, SECOND) == "last"
    assert final(FIRST, SECOND) == "second"
    assert final(FIRST, FINAL.replace("second", "alpha"), "name: idle\n" + FINAL, SECOND) is None


SELF = "name: alpha\n" + FIRST.partition("\n")[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            joined(FIRST, SECOND, FIRST, FINAL),
            "f.yml:18:7 name: a stage is already called 'first', at f.yml:1:7; rename one",
        ),
        (
            joined(FIRST, FINAL, "# a note\n" + FINAL),
            "f.yml:15:1 a second recipe without a `name:` (the first begins at f.yml:8:1)",
        ),
        (
            joined(FIRST, SECOND, "name: one\n" + FINAL, "name: two\n" + FINAL),
            "f.yml:25:7 name: which recipe is the final one? No other uses 'one' (line 18) and "
            "'two' (line 25); take the `name:` away",
        ),
        (
            joined(FIRST.replace("alpha", "second"), SECOND, FINAL),
            "f.yml:10:13 base_model: stages cannot use each other in a circle: 'first' uses "
            "'second' uses 'first' (lines 1 and 8)",
        ),
        (
            joined(FIRST.replace("model: alpha", "model: second"), SECOND),
            "in a circle: 'first' uses 'second' uses 'first'",
        ),
        (
            joined(SELF, FINAL.replace("first", "alpha").replace("second", "beta")),
            "f.yml:5:13 models[0].model: stages cannot use each other in a circle: 'alpha' uses "
            "'alpha'; to mean a folder of that name, write ./alpha",
        ),
        (joined(FIRST, "name: 5\n" + FINAL), "f.yml:8:7 name: expected the stage's name, got 5"),
        (joined(FIRST, "name: a+b\n" + FINAL), "f.yml:8:7 name: 'a+b' cannot name a stage"),
        (joined(FIRST, "name: ./a\n" + FINAL), "'./a' cannot name a stage"),
        (joined(FIRST, "- nothing\n"), "f.yml:8:1 expected a recipe (merge_method, models, ...)"),
        (
            joined(FIRST, FINAL.replace("0.7", "heavy")),
            "f.yml:11:42 models[1].parameters.weight: expected a finite number, got 'heavy'",
        ),
        ("---\n".join([FIRST] * 65), "more than 64 stages in one file"),
    ],
)
def test_faults_are_told_with_their_places(text, message):
    with pytest.raises(RecipeError) as caught:
        read_stages(parse_documents(text, "f.yml"), strict=False)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            joined(FIRST, FINAL.replace("second", "secnd"), SECOND),
            "f.yml:11:13 models[1].model: secnd: neither a folder in",
        ),
        (joined(FIRST, FINAL.replace("second", "firts")), ", did you mean 'first'?"),
        (
            joined(STACK.replace("first", "alpha"), FINAL.replace("first", "stacked")
                   .replace("second", "beta")),
            "f.yml:10:5 models[1]: model 'beta' has 3 layers (model.layers), 'stacked' has 4",
        ),
    ],
)  # fmt: skip
def test_faults_of_the_models_are_told_with_their_places(text, message, opened_file):
    with pytest.raises(MergeError) as caught:
        opened_file(text)
    assert message in str(caught.value)


def test_a_stage_cannot_be_mapped_away(pico_family, opened_file):
    with pytest.raises(SourceError, match="f.yml:1:7 name: 'first' is a stage of this file"):
        opened_file(joined(FIRST, SECOND), mapping={"first": pico_family.base})


def test_notices(opened_file):
    own = FIRST.replace("first", "beta").replace("model: beta", "model: ./beta")
    idle = "name: idle\n" + FINAL
    twice = SECOND.replace("second", "third").replace("first", "second")
    found = opened_file(joined(FIRST, SECOND, twice, FINAL.replace("second", "third"), idle))
    assert found.notices == (
        "f.yml:34:7 name: the final recipe does not build on 'idle'; it is not merged",
        "f.yml:19:15 merge_method: draws the same masks as 'second'; `eutectic: {mask_seed: 6}` "
        "in one of them would draw others",
    )
    last = FINAL.replace("first", "beta").replace("second", "alpha")
    (notice,) = opened_file(joined(own, last)).notices
    assert notice == "f.yml:1:7 name: 'beta' means this stage; write ./beta for the folder"


def test_long_chains_end(opened_file):
    """64 stages, each of which uses the one before twice, take 64 merges, not 2^64."""
    links = [FIRST.replace("first", "s0")]
    for number in range(1, 63):
        links.append(
            f"name: s{number}\nmerge_method: linear\nmodels:\n"
            f"  - {{model: s{number - 1}, parameters: {{weight: 1}}}}\n"
        )
    found = opened_file(joined(*links, FINAL.replace("first", "s62").replace("second", "alpha")))
    assert len(found.stages) == 63
    deep = found.checkpoints[ModelReference("s62")].tensor("model.norm.weight")
    assert torch.equal(deep, found_first(opened_file).tensor("model.norm.weight"))


def found_first(opened_file):
    text = joined(FIRST, "merge_method: linear\nmodels: [{model: first, parameters: {weight: 1}}]")
    return opened_file(text).checkpoints[ModelReference("first")]


def test_the_config_of_a_stacked_stage(opened_file):
    text = joined(FIRST, STACK, FINAL.replace("first", "stacked").replace("second", "stacked@x"))
    with pytest.raises(MergeError, match="no revisions"):
        opened_file(text)
    stage = opened_file(joined(FIRST, STACK, "merge_method: linear\nmodels: [{model: stacked, "
                        "parameters: {weight: 1}}]")).donor  # fmt: skip
    assert stage.config["num_hidden_layers"] == 4
    assert json.dumps(stage.config)


SPEAKING = """\
name: spoken
merge_method: linear
models:
  - {model: base, parameters: {weight: 0.5}}
  - {model: alpha, parameters: {weight: 0.5}}
tokenizer: {source: union, pad_to_multiple_of: 96}
chat_template: chatml
"""
AFTER = """\
merge_method: linear
models:
  - {model: spoken, parameters: {weight: 1.0}}
"""


def test_a_stage_speaks_to_what_builds_on_it(opened_file, by_hand, tmp_path) -> None:
    """Its tokenizer, template and rows are there, and no weight is written for them."""
    found = opened_file(f"{SPEAKING}---\n{AFTER}")
    assert not (tmp_path / "cache" / "stages").exists()
    ours = write(found, tmp_path / "ours")
    assert "im_start" in (ours / "chat_template.jinja").read_text()
    same_model(ours, by_hand(SPEAKING, AFTER))

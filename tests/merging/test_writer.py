"""What is written loads, says what it is, and is whole or not there."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from merging.errors import MergeError, SourceError
from merging.merge import merge_tensor
from merging.recipe import ModelReference
from merging.writer import write_merged

RECIPE = "merge_method: task_arithmetic\n"


@pytest.fixture
def write(pico_family, open_family, make_jobs, tensors_of):
    """`write(out, **options)`: a task arithmetic of the pico family, and its jobs."""
    checkpoints = open_family(pico_family)

    def written(out, jobs=None, models=None, **options):
        todo = jobs or make_jobs(checkpoints, dtype=options.pop("dtype", None))
        write_merged(
            out,
            todo,
            models or checkpoints,
            3,
            donor=checkpoints[ModelReference("base")],
            recipe_text=RECIPE,
            **options,
        )
        return {job.name: merge_tensor(job, tensors_of(checkpoints), 3) for job in todo}

    return written


def names_in(folder):
    return {entry.name for entry in folder.iterdir()}


def test_it_loads_with_its_tokenizer(pico_family, write, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    expected = write(tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.bfloat16
    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    assert (
        tokenizer("a b").input_ids
        == AutoTokenizer.from_pretrained(pico_family.base)("a b").input_ids
    )
    assert tokenizer.chat_template
    assert GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id == 2
    assert (tmp_path / "out" / "mergekit_config.yml").read_text() == RECIPE
    assert names_in(tmp_path) == {"out"}


def test_the_library_writes_the_same_bytes(write, tmp_path):
    from safetensors.torch import save

    expected = write(tmp_path / "out")
    file = tmp_path / "out" / "model.safetensors"
    assert file.read_bytes() == save(expected, {"format": "pt"})


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_config_names_the_dtype(write, tmp_path, dtype):
    write(tmp_path / "out", dtype=dtype)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == dtype
    assert "_name_or_path" not in config
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert {str(weight.dtype) for weight in weights.values()} == {f"torch.{dtype}"}


def test_shards_have_an_index(write, tmp_path):
    from transformers import AutoModelForCausalLM

    expected = write(tmp_path / "out", max_shard_bytes=6000)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    assert index["metadata"]["total_size"] == sum(2 * value.numel() for value in expected.values())
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / "out" / file, "pt") as shard:
            assert torch.equal(shard.get_tensor(name), expected[name])
    state = AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    assert all(torch.equal(state[name], value) for name, value in expected.items())


def test_threads_do_not_change_the_bytes(write, tmp_path):
    write(tmp_path / "one", threads=1)
    write(tmp_path / "two", threads=3)
    one, two = (tmp_path / name / "model.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_progress_counts_tensors(write, tmp_path):
    told: list[tuple[int, int]] = []
    expected = write(tmp_path / "out", progress=lambda done, total: told.append((done, total)))
    assert told == [(done, len(expected)) for done in range(1, len(expected) + 1)]


class Failing:
    """A checkpoint whose file goes away after some tensors."""

    def __init__(self, whole, left):
        self.whole, self.left = whole, left
        self.tensors, self.folder = whole.tensors, whole.folder

    def tensor(self, name):
        """Fails once nothing is left."""
        self.left -= 1
        if self.left < 0:
            raise SourceError("a shard went away")
        return self.whole.tensor(name)


def test_a_failure_leaves_nothing_behind(pico_family, open_family, write, tmp_path):
    models = {model: Failing(one, 15) for model, one in open_family(pico_family).items()}
    with pytest.raises(SourceError, match="a shard went away"):
        write(tmp_path / "out", models=models)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", progress=interrupt)
    assert names_in(tmp_path) == set()


def interrupt(done, total):
    if done == 3:
        raise KeyboardInterrupt


def test_a_folder_in_use_is_left_alone(write, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    write(out)  # empty: fine
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(SourceError, match="not empty; choose another folder"):
        write(out, dtype="float32")
    assert (out / "model.safetensors").read_bytes() == before
    write(out, dtype="float32", overwrite=True)
    assert (out / "model.safetensors").read_bytes() != before
    assert names_in(tmp_path) == {"out"}


def test_only_checkpoints_are_replaced(pico_family, write, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mother.txt").write_text("dear")
    with pytest.raises(SourceError, match="not a checkpoint folder"):
        write(tmp_path / "letters", overwrite=True)
    with pytest.raises(SourceError, match="one of the models"):
        write(pico_family.base, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="in the way"):
        write(tmp_path / "file", overwrite=True)
    assert names_in(tmp_path) == {"letters", "file"}


def test_an_expert_is_not_replaced(pico_family, copy_checkpoint, write):
    expert = copy_checkpoint(pico_family.experts["alpha"])
    before = (expert / "model.safetensors").read_bytes()
    with pytest.raises(SourceError, match="no merge wrote"):
        write(expert, dtype="float32", overwrite=True)
    assert (expert / "model.safetensors").read_bytes() == before


def test_a_folder_that_cannot_be_made(write, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="is a file, not a folder"):
        write(tmp_path / "file" / "out")


def test_a_disk_that_is_full(write, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(SourceError, match="GB are free"):
        write(tmp_path / "out")
    assert names_in(tmp_path) == set()


def test_a_tensor_made_twice(pico_family, open_family, make_jobs, write, tmp_path):
    jobs = make_jobs(open_family(pico_family))
    with pytest.raises(MergeError, match="two jobs make this tensor"):
        write(tmp_path / "out", jobs=(*jobs, jobs[0]))


def test_links_of_the_donor_are_not_copied(
    pico_family, open_family, make_jobs, copy_checkpoint, tmp_path
):
    from merging.sources import open_checkpoint

    folder = copy_checkpoint(pico_family.base)
    (tmp_path / "secret").write_text("mine")
    (folder / "merges.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(SourceError, match=r"merges\.txt: a link out of the checkpoint"):
        write_merged(
            tmp_path / "out",
            make_jobs(open_family(pico_family)),
            open_family(pico_family),
            0,
            donor=open_checkpoint(ModelReference(str(folder)), folder=tmp_path),
            recipe_text="",
        )
    assert not (tmp_path / "out").exists()

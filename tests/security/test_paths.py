"""No path of a stranger's leaves its folder: shards, links, tokenizers, task files, runs."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

SECRET = "".join(
    json.dumps({"question": f"secret {n}?", "choices": ["a", "b"], "answer": 0}) + "\n"
    for n in range(60)
)


@pytest.fixture
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private file that could be a task's, in a folder that is nobody's study."""
    file = tmp_path_factory.mktemp("private") / "secret.jsonl"
    file.write_text(SECRET)
    return file


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/etc/passwd", "a/../../x", ".."])
def test_a_shard_elsewhere(bench, own, refused, shard) -> None:
    folder = own("alpha")
    (folder / "model.safetensors").rename(folder.parent / "secret.safetensors")
    index = {"weight_map": {"model.norm.weight": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(bench.call("check", bench.study), "alpha")
    refused(bench.call("explain", bench.study), "alpha")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_file_of_a_model_that_is_a_link_out_of_it(bench, own, refused, name) -> None:
    folder = own("alpha")
    (folder / name).rename(folder.parent / "secret")
    (folder / name).symlink_to(folder.parent / "secret")
    refused(bench.call("check", bench.study), "a link out of the checkpoint's folder")


def test_a_link_into_another_model_of_the_hub_cache(bench, own, refused) -> None:
    """The cache is made of links, within one model: another's weights stay its own."""
    hub = bench.folder / "hub"
    other, mine = hub / "models--you--private" / "blobs", hub / "models--evil--model"
    other.mkdir(parents=True)
    place = mine / "snapshots" / "1"
    shutil.copytree(own("alpha"), place)
    shutil.rmtree(bench.folder / "alpha")
    (bench.folder / "alpha").symlink_to(place)
    for blobs, message in ((mine / "blobs", ""), (other, "a link out of the checkpoint's")):
        blobs.mkdir(exist_ok=True)
        shutil.move((place / "config.json").resolve(), blobs / "1")
        (place / "config.json").unlink(missing_ok=True)
        (place / "config.json").symlink_to(os.path.relpath(blobs / "1", place))
        result = bench.call("check", bench.study)
        assert message or result.exit_code == 0, result.stderr
        if message:
            refused(result, message)


def test_an_adapter_that_is_a_link_out_of_its_folder(bench, refused) -> None:
    folder = bench.folder / "lora"
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").symlink_to(bench.folder / "base" / "model.safetensors")
    bench.change(("- model: alpha", "- model: alpha+lora"))
    refused(bench.call("check", bench.study), "a link out of the checkpoint's folder")


def test_a_tokenizer_made_of_a_private_file(bench, own, refused) -> None:
    """Else transformers takes the file for its vocabulary, which goes along with the merge."""
    folder, private = own("base"), bench.folder / "private.txt"
    private.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nprivate key\n")
    (folder / "tokenizer.json").unlink()
    for settings in ({"init_inputs": [str(private)]}, {"vocab": str(private)}):
        text = json.dumps({"tokenizer_class": "BertTokenizer", **settings})
        (folder / "tokenizer_config.json").write_text(text)
        refused(bench.search(), "is a file outside of the model's folder")


@pytest.mark.parametrize("how", ["up", "link", "linked folder", "shots"])
@pytest.mark.parametrize("command", ["check", "search"])
def test_a_task_file_outside_of_the_study(bench, secret, refused, how, command) -> None:
    inside = "sums.jsonl"
    if how == "link":
        (bench.folder / "mine.jsonl").symlink_to(secret)
    elif how == "linked folder":
        (bench.folder / "data").symlink_to(secret.parent)
    path = {
        "up": os.path.relpath(secret, bench.folder),
        "link": "mine.jsonl",
        "linked folder": "data/secret.jsonl",
        "shots": os.path.relpath(secret, bench.folder),
    }[how]
    if how == "shots":
        bench.change(
            ("    answer: answer", f"    answer: answer\n    fewshot: {{n: 1, from: {path}}}")
        )
    else:
        bench.change((f"file: {inside}", f"file: {path}"))
    said = refused(bench.call(command, bench.study), "outside of the study's folder")
    assert f"--allow-file {secret}" in said and "secret 1" not in said
    assert not bench.run.exists()


def test_a_file_that_the_user_names_is_read(bench, secret, monkeypatch) -> None:
    bench.change(("file: sums.jsonl", f"file: {os.path.relpath(secret, bench.folder)}"))
    for named in (secret, secret.parent):
        assert bench.call("check", bench.study, "--allow-file", named).exit_code == 0
    assert bench.call("check", bench.study, "--allow-file", bench.folder).exit_code == 2
    monkeypatch.setenv("EUTECTIC_ALLOW_FILES", f"/nowhere{os.pathsep}{secret.parent}")
    assert bench.call("check", bench.study).exit_code == 0


def test_an_absolute_path_was_meant_for_this_machine_and_is_told(bench, secret) -> None:
    bench.change(("file: sums.jsonl", f"file: {secret}"))
    found = bench.call("check", bench.study)
    assert found.exit_code == 0 and f"tasks read {secret}" in "".join(found.output.split("\n"))


def test_init_has_been_told_the_file_already(bench, secret, refused) -> None:
    study = bench.folder / "new" / "mine.yaml"
    study.parent.mkdir()
    models = ("--base", "base", "--expert", "alpha", "--expert", "beta")
    assert bench.call("init", *models, "--task", secret, "-o", study).exit_code == 0
    assert bench.call("check", study).exit_code == 0
    moved = study.rename(study.parent / "strangers.yaml")
    refused(bench.call("check", moved), "outside of the study's folder")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_task_file_that_never_ends(bench, refused, kind) -> None:
    file = bench.folder / "sums.jsonl"
    file.unlink()
    os.mkfifo(file) if kind == "pipe" else file.symlink_to("/dev/zero")
    message = "a pipe or a device" if kind == "pipe" else "outside of the study's folder"
    refused(bench.call("check", bench.study), message)


def test_tasks_of_lm_eval_from_outside(bench, secret, refused) -> None:
    (secret.parent / "mine.yaml").write_text("task: mine\n")
    old = "    file: lines.jsonl\n    type: loglikelihood\n    target: text\n"
    new = f"    lm_eval: mine\n    include_path: {secret.parent}\n"
    bench.change(
        (old, new), ("constraints:\n  - {task: lines, metric: bits_per_byte, max_drop: 5.0}\n", "")
    )
    refused(bench.call("check", bench.study), "include_path")


def test_a_run_that_says_it_came_from_a_private_folder(another, secret, refused) -> None:
    """`resolved.folder` of a stranger's run is a claim: what is read must be what was read."""
    data = yaml.safe_load(another.run.joinpath("study.yaml").read_text())
    data["tasks"][0]["file"] = str(secret)
    another.run.joinpath("study.yaml").write_text(yaml.safe_dump(data))
    message = "is not the file that the run was begun with"
    refused(another.call("verify", another.run), message)
    refused(another.call("check", another.run / "study.yaml"), message)
    study = another.run / "study.yaml"
    refused(another.call("evaluate", "base", "--study", study), message)
    data["tasks"][0]["file"] = "secret.jsonl"
    data["resolved"]["folder"] = str(secret.parent)
    study.write_text(yaml.safe_dump(data))
    shutil.copy(another.folder / "lines.jsonl", secret.parent)
    maps = [f"--map={name}={another.folder / name}" for name in ("base", "alpha", "beta")]
    refused(another.call("check", study, *maps), message)


def test_a_run_reads_its_own_files_again(another) -> None:
    assert another.call("verify", another.run).exit_code == 0


def test_a_run_of_a_version_without_digests(another, refused) -> None:
    """Its files are read where the user names them; a stranger's run looks the same."""
    study = another.run / "study.yaml"
    data = yaml.safe_load(study.read_text())
    del data["resolved"]["files"]
    study.write_text(yaml.safe_dump(data, sort_keys=False))
    said = refused(another.call("verify", another.run), "noted no digests of files")
    assert f"--allow-file {another.folder}" in said and "EUTECTIC_ALLOW_FILES" in said
    named = ("--allow-file", another.folder)
    found = another.call("verify", another.run, *named)
    assert found.exit_code == 0, found.stderr


@pytest.mark.parametrize(
    "name", ["log.txt", ".holder", "winner.yaml", "tensorboard", "study.db-journal"]
)
def test_a_run_that_would_be_written_through_a_link(another, refused, name) -> None:
    target = another.folder / "profile"
    target.write_text("mine\n")
    (another.run / name).unlink(missing_ok=True)
    (another.run / name).symlink_to(target)
    message = "a link, and a run is written in its own folder alone"
    refused(another.search("--trials", 7), message)
    refused(another.call("report", another.run), message)
    assert target.read_text() == "mine\n"


@pytest.mark.parametrize("name", ["report.html", "trials.csv", "winner.yaml", "study.yaml"])
def test_what_a_kill_leaves_beside_a_file_may_be_a_strangers_link(another, name) -> None:
    target = another.folder / "profile"
    target.write_text("mine\n")
    (another.run / f"{name}.partial").symlink_to(target)
    assert another.search("--trials", 7).exit_code == 0
    assert target.read_text() == "mine\n"
    assert (another.run / name).is_file() and not (another.run / name).is_symlink()


def test_a_database_that_is_a_link_to_another_runs(another, refused) -> None:
    other = another.folder / "runs" / "other"
    shutil.copytree(another.run, other)
    (another.run / "study.db").unlink()
    (another.run / "study.db").symlink_to(other / "study.db")
    before = (other / "study.db").read_bytes()
    for options in ((), ("--fresh",)):
        refused(another.search("--trials", 7, *options), "a link, and a run is written in its own")
    assert (other / "study.db").read_bytes() == before


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_the_card_of_a_model_is_no_way_out(another, own_card, kind) -> None:
    """Its licence is read from there; a pipe would be waited for, a link followed."""
    if kind == "pipe":
        os.mkfifo(own_card)
    else:
        (another.folder / "private.md").write_text("---\nlicense: unheard-of\n---\n")
        own_card.symlink_to(another.folder / "private.md")
    out = another.folder / "merged"
    result = another.call("export", another.run, "--trial", 0, "--weights", out)
    assert result.exit_code == 0, result.stderr
    assert "unheard-of" not in (out / "README.md").read_text()


@pytest.fixture
def own_card(another) -> Path:
    """Where the card of a copy of the base stands, and of no other model: nothing, at first."""
    for name in ("base", "alpha", "beta"):
        place = (another.folder / name).resolve()
        (another.folder / name).unlink()
        shutil.copytree(place, another.folder / name)
    return another.folder / "base" / "README.md"


def test_exports_of_a_model_with_links_take_nothing_along(bench, own, refused) -> None:
    folder = own("alpha")
    (folder / "merges.txt").symlink_to("/etc/hostname")
    recipe = bench.folder / "recipe.yml"
    recipe.write_text(
        "merge_method: linear\nmodels:\n- {model: alpha, parameters: {weight: 1}}\n"
        "- {model: base, parameters: {weight: 1}}\n"
    )
    refused(bench.call("merge", recipe, "out"), "a link out of the checkpoint's folder")
    assert not (bench.folder / "out").exists()

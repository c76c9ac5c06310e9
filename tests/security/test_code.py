"""Code that a stranger's file brings along does not run: each payload would leave a canary."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch


class Payload:
    """Unpickling this runs a command."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def leaving(canary: Path) -> str:
    """Python that leaves the canary at import."""
    return f"open({str(canary)!r}, 'w').close()\n"


def edit(file: Path, **changes: object) -> None:
    data = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**data, **changes}))


@pytest.mark.parametrize("allowed", [(), ("--allow-pickle",)])
def test_a_pickled_model_runs_nothing(bench, own, canary, refused, allowed) -> None:
    folder = own("alpha")
    (folder / "model.safetensors").unlink()
    torch.save({"x": Payload(canary)}, folder / "pytorch_model.bin")
    message = "cannot be read as plain weights" if allowed else "--allow-pickle"
    refused(bench.call("check", bench.study, *allowed), message)
    assert not canary.exists()


@pytest.mark.parametrize("allowed", [(), ("--allow-pickle",)])
def test_a_pickled_adapter_runs_nothing(bench, canary, refused, allowed) -> None:
    folder = bench.folder / "lora"
    folder.mkdir()
    edit(folder / "adapter_config.json", peft_type="LORA", r=2, lora_alpha=4)
    torch.save({"x": Payload(canary)}, folder / "adapter_model.bin")
    bench.change(("- model: alpha", "- model: alpha+lora"))
    message = "cannot be read as plain weights" if allowed else "--allow-pickle"
    refused(bench.call("check", bench.study, *allowed), message)
    assert not canary.exists()


def test_a_model_that_brings_code_is_refused(bench, own, canary, refused) -> None:
    folder = own("base")
    (folder / "modeling_evil.py").write_text(leaving(canary))
    (folder / "configuration_evil.py").write_text(leaving(canary))
    code = {"AutoConfig": "configuration_evil.C", "AutoModelForCausalLM": "modeling_evil.M"}
    edit(folder / "config.json", model_type="evil", auto_map=code)
    refused(bench.search(), "--trust-remote-code runs it")
    assert not canary.exists() and not bench.run.exists()


def test_code_of_a_model_that_is_known_stays_unread(bench, own, canary) -> None:
    """A Llama needs none, whatever its auto_map says."""
    folder = own("base")
    (folder / "evil.py").write_text(leaving(canary))
    code = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M", "AutoTokenizer": "evil.T"}
    edit(folder / "config.json", auto_map=code)
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", "evil.T"]})
    result = bench.search("--trials", 1)
    assert result.exit_code == 0, result.stderr
    assert not canary.exists()


def test_a_tokenizer_that_is_code_is_refused(bench, own, canary, refused) -> None:
    folder = own("base")
    (folder / "evil.py").write_text(leaving(canary))
    (folder / "tokenizer.json").unlink()
    auto_map = {"AutoTokenizer": ["evil.T", None]}
    edit(folder / "tokenizer_config.json", tokenizer_class="Evil", auto_map=auto_map)
    refused(bench.search(), "base: transformers cannot load it")
    assert not canary.exists()


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_kernels_of_the_hub_are_not_fetched(bench, own, refused, key) -> None:
    edit(own("base") / "config.json", **{key: "evil/kernel"})
    refused(bench.search(), f"config.json: {key}: 'evil/kernel' would fetch code from the hub")


def test_a_method_is_no_file(bench, canary, refused) -> None:
    (bench.folder / "evil.py").write_text(leaving(canary))
    for name in ("evil.py", "evil.py:method", "./evil.py", "os.system"):
        bench.change(("merge_method: ties", f"merge_method: {name}"))
        refused(bench.call("check", bench.study), "merge_method")
    assert not canary.exists()


def test_a_sampler_that_is_a_file_runs_only_when_named(bench, canary, refused) -> None:
    (bench.folder / "evil.py").write_text(leaving(canary))
    bench.change(("sampler: random", "sampler: evil.py:Sampler"))
    refused(bench.call("check", bench.study), "--allow-code")
    other = bench.folder / "other.py"
    other.write_text("")
    refused(bench.call("check", bench.study, "--allow-code", other), "--allow-code")
    assert not canary.exists()


def test_a_study_cannot_put_its_own_folder_in_the_place_of_optunahub(
    bench, canary, refused
) -> None:
    package = bench.folder / "package" / "samplers" / "good"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(leaving(canary))
    written = "{name: optunahub:samplers/good, registry: .}"
    bench.change(("sampler: random", f"sampler: {written}"))
    allowed = ("--allow-code", "optunahub:samplers/good")
    refused(bench.call("check", bench.study, *allowed), "takes the place of OptunaHub")
    assert not canary.exists()


def test_a_scorer_runs_only_when_named(bench, canary, refused) -> None:
    (bench.folder / "evil.py").write_text(leaving(canary) + "def right(row, text): return 1\n")
    bench.change(
        ("type: multiple_choice", "type: generate"),
        ("    choices: choices\n    answer: answer\n", "    score: evil.py:right\n"),
    )
    refused(bench.call("check", bench.study), "evil.py is code and runs only if you allow it")
    assert not canary.exists()
    (bench.folder / "allowed.py").symlink_to("evil.py")  # allowing another name allows its file
    bench.call("check", bench.study, "--allow-code", "allowed.py")
    assert canary.exists()


def test_an_lm_eval_task_runs_only_when_trusted(bench, canary, refused) -> None:
    tasks = bench.folder / "tasks"
    tasks.mkdir()
    (tasks / "evil.py").write_text(leaving(canary) + "def docs(dataset): return dataset\n")
    (tasks / "evil.yaml").write_text(
        "task: evil\ndataset_path: json\ndataset_kwargs: {data_files: ../lines.jsonl}\n"
        "validation_split: train\nprocess_docs: !function evil.docs\n"
        "output_type: multiple_choice\n"
        "doc_to_text: \"{{ cycler.__init__.__globals__.os.system('touch "
        f"{canary}') }}}}\"\ndoc_to_target: 0\ndoc_to_choice: [a, b]\n"
    )
    old = "    file: lines.jsonl\n    type: loglikelihood\n    target: text\n"
    bench.change((old, "    lm_eval: evil\n    include_path: tasks\n"), CONSTRAINT)
    refused(bench.call("check", bench.study), "--allow-code")
    (tasks / "ours.yaml").write_text("task: ours\n")
    refused(bench.call("check", bench.study, "--allow-code", "tasks/ours.yaml"), "--allow-code")
    assert not canary.exists()
    bench.call("check", bench.study, "--trust-task-code")
    assert canary.exists()


CONSTRAINT = (
    "constraints:\n  - {task: lines, metric: bits_per_byte, max_drop: 5.0}\n",
    "",
)


@pytest.mark.parametrize(("mode", "runs"), [(0o700, True), (0o777, False)])
def test_kernels_that_anybody_may_have_written(tmp_path, canary, mode, runs) -> None:
    """Numba keeps machine code in pickles: a folder open to all is not read. Shut, it is ours."""
    (tmp_path / "kernel.py").write_text("def twice(x):\n    return x + x\n")
    script = (
        "import kernel; from merging.kernels.jit import compiled; print(compiled(kernel.twice)(2))"
    )
    path = os.pathsep.join((str(Path(__file__).parents[2]), str(tmp_path)))
    kept = tmp_path / "kept"
    environment = os.environ | {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(kept)}
    command = [sys.executable, "-c", script]
    subprocess.run(command, env=environment, check=True)
    planted = list(kept.rglob("*.nbi"))
    assert planted
    for file in planted:
        file.write_bytes(pickle.dumps(Payload(canary)))
        file.parent.chmod(mode)
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "4" and canary.exists() == runs

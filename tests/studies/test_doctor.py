"""`check` as the doctor: every fault at once, what does nothing, what a search will take."""

import json
import re
import shutil

import pytest
from safetensors.torch import load_file, save_file

from search.ledger import Ledger


def checked(bench, *pairs: tuple[str, str]) -> dict:
    bench.change(*pairs)
    result = bench.call("check", bench.study, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


WEIGHT = "weight: {range: [0.0, 1.0], start: 0.5}"
FILTERED = """weight:
            - {filter: self_attn, value: {range: [0.0, 1.0]}}
            - {filter: self_atn, value: {range: [0.0, 1.0], anchors: 2}}
            - {filter: layers.2., value: {range: [0.0, 1.0], anchors: 3}}
            - {value: 0.3}
       """


def test_every_fault_is_told_at_once_and_as_json(bench) -> None:
    bench.change(
        ("model: alpha", "model: ./alhpa"),
        ("{range: [0.1, 0.9]}", "{range: [0.9, 0.1]}"),
        ("file: sums.jsonl", "file: sum.jsonl"),
        ("target: text", "target: txt"),
    )
    result = bench.call("check", bench.study, "--json")
    assert result.exit_code == 2
    told = json.loads(result.stdout)
    assert told["may_begin"] is False
    for word in ("alhpa", "expected low below high", "sum.jsonl", "txt"):
        assert sum(word in fault for fault in told["faults"]) == 1, told["faults"]
    assert result.stderr.count("eutectic: ") == len(told["faults"]) == 4
    plain = bench.call("check", bench.study)
    assert (plain.exit_code, plain.stdout, plain.stderr) == (2, "", result.stderr)


def test_every_fault_of_the_form_is_told(bench) -> None:
    bench.change(
        ("name: pico", "name: a b"),
        ("sampler: random", "samplr: random"),
        ("{trials: 6}", "{trials: 0, itms: 3}"),
    )
    result = bench.call("check", bench.study)
    assert result.exit_code == 2
    places = re.findall(r"study.yaml:(\d+):", result.stderr)
    assert len(places) == 4 and "did you mean 'sampler'" in result.stderr
    assert "did you mean 'items'" in result.stderr and "greater than or equal" in result.stderr


def test_a_filter_that_takes_nothing_and_anchors_on_one_layer(bench) -> None:
    found = checked(bench, (f"parameters: {{{WEIGHT}, density: {{range: [0.1, 0.9]}}}}",
                            f"parameters:\n          {FILTERED}"))  # fmt: skip
    assert found["parameters_that_do_nothing"] == [
        "alpha.weight.self_atn@0", "alpha.weight.self_atn@1",  # no tensor has such a name
        "alpha.weight.layers.2.@0", "alpha.weight.layers.2.@1",  # the last layer reads the last
    ]  # fmt: skip
    assert any("it reaches no tensor" in warning for warning in found["warnings"])


@pytest.mark.parametrize(
    ("pairs", "idle", "why"),
    [
        ([], [], ""),
        ([("{normalize: false}", "{normalize: true}")], [], ""),
        (
            [("{normalize: false}", "{normalize: true, lambda: {range: [0.5, 1.5]}}"),
             ("    - model: beta\n      parameters: {weight: {range: [0.0, 1.0], start: 0.25},"
              " density: 0.5}\n", "")],
            ["alpha.weight"], "any weight gives the same merge",
        ),
        (
            [("merge_method: ties", "merge_method: della"),
             ("density: {range: [0.1, 0.9]}", "density: 1.0, epsilon: {range: [0.0, 0.1]}")],
            ["alpha.epsilon"], "where the density is 1",
        ),
        ([("model: beta", "model: twin")], ["twin.weight"], "has the weights of the base"),
    ],
)  # fmt: skip
def test_what_does_nothing(bench, pairs, idle: list[str], why: str) -> None:
    shutil.copytree((bench.folder / "base").resolve(), bench.folder / "twin")
    found = checked(bench, *pairs)
    assert found["parameters_that_do_nothing"] == idle
    assert any(why in warning for warning in found["warnings"]) or not why


def test_an_expert_that_equals_the_base_where_it_is_weighed(bench) -> None:
    """Only the head of the last expert differs, and its range is for the layers."""
    place = bench.folder / "part"
    shutil.copytree((bench.folder / "base").resolve(), place)
    tensors = load_file(place / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"] + 0.5
    save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    weights = "weight: [{filter: mlp, value: {range: [0.0, 1.0]}}, {value: 0.5}]"
    found = checked(
        bench,
        ("model: beta", "model: part"),
        ("weight: {range: [0.0, 1.0], start: 0.25}", weights),
    )
    assert found["parameters_that_do_nothing"] == ["part.weight.mlp"]
    assert any("are those of the base" in warning for warning in found["warnings"])


def test_a_study_in_which_nothing_can_change(bench) -> None:
    shutil.copytree((bench.folder / "base").resolve(), bench.folder / "twin")
    one = "model: alpha"
    other = "    - model: beta\n      parameters: {weight: {range: [0.0, 1.0]," \
        " start: 0.25}, density: 0.5}\n"  # fmt: skip
    found = checked(bench, (one, "model: twin"), (other, ""))
    assert found["parameters_that_do_nothing"] == found["parameters"]
    assert any("every candidate is the same merge" in one for one in found["warnings"])


def test_chat_templates_that_differ(bench) -> None:
    from merging.chat_templates import BUILT_IN, write_template

    place = bench.folder / "speaker"
    shutil.copytree((bench.folder / "alpha").resolve(), place)
    write_template(place, BUILT_IN["llama3"])
    chat = ("    answer: answer", "    answer: answer\n    chat_template: true")
    same = checked(bench, chat)["warnings"]
    assert not any("chat" in one for one in same)
    other = checked(bench, chat, ("model: alpha", "model: ./speaker"))["warnings"]
    assert any("chat templates differ: ./speaker" in one for one in other)


def test_phases_are_limits_that_a_search_keeps(searched) -> None:
    found = json.loads(searched.call("check", searched.study, "--json").stdout)
    phases = {one["phase"]: one["items"] for one in found["phases"]}
    with Ledger(f"sqlite:///{searched.run / 'study.db'}") as ledger:
        references, trials = ledger.candidates("reference"), ledger.candidates("trial")
    assert phases["references"] == sum(one.items for one in references)
    assert phases["gradients"] == 0  # the study has no calibration split
    assert 0 < sum(one.items for one in trials) <= phases["trials"]
    assert phases["select"] + phases["test"] == found["items_for_select_and_test_at_most"]
    sizes = found["gigabytes"]
    assert 0 < sizes["live_model"] <= sizes["models_mapped"] < sizes["memory"]
    run = sum(one.stat().st_size for one in searched.run.iterdir())
    assert run / 1e9 < 2 * sizes["run_folder"]


def test_measured_on_one_candidate(bench) -> None:
    result = bench.call("check", bench.study, "--measure", "--threads", 1, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["measured"]
    assert set(found["seconds_per_item"]) == {"sums", "lines"}
    assert 0 < found["build_seconds"] < found["seconds_per_trial"]
    assert found["items_scored"] == 40  # all of both search splits
    shown = bench.call("check", bench.study, "--measure", "--threads", 1)
    assert "Measured on one candidate" in shown.stdout and "in all" in shown.stdout
    assert shown.stdout.rstrip().endswith(f"eutectic search {bench.study}")


def test_nothing_is_loaded_unless_asked(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("merging.loading.load_model", loaded)
    assert bench.call("check", bench.study).exit_code == 0
    with pytest.raises(AssertionError, match="loaded"):
        raise bench.call("check", bench.study, "--measure").exception or RuntimeError("not loaded")


def test_a_device_that_is_not_there(bench) -> None:
    result = bench.call("check", bench.study, "--device", "cuda:77")
    assert result.exit_code == 2 and "--device cuda:77" in result.stderr

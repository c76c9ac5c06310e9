"""A search over the layers of slices, from `check` to `verify`: candidates of many depths."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from merging.recipe import ModelReference
from merging.recipe_writer import recipe_yaml
from search.inline import InlineExecutor, settings_hash
from search.ledger import Candidate, Ledger
from studies.preflight import Permissions, inspect
from studies.reopen import open_study
from studies.session import Hardware, open_executor

STUDY = """\
name: pico
recipe:
  merge_method: linear
  base_model: base
  slices:
    - sources:
        - model: base
          layer_range: [0, {range: [1, 3], start: 3}]
          parameters: {weight: 1.0}
        - {model: alpha, parameters: {weight: {range: [0.0, 1.0], anchors: 2, start: 0.0}}}
    - sources:
        - {model: base, layer_range: [{range: [0, 3], start: 3}, 3], parameters: {weight: 1.0}}
    - sources:
        - model: beta
          layer_range: [{range: [0, 1], start: 0}, {choice: [2, 3], start: 2}]
          parameters: {weight: 1.0}
  dtype: float32
tasks:
  - name: sums
    file: sums.jsonl
    type: multiple_choice
    prompt: "{{question}}"
    choices: choices
    answer: answer
  - name: lines
    file: lines.jsonl
    type: loglikelihood
    target: text
split: {calibration: 0, search: 0.4, select: 0.3, test: 0.3}
budget: {trials: 8}
sampler: auto
"""
SLIDING = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention",
           "sliding_attention"], "vocab_size": 64, "hidden_size": 16, "intermediate_size": 24,
           "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1,
           "head_dim": 8, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}  # fmt: skip


@pytest.fixture
def stacks(bench, pico_family_float32):
    """A bench of the family in float32 whose study searches layers."""
    for name, place in (("base", pico_family_float32.base),
                        *pico_family_float32.experts.items()):  # fmt: skip
        (bench.folder / name).unlink()
        (bench.folder / name).symlink_to(place, target_is_directory=True)
    bench.study.write_text(STUDY, encoding="utf-8")
    return bench


@pytest.fixture
def sliding(stacks, write_pico_tokenizer):
    """The same with models whose layers differ in kind: sliding and full attention."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5)
        for name in ("base", "alpha", "beta"):
            model = Gemma3ForCausalLM(Gemma3TextConfig(**SLIDING))
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
            (stacks.folder / name).unlink()
            model.save_pretrained(stacks.folder / name)
            write_pico_tokenizer(stacks.folder / name)
    return stacks


def trials(run: Path) -> list[Candidate]:
    with Ledger(f"sqlite:///{run / 'study.db'}") as ledger:
        return ledger.candidates("trial")


def references(run: Path) -> dict[str, Candidate]:
    with Ledger(f"sqlite:///{run / 'study.db'}") as ledger:
        return {one.name: one for one in ledger.candidates("reference")}


def depth(data: dict) -> int:
    ends = [one["sources"][0]["layer_range"] for one in data["slices"]]
    return sum(end - start for start, end in ends)


def scored(bench, model: str) -> tuple[float, float]:
    """Objectives of a folder or recipe on the items that were searched on."""
    result = bench.call("evaluate", model, "--study", bench.study, "--split", "search",
                        "--json", "--threads", "1")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    tasks = json.loads(result.stdout)["tasks"]
    return tasks["sums"]["acc"]["value"], tasks["lines"]["bits_per_byte"]["value"]


@pytest.mark.parametrize("family", ["stacks", "sliding"])
def test_candidates_score_as_what_merge_writes(family, request) -> None:
    bench = request.getfixturevalue(family)
    result = bench.search()
    assert result.exit_code == 0, result.stderr
    found = trials(bench.run)
    assert len({depth(one.data) for one in found}) > 3
    assert len({one.recipe_hash for one in found}) == len({str(one.values) for one in found})
    for one in found:
        assert one.scores is not None and one.state == "complete"
        text = bench.call("export", bench.run, "--trial", one.number).stdout
        exported = yaml.safe_load(text)
        assert "range" not in text.replace("layer_range", "") and "choice" not in text
        for cut in exported["slices"]:
            own = [source["layer_range"] for source in cut["sources"]]
            assert own[0] == own[-1] and all(type(end) is int for end in own[0])
        out = f"merged{one.number}"
        (bench.folder / f"{out}.yml").write_text(text)
        merged = bench.call("merge", f"{out}.yml", out)
        assert merged.exit_code == 0, merged.stderr
        config = json.loads((bench.folder / out / "config.json").read_text())
        assert config["num_hidden_layers"] == depth(one.data)
        assert scored(bench, out) == one.scores
    base = references(bench.run)["base"]
    assert scored(bench, "base") == base.scores
    verified = bench.call("verify", bench.run)
    assert verified.exit_code == 0 and verified.stdout.endswith("identical\n"), verified.stderr
    assert bench.call("verify", bench.run, "--trial", found[-1].number).exit_code == 0


def test_text_is_written_as_by_what_merge_writes(sliding) -> None:
    """The loop's cache has a place for each layer, of its kind."""
    from evaluation.runner import Runner
    from evaluation.task import Request
    from merging.loading import load_model, load_tokenizer
    from merging.sources import open_checkpoint

    preflight = inspect(open_study(sliding.study)[0], {}, Permissions())
    executor = open_executor(preflight, Hardware(threads=1).resolved(None), Permissions())
    settings, runner = executor.settings, executor.harness.runner
    asked = [
        Request("generate", text, until=("\n",), max_new_tokens=12)
        for text in ("1 + 1 =", "a much longer beginning than the window", "abc")
    ]
    space, texts = preflight.space, []
    for number, ends in enumerate((space.stack.largest(), {"slice0.end": 1, "slice2.end": 2})):
        merge = executor.prepare(space.fill({**space.start, **ends}))
        executor.build(merge)
        texts.append([one.text for one in runner.run(runner.prepare(asked))])
        assert settings_hash({**runner.fingerprint(), "decoding": None}) == settings
        (sliding.folder / "own.yml").write_text(recipe_yaml(merge.recipe))
        assert sliding.call("merge", "own.yml", f"own{number}").exit_code == 0
        written = open_checkpoint(ModelReference(f"own{number}"), folder=sliding.folder)
        theirs = Runner(load_model(written), load_tokenizer(written), runner.settings)
        assert [one.text for one in theirs.run(theirs.prepare(asked))] == texts[-1]
    assert runner.decoding is not None and runner.decoding.own
    assert texts[0] != texts[1] and any(texts[0])


def test_layers_in_place_score_as_the_base(stacks) -> None:
    text = (
        STUDY[: STUDY.index("  slices:")].replace("linear", "passthrough")
        + """\
  slices:
    - sources: [{model: base, layer_range: [0, {range: [1, 3]}]}]
    - sources: [{model: base, layer_range: [{range: [0, 2]}, 3]}]
  dtype: float32
"""
        + STUDY[STUDY.index("tasks:") :]
    )
    stacks.study.write_text(text)
    assert stacks.search().exit_code == 0
    found = {one.name: one for one in trials(stacks.run)}
    assert list(found)[:2] == ["warm start: middle", "warm start: layers in place"]
    same = found["warm start: layers in place"]
    assert same.scores == references(stacks.run)["base"].scores and depth(same.data) == 3
    assert found["warm start: middle"].scores != same.scores


def test_killed_anywhere_it_ends_as_if_undisturbed(
    stacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stacks.search("--out", "whole").exit_code == 0
    score = InlineExecutor.score
    for stop in (5, 8, 12):
        blocks: list[object] = []

        def stopping(self: InlineExecutor, task: str, indices: list[int], stop=stop,
                     blocks=blocks) -> object:  # fmt: skip
            blocks.append(indices)
            if len(blocks) > stop:
                raise KeyboardInterrupt
            return score(self, task, indices)

        with monkeypatch.context() as patch:
            patch.setattr(InlineExecutor, "score", stopping)
            assert stacks.search().exit_code == 130
    assert stacks.search().exit_code == 0

    def told(one: Candidate) -> tuple[object, ...]:
        return one.name, one.values, one.scores, one.recipe_hash, one.coordinates, one.items

    assert [told(one) for one in trials(stacks.run)] == [
        told(one) for one in trials(stacks.folder / "whole")
    ]


def test_what_is_left_behind(stacks) -> None:
    checked = json.loads(stacks.call("check", stacks.study, "--json").stdout)
    assert checked["layers_of_candidates"] == "2 to 9 (the base has 3)"
    assert checked["sampler"].startswith("tpe (2 objectives, 6 dimensions with choices with la")
    assert stacks.search().exit_code == 0
    largest = sum(one.stat().st_size for one in (stacks.folder / "base").glob("*.safetensors"))
    assert largest < checked["gigabytes_of_the_largest"] * 1e9 < 3 * largest
    lines = (stacks.run / "trials.csv").read_text().splitlines()
    assert lines[0].startswith("number,state,slice0.end,slice1.start,slice2.start,slice2.end,sl")
    assert lines[1].split(",")[1:6] == ["complete", "3", "3", "0", "2"]  # the user's own recipe
    assert (stacks.run / "report.html").is_file()
    assert stacks.call("report", stacks.run).exit_code == 0
    shown = json.loads(stacks.call("trials", stacks.run, "--format", "json").stdout)
    assert shown[0]["slice0.end"] == 3
    out = stacks.folder / "weights"
    exported = stacks.call("export", stacks.run, "--trial", "0", "--weights", out)
    assert exported.exit_code == 0, exported.stderr
    config = json.loads((out / "config.json").read_text())
    assert config["num_hidden_layers"] == depth(trials(stacks.run)[0].data) == 5
    assert scored(stacks, "weights") == trials(stacks.run)[0].scores


def test_a_changed_range_of_layers_is_another_study(stacks) -> None:
    assert stacks.search("--trials", "1").exit_code == 0
    stacks.study.write_text(STUDY.replace("range: [1, 3]", "range: [2, 3]"))
    refused = stacks.search()
    assert refused.exit_code == 2 and "layer_range[1]" in refused.stderr


FAULTS = [
    ("{choice: [2, 3], start: 2}", "{choice: [2, 4], start: 2}",
     ":15:52 recipe.slices[2].sources[0].layer_range[1]: 'beta' has 3 layers, the slice can end"),
    ("{range: [0, 1], start: 0}", "{range: [0, 2], start: 0}",
     ":15:25 recipe.slices[2].sources[0].layer_range[0]: the slice can start at 2 and end at 2"),
    ("anchors: 2", "anchors: layers", "anchors: layers needs slices whose number of layers"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "message"), FAULTS)
@pytest.mark.parametrize("command", ["check", "search"])
def test_faults_come_before_any_work(stacks, command, before, after, message) -> None:
    assert before in STUDY
    stacks.study.write_text(STUDY.replace(before, after))
    result = stacks.call(command, stacks.study)
    assert result.exit_code == 2 and message in result.stderr, result.stderr
    assert not stacks.run.exists()


def test_layers_that_cannot_move_are_refused(stacks) -> None:
    base = stacks.folder / "base"
    place = base.resolve()
    base.unlink()
    base.mkdir()
    for file in place.iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "first_k_dense_replace": 1}))
    result = stacks.call("check", stacks.study)
    assert result.exit_code == 2 and "study.yaml:6:5 recipe.slices: config.json makes layers" in (
        result.stderr
    )


@pytest.fixture
def deeper(stacks, write_pico_tokenizer) -> Callable[[], None]:
    """Puts a model of five layers in the place of beta."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig.from_pretrained(stacks.folder / "base", num_hidden_layers=5)
    (stacks.folder / "beta").unlink()
    with torch.random.fork_rng():
        torch.manual_seed(8)
        LlamaForCausalLM(config).save_pretrained(stacks.folder / "beta")
    write_pico_tokenizer(stacks.folder / "beta")
    return stacks


def test_parents_of_other_depths_are_scored_as_they_are(deeper) -> None:
    deeper.study.write_text(STUDY.replace("{choice: [2, 3], start: 2}", "{choice: [2, 5]}"))
    result = deeper.search("--trials", "4")
    assert result.exit_code == 0, result.stderr
    checked = json.loads(deeper.call("check", deeper.study, "--json").stdout)
    assert checked["references"] == ["base", "alpha", "beta"]
    assert any("differ in layers (base 3, alpha 3, beta 5)" in one for one in checked["warnings"])
    found = references(deeper.run)
    for name in ("base", "alpha", "beta"):
        assert scored(deeper, name) == found[name].scores

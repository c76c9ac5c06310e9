"""`init`: what people publish becomes a study that `check` accepts and `search` runs."""

import json
from pathlib import Path

import pytest
import yaml

from search.ledger import Ledger

RECIPES = Path(__file__).parent.parent / "data" / "recipes"
NAMES = {
    "dare_ties_llama32": {
        "alpindale/Llama-3.2-3B": "base",
        "unsloth/Llama-3.2-3B-Instruct": "alpha",
        "belyakoff/llama-3.2-3b-instruct-fine-tuned": "beta",
        "Medragondot/llama-3.2-3b-thinking": "gamma",
    },
    "della_nemo": {
        "MarinaraSpaghettiNemoReRemix-12B": "base",
        "NohobbyYetAnotherMerge-v0.3": "alpha",
    },
    "linear_openrs": {
        "baselines_openrs/cos_MRL4096_ROLLOUT4_LR1e-6/global_step_50/actor/huggingface": "alpha",
        "baselines_openrs/fmt_MRL4096_ROLLOUT4/global_step_50/actor/huggingface": "beta",
    },
}
WARNED = {
    "dare_ties_llama32": ["interpolation_factor", "int8_mask", "models[0].parameters.weight"],
    "della_nemo": ["int8_mask", "models[0].parameters.lambda"],
    "linear_openrs": [],
}


@pytest.fixture
def asked(bench) -> list[str]:
    """`--task` options for a file of questions large enough for the default split."""
    rows = [
        {"question": f"{one} + 1 =", "choices": [str(one + 1), "x"], "answer": 0}
        for one in range(90)
    ]
    file = bench.folder / "many.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["--task", str(file)]


def maps(bench, name: str) -> list[str]:
    places = ((one, bench.folder / place) for one, place in NAMES[name].items())
    return [part for one, place in places for part in ("--map", f"{one}={place}")]


@pytest.mark.parametrize("name", NAMES)
def test_published_recipes(bench, asked: list[str], name: str) -> None:
    study = bench.folder / f"{name}.yaml"
    recipe = RECIPES / f"{name}.yml"
    made = bench.call("init", recipe, *asked, *maps(bench, name), "-o", study)
    assert made.exit_code == 0, made.output
    warned = [line for line in made.stderr.splitlines() if line.startswith("warning")]
    assert len(warned) >= len(WARNED[name])
    for word in WARNED[name]:
        assert any(f"{name}.yml:" in line and word in line for line in warned), made.stderr
    checked = bench.call("check", study, *maps(bench, name), "--json")
    assert checked.exit_code == 0, checked.stderr
    assert json.loads(checked.stdout)["warnings"] == [
        "Task many has 18 groups in its test split, fewer than 30: too few for an interval."
    ]
    searched = bench.call(
        "search", study, *maps(bench, name), "--trials", 5, "--sampler", "random", "--quiet",
        "--out", "run", "--threads", 1,
    )  # fmt: skip
    assert searched.exit_code == 0, searched.output
    with Ledger(f"sqlite:///{bench.folder / 'run' / 'study.db'}") as ledger:
        first = ledger.candidates("trial")[0]
    assert first.name == "warm start: own recipe"
    assert same_numbers(first.data, RECIPES / f"{name}.yml", bench, name)


def same_numbers(data: object, recipe: Path, bench, name: str) -> bool:
    """Whether a trial's recipe plans the merge that the published recipe plans."""
    from merging.document import read_document
    from merging.plan import plan_recipe
    from merging.recipe import models_of
    from merging.recipe_reader import read_recipe
    from merging.sources import open_checkpoint

    document = read_document(recipe)
    mapping = {one: bench.folder / place for one, place in NAMES[name].items()}
    plans = []
    for one in (document, document.with_data(data)):
        read, _ = read_recipe(one, strict=False)
        opened = {
            model: open_checkpoint(model, folder=bench.folder, mapping=mapping)
            for model in models_of(read)
        }
        plans.append(plan_recipe(read, opened))
    return plans[0] == plans[1]


def test_a_recipe_that_lost_its_indentation_is_refused_with_both_lines(bench) -> None:
    result = bench.call("init", RECIPES / "della_nemo_as_pasted.yml")
    assert result.exit_code == 2 and result.stdout == ""
    assert "in line 2 and in line 10" in result.stderr and "lost its indentation" in result.stderr


def test_printed_or_written_never_over_a_file(bench, asked: list[str]) -> None:
    recipe = RECIPES / "linear_openrs.yml"
    printed = bench.call("init", recipe, *asked)
    assert yaml.safe_load(printed.stdout)["name"] == "linear_openrs"
    refused = bench.call("init", recipe, *asked, "-o", bench.study)
    assert refused.exit_code == 2 and "exists already" in refused.stderr
    assert bench.study.read_text() == bench.text
    alone = bench.call("init", recipe)
    assert alone.exit_code == 0 and "no --task was given" in alone.stderr


def test_local_models_and_files_are_seen_from_where_the_study_stands(bench, asked) -> None:
    (bench.folder / "recipes").mkdir()
    recipe = bench.folder / "recipes" / "mine.yml"
    recipe.write_text(
        "merge_method: task_arithmetic\nbase_model: ../base\n"
        "models: [{model: ../alpha, parameters: {weight: [0.2, 0.8]}}]\ndtype: bfloat16\n"
    )
    study = bench.folder / "studies" / "mine.yaml"
    study.parent.mkdir()
    assert bench.call("init", recipe, *asked, *asked, "-o", study).exit_code == 0
    data = yaml.safe_load(study.read_text())
    assert data["recipe"]["base_model"] == str((bench.folder / "base").resolve())
    assert [task["name"] for task in data["tasks"]] == ["many", "many-2"]
    assert {task["file"] for task in data["tasks"]} == {"../many.jsonl"}
    assert data["recipe"]["models"][0]["parameters"]["weight"] == {
        "range": [0.0, 1.6], "anchors": 2, "start": [0.2, 0.8],
    }  # fmt: skip
    assert data["recipe"]["parameters"]["lambda"] == {"range": [0.5, 1.5], "start": 1.0}
    assert bench.call("check", study).exit_code == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [("", "empty|no rows"), ('{"a": 1}\n', "columns are not understood \\(a\\)")],
)
def test_a_task_file_of_no_use(bench, rows: str, message: str) -> None:
    import re

    (bench.folder / "odd.jsonl").write_text(rows)
    result = bench.call("init", RECIPES / "linear_openrs.yml", "--task", "odd.jsonl")
    assert result.exit_code == 2 and re.search(message, result.stderr), result.output


GENOME = """\
genome:
  models: [org/alpha, org/beta]
  merge_method: dare_ties
  base_model: org/base
  layer_granularity: 1
  filters: [self_attn]
tasks:
  - {name: arc_easy, weight: 0.5, metric: "acc_norm,none"}
  - piqa
num_fewshot: 2
"""
GENOME_MAPS = ["--map", "org/alpha=alpha", "--map", "org/beta=beta", "--map", "org/base=base"]


def test_a_genome_of_mergekit_evolve(bench, asked: list[str]) -> None:
    (bench.folder / "evolve.yml").write_text(GENOME)
    made = bench.call("init", "evolve.yml", *GENOME_MAPS)
    assert (made.exit_code, made.stderr) == (0, "")
    data = yaml.safe_load(made.stdout)
    weight = {"range": [0.0, 1.0], "start": 0.5, "blocks": 3}
    density = {"range": [0.05, 1.0], "start": 1.0, "blocks": 3}
    parameters = {
        name: [{"filter": "self_attn", "value": one}, {"value": one}]
        for name, one in (("weight", weight), ("density", density))
    }
    assert data["recipe"]["models"] == [
        {"model": name, "parameters": parameters} for name in ("org/alpha", "org/beta")
    ]
    assert data["recipe"]["parameters"] == {"normalize": True}
    assert data["tasks"] == [
        {"name": name, "lm_eval": name, "fewshot": 2} for name in ("arc_easy", "piqa")
    ]
    assert data["objectives"]["arc_easy"] == {"task": "arc_easy", "metric": "acc_norm"}
    assert data["winner"] == {"rule": "weighted", "weights": {"arc_easy": 0.5, "piqa": 1.0}}


def test_what_else_a_genome_says(bench) -> None:
    text = GENOME.replace("dare_ties", "linear").replace("org/beta]", "org/beta, org/base]")
    text = text.replace("base_model: org/base", "base_model: org/base\n  tokenizer_source: union")
    text = text.replace("weight: 0.5, metric", "weight: -0.5, metric") + "shuffle: true\n"
    (bench.folder / "evolve.yml").write_text(text)
    made = bench.call("init", "evolve.yml", *GENOME_MAPS)
    assert made.exit_code == 0 and "note: shuffle: `limit`" in made.stderr
    data = yaml.safe_load(made.stdout)
    assert len(data["recipe"]["models"]) == 3  # the base of a mean is one of the models
    assert data["recipe"]["tokenizer_source"] == "union"
    assert data["winner"]["weights"]["arc_easy"] == 0.5


def test_a_genome_searched(bench, asked: list[str]) -> None:
    (bench.folder / "evolve.yml").write_text(GENOME)
    assert bench.call("init", "evolve.yml", *asked, *GENOME_MAPS, "-o", "g.yaml").exit_code == 0
    arguments = [*GENOME_MAPS, "--trials", 5, "--sampler", "random", "--quiet", "--out", "run"]
    result = bench.call("search", "g.yaml", *arguments)
    assert result.exit_code == 0, result.output


def test_a_genome_whose_models_are_elsewhere(bench) -> None:
    (bench.folder / "evolve.yml").write_text(GENOME)
    made = bench.call("init", "evolve.yml")
    assert made.exit_code == 0 and "give --map" in made.stderr
    assert "anchors: 4" in made.stdout


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  merge_method: dare_ties\n", "", "'merge_method' is missing"),
        ("[org/alpha, org/beta]", "7", "expected a list of models"),
        ("dare_ties", "slerp", "its genome for slerp has no counterpart"),
        (GENOME, "genome: 3\n", "expected a mapping"),
    ],
)
def test_a_genome_of_no_use(bench, old: str, new: str, message: str) -> None:
    (bench.folder / "evolve.yml").write_text(GENOME.replace(old, new))
    result = bench.call("init", "evolve.yml")
    assert result.exit_code == 2 and message in result.stderr, result.output

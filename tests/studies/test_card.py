"""The model card: front matter the Hub can read, honest tables, nothing leaks or breaks out."""

import dataclasses
import re

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index

from merging.recipe import ModelReference
from search.ledger import Candidate
from studies.card import model_card
from studies.licences import licences_of
from studies.view import Benchmark
from studies.weights import of_candidate
from studies.wording import clean


def front_matter(card: str) -> dict:
    _, matter, _ = card.split("---\n", 2)
    return yaml.safe_load(matter)


def test_front_matter_lists_hub_names_once_base_first(make_view):
    view = dataclasses.replace(
        make_view(), models=("org/a", "org/base", "./local", "/abs/b", "org/c+org/lora", "a/b/c")
    )
    matter = front_matter(model_card(view, "merge_method: ties\n", "org/base"))
    assert matter.pop("model-index")[0]["name"] == "skills"
    assert matter == {
        "base_model": ["org/base", "org/a", "org/c", "org/lora"],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "tags": ["mergekit", "merge", "eutectic"],
    }


def test_without_hub_names_no_base_model_is_claimed(make_view):
    view = dataclasses.replace(make_view(), models=("./a", "/b/c"))
    matter = front_matter(model_card(view, "merge_method: linear\n", None))
    assert set(matter) == {"library_name", "model-index", "tags"}


def test_the_hub_reads_test_figures_with_their_intervals(make_view):
    view = dataclasses.replace(
        make_view(),
        benchmarks={"logic": Benchmark(("allenai/ai2_arc",), False, True)},
    )
    card = ModelCard(model_card(view, "merge_method: ties\n", "org/base"))
    card.data.to_yaml()
    assert card.data.datasets == ["allenai/ai2_arc"]
    won = next(row for row in view.test_rows if row.kind == "winner").values
    results = {one.dataset_name: one for one in card.data.eval_results}
    assert results.keys() == {"logic", "code"}
    logic = results["logic"]
    assert (logic.dataset_type, logic.dataset_split) == ("allenai/ai2_arc", "test")
    assert (logic.metric_type, logic.metric_value) == ("acc", won["logic acc"].value)
    told = {"low": won["logic acc"].low, "high": won["logic acc"].high, "items": 120}
    assert logic.metric_args == {**told, "interval": "95%"}
    assert (results["code"].dataset_type, results["code"].dataset_split) == ("custom", None)
    assert eval_results_to_model_index("skills", card.data.eval_results)


def test_a_benchmark_that_was_optimised_is_warned_of_first(make_view):
    known = {
        "logic": Benchmark(("allenai/ai2_arc",), False, False),
        "code": Benchmark((), True, False),
        "prose": Benchmark((), False, True),
    }
    card = model_card(
        dataclasses.replace(make_view(), benchmarks=known), "merge_method: ties\n", None
    )
    warnings = [line for line in card.splitlines() if line.startswith("> **Warning:** ")]
    assert len(warnings) == 2 and card.index(warnings[0]) < card.index("## Scores")
    assert "documents of allenai/ai2\\_arc" in warnings[0]
    assert "optimised on the official test split of code" in warnings[1]
    assert "Warning" not in model_card(make_view(), "merge_method: ties\n", None)


@pytest.mark.parametrize(
    ("cards", "matter", "sentence"),
    [
        (("license: mit", "license: mit"), {"license": "mit"}, "given under mit; so is this"),
        (("license: mit", "license: apache-2.0"), {}, "alpha: mit, beta: apache-2.0"),
        (("license: mit", None), {}, "alpha: mit, beta: not said"),
        (("license: mit", "- license: [mit"), {}, "beta: not said"),
        (
            ("license: other\nlicense_name: own\nlicense_link: LICENSE",) * 2,
            {"license": "other", "license_name": "own", "license_link": "LICENSE"},
            "given under own; so is this",
        ),
    ],
)
def test_a_licence_is_that_of_all_models_or_left_out(make_view, tmp_path, cards, matter, sentence):
    models = [ModelReference("alpha"), ModelReference("base", adapter="beta")]
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "README.md").write_text(f"---\n{cards[0]}\n---\n# base\n")
    for name, text in zip(("alpha", "beta"), cards, strict=True):
        (tmp_path / name).mkdir()
        if text is not None:
            (tmp_path / name / "README.md").write_text(f"---\n{text}\n---\n# {name}\n")
    found = licences_of(models, tmp_path, {})
    assert list(found) == ["alpha", "base", "beta"]
    card = model_card(make_view(), "merge_method: ties\n", None, found)
    told = {key: value for key, value in front_matter(card).items() if key.startswith("license")}
    assert told == matter
    text = card.split("## Licence")[1]
    assert sentence.replace("alpha: mit, ", "alpha: mit, base: mit, ").replace("_", "\\_") in text


def test_tables_show_every_row_with_intervals_and_signed_differences(make_view):
    view = make_view(3)
    card = model_card(view, "merge_method: ties\n", "zoo/base")
    assert card.count("\n| zoo/math |") == 2 and card.count("\n| winner |") == 1
    assert "prose bits\\_per\\_byte, lower is better" in card
    row = next(r for r in view.test_rows if r.name == "zoo/math")
    gap = row.difference["logic acc"]
    assert f"\N{MINUS SIGN}{abs(gap.value):.3f} (" in card and gap.value < 0
    assert view.winner.claim.split(",")[0] in card and view.notices[1] in card


def test_recipe_stands_unchanged_in_a_fence_it_cannot_close(make_view):
    view = make_view()
    recipe = "merge_method: ties  # ```\nmodels:\n  - model: a/b\n# ```` the end\n"
    card = model_card(view, recipe, None)
    assert f"\n`````yaml\n{recipe}`````\n" in card


def test_no_absolute_path_survives(make_view):
    recipe = (
        "# resolved from /home/ann/secret/study.yaml\nbase_model: /home/ann/my models/base\n"
        'models:\n  - {model: "/home/ann/a:b, c/math+/home/ann/lora"}\n  - model: zoo/code\n'
        "  - model: C:\\Users\\ann\\code\n  - model: ~/ann/prose\n"
    )
    view = make_view(names=("/home/ann/my models/math", "zoo/code", "zoo/prose"))
    view = dataclasses.replace(
        view, notices=("Read /home/ann/secret/x.jsonl twice, and/or more.",)
    )
    card = model_card(view, recipe, "/home/ann/my models/base")
    assert "ann" not in card and "my models" not in card
    assert "Read x.jsonl twice, and/or more." in card
    block = re.search(r"```yaml\n(.*?)```", card, re.S)[1]
    assert yaml.safe_load(block) == {
        "base_model": "base",
        "models": [
            {"model": "math+lora"},
            {"model": "zoo/code"},
            {"model": "code"},
            {"model": "prose"},
        ],
    }


def test_hostile_names_stay_text(make_view):
    hostile = "x|y](javascript:alert(1))<script>`\n---\n# owned"
    view = dataclasses.replace(make_view(names=(hostile, "zoo/code", "zoo/prose")), name=hostile)
    card = model_card(view, "merge_method: ties\n", hostile)
    assert front_matter(card)["base_model"] == ["zoo/base", "zoo/code", "zoo/prose"]
    assert ModelCard(card).data.model_name == clean(hostile)
    body = card.split("---\n", 2)[2]
    assert "\n# owned" not in body and "\n---\n" not in body
    assert not re.search(r"(?<!\\)<script", body) and "](javascript" not in body.replace("\\]", "")
    tables = [line for line in body.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {len(view.columns) + 2}


def test_without_winner_or_test_rows_nothing_is_claimed(make_view):
    view = dataclasses.replace(make_view(), winner=None, test_rows=())
    card = model_card(view, "merge_method: ties\n", None)
    assert "nothing is claimed" in card and "without a winner" in card


@pytest.mark.parametrize("won", [True, False])
def test_the_card_of_another_trial_has_none_of_the_winners_figures(make_view, truthful, won):
    view = truthful(make_view())
    view = view if won else dataclasses.replace(view, winner=None, test_rows=())
    other = Candidate("trial", 3, "gp", {}, "hash", scores=(0.25, 0.5))
    card = model_card(of_candidate(view, other), "merge_method: linear\n", None)
    assert "This is trial 3 of the run, which was not chosen" in card and "logic 0.25" in card
    assert "Search score against select score" not in card and "Other masks" not in card
    assert view.winner is None or view.winner.claim not in card

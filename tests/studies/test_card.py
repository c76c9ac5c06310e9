"""The model card: front matter the Hub can read, honest tables, nothing leaks or breaks out."""

import dataclasses
import re

import yaml

from studies.card import model_card


def front_matter(card: str) -> dict:
    _, matter, _ = card.split("---\n", 2)
    return yaml.safe_load(matter)


def test_front_matter_lists_hub_names_once_base_first(make_view):
    view = dataclasses.replace(
        make_view(), models=("org/a", "org/base", "./local", "/abs/b", "org/c+org/lora", "a/b/c")
    )
    matter = front_matter(model_card(view, "merge_method: ties\n", "org/base"))
    assert matter == {
        "base_model": ["org/base", "org/a", "org/c", "org/lora"],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "tags": ["mergekit", "merge", "eutectic"],
    }


def test_without_hub_names_no_base_model_is_claimed(make_view):
    view = dataclasses.replace(make_view(), models=("./a", "/b/c"))
    matter = front_matter(model_card(view, "merge_method: linear\n", None))
    assert set(matter) == {"library_name", "tags"}


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
    body = card.split("---\n", 2)[2]
    assert "\n# owned" not in body and "\n---\n" not in body
    assert not re.search(r"(?<!\\)<script", body) and "](javascript" not in body.replace("\\]", "")
    tables = [line for line in body.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {len(view.columns) + 2}


def test_without_winner_or_test_rows_nothing_is_claimed(make_view):
    view = dataclasses.replace(make_view(), winner=None, test_rows=())
    card = model_card(view, "merge_method: ties\n", None)
    assert "nothing is claimed" in card and "without a winner" in card

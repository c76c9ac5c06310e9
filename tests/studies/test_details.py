"""Recipes in the page: filled into their templates they are what `export` gives, byte for byte."""

from hypothesis import given
from hypothesis import strategies as st

from studies.details import chosen_key, details, filled, packed, recipes
from studies.show import run_view

from .conftest import Bench

TEXTS = st.dictionaries(
    st.text(min_size=1, max_size=3),
    st.lists(st.sampled_from(["a", "b", "", "weight: 0.5", "\r", "\u2028"]), max_size=6).map(
        "\n".join
    ),
    max_size=8,
)


@given(TEXTS)
def test_texts_come_back_whatever_they_share(texts):
    told = packed(texts)
    assert {key: filled(told, key) for key in texts} == texts
    assert len(told["templates"]) == len({text.count("\n") for text in texts.values()})


def test_the_recipe_in_the_page_is_the_exported_one(searched: Bench, monkeypatch):
    monkeypatch.chdir(searched.folder)
    view = run_view(searched.run)
    told = details(view)["recipes"]
    for trial in view.trials:
        exported = searched.call("export", searched.run, "--trial", trial.number)
        assert exported.exit_code == 0, exported.stderr
        assert filled(told, f"t{trial.number}") == exported.stdout
    won = searched.call("export", searched.run).stdout
    assert filled(told, chosen_key(view)) == won == view.winner.recipe_yaml


def test_everybody_with_a_recipe_can_be_chosen(make_view, raced, truthful):
    view = raced(truthful(make_view(2)))
    told = details(view)
    keys = [key for key, _, _ in told["titles"]]
    assert set(keys) == set(recipes(view)) == set(told["recipes"]["fills"])
    assert keys[0] == chosen_key(view) == f"t{view.winner.number}"
    assert "random" in keys and len(keys) == len(view.trials) + len(view.references) + 1


def test_comparisons_name_rivals_and_columns_once(make_view, raced):
    view = raced(make_view(3))
    told = details(view)
    assert len(set(told["names"])) == len(told["names"]) == len(told["short"]) == 6
    for number, trial in enumerate(view.trials):
        plain = told["against"].get(f"t{number}", [])
        assert len(plain) == len(trial.against)
        for one, (rival, column, items, gained, lost, binary, gains, losses) in zip(
            trial.against, plain, strict=True
        ):
            assert (told["names"][rival], told["names"][column]) == (one.rival, one.column)
            assert (items, gained, lost) == (one.items, one.gained, one.lost)
            assert bool(binary) is one.right_or_wrong
            assert [tuple(e) for e in gains] == [(e.item, e.mine, e.theirs) for e in one.gains]
            assert len(losses) == len(one.losses)

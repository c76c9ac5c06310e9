"""How a race narrowed: nobody is lost between two steps, and every count is of the trials."""

import dataclasses

from studies.funnel import funnel
from studies.parameter_groups import group_of, grouped, grouped_shares, in_short
from studies.show import run_view

from .conftest import Bench


def test_who_goes_on_comes_to_the_next_look(make_view, raced):
    view = raced(make_view(2, trials=200))
    race = [step for step in funnel(view) if step.race]
    assert [step.title for step in race] == [
        "begun",
        *(f"look {k}" for k in range(1, 5)),
        "every item",
    ]
    for step, after in zip(race, race[1:], strict=False):
        assert step.on == after.trials
    states = [trial.state for trial in view.trials]
    assert race[0].trials == len(view.trials)
    for name, state in (("waiting", "paused"), ("dropped", "dropped"), ("failed", "failed")):
        assert sum(getattr(step, name) for step in race) == states.count(state) > 0
    assert race[-1].on == states.count("complete")
    assert [step.note for step in race[1:3]] == ["about 48 items", "about 96 items"]
    assert race[-1].note == "720 items"


def test_the_choice_follows_the_race(make_view, raced):
    view = raced(make_view(2))
    choice = [(s.title, s.trials) for s in funnel(view) if not s.race]
    front = sum(t.on_front for t in view.trials)
    assert choice == [("on the front", front), ("finalists", front), ("winner", 1)]
    parent = dataclasses.replace(view.winner, number=None, name="zoo/math")
    *_, last = funnel(dataclasses.replace(view, winner=parent))
    assert (last.trials, last.note) == (0, "a reference won")


def test_a_run_that_tells_no_looks_has_no_funnel(make_view):
    assert funnel(make_view(2)) == ()


def test_a_real_run_is_told_from_its_ledger(searched: Bench):
    view = run_view(searched.run)
    steps = {step.title: step for step in funnel(view)}
    assert steps["begun"].trials == len(view.trials) == steps["every item"].trials
    assert steps["finalists"].trials == sum(bool(t.select) for t in view.trials) > 0


def test_anchors_blocks_and_layers_are_one_group():
    names = ["math.weight@0", "math.weight@25%", "math.weight#3", "math.weight", "a@b.weight@1"]
    assert [group_of(name) for name in names] == [*["math.weight"] * 4, "a@b.weight"]
    assert grouped({"w@0": 0.1, "d": 0.5, "w@1": 0.2}) == {"w": [0.1, 0.2], "d": [0.5]}
    assert grouped_shares({"w@0": 0.25, "w@1": 0.5, "d": 0.25}) == {"w": 0.75, "d": 0.25}


def test_a_recipe_in_short_has_few_lines():
    assert in_short({"w@0": 0.12345, "w@1": 0.9, "method": "ties", "flag": True}) == (
        "w 0.123 → 0.9",
        "method ties",
        "flag true",
    )
    long = in_short({f"w@{k}": k / 10 for k in range(8)})
    assert long == ("w 0 → 0.7 (0 to 0.7)",)
    assert in_short({"w@0": 0.5, "w@1": 0.5}) == ("w 0.5",)
    many = in_short({f"p{k}": k for k in range(9)})
    assert len(many) == 6 and many[-1] == "and 4 more"

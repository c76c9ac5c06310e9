"""Which sampler a study gets, and which ones are refused."""

from collections.abc import Callable

import pytest

from search.coordinates import Coordinates
from search.errors import SamplerError
from search.samplers import SAMPLERS, choose_sampler, population_size
from search.space import Space

MakeSpace = Callable[..., Space]

NUMBERS = """
  merge_method: task_arithmetic
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0, 1], anchors: ANCHORS}}}
    - {model: code, parameters: {weight: {range: [0, 1]}}}
  parameters: {normalize: NORMALIZE}
"""
CHOICE = ("ANCHORS", "2"), ("NORMALIZE", "{choice: [true, false]}")
CONDITION = (
    ("task_arithmetic", "{choice: [linear, task_arithmetic]}"),
    (
        "{normalize: NORMALIZE}",
        "{lambda: {range: [0.5, 2]}, normalize: false}",
    ),
)


def coordinates(make_space: MakeSpace, *changes: tuple[str, str], anchors: int = 2) -> Coordinates:
    text = NUMBERS
    for before, after in (*changes, ("ANCHORS", str(anchors)), ("NORMALIZE", "false")):
        text = text.replace(before, after)
    return Coordinates(make_space(text, layers=60))


@pytest.mark.parametrize(
    ("changes", "anchors", "objectives", "trials", "expected"),
    [
        ((), 2, 1, 100, "gp"),
        ((), 2, 3, 250, "tpe"),
        ((), 24, 1, None, "gp"),
        ((), 25, 2, 100, "tpe"),  # 26 dimensions
        ((), 2, 4, 100, "tpe"),
        ((), 2, 2, 251, "tpe"),
        ((), 2, 1, 251, "cmaes"),
        ((), 50, 1, 100, "cmaes"),
        ((), 2, 1, 2000, "cmaes"),
        ((), 2, 2, 1001, "nsgaii"),
        ((), 2, 4, 1001, "nsgaiii"),
        (CHOICE, 2, 1, 100, "tpe"),
        (CHOICE, 2, 1, 1001, "nsgaii"),
        (CONDITION, 2, 2, 100, "tpe"),
        (CONDITION, 2, 2, 1001, "tpe"),
    ],
)
def test_auto_follows_the_table(
    make_space: MakeSpace,
    changes: tuple[tuple[str, str], ...],
    anchors: int,
    objectives: int,
    trials: int | None,
    expected: str,
) -> None:
    found, reason = choose_sampler(
        "auto",
        objectives=objectives,
        coordinates=coordinates(make_space, *changes, anchors=anchors),
        trials=trials,
    )
    assert found.name == expected
    assert reason.startswith(f"{objectives} objective") and "dimensions" in reason


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_named_sampler_is_taken_where_it_can_search(make_space: MakeSpace, name: str) -> None:
    space = coordinates(make_space)
    found, _ = choose_sampler(name, objectives=1, coordinates=space, trials=10)
    assert found.name == name


@pytest.mark.parametrize(
    ("name", "changes", "objectives", "message"),
    [
        ("cmaes", (), 2, "cmaes takes one objective, the study has 2; use tpe, or auto"),
        (
            "cmaes",
            CHOICE,
            1,
            "cmaes takes numbers only, the recipe has a choice; use tpe, or auto",
        ),
        ("cmaes", CONDITION, 1, "cmaes needs the same dimensions in every trial"),
        ("gp", CONDITION, 1, "gp needs the same dimensions in every trial; here they depend on"),
        ("nsga2", (), 1, "unknown sampler 'nsga2', did you mean 'nsgaii'?"),
        ("best", (), 1, "unknown sampler 'best' (known: auto, random, tpe, gp, cmaes, nsgaii"),
    ],
)
def test_what_a_sampler_cannot_search_is_refused(
    make_space: MakeSpace,
    name: str,
    changes: tuple[tuple[str, str], ...],
    objectives: int,
    message: str,
) -> None:
    space = coordinates(make_space, *changes)
    with pytest.raises(SamplerError) as caught:
        choose_sampler(name, objectives=objectives, coordinates=space, trials=100)
    assert message in str(caught.value)


def test_a_generation_has_24_to_50_members() -> None:
    sizes = [population_size(trials) for trials in (None, 10, 600, 5000)]
    assert sizes == [24, 24, 30, 50]

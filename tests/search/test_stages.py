"""Coarse to fine: every point of a stage is one of the later ones, the same recipe and hash."""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merging.document import Document
from merging.errors import RecipeError
from merging.plan import TensorJob, recipe_hash
from search.anchors import LADDER, fewest, refined, rungs
from search.ledger import Candidate
from search.space_blocks import gradient
from search.space_points import Space
from search.stages import STAGE, Stages, in_one_stage, stage_of, stages_from

MakeStages = Callable[..., Stages]

PLAIN = """\
  merge_method: task_arithmetic
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0.0, 1.0], anchors: auto, start: 0.3}}}
    - {model: code, parameters: {weight: {range: [-0.5, 1.0], anchors: 3}}}
  parameters: {normalize: false}
"""
SIMPLEX = """\
  merge_method: ties
  base_model: base
  models:
    - model: math
      parameters:
        weight: {range: [0, 1], anchors: auto}
        density: {range: [0.1, 1], anchors: auto}
    - {model: code, parameters: {weight: {range: [0, 1], anchors: auto}, density: 0.5}}
  parameters: {normalize: true}
"""
LIMITED = """\
  merge_method: della
  base_model: base
  models:
    - model: math
      parameters:
        weight:
          - {filter: mlp, value: {range: [0.1, 1.0], log: true, anchors: auto}}
          - {value: 0.5}
        density: {range: [0.1, 0.9], anchors: auto}
        epsilon: {range: [0.01, 0.4], anchors: auto}
    - {model: code, parameters: {weight: {range: [0.2, 0.8]}, density: 0.4, epsilon: 0.1}}
"""
BLOCKED = """\
  merge_method: task_arithmetic
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0.0, 1.0], anchors: auto}}}
    - {model: code, parameters: {weight: {range: [0.0, 1.0], blocks: 2}}}
"""
CHOSEN = """\
  merge_method: {choice: [ties, task_arithmetic]}
  base_model: base
  models:
    - model: math
      parameters: {weight: {range: [0, 1]}, density: {range: [0.1, 0.9], anchors: auto}}
    - {model: code, parameters: {weight: 0.4, density: 0.5}}
"""
SLICED = """\
  merge_method: slerp
  base_model: base
  slices:
    - sources: [{model: base, layer_range: [0, 2]}, {model: math, layer_range: [0, 2]}]
      parameters: {t: {range: [0, 1], anchors: auto}}
    - sources: [{model: base, layer_range: [2, 6]}, {model: math, layer_range: [2, 6]}]
      parameters: {t: {range: [0, 1], anchors: auto}}
"""
RECIPES = {
    "plain": PLAIN,
    "simplex": SIMPLEX,
    "limited": LIMITED,
    "blocked": BLOCKED,
    "chosen": CHOSEN,
    "sliced": SLICED,
}


@pytest.fixture(scope="module")
def make_stages(recipe: Callable[..., Document]) -> MakeStages:
    """`make_stages(text, layers=6)`, each recipe once."""
    made: dict[tuple[str, int], Stages] = {}

    def make(text: str, layers: int = 6) -> Stages:
        if (text, layers) not in made:
            made[text, layers] = stages_from(recipe(text), layers=layers)
        return made[text, layers]

    return make


def points(stages: Stages, stage: int, count: int = 12) -> list[dict[str, Any]]:
    """Points of a stage from a low-discrepancy sequence of its coordinates, and its start."""
    coordinates = stages.coordinates[stage]
    space, found = coordinates.space, [dict(stages.spaces[stage].start)]
    for number in range(1, count):
        method = space.methods[number % len(space.methods)]
        drawn: dict[str, Any] = {"merge_method": method} if len(space.methods) > 1 else {}
        for index, (name, own) in enumerate(coordinates.distributions(method).items()):
            share = (number * math.sqrt(index + 2)) % 1.0
            if name != "merge_method":
                drawn[name] = own.low + share * (own.high - own.low)  # type: ignore[attr-defined]
        found.append(coordinates.decode(drawn))
    return found


def hash_of(jobs: tuple[TensorJob, ...]) -> str:
    models = {source.model for job in jobs for source in job.sources}
    models |= {job.base.model for job in jobs if job.base}
    return recipe_hash(jobs, {model: str(model) for model in models}, 0)


numbers = st.floats(-1e300, 1e300, allow_nan=False, allow_subnormal=False)


@given(values=st.sampled_from(LADDER).flatmap(lambda n: st.lists(numbers, min_size=n, max_size=n)))
def test_more_anchors_say_the_same_and_are_undone(values: list[float]) -> None:
    for count in LADDER[LADDER.index(len(values)) :]:
        finer = refined(values, count)
        assert len(finer) == count and min(values) <= min(finer) <= max(finer) <= max(values)
        assert fewest(finer) == fewest(values) and refined(fewest(finer), count) == finer
        for layers in (1, 2, 5, 12):
            scale = max(map(abs, values))
            assert gradient(finer, layers) == pytest.approx(
                gradient(values, layers), abs=1e-14 * scale
            )


def test_floats_are_why_recipes_are_written_short() -> None:
    """What would be two hashes of one merge: the long forms differ in last bits."""
    assert gradient([0.02, 0.02, 0.02], 12) != [0.02] * 12
    assert gradient(refined([0.1, 0.7], 5), 12) != gradient([0.1, 0.7], 12)
    assert fewest([0.3] * 5) == [0.3] and fewest(refined([0.1, 0.7], 5)) == [0.1, 0.7]
    assert fewest([0.1, 0.2, 0.4]) == [0.1, 0.2, 0.4]


def test_layers_bound_the_anchors() -> None:
    assert [rungs(layers) for layers in (None, 0, 1, 2, 4, 5, 80)] == [
        (1,), (1,), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 5), (1, 2, 3, 5)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("layers", "counts"), [(1, [1]), (2, [1, 2]), (4, [1, 2, 3]), (24, [*LADDER])]
)
def test_a_search_has_as_many_stages_as_layers_can_tell_apart(
    make_stages: MakeStages, layers: int, counts: list[int]
) -> None:
    stages = make_stages(PLAIN.replace(", anchors: 3", ""), layers)
    assert list(stages.sizes) == [count + 1 for count in counts]


def test_names_say_the_depth_and_mean_the_same_in_every_stage(make_stages: MakeStages) -> None:
    stages = make_stages(PLAIN)
    assert [one.name for one in stages.dimensions] == [
        "math.weight", "code.weight@0", "code.weight@1", "code.weight@2", "math.weight@0%",
        "math.weight@100%", "math.weight@50%", "math.weight@25%", "math.weight@75%",
    ]  # fmt: skip
    assert len({tuple(space.identity) for space in stages.spaces}) == 1
    assert all(stages.spaces[0].starts[one] for one in stages.spaces[0].methods)


@pytest.mark.parametrize("name", RECIPES)
def test_lifted_points_are_the_same_recipe_hash_and_all(
    make_stages: MakeStages, jobs_of: Callable[..., tuple[TensorJob, ...]], name: str
) -> None:
    stages = make_stages(RECIPES[name])
    last = len(stages.spaces) - 1
    assert last == (2 if name == "sliced" else 3)
    for stage, to in itertools.combinations(range(last + 1), 2):
        for values in points(stages, stage):
            lifted = stages.lift(values, stage, to)
            coarse, fine = stages.spaces[stage], stages.spaces[to]
            assert fine.fault(lifted) is None
            assert fine.fill(lifted) == coarse.fill(values)
            assert stages.told(values, stage, to) == lifted
            stages.coordinates[to].encode(lifted)
    for values in points(stages, 0, 3):
        lifted = stages.lift(values, 0, last)
        jobs = jobs_of(stages.spaces[last].fill(lifted), 6)
        assert hash_of(jobs) == hash_of(jobs_of(stages.spaces[0].fill(values), 6))


@pytest.mark.parametrize("name", RECIPES)
def test_finest_recipes_are_read_back(make_stages: MakeStages, name: str) -> None:
    stages = make_stages(RECIPES[name])
    space: Space = stages.spaces[-1]
    last = len(stages.spaces) - 1
    own = points(stages, last, 8)
    for values in (*own, *(stages.lift(one, 1, last) for one in points(stages, 1))):
        back = space.read(space.fill(values))
        assert back.keys() == values.keys()
        for key, value in values.items():
            assert back[key] == (pytest.approx(value, abs=1e-9) if name == "blocked" else value)


def test_lifting_by_steps_is_lifting_at_once(make_stages: MakeStages) -> None:
    stages = make_stages(LIMITED)
    for values in points(stages, 0):
        once = stages.lift(values, 0, 3)
        assert stages.lift(stages.lift(stages.lift(values, 0, 1), 1, 2), 2, 3) == once
        assert stages.lift(values, 0, 0) == values


def test_what_one_method_reads_is_lifted_for_it_alone(make_stages: MakeStages) -> None:
    stages = make_stages(CHOSEN)
    values = {"merge_method": "task_arithmetic", "math.weight": 0.25}
    assert stages.lift(values, 0, 3) == values
    ties: Mapping[str, Any] = {"merge_method": "ties", "math.weight": 0.5, "math.density": 0.2}
    assert stages.lift(ties, 0, 1) == {
        "merge_method": "ties", "math.weight": 0.5, "math.density@0%": 0.2,
        "math.density@100%": 0.2,
    }  # fmt: skip


def test_between_two_values_of_a_grid_samplers_are_told_of_one(make_stages: MakeStages) -> None:
    stages = make_stages(PLAIN.replace("anchors: auto", "step: 0.1, anchors: auto"))
    others = {f"code.weight@{index}": 0.5 for index in range(3)}
    values = {"math.weight@0%": 0.1, "math.weight@100%": 0.4, **others}
    assert stages.lift(values, 1, 2)["math.weight@50%"] == 0.25
    told = stages.told(values, 1, 2)
    assert told is not None and told["math.weight@50%"] in (0.2, 0.3)
    assert stages.spaces[2].contains(told)
    even = {**values, "math.weight@100%": 0.5}
    assert stages.told(even, 1, 2) == stages.lift(even, 1, 2)


def test_without_auto_there_is_one_stage_as_before(
    make_stages: MakeStages, make_space: Callable[..., Space]
) -> None:
    text = PLAIN.replace("anchors: auto", "anchors: 5")
    assert make_stages(text).spaces == (make_space(text),)
    flat = {f"math.weight@{index}": 0.5 for index in range(5)}
    values = {**flat, **{f"code.weight@{index}": 0.5 for index in range(3)}}
    filled = make_stages(text).spaces[0].fill(values)
    assert filled["models"][0]["parameters"]["weight"] == [0.5] * 5  # written as it always was


def test_auto_over_slices_of_different_lengths_stays_one_number(make_stages: MakeStages) -> None:
    own = "\n      parameters: {t: {range: [0, 1], anchors: auto}}"
    assert own in SLICED
    text = SLICED.replace(own, "") + "  parameters: {t: {range: [0, 1], anchors: auto}}\n"
    assert make_stages(text).sizes == (1,)


def test_a_start_is_one_number_and_stands_at_every_anchor(
    make_stages: MakeStages, recipe: Callable[..., Document]
) -> None:
    starts = [space.start for space in make_stages(PLAIN).spaces]
    assert starts[0]["math.weight"] == 0.3
    assert [starts[3][f"math.weight@{depth}%"] for depth in (0, 25, 50, 75, 100)] == [0.3] * 5
    with pytest.raises(RecipeError, match=r"5:.*start: expected one value, got 2.*anchors: 2"):
        stages_from(recipe(PLAIN.replace("start: 0.3", "start: [0.3, 0.4]")), layers=6)


def test_trials_of_several_stages_meet_in_the_finest(make_stages: MakeStages) -> None:
    stages = make_stages(SIMPLEX)
    trials = [
        Candidate("trial", number, "gp", {}, "h", values=points(stages, stage)[number],
                  system_attrs={STAGE: stage} if stage else {})
        for number, stage in enumerate((0, 0, 1, 1, 2))
    ]  # fmt: skip
    assert [stage_of(one.system_attrs) for one in trials] == [0, 0, 1, 1, 2]
    together, dimensions = in_one_stage(stages, trials)
    names = [one.name for one in dimensions]
    assert names == [one.name for one in stages.spaces[2].dimensions]
    assert all(one.values is not None and list(one.values) == names for one in together)
    same, dimensions = in_one_stage(stages, trials[:2])
    assert same == trials[:2] and dimensions == stages.spaces[0].dimensions

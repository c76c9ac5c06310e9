"""Slices whose layers are searched: every point is a stack, every fault has its place."""

import random
from collections.abc import Callable, Mapping

import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution

from merging.document import Document
from merging.errors import RecipeError
from search.coordinates import Coordinates
from search.errors import SpaceError
from search.proposals import Finished, ProposalRequest, propose
from search.samplers import choose_sampler
from search.space import Space, changes, space_from
from search.warm_start import references, warm_starts

MakeSpace = Callable[..., Space]

STACK = """
  merge_method: passthrough
  slices:
    - sources:
        - {model: base, layer_range: [0, {range: [4, 9]}]}
    - sources:
        - {model: base, layer_range: [{range: [2, 8]}, 12]}
  dtype: float32
"""
MERGED = """
  merge_method: linear
  slices:
    - sources:
        - model: base
          layer_range: [{range: [0, 8]}, {range: [0, 10], step: 2}]
          parameters: {weight: 1.0}
        - {model: math, parameters: {weight: {range: [0, 1], anchors: 3}}}
        - model: code
          layer_range: [{range: [2, 10]}, {range: [2, 12], step: 2}]
          parameters: {weight: {range: [0, 1]}}
    - sources:
        - {model: base, layer_range: [{choice: [6, 8]}, {choice: [12, 10]}]}
        - {model: math, layer_range: [{choice: [6, 8]}, {choice: [12, 10]}]}
      parameters: {weight: 0.5}
    - sources: [{model: code, layer_range: [5, 5]}]
      parameters: {weight: 1.0}
"""


def drawn(space: Space, count: int) -> list[Mapping[str, object]]:
    """Points at random coordinates, each checked to be one, and to come back."""
    coordinates, draw = Coordinates(space), random.Random(1)
    points = []
    for _ in range(count):
        at = {}
        for name, one in coordinates.distributions().items():
            if isinstance(one, IntDistribution):
                at[name] = draw.randrange(one.low, one.high + 1, one.step)
            elif isinstance(one, CategoricalDistribution):
                at[name] = draw.choice(one.choices)
            else:
                at[name] = draw.uniform(one.low, one.high)
        values = coordinates.decode(at)
        assert space.fault(values) is None
        told = coordinates.encode(values)
        assert told is not None and coordinates.decode(told) == values
        assert space.read(space.fill(values)) == values
        points.append(values)
    return points


def ranges(space: Space, values: Mapping[str, object]) -> list[list[list[int]]]:
    return [
        [source["layer_range"] for source in one["sources"]]
        for one in space.fill(values)["slices"]
    ]


def test_ends_are_whole_numbers_by_name(make_space: MakeSpace) -> None:
    space = make_space(STACK, layers=12)
    assert {one.name: one.distribution() for one in space.dimensions} == {
        "slice0.end": IntDistribution(4, 9),
        "slice1.start": IntDistribution(2, 8),
    }
    assert [one.kind for one in space.dimensions] == ["int", "int"]
    assert space.start == {"slice0.end": 6, "slice1.start": 5}
    assert ranges(space, space.start) == [[[0, 6]], [[5, 12]]]
    assert (space.stack.shortest, space.stack.longest) == (8, 19)
    assert ranges(space, space.stack.largest()) == [[[0, 9]], [[2, 12]]]
    with pytest.raises(
        SpaceError, match=r"slice0.end: expected a whole number from 4 to 9, got 6"
    ):
        space.fill({**space.start, "slice0.end": 6.0})


def test_every_point_is_a_stack_of_equal_sources(make_space: MakeSpace) -> None:
    space = make_space(MERGED, layers=12)
    seen = set()
    for values in drawn(space, 500):
        (start, end), second, third = (one[0] for one in ranges(space, values))
        own = ranges(space, values)
        assert own[0] == [[start, end], [start, end], [start + 2, end + 2]]
        assert start < end and end % 2 == 0 and own[1] == [second, second] and third == [5, 5]
        assert all(type(values[name]) is int for name in ("slice0.start", "slice0.end"))
        seen.add((start, end))
    assert len(seen) > 20 and (8, 10) in seen
    assert max(e - s for s, e in seen) == 10 and space.stack.longest == 16


def test_a_start_bounds_its_end(make_space: MakeSpace) -> None:
    space = make_space(MERGED, layers=12)
    at = {**space.start, "slice0.start": 6, "slice0.end": 6}
    assert space.fault(at) == "slice0.end: expected a layer behind 6, got 6"
    assert space.stack.interval("slice0.end", at) == (7, 10)


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ("{range: [0, 8], start: 7}, {range: [0, 10], step: 2}", (7, 8)),
        ("{range: [0, 8]}, {range: [0, 10], step: 2, start: 2}", (1, 2)),
        ("{range: [0, 8], start: 1}, {range: [0, 10], step: 2, start: 10}", (1, 10)),
    ],
)
def test_the_users_own_start(make_space: MakeSpace, starts: str, expected: object) -> None:
    text = STACK.replace("0, {range: [4, 9]}", starts)
    space = make_space(text, layers=12)
    assert (space.start["slice0.start"], space.start["slice0.end"]) == expected
    assert warm_starts(space)[0].name == "own recipe"
    assert warm_starts(space)[0].values == space.start


def test_stacks_where_every_layer_is_in_its_place(make_space: MakeSpace) -> None:
    def place(text: str, layers: int = 12) -> object:
        return make_space(text, layers=layers).stack.in_place(layers)

    assert place(STACK) == {"slice0.end": 4, "slice1.start": 4}
    assert place(STACK, 11) is None  # the last slice ends at 12
    assert place(STACK.replace("[2, 8]", "[10, 11]")) is None  # nothing meets
    assert place(STACK.replace("[0, {", "[1, {")) is None  # without the first layer
    assert place(MERGED) is None  # a source lies elsewhere


def test_the_search_starts_where_a_person_would(make_space: MakeSpace) -> None:
    found = warm_starts(make_space(STACK, layers=12))
    assert [one.name for one in found] == ["middle", "layers in place"]
    for text in (STACK, STACK.replace("  slices", "  base_model: base\n  slices")):
        found = references(make_space(text, layers=12))
        assert [(one.name, one.role) for one in found] == [
            ("base", "base"), ("model base", "parent")
        ]  # fmt: skip
        assert found[0].data == found[1].data


WEIGHED = """
  merge_method: task_arithmetic
  base_model: base
  slices:
    - sources:
        - {model: base, layer_range: [0, {range: [4, 8]}]}
        - {model: math, parameters: {weight: {range: [0, 1]}}}
        - {model: code, parameters: {weight: {range: [0, 1]}}}
    - sources:
        - {model: base, layer_range: [{range: [LOW, 8]}, 12]}
        - {model: math, parameters: {weight: {range: [0, 1]}}}
        - {model: code, parameters: {weight: {range: [0, 1]}}}
"""


def test_known_forms_hold_for_whole_models_only(make_space: MakeSpace) -> None:
    inside = warm_starts(make_space(WEIGHED.replace("LOW", "4"), layers=12))
    names = [one.name for one in inside]
    assert names[:4] == ["middle", "uniform", "math", "code"]
    for one in inside[1:]:
        assert (one.values["slice0.end"], one.values["slice1.start"]) == (4, 4)
    assert inside[2].values["slice0.math.weight"] == 1.0
    outside = warm_starts(make_space(WEIGHED.replace("[LOW, 8]}, 12", "[0, 2]}, 12"), layers=12))
    assert [one.name for one in outside] == [
        "middle", "equal weights", "math alone", "code alone"
    ]  # fmt: skip


def test_numbers_that_do_not_move_hold_too(make_space: MakeSpace) -> None:
    """A stack that is fixed, of searched weights: its uniform merge is no model of the study's."""
    fixed = WEIGHED.replace("{range: [LOW, 8]}", "2").replace("{range: [4, 8]}", "6")
    fixed = fixed.replace("{model: math, p", "{model: math, layer_range: [0, 6], p", 1)
    fixed = fixed.replace("{model: code, p", "{model: code, layer_range: [0, 6], p", 1)
    fixed = fixed.replace("{model: math, p", "{model: math, layer_range: [2, 12], p", 1)
    fixed = fixed.replace("{model: code, p", "{model: code, layer_range: [2, 12], p", 1)
    space = make_space(fixed, layers=12)
    assert space.stack.slices and not space.stack.searched and space.stack.longest == 16
    assert [one.name for one in warm_starts(space)] == [
        "equal weights", "math alone", "code alone"
    ]  # fmt: skip


FAULTS = [
    ("[0, {range: [4, 9]}]", "[5, {range: [4, 9]}]",
     "study.yaml:5:42 recipe.slices[0].sources[0].layer_range[1]: the slice can end at 4, before "
     "its start 5"),
    ("[{range: [2, 8]}, 12]", "[{range: [2, 8]}, 6]",
     "slices[1].sources[0].layer_range[0]: the slice can start at 8, behind its end 6"),
    ("[{range: [2, 8]}, 12]", "[{range: [2, 8]}, {range: [6, 8]}]",
     "layer_range[0]: the slice can start at 8 and end at 8: it would have no layers"),
    ("[{range: [2, 8]}, 12]", "[{choice: [2, 8]}, {choice: [8, 9]}]",
     "layer_range[0]: the slice can start at 8 and end at 8: it would have no layers"),
    ("range: [4, 9]", "range: [4.0, 9]",
     "layer_range[1].range[0]: expected a layer's number, a whole one from 0, got 4.0"),
    ("range: [4, 9]", "range: [-1, 9]", "expected a layer's number, a whole one from 0, got -1"),
    ("range: [4, 9]", "choice: [4, true]", "choice[1]: expected a layer's number"),
    ("range: [4, 9]", "range: [9, 4]", "expected low below high, got [9, 4]"),
    ("range: [4, 9]", "range: [4, 9], step: 2", "steps of 2 from 4 do not end at 9; the last one"),
    ("range: [4, 9]", "range: [4, 9], start: 5.5", "start: expected a layer's number"),
    ("range: [4, 9]", "range: [4, 9], start: 3", "start: expected a number from 4 to 9, got 3"),
    ("range: [4, 9]", "range: [4, 9], log: true", "a layer's number has no 'log'"),
    ("range: [4, 9]", "range: [4, 9], anchors: 2", "a layer's number has no 'anchors'"),
    ("[0, {range: [4, 9]}]", "[{range: [4, 9]}]", "layer_range: expected [first, end]"),
    ("[0, {range: [4, 9]}]", "[0, {range: [0, 9]}]", None),  # may be empty
    ("[0, {range: [4, 9]}]}",
     "[0, {range: [4, 9]}]}\n        - {model: math, layer_range: [0, 4]}",
     "study.yaml:6:38 recipe.slices[0].sources[1].layer_range: expected the layers of the first "
     "source (line 5), as they are written there or moved on"),
    ("[0, {range: [4, 9]}]}",
     "[0, {range: [4, 9]}]}\n        - {model: math, layer_range: [1, {range: [4, 9]}]}",
     "sources[1].layer_range: expected the layers of the first"),
    ("[0, {range: [4, 9]}]}",
     "[0, {range: [4, 9]}]}\n        - {model: math, layer_range: [0, {range: [4, 9], start: 5}]}",
     "sources[1].layer_range: expected the layers of the first"),
    ("[0, {range: [4, 9]}]}",
     "[0, 4]}\n        - {model: math, layer_range: [0, {range: [4, 9]}]}",
     "sources[1].layer_range[1]: the layers of a slice are searched with its first source"),
    ("{model: base, layer_range: [0, {range: [4, 9]}]}",
     "{model: base}\n        - {model: math, layer_range: [0, {range: [4, 9]}]}",
     "sources[1].layer_range[1]: the layers of a slice are searched with its first source"),
    ("[0, {range: [4, 9]}]}", "[0, {range: [4, 9]}]}\n        -",
     "study.yaml:6:10 recipe.slices[0].sources[1]: expected keys and values, got nothing"),
    ("[0, {range: [4, 9]}]", "{range: [4, 9]}", "as an end of a slice's layer_range, only"),
    ("- {model: base, layer_range: [0, {range: [4, 9]}]}", "- [layer_range, {range: [4, 9]}]",
     "a range may stand in"),
    ("  dtype: float32", "  parameters: {scale: {range: [0, 1], blocks: 2}}",
     "parameters.scale.blocks: blocks needs slices whose number of layers does not change"),
    ("  dtype: float32", "  parameters: {scale: {range: [0, 1], anchors: layers}}",
     "parameters.scale.anchors: anchors: layers needs slices whose number of layers does not"),
    ("  dtype: float32",
     "  parameters: {scale: [{filter: mlp, value: {range: [0, 1], blocks: 2}}]}",
     "parameters.scale[0].value.blocks: blocks needs slices whose number"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "message"), FAULTS)
def test_faults_have_their_place(
    recipe: Callable[..., Document], before: str, after: str, message: str | None
) -> None:
    text = STACK.lstrip("\n")
    assert before in text
    document = recipe(text.replace(before, after, 1))
    if message is None:
        assert space_from(document, layers=12).stack.shortest == 4
        return
    with pytest.raises(RecipeError) as caught:
        space_from(document, layers=12)
    assert message in str(caught.value)


def test_all_slices_cannot_be_empty(recipe: Callable[..., Document]) -> None:
    text = STACK.lstrip("\n").replace("[4, 9]", "[0, 9]").replace("{range: [2, 8]}, 12", "3, 3")
    with pytest.raises(RecipeError, match="slices: every slice can be empty: one must keep a"):
        space_from(recipe(text), layers=12)


def test_ends_beyond_a_model_are_refused(recipe: Callable[..., Document]) -> None:
    document = recipe(MERGED.lstrip("\n"))
    stack = space_from(document, layers=12).stack
    stack.refuse_outside(document, {"base": 12, "math": 12, "code": 12})
    with pytest.raises(RecipeError) as caught:
        stack.refuse_outside(document, {"base": 12, "math": 12, "code": 11})
    assert str(caught.value) == (
        "study.yaml:10:43 recipe.slices[0].sources[2].layer_range[1]: 'code' has 11 layers, the "
        "slice can end at 12"
    )
    with pytest.raises(RecipeError, match=r"sources\[1\]: 'math' has 9 layers, the slice can en"):
        stack.refuse_outside(document, {"base": 12, "math": 9, "code": 12})


def test_anchors_span_a_slice_of_any_length(make_space: MakeSpace) -> None:
    text = STACK.replace("  dtype: float32", "").replace(
        "9]}]}", "9]}], parameters: {scale: {range: [0, 1], anchors: 4}}}"
    )
    space = make_space(text, layers=12)
    for values in drawn(space, 20):
        scale = space.fill(values)["slices"][0]["sources"][0]["parameters"]["scale"]
        assert scale == [values[f"slice0.base.scale@{at}"] for at in range(4)]


def test_blocks_stand_beside_slices_that_are_searched(make_space: MakeSpace) -> None:
    text = STACK.replace("{range: [2, 8]}, 12]}", "4, 12], "
                         "parameters: {scale: {range: [0, 1], blocks: 2}}}")  # fmt: skip
    space = make_space(text, layers=12)
    for values in drawn(space, 20):
        cuts = [one["sources"][0]["layer_range"] for one in space.fill(values)["slices"]]
        assert cuts == [[0, values["slice0.end"]], [4, 8], [8, 12], [12, 12]]


def test_densities_and_epsilons_go_together_at_every_length(make_space: MakeSpace) -> None:
    """A gradient is read at other depths in slices of other lengths."""
    from merging.recipe_reader import read_recipe

    text = """
  merge_method: della
  base_model: base
  slices:
    - sources:
        - {model: base, layer_range: [0, {range: [1, 12]}]}
        - model: math
          parameters:
            weight: 0.5
            density: [{range: [0.3, 0.8]}, 0.9, {range: [0.3, 0.9]}]
            epsilon: {range: [0.01, 0.2], anchors: 2}
"""
    space = make_space(text, layers=12)
    for values in drawn(space, 60):
        read_recipe(Document("drawn.yaml", space.fill(values), {}, {}), strict=True)


def test_samplers_that_suit_layers(make_space: MakeSpace) -> None:
    coordinates = Coordinates(make_space(STACK, layers=12))
    chosen, why = choose_sampler("auto", objectives=1, coordinates=coordinates, trials=100)
    assert chosen.name == "tpe" and "2 dimensions with layers" in why
    for name in ("random", "tpe", "gp", "cmaes", "nsgaii"):
        assert (
            choose_sampler(name, objectives=1, coordinates=coordinates, trials=100)[0].name == name
        )
        told: list[Finished] = []
        for number in range(14):
            request = ProposalRequest(3, number, name, coordinates, (True,), tuple(told))
            proposal = propose(request)
            assert propose(request) == proposal
            assert coordinates.space.fault(proposal.values) is None
            score = -abs(int(proposal.values["slice0.end"]) - 7.0)
            told.append(
                Finished(number, proposal.values, (score,), system_attrs=proposal.system_attrs)
            )


def test_a_changed_range_of_layers_is_told(make_space: MakeSpace) -> None:
    before = make_space(STACK, layers=12).identity
    now = make_space(STACK.replace("[4, 9]", "[4, 10]"), layers=12).identity
    assert changes(before, now) == [
        '- slices[0].sources[0].layer_range[1]: {"range": [4, 9]}',
        '+ slices[0].sources[0].layer_range[1]: {"range": [4, 10]}',
    ]

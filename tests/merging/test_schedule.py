"""Gradients in closed form, filters, precedence."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merging.recipe import Conditional
from merging.schedule import breakpoints, depth, filters, interpolate, resolve, value_at

NUMBERS = st.floats(-10, 10)
GRADIENTS = st.lists(NUMBERS, min_size=1, max_size=8).map(tuple)


def test_depth_runs_from_0_to_1_and_a_single_layer_is_at_1() -> None:
    assert [depth(index, 5) for index in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert depth(0, 1) == 1.0


@pytest.mark.parametrize(
    ("gradient", "t", "value"),
    [
        ((0.3,), 0.7, 0.3),
        ((0.0, 1.0), 0.25, 0.25),
        ((0.1, 0.4, 1.0), 0.0, 0.1),
        ((0.1, 0.4, 1.0), 0.5, 0.4),
        ((0.1, 0.4, 1.0), 0.75, 0.7),
        ((0.1, 0.4, 1.0), 1.0, 1.0),
        ((1.0, 0.0, 1.0, 0.0), 0.5, 0.5),
    ],
)
def test_interpolation_in_closed_form(gradient: tuple[float, ...], t: float, value: float) -> None:
    assert math.isclose(interpolate(gradient, t), value, abs_tol=1e-15)


@settings(deadline=None, derandomize=True)
@given(GRADIENTS, st.floats(0, 1))
def test_a_gradient_stays_between_its_smallest_and_largest(
    gradient: tuple[float, ...], t: float
) -> None:
    assert min(gradient) - 1e-12 <= interpolate(gradient, t) <= max(gradient) + 1e-12


@settings(deadline=None, derandomize=True)
@given(GRADIENTS)
def test_a_gradient_meets_its_values_at_its_kinks(gradient: tuple[float, ...]) -> None:
    kinks = breakpoints([gradient])
    assert kinks[0] == 0.0 and kinks[-1] == 1.0
    if len(gradient) > 1:
        found = [interpolate(gradient, t) for t in kinks]
        assert all(math.isclose(a, b, abs_tol=1e-12) for a, b in zip(found, gradient, strict=True))


def test_breakpoints_of_several_settings_are_all_their_kinks() -> None:
    filtered = (Conditional("mlp", (1.0, 2.0, 3.0)), Conditional(None, 4.0))
    assert breakpoints([filtered, (1.0,), 0.5, (0.0, 1.0, 2.0, 3.0)]) == (
        0.0,
        1 / 3,
        0.5,
        2 / 3,
        1.0,
    )


def test_the_first_filter_that_matches_wins() -> None:
    setting = (
        Conditional("q_proj", 0.1),
        Conditional("self_attn", (0.2, 0.4)),
        Conditional("*", 0.9),
        Conditional("mlp", 0.5),
    )
    assert value_at(setting, "model.layers.0.self_attn.q_proj.weight", 0.5) == 0.1
    assert value_at(setting, "model.layers.0.self_attn.k_proj.weight", 0.5) == pytest.approx(0.3)
    assert value_at(setting, "model.layers.0.mlp.up_proj.weight", 0.5) == 0.9
    assert value_at((Conditional("MLP", 1.0),), "model.layers.0.mlp.up_proj.weight", 0) is None


def test_levels_are_asked_in_order_and_fall_through() -> None:
    source = {"weight": (Conditional("mlp", 0.1),), "density": 0.2}
    levels = (source, {"weight": (Conditional("attn", 0.3),)}, {"weight": 0.4, "lambda": 2.0})
    assert resolve(levels, "weight", "x.mlp.y", 0) == 0.1
    assert resolve(levels, "weight", "x.attn.y", 0) == 0.3
    assert resolve(levels, "weight", "norm", 0) == 0.4
    assert resolve(levels, "density", "norm", 0) == 0.2
    assert resolve(levels, "lambda", "norm", 0) == 2.0
    assert resolve(levels, "epsilon", "norm", 0) is None


def test_a_value_of_zero_or_false_is_a_value() -> None:
    assert resolve(({"weight": 0.0}, {"weight": 1.0}), "weight", "x", 0) == 0.0
    assert resolve(({"normalize": False}, {"normalize": True}), "normalize", "x", 0) is False


def test_filters_are_named_once_and_catch_alls_are_none() -> None:
    first = (Conditional("b", 1.0), Conditional("a", 1.0), Conditional("*", 1.0))
    assert filters([first, 0.5, (1.0, 2.0), (Conditional("a", 2.0), Conditional(None, 1.0))]) == (
        "b",
        "a",
    )

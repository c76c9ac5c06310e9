"""The table of methods: what each reads, refuses and asks an engine for."""

import subprocess
import sys

import pytest

from merging.errors import MergeError
from merging.methods.formula import Numbers, Sparsity, TaskVectors, WeightedMean
from merging.methods.table import METHODS, find_method

SPARSE = (
    "ties", "dare_linear", "dare_ties", "breadcrumbs", "breadcrumbs_ties", "della_linear", "della"
)  # fmt: skip
MERGEKIT = frozenset(
    "linear slerp nuslerp multislerp karcher model_stock task_arithmetic ties dare_linear "
    "dare_ties breadcrumbs breadcrumbs_ties della_linear della sce ram ramplus_tl "
    "nearswap arcee_fusion passthrough".split()
)
NUMBERS = {"weight": 1.0, "density": 0.5, "t": 0.3}


def formula(name: str, experts: list[dict[str, float]], **output: float | bool):
    method = METHODS[name]
    return method.merge(
        Numbers(
            tuple(method.complete("model", one) for one in experts),
            method.complete("global", output),
        )
    )


@pytest.mark.parametrize(
    ("name", "rule", "elect", "normalize", "rescale"),
    [
        ("ties", "magnitude", True, True, False),
        ("dare_linear", "random", False, False, True),
        ("dare_ties", "random", True, False, True),
        ("della_linear", "rank", False, False, True),
        ("della", "rank", True, True, True),
        ("breadcrumbs", "band", False, False, False),
        ("breadcrumbs_ties", "band", True, False, False),
    ],
)
def test_defaults_of_the_sparse_methods(name, rule, elect, normalize, rescale):
    epsilon = 0.15 if rule == "rank" else 0.0
    made = formula(name, [{"weight": 0.5, "density": 0.6}, {"weight": 2}])
    gamma = 0.01 if rule == "band" else 0.0
    sparsities = (Sparsity(rule, 0.6, epsilon, rescale, gamma), Sparsity())
    assert made == TaskVectors((0.5, 2.0), sparsities, elect, normalize, 1.0)


def test_task_arithmetic_keeps_everything():
    made = formula("task_arithmetic", [{"weight": 0.5, "density": 0.1}], **{"lambda": 0.7})
    assert made == TaskVectors((0.5,), (Sparsity(),), False, False, 0.7)


def test_linear_divides_by_the_sum_of_the_weights():
    assert formula("linear", [{"weight": 1}, {"weight": 3}]) == WeightedMean((1.0, 3.0), 4.0)
    made = formula("linear", [{"weight": 1}, {"weight": 3}], normalize=False)
    assert made == WeightedMean((1.0, 3.0), None)


def test_linear_refuses_weights_that_cancel():
    with pytest.raises(MergeError, match="0.3, -0.3 add up to zero.*normalize: false"):
        formula("linear", [{"weight": 0.3}, {"weight": -0.3}])
    cancelled = [{"weight": 0.3}, {"weight": -0.3}]
    assert formula("linear", cancelled, normalize=False) == WeightedMean((0.3, -0.3), None)


@pytest.mark.parametrize("name", SPARSE)
def test_global_numbers_reach_the_formula(name):
    given = {"normalize": False, "rescale": False, "lambda": 1.3, "int8_mask": True}
    made = formula(name, [{"weight": 1, "density": 0.5, "epsilon": 0.2}], **given)
    assert (made.normalize, made.scale) == (False, 1.3)
    assert not made.sparsities[0].rescale
    assert made == formula(
        name, [{"weight": 1, "density": 0.5, "epsilon": 0.2}], **{**given, "int8_mask": False}
    )


def test_the_table_has_what_mergekit_has():
    assert set(METHODS) == MERGEKIT


@pytest.mark.parametrize("name", METHODS)
def test_what_has_no_default_must_be_given(name):
    required = [one for one in METHODS[name].parameters if one.default is None]
    assert {one.name for one in required} <= {"weight", "t"}
    for one in required:
        with pytest.raises(MergeError, match=f"{name} needs the parameter '{one.name}'"):
            METHODS[name].complete(one.scope, {})


@pytest.mark.parametrize("name", METHODS)
def test_the_entry_says_what_the_formula_does(name):
    method = METHODS[name]
    experts = [NUMBERS] * max(2, method.experts[0])
    made = formula(name, experts[: method.experts[1]], **NUMBERS)
    assert method.name == name and (method.paper.startswith("https://") or name == "passthrough")
    assert not isinstance(made, TaskVectors) or method.base == "required"
    assert all(one.meaning for one in method.parameters)
    rules = {one.rule for one in made.sparsities} if isinstance(made, TaskVectors) else set()
    assert method.random == bool(rules & {"random", "rank"})
    assert all(one.default is None or not one.fault(one.default) for one in method.parameters)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("density", 1.4, "expected a number in (0, 1], got 1.4"),
        ("density", 0, "expected a number in (0, 1], got 0"),
        ("density", True, "expected a number in (0, 1], got True"),
        ("density", "half", "expected a number in (0, 1], got 'half'"),
        ("epsilon", 0.5, "expected a number in [0, 0.5), got 0.5"),
        ("weight", float("inf"), "expected a finite number, got inf"),
        ("weight", float("nan"), "expected a finite number, got nan"),
        ("normalize", 1, "expected true or false, got 1"),
        ("density", 1, None),
        ("epsilon", 0, None),
        ("weight", -3, None),
        ("normalize", False, None),
    ],
)
def test_faults_of_values(name, value, said):
    parameter = METHODS["della"].parameter(name)
    assert parameter is not None and parameter.fault(value) == said


@pytest.mark.parametrize(
    ("density", "epsilon", "fine"),
    [(0.5, 0.4, True), (0.5, 0.49, True), (0.1, 0.15, False), (0.9, 0.15, False), (1, 0.15, True)],
)
def test_della_needs_room_around_the_density(density, epsilon, fine):
    numbers = {"weight": 1.0, "density": density, "epsilon": epsilon}
    assert (METHODS["della"].conflict(numbers) is None) == fine
    assert METHODS["dare_ties"].conflict(numbers) is None
    if not fine:
        with pytest.raises(MergeError, match="make epsilon smaller than 0.1"):
            METHODS["della"].complete("model", numbers)


def test_unknown_methods_name_the_nearest():
    with pytest.raises(MergeError, match="did you mean 'dare_ties'"):
        find_method("dare_tie")
    with pytest.raises(MergeError, match="known: linear.*--methods FILE"):
        find_method("zzz")


@pytest.mark.parametrize(
    ("name", "experts", "said"),
    [
        ("slerp", 1, None),
        ("slerp", 2, "slerp takes exactly 1 model beside the base model, got 2"),
        ("nuslerp", 3, "nuslerp takes exactly 2 models beside the base model, got 3"),
        ("model_stock", 1, "model_stock takes at least 2 models beside the base model, got 1"),
        ("model_stock", 9, None),
    ],
)
def test_how_many_models_a_method_takes(name, experts, said):
    assert METHODS[name].wrong_number(experts, with_base=True) == said


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("ties", (), True),
        ("linear", (), False),
        ("linear", ("weight",), True),
        ("karcher", (), True),
        ("passthrough", (), False),
        ("nuslerp", (), True),
    ],
)
def test_which_methods_take_in_a_base_that_is_not_listed(name, given, taken):
    assert METHODS[name].takes_in(given) == taken


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3, None),
        (3.0, None),
        (2.5, "expected a whole number in [0, 10000], got 2.5"),
        (-1, "expected a whole number in [0, 10000], got -1"),
        (float("inf"), "expected a whole number in [0, 10000], got inf"),
    ],
)
def test_faults_of_whole_numbers(value, said):
    parameter = METHODS["karcher"].parameter("max_iter")
    assert parameter is not None and parameter.fault(value) == said


def test_a_range_without_an_end_says_where_it_begins():
    parameter = METHODS["nearswap"].parameter("t")
    assert parameter is not None
    assert parameter.fault(-0.1) == "expected a number from 0, got -0.1"


def test_the_table_costs_no_torch():
    probe = (
        "import sys, merging.methods.table; print({'torch', 'numba', 'numpy'} & {*sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"

"""The table of methods: what each reads, refuses and asks an engine for."""

import subprocess
import sys

import pytest

from merging.errors import MergeError, UnsupportedError
from merging.methods.formula import Numbers, Sparsity, TaskVectors, WeightedMean
from merging.methods.table import METHODS, NOT_YET, find_method

SPARSE = ("ties", "dare_linear", "dare_ties", "della_linear", "della")


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
    ],
)
def test_defaults_of_the_sparse_methods(name, rule, elect, normalize, rescale):
    epsilon = 0.15 if rule == "rank" else 0.0
    made = formula(name, [{"weight": 0.5, "density": 0.6}, {"weight": 2}])
    sparsities = (Sparsity(rule, 0.6, epsilon, rescale), Sparsity())
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


@pytest.mark.parametrize("name", METHODS)
def test_every_method_needs_a_weight(name):
    with pytest.raises(MergeError, match=f"{name} needs the parameter 'weight'"):
        METHODS[name].complete("model", {})


@pytest.mark.parametrize("name", METHODS)
def test_the_entry_says_what_the_formula_does(name):
    method = METHODS[name]
    made = formula(name, [{"weight": 1, "density": 0.5}])
    assert method.name == name and method.paper.startswith("https://")
    assert method.task_vectors == isinstance(made, TaskVectors)
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
    with pytest.raises(MergeError, match="supported: linear"):
        find_method("zzz")


@pytest.mark.parametrize("name", NOT_YET)
def test_methods_not_done_yet_say_what_to_use(name):
    with pytest.raises(UnsupportedError, match=f"'{name}' is not supported yet: ") as caught:
        find_method(name)
    assert any(method in str(caught.value).split("(")[0] for method in (*METHODS, "mergekit"))
    assert name not in METHODS


def test_the_table_costs_no_torch():
    probe = (
        "import sys, merging.methods.table; print({'torch', 'numba', 'numpy'} & {*sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"

"""Merge methods of the user's own, from a file: named, hashed, checked, told when they fail."""

from pathlib import Path

import pytest
import torch

from merging.errors import MergeError
from merging.methods import table
from merging.methods.own import load_methods
from merging.methods.table import METHODS, add_methods, find_method

from .test_span import merged

FILE = '''
from merging.methods.own import merge_method, number, switch

@merge_method(
    parameters=[
        number("weight", "what the expert is multiplied by", default=1.0),
        number("cut", "the largest difference", default=0.1, scope="global", low=0.0),
        switch("twice", "double it", default=False),
    ],
    paper="https://example.org/clipped",
)
def clipped(base, experts, numbers):
    """The base + the experts' differences, none larger than the cut."""
    cut = numbers.output["cut"]
    deltas = [(expert - base).clamp(-cut, cut) for expert in experts]
    total = sum(numbers.of(e, "weight") * delta for e, delta in enumerate(deltas))
    return base + total * (2 if numbers.output["twice"] else 1)

@merge_method(base="listed", experts=(2, 2), name="first_of_two")
def anything(base, experts, numbers):
    assert base is None
    experts[1].zero_()
    return experts[0]
'''


@pytest.fixture
def added(tmp_path, monkeypatch):
    """`added(text)`: the methods of a file of that text, in the table for one test."""
    monkeypatch.setattr(table, "_KNOWN", table._KNOWN)
    before = dict(table._KNOWN)

    def add(text: str):
        (tmp_path / "mine.py").write_text(text)
        methods = load_methods(tmp_path / "mine.py")
        add_methods(methods)
        return methods

    yield add
    table._KNOWN.clear()
    table._KNOWN.update(before)


@pytest.mark.parametrize("engine", ["kernel", "torch"])
def test_a_decorated_function_is_a_method_like_any_other(added, engine):
    added(FILE)
    method = find_method("clipped")
    assert method.base == "required" and method.paper == "https://example.org/clipped"
    assert [one.name for one in method.parameters] == ["weight", "cut", "twice"]
    made = merged("clipped", [[1.0, 2.05], [1.5, 1.0]], [{"weight": 1.0}, {"weight": 0.5}],
                  base=[1.0, 2.0], engine=engine)  # fmt: skip
    assert made.tolist() == pytest.approx([1.05, 2.0])
    twice = merged("clipped", [[1.0, 2.05]], [{}], {"twice": True}, [1.0, 2.0], engine)
    assert twice.tolist() == pytest.approx([1.0, 2.1])
    with pytest.raises(MergeError, match="cut: expected a number from 0, got -1"):
        merged("clipped", [[1.0]], [{}], {"cut": -1.0}, [1.0])


def test_functions_get_copies(added):
    added(FILE)
    tensor = torch.tensor([3.0])
    assert merged("first_of_two", [[1.0], tensor.tolist()]).tolist() == [1.0]
    assert METHODS["first_of_two"].wrong_number(3, with_base=False) is not None


def test_the_file_is_part_of_a_methods_identity(added, tmp_path):
    (first, _) = added(FILE)
    add_methods([first])  # again: the same file
    (tmp_path / "other.py").write_text(FILE + "\n")
    (second, _) = load_methods(tmp_path / "other.py")
    assert first.origin != second.origin
    with pytest.raises(MergeError, match="'clipped' exists already"):
        add_methods([second])


def test_a_name_of_the_table_is_taken(added):
    with pytest.raises(MergeError, match="'ties' exists already; give yours another name"):
        added(FILE.replace('name="first_of_two"', 'name="ties"'))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "no merge method in it; decorate a function with @merge_method"),
        ("raise KeyError('no')", "KeyError: 'no'"),
        ("def (", "SyntaxError"),
    ],
)
def test_files_that_hold_no_method(tmp_path, text, said):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(MergeError, match=f"--methods .*bad.py: .*{said}"):
        load_methods(tmp_path / "bad.py")
    with pytest.raises(MergeError, match="cannot be read"):
        load_methods(tmp_path / "missing.py")
    (tmp_path / "text.txt").write_text("x = 1")
    with pytest.raises(MergeError, match="expected a Python file"):
        load_methods(tmp_path / "text.txt")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('no luck')", "w: bad: ValueError: no luck"),
        ("return experts[0][:1]", r"w: bad: expected a tensor \[2\], got \[1\]"),
        ("return None", r"w: bad: expected a tensor \[2\], got NoneType"),
    ],
)
def test_functions_that_fail_are_told_with_the_tensor(added, body, said):
    added(
        "from merging.methods.own import merge_method\n@merge_method(base='listed')\n"
        f"def bad(base, experts, numbers):\n    {body}\n"
    )
    with pytest.raises(MergeError, match=said):
        merged("bad", [[1.0, 2.0]])


def test_a_file_is_read_relative_to_here(added, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.py").write_text(FILE)
    assert {one.name for one in load_methods(Path("here.py"))} == {"clipped", "first_of_two"}

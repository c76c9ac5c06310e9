"""YAML at the edge: places, bounds, the traps of YAML 1.1, duplicate keys."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from merging.document import (
    Place,
    did_you_mean,
    nearest,
    parse_document,
    parse_documents,
    path_text,
    read_document,
)
from merging.errors import MergeError, RecipeError, UnsupportedError

DATA = Path(__file__).parent.parent / "data" / "recipes"


def refused(text: str, kind: type[MergeError] = RecipeError) -> str:
    with pytest.raises(kind) as caught:
        parse_document(text, "f.yml")
    assert type(caught.value) is kind
    return str(caught.value)


def test_values_and_keys_have_their_places() -> None:
    document = parse_document("a: 1\nmodels:\n  - model: x\n    parameters: {weight: 0.5}\n", "f")
    at = ("models", 0, "parameters", "weight")
    assert document.place(at) == Place("f", 4, 26)
    assert document.place(at, key=True) == Place("f", 4, 18)
    assert document.place((*at, "deeper", 3)) == Place("f", 4, 26)
    assert document.place(("nowhere",)) == Place("f", 1, 1)


def test_an_error_names_file_line_column_and_path() -> None:
    document = parse_document("models:\n  - parameters: {density: 1.4}\n", "recipe.yml")
    error = document.error(("models", 0, "parameters", "density"), "too large")
    assert str(error) == "recipe.yml:2:27 models[0].parameters.density: too large"
    assert isinstance(error, RecipeError)
    assert str(document.error((), "wrong")) == "recipe.yml:1:1 wrong"


def test_a_child_keeps_places_and_shows_the_whole_path() -> None:
    study = parse_document("name: s\nrecipe:\n  dtype: bf16\n", "study.yaml")
    recipe = study.child("recipe")
    assert recipe.data == {"dtype": "bf16"}
    assert str(recipe.error(("dtype",), "no")) == "study.yaml:3:10 recipe.dtype: no"
    assert str(recipe.error(("dtype",), "no", key=True)) == "study.yaml:3:3 recipe.dtype: no"
    filled = recipe.with_data({"dtype": "float32"})
    assert (filled.data, filled.place(("dtype",))) == (
        {"dtype": "float32"},
        Place("study.yaml", 3, 10),
    )
    with pytest.raises(RecipeError, match=r"^study.yaml:3:3 recipe: 'gone' is missing"):
        study.child("recipe", "gone")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.5e3", 1500.0),
        ("1.0e-05", 1e-05),
        ("'1e-3'", "1e-3"),
        ("yes", True),
        ("off", False),
        ("1_000", 1000),
        ("-.inf", float("-inf")),
        ("~", None),
        ("1e999", "1e999"),
        ("12e4567890", "12e4567890"),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
    ],
)
def test_scalars(text: str, value: object) -> None:
    document = parse_document(f"a: {text}", "f.yml")
    assert document.data == {"a": value}
    assert type(document.data["a"]) is type(value)  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 010", "f.yml:1:4 `010` is not a plain decimal number"),
        ("a: 1:30", "not a plain decimal number"),
        ("a: 0x10", "not a plain decimal number"),
        ("a: " + "9" * 30, "not a plain decimal number"),
        ("a: 2024-01-01", "f.yml:1:4 `2024-01-01` is a date in YAML; quote it"),
        ("a: !!python/object/apply:os.system [x]", "is not plain data"),
        ("a: !thing x", "is not plain data"),
        ("a: !!binary aGk=", "is not plain data"),
        ("a: !!set {b}", "is not plain data"),
        ("a: !!bool perhaps", "is not plain data"),
        ("1: x", "f.yml:1:1 the key `1` is read as a number, not a text; quote it"),
        ("on: x", "the key `on` is read as true or false"),
        ("~: x", "the key `~` is read as nothing"),
        ("? [a]\n: b", "a key must be a text"),
        ("a:\n\t- b", "f.yml:2:1 found character '\\t'"),
        ("a: b: c", "f.yml:1:5 mapping values are not allowed here"),
        ("a: [1\nb: 2", "f.yml:2:2 expected ',' or ']'"),
        ("a: *b", "found undefined alias"),
        ("a: \x00", "f.yml:1:4 the character #x0000"),
        ("b: 1\na: \x07x", "f.yml:2:4 the character #x0007"),
        ('a: "\\0"', "f.yml:1:4 the text holds the character #x0000"),
        ('a: "\\ud800"', "f.yml:1:4 the text holds the character #xd800"),
        ('a: "\\U00110000"', "number too large"),
        ("", "f.yml:1:1 the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("<<: 3", "`<<` takes a mapping"),
    ],
)
def test_what_nobody_means_is_refused_with_its_place(text: str, message: str) -> None:
    found = refused(text)
    assert message in found
    assert "\n" not in found


def test_one_document_where_one_is_expected() -> None:
    message = refused("---\na: 1\n---\nb: 2", UnsupportedError)
    assert message.startswith("f.yml:4:1 a second YAML document begins here")
    for text in ("a: 1\n---\n", "---\n---\na: 1\n...\n---\n# nothing\n"):
        assert parse_document(text, "f.yml").data == {"a": 1}


def test_several_documents_have_the_places_of_the_file() -> None:
    one, two = parse_documents("a: &x [1]\nb: *x\n---\n# a note\na: {b: 2}\n", "f.yml")
    assert (one.data, two.data) == ({"a": [1], "b": [1]}, {"a": {"b": 2}})
    assert two.place(("a", "b")) == Place("f.yml", 5, 8)
    assert str(two.error(("a",), "no")) == "f.yml:5:4 a: no"
    with pytest.raises(RecipeError, match=r"f.yml:3:4 found undefined alias"):
        parse_documents("a: &x 1\n---\na: *x\n", "f.yml")


def test_bounds_hold_over_all_documents() -> None:
    text = ("a: [1" + ", 1" * 400 + "]\n---\n") * 200
    with pytest.raises(RecipeError, match=r"^f.yml:\d+:\d+ more than 50000 values"):
        parse_documents(text, "f.yml")


def test_a_key_given_twice_is_refused_with_both_lines() -> None:
    message = refused("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n")
    assert message == (
        "f.yml:5:3 the key `c` is given twice, in line 3 and in line 5; keep one of them"
    )


def test_lost_indentation_is_explained() -> None:
    with pytest.raises(RecipeError) as caught:
        read_document(DATA / "della_nemo_as_pasted.yml")
    message = str(caught.value)
    assert ":10:1 the key `parameters` is given twice, in line 2 and in line 10." in message
    assert "`int8_mask`, `rescale`, `normalize` (lines 3 to 5)" in message
    assert "`density`, `epsilon`, `lambda`, `weight` (lines 11 to 14)" in message
    assert "The file lost its indentation" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100, "nested more than 32 deep"),
        ("a: &x [*x]", "an alias stands inside the value it names"),
        ("a: [" + "x," * 60_000 + "]", "more than 50000 values"),
        ("a: " + "x" * 2**20, "larger than 1 MiB"),
    ],
)
def test_bounds(text: str, message: str) -> None:
    assert message in refused(text)


@pytest.mark.parametrize("form", ["a{}: &a{} [{}]", "a{}: &a{} {{<<: [{}]}}"])
def test_aliases_cannot_blow_a_document_up(form: str) -> None:
    first = "a0: &a0 [x]" if "<<" not in form else "a0: &a0 {x: 1}"
    lines = [form.format(n, n, ", ".join([f"*a{n - 1}"] * 9)) for n in range(1, 25)]
    assert "once its aliases are expanded" in refused("\n".join([first, *lines]))


def test_merge_keys_give_way_to_a_mappings_own() -> None:
    text = "d: &d {a: 1, b: 2}\ne: &e {b: 3, c: 4}\nf:\n  <<: [*d, *e]\n  a: 9\n"
    document = parse_document(text, "f.yml")
    assert document.data == yaml.safe_load(text)
    assert document.place(("f", "c")) == Place("f.yml", 2, 17)


def test_files_that_cannot_be_read_get_one_message(tmp_path: Path) -> None:
    contents = {
        "latin.yml": (b"a: 1\nb: \xe9", ":2:4 the byte #xe9 is not UTF-8"),
        "wide.yml": ("a: 1".encode("utf-16"), ":1:1 the file is in UTF-16"),
        "big.yml": (b" " * (2**20 + 1), "larger than 1 MiB"),
    }
    for name, (content, message) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RecipeError) as caught:
            read_document(tmp_path / name)
        assert message in str(caught.value)
    with pytest.raises(RecipeError, match="no such file"):
        read_document(tmp_path / "gone.yml")
    with pytest.raises(RecipeError, match="is a folder"):
        read_document(tmp_path)
    (tmp_path / "bom.yml").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_document(tmp_path / "bom.yml").data == {"a": 1}


def test_nearest() -> None:
    known = ("density", "weight", "merge_method")
    assert nearest("Densty", known) == "density"
    assert nearest("merge-method", known) == "merge_method"
    assert nearest("interpolation_factor", known) is None
    assert did_you_mean("weigth", known) == ", did you mean 'weight'?"
    assert did_you_mean("zzz", known) == ""


def test_path_text() -> None:
    assert path_text(("models", 1, "parameters", "density")) == "models[1].parameters.density"
    assert path_text(()) == ""


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Nd")), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-zA-Z_]{1,6}x", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(deadline=None, derandomize=True)
@given(PLAIN)
def test_plain_data_comes_out_as_pyyaml_reads_it(data: object) -> None:
    text = yaml.safe_dump({"a": data}, allow_unicode=True)
    assert parse_document(text, "f.yml").data == yaml.safe_load(text)


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_data_or_one_error(text: str) -> None:
    try:
        parse_document(text, "f.yml")
    except MergeError as error:
        assert str(error).startswith("f.yml:") and "\n" not in str(error)


def test_a_file_of_countless_documents_is_refused_early() -> None:
    with pytest.raises(RecipeError, match=r"r.yml:257:1 more than 256 documents in one file"):
        parse_documents("--- a\n" * 40_000, "r.yml")

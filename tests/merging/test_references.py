"""Model references: the parts, and the text again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merging.errors import RecipeError
from merging.recipe import ModelReference
from merging.references import parse_reference

PART = st.text(
    st.characters(codec="utf-8", exclude_characters="+@", exclude_categories=("Cc", "Cs", "Z")),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("org/name", ModelReference("org/name")),
        ("./a b/c", ModelReference("./a b/c")),
        ("org/name@main", ModelReference("org/name", "main")),
        ("base+lora", ModelReference("base", None, "lora")),
        ("base+lora@v2", ModelReference("base", None, "lora", "v2")),
        ("base@v1+lora@v2", ModelReference("base", "v1", "lora", "v2")),
    ],
)
def test_parts(text: str, reference: ModelReference) -> None:
    assert parse_reference(text) == reference
    assert str(reference) == text


@settings(deadline=None, derandomize=True)
@given(PART, st.none() | PART, st.none() | st.tuples(PART, st.none() | PART))
def test_round_trip(
    path: str, revision: str | None, adapter: tuple[str, str | None] | None
) -> None:
    reference = ModelReference(path, revision, *(adapter or (None, None)))
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize("text", ["", " a", "a ", "+a", "a+", "@a", "a@", "a@+b", "a+@b", "a\nb"])
def test_empty_parts_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="is not a model"):
        parse_reference(text)


@pytest.mark.parametrize(("text", "sign"), [("c++/model", "'\\+'"), ("a@b@c", "'@'")])
def test_a_path_with_signs_of_its_own_says_what_to_do(text: str, sign: str) -> None:
    with pytest.raises(RecipeError, match=f"more than one {sign}.*rename the folder or map"):
        parse_reference(text)

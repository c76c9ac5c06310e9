"""Recipes are printed and read back without a difference; mangled ones are refused in one line."""

import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from merging.document import parse_document, read_document
from merging.errors import MergeError
from merging.methods.method import Method
from merging.methods.parameters import Parameter
from merging.methods.table import METHODS
from merging.recipe import (
    Conditional,
    ModelReference,
    Parameters,
    Recipe,
    Slice,
    Source,
    TokenizerSection,
    TokenRow,
    TokenRule,
)
from merging.recipe_reader import read_recipe
from merging.recipe_values import MAX_NUMBER
from merging.recipe_writer import recipe_data, recipe_yaml

DATA = Path(__file__).parent.parent / "data" / "recipes"
NUMBERS = st.floats(-MAX_NUMBER, MAX_NUMBER)
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="+@", exclude_categories=("Cc", "Cs", "Z")),
    min_size=1,
    max_size=8,
) | st.sampled_from(["1e-3", "null", "yes", "12", "a b", "#x", "~", "=", "- a", "{a}", "1.5"])


def plain(value: st.SearchStrategy[float]) -> st.SearchStrategy[object]:
    return value | st.lists(value, min_size=1, max_size=4).map(tuple)


def setting(value: st.SearchStrategy[float]) -> st.SearchStrategy[object]:
    entry = st.builds(Conditional, st.none() | NAMES, plain(value))
    return plain(value) | st.lists(entry, min_size=1, max_size=3).map(tuple)


def values(parameter: Parameter) -> st.SearchStrategy[object]:
    """What a parameter of the table may be, away from numbers that do not go together."""
    if parameter.kind == "bool":
        entry = st.builds(Conditional, st.none() | NAMES, st.booleans())
        return st.booleans() | st.lists(entry, min_size=1, max_size=2).map(tuple)
    if parameter.kind == "int":
        return st.integers(0, 50).map(float)
    inside = {"density": (0.45, 0.55), "epsilon": (0.0, 0.4), "weight": (0.1, 2.0)}
    low, high = inside.get(parameter.name, (max(parameter.low, -9.0), min(parameter.high, 9.0)))
    return setting(st.floats(low, high, exclude_max=parameter.high_open))


def parameters(method: Method, level: str) -> st.SearchStrategy[Parameters]:
    """Parameters that count at a level: required ones where they can stand, others or not."""
    known = [one for one in method.parameters if level == "recipe" or one.scope == "model"]
    asked = [one for one in known if one.default is None and one.scope == LEVELS.get(level)]
    rest = [one for one in known if one not in asked]
    return st.fixed_dictionaries(
        {one.name: values(one) for one in asked}, optional={one.name: values(one) for one in rest}
    )


LEVELS = {"recipe": "global", "expert": "model"}


def tokenizers(models: list[ModelReference]) -> st.SearchStrategy[TokenizerSection]:
    model = st.sampled_from(models)
    names = NAMES | st.sampled_from(["value", "filter", "range", "model", "\n", "é "])
    row = st.one_of(
        st.builds(TokenRow, st.none() | model),
        st.builds(TokenRow, model, token=names),
        st.builds(TokenRow, model, token_id=st.integers(0, 9)),
    )
    rule = st.builds(TokenRule, row, st.booleans()) | st.just(TokenRule(None, False))
    source = st.sampled_from(["union", "base"]) | model
    multiple = st.none() | st.integers(1, 64)
    return st.builds(TokenizerSection, source, st.dictionaries(names, rule, max_size=3), multiple)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    method = METHODS[draw(st.sampled_from(sorted(METHODS)))]
    low, high = method.experts
    many = 1 + draw(st.integers(low, min(3, high or 3)))
    references = st.builds(ModelReference, NAMES, st.none() | NAMES)
    base, *experts = draw(st.lists(references, min_size=many, max_size=many, unique=True))
    length = draw(st.integers(1, 3))
    sliced = draw(st.booleans())
    based = method.base_apart

    def source(model: ModelReference) -> Source:
        first = draw(st.integers(0, 9))
        layers = (first, first + length) if sliced else None
        return Source(
            model, draw(parameters(method, "base" if model == base else "expert")), layers
        )

    sources = tuple(source(model) for model in ((base, *experts) if based and sliced else experts))
    if sliced:
        own = draw(st.none() | st.just(base)) if based else None
        slices = (Slice(sources, own, draw(parameters(method, "slice"))),)
    return Recipe(
        merge_method=method.name,
        base_model=base if based else None,
        models=() if sliced else sources,
        slices=slices if sliced else (),
        parameters=draw(parameters(method, "recipe")),
        dtype=draw(st.none() | st.sampled_from(["float32", "bfloat16", "float16"])),
        out_dtype=draw(st.none() | st.just("float32")),
        mask_seed=draw(st.integers(0, 2**63 - 1)),
        tokenizer=draw(st.none() | tokenizers(experts)),
        chat_template=draw(st.none() | st.sampled_from(["auto", "chatml", "{{ a }}\n: {# b #}"])),
    )


@settings(deadline=None, derandomize=True, max_examples=60)
@given(recipes())
def test_a_recipe_printed_and_read_is_the_same_recipe(recipe: Recipe) -> None:
    text = recipe_yaml(recipe)
    again, _ = read_recipe(parse_document(text, "r.yml"), strict=True)
    assert again == recipe
    assert recipe_yaml(again) == text
    assert yaml.safe_load(text) == recipe_data(recipe)  # mergekit's reader sees the same


def test_printed_recipes_look_as_people_write_them() -> None:
    recipe, _ = read_recipe(read_document(DATA / "della_nemo.yml"), strict=True)
    text = recipe_yaml(recipe)
    assert list(yaml.safe_load(text))[:3] == ["merge_method", "base_model", "models"]
    assert "\n      density: [0.45, 0.55, 0.45, 0.55, 0.45]\n" in text
    small = "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1e-5}}]\n"
    recipe, _ = read_recipe(parse_document(small, "r.yml"), strict=True)
    assert "weight: 1.0e-05\n" in recipe_yaml(recipe)


@pytest.mark.parametrize("seed", range(40))
def test_mangled_recipes_are_read_or_refused_in_one_line(seed: int) -> None:
    choose = random.Random(seed)
    names = sorted(path.name for path in DATA.glob("*.yml"))
    for _ in range(6):
        text = mangled((DATA / choose.choice(names)).read_text(), choose)
        try:
            recipe, _ = read_recipe(parse_document(text, "r.yml"), strict=choose.random() < 0.5)
        except MergeError as error:
            assert str(error).startswith("r.yml:") and "\n" not in str(error)
        else:
            again, _ = read_recipe(parse_document(recipe_yaml(recipe), "r.yml"), strict=True)
            assert again == recipe


def mangled(text: str, choose: random.Random) -> str:
    """The text after a few random strokes: lines moved, characters lost, values swapped."""
    junk = [
        "[]",
        "{}",
        "null",
        "-1",
        "1e9",
        ".nan",
        "true",
        "''",
        "&a x",
        "*a",
        "!!set",
        "\t",
        ": ",
    ]
    for _ in range(choose.randint(1, 4)):
        lines = text.split("\n")
        at = choose.randrange(len(lines))
        stroke = choose.randrange(5)
        if stroke == 0:
            lines[at] = " " * choose.randint(0, 4) + lines[at]
        elif stroke == 1:
            lines[at] = lines[at][choose.randint(0, 3) :]
        elif stroke == 2:
            lines[at] = lines[at].split(":")[0] + ": " + choose.choice(junk)
        elif stroke == 3:
            lines.insert(choose.randrange(len(lines)), lines.pop(at))
        else:
            cut = choose.randrange(len(lines[at]) + 1)
            lines[at] = (
                lines[at][:cut]
                + choose.choice([*"[]{}:,-\"'&*!|>%@`#\x00", "é"])
                + lines[at][cut:]
            )
        text = "\n".join(lines)
    return text

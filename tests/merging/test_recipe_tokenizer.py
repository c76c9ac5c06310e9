"""`tokenizer`, `tokenizer_source` and `chat_template`: read without loss, refused with places."""

import pytest

from merging.document import parse_document
from merging.errors import RecipeError
from merging.recipe import ModelReference, Recipe, TokenizerSection, TokenRow, TokenRule
from merging.recipe_reader import read_recipe
from merging.recipe_writer import recipe_yaml

HEAD = "merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 1}\n"
FULL = HEAD + (
    "tokenizer:\n"
    "  source: b\n"
    "  tokens:\n"
    "    <x>: {source: a}\n"
    '    "1": {source: {kind: model_token, model: b, token: "\\n"}, force: true}\n'
    "    <y>: {source: {kind: model_token, model: a, token_id: 7}}\n"
    "    <z>: {source: {kind: zero}, force: true}\n"
    '    "\\n": {}\n'
    "  pad_to_multiple_of: 64\n"
    "chat_template: chatml\n"
)
A, B = ModelReference("a"), ModelReference("b")


def read(text: str, strict: bool = True) -> Recipe:
    return read_recipe(parse_document(text, "r.yml"), strict=strict)[0]


def refused(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        read(HEAD + text)
    return str(caught.value)


def test_everything_is_read_and_printed_back() -> None:
    recipe = read(FULL)
    assert recipe.tokenizer == TokenizerSection(
        source=B,
        tokens={
            "<x>": TokenRule(TokenRow(A), False),
            "1": TokenRule(TokenRow(B, token="\n"), True),
            "<y>": TokenRule(TokenRow(A, token_id=7), False),
            "<z>": TokenRule(TokenRow(None), True),
            "\n": TokenRule(None, False),
        },
        pad_to_multiple_of=64,
    )
    assert recipe.chat_template == "chatml"
    assert read(recipe_yaml(recipe)) == recipe
    assert list(read(recipe_yaml(recipe)).tokenizer.tokens) == list(recipe.tokenizer.tokens)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("tokenizer_source: base", "base"),
        ("tokenizer_source: x/y", ModelReference("x/y")),
        ("tokenizer: {source: union, pad_to_multiple_of: 0}", "union"),
        ("tokenizer: {}", "union"),
    ],
)
def test_short_forms(text: str, source: object) -> None:
    assert read(HEAD + text).tokenizer == TokenizerSection(source, {}, None)


def test_a_template_may_stand_in_the_recipe() -> None:
    text = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    recipe = read(HEAD + f'chat_template: "{text}"')
    assert recipe.chat_template == text
    assert read(recipe_yaml(recipe)) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "tokenizer: {}\ntokenizer_source: base",
            "5:1 tokenizer_source: says again what `tokenizer` (line 4) says",
        ),
        ("tokenizer: union", "4:12 tokenizer: expected {source: union}, got 'union'"),
        ("tokenizer: [union]", "4:12 tokenizer: expected keys and values, got ['union']"),
        ("tokenizer: {sauce: a}", "'sauce', did you mean 'source'?"),
        ("tokenizer_source: 3", "4:19 tokenizer_source: expected union, base or a model, got 3"),
        ("tokenizer: {pad_to_multiple_of: -8}", "expected a whole number from 1 to 65536, got -8"),
        ("tokenizer: {pad_to_multiple_of: true}", "got True"),
        (
            "tokenizer: {tokens: {x: {source: aa}}}",
            "4:34 tokenizer.tokens.x.source: 'aa' is none of the recipe's models, did you mean "
            "'a'?; rows can be taken from a, b",
        ),
        ("tokenizer: {tokens: {x: {force: true}}}", "nothing to force: give a `source` too"),
        ("tokenizer: {tokens: {x: {force: 1}}}", "expected true or false, got 1"),
        ("tokenizer: {tokens: {x: {source: [a]}}}", "{kind: model_token} or {kind: zero}"),
        ("tokenizer: {tokens: {x: {source: {kind: one}}}}", "expected model_token or zero"),
        ("tokenizer: {tokens: {x: {source: {kind: zero, model: a}}}}", "no key 'model'"),
        (
            "tokenizer: {tokens: {x: {source: {kind: model_token, model: a}}}}",
            "expected one of `token` and `token_id`, got neither",
        ),
        (
            "tokenizer: {tokens: {x: {source: {kind: model_token, model: a, token_id: -1}}}}",
            "expected a whole number from 0, got -1",
        ),
        (
            "tokenizer: {tokens: {x: {source: {kind: model_token, model: c, token: y}}}}",
            "'c' is none of the recipe's models",
        ),
        ('tokenizer: {tokens: {"": {}}}', "an empty text is no token"),
        ("chat_template: chatlm", "got 'chatlm', did you mean 'chatml'?"),
        ("chat_template: [chatml]", "4:16 chat_template: expected auto, alpaca, chatml"),
        ('chat_template: "{% for"', "not a Jinja template: "),
        ('chat_template: "\\n{% end %}"', "(line 2 of the template)"),
    ],
)
def test_faults_have_places(text: str, message: str) -> None:
    found = refused(text)
    assert message in found and found.startswith("r.yml:") and "\n" not in found


def test_a_token_that_breaks_lines_does_not_break_a_message() -> None:
    found = refused('tokenizer: {tokens: {"\\n": {force: 1}}}')
    assert found == "r.yml:4:36 tokenizer.tokens['\\n'].force: expected true or false, got 1"

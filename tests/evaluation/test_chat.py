"""Chat templates are a stranger's: whatever they raise is told in one message."""

import copy
from typing import Any

import pytest

from evaluation.chat import chat_renderer
from evaluation.errors import EvaluationError


@pytest.mark.parametrize(
    "template",
    [
        {"tool_use": "x", "rag": "y"},
        "{{ messages[0]['content'] + 1 }}",
        "{{ 1 / 0 }}",
        "{{ messages.render() }}",
        "{{ " + "(" * 300 + "1" + ")" * 300 + " }}",
        "{% for",
    ],
    ids=["several", "type", "zero", "attribute", "nested", "syntax"],
)
def test_a_template_at_fault_is_told(pico: Any, template: Any) -> None:
    tokenizer = copy.deepcopy(pico.tokenizer)
    tokenizer.chat_template = template
    with pytest.raises(EvaluationError, match="chat_template: the tokenizer's template: "):
        chat_renderer(tokenizer)([{"role": "user", "content": "hello"}])


def test_an_answer_that_was_begun_goes_on(pico: Any) -> None:
    tokenizer = copy.deepcopy(pico.tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</>{% endfor %}"
        "{% if add_generation_prompt %}<assistant><think></think>{% endif %}"
    )
    render = chat_renderer(tokenizer)
    asked = [{"role": "user", "content": "hello"}]
    assert render(asked) == "<user>hello</><assistant><think></think>"
    begun = [*asked, {"role": "assistant", "content": "it is"}]
    assert render(begun) == "<user>hello</><assistant>it is"

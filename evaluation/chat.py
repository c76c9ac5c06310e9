"""Messages to the prompt a chat model was trained on, by the tokenizer's own template.

transformers renders it in a sandbox. A template that knows no system role (Gemma's) gets the
system text in front of the first question, so that an instruction is never dropped without a word.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from .errors import EvaluationError
from .templates import FAULTS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, str]]
"""Each with `role` (system, user, assistant) and `content`."""


def chat_renderer(tokenizer: "PreTrainedTokenizerBase") -> Callable[[Messages], str]:
    """A function from messages to the text that the answer continues.

    They end with the user's, or with the assistant's: an answer that was begun and goes on.

    Raises:
        EvaluationError: the tokenizer has no chat template.
    """
    if not tokenizer.chat_template:
        raise EvaluationError(
            f"chat_template: the tokenizer of {tokenizer.name_or_path or 'the model'} has none; "
            "leave `chat_template` out, or take a model that has one"
        )

    def render(messages: Messages) -> str:
        try:
            return apply(tokenizer, messages)
        except TemplateError:
            if messages[0]["role"] != "system":
                raise
        return apply(tokenizer, without_system(messages))

    def checked(messages: Messages) -> str:
        try:
            return render(messages)
        except FAULTS as fault:
            raise EvaluationError(f"chat_template: the tokenizer's template: {fault}") from None

    return checked


def apply(tokenizer: "PreTrainedTokenizerBase", messages: Messages) -> str:
    """The template's text with the beginning of an answer, the template's or the messages'."""
    turns = [dict(message) for message in messages]
    begun = turns[-1]["role"] == "assistant"
    text = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=not begun, continue_final_message=begun
    )
    return str(text)


def without_system(messages: Messages) -> Messages:
    """The same with the system text in front of the first user message."""
    system, first, *rest = messages
    return [
        {"role": first["role"], "content": f"{system['content']}\n\n{first['content']}"},
        *rest,
    ]

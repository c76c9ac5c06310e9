"""Chat templates: whether tasks and models mean the same by a prompt."""

from evaluation.spec import LmEvalSpec, TaskSpec
from merging.chat_templates import own_template
from merging.errors import MergeError
from merging.recipe import ModelReference

from ..preflight import Preflight


def speech_warnings(found: Preflight) -> list[str]:
    """Templates that differ where a task uses them, and templates that no task uses."""
    study = found.study
    templates = _templates(found)
    base = templates.get(found.base)
    with_one = [model for model, text in templates.items() if text is not None]
    used = [spec.name for spec in study.tasks if spec.chat_template]
    plain = [spec.name for spec in study.tasks if not spec.chat_template and _asks(spec)]
    warnings = []
    if used and found.recipe.chat_template is None:
        others = [m for m, text in templates.items() if text not in (None, base)]
        without = [m for m, text in templates.items() if text is None]
        if others:
            warnings.append(
                f"chat templates differ: {_names(others)} was trained with another than "
                f"{found.base}, whose template asks the questions of {', '.join(used)}; write "
                "`chat_template:` into the recipe to choose one"
            )
        if without:
            warnings.append(
                f"{_names(without)} has no chat template, {', '.join(used)} asks with that of "
                f"{found.base}: drop `chat_template` if it was trained on plain text"
            )
    elif plain and with_one and not used:
        who = "all models have" if len(with_one) == len(templates) else f"{_names(with_one)} has"
        warnings.append(
            f"{who} a chat template, and no task uses it: {', '.join(plain)} asks in plain text. "
            "Where the models were trained to chat, give the tasks `chat_template: true`"
        )
    return warnings


def _asks(spec: TaskSpec) -> bool:
    """Whether a task asks something, and is not plain text."""
    return isinstance(spec, LmEvalSpec) or bool(spec.prompt)


def _templates(found: Preflight) -> dict[ModelReference, str | None]:
    """Each model's own template; with an adapter, that of the model below it."""
    texts: dict[ModelReference, str | None] = {}
    for model, checkpoint in found.checkpoints.items():
        try:
            text = own_template(checkpoint.folder)
        except MergeError:
            text = None
        texts[model] = text.strip() if text else None
    return texts


def _names(models: list[ModelReference]) -> str:
    return " and ".join(str(one) for one in models[:3]) + (" ..." if len(models) > 3 else "")

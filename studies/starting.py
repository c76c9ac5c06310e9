"""`init`: a study from what somebody has; the file is there to be read and edited.

A recipe becomes the first trial, with ranges around its numbers; a mergekit-evolve file a study of
its genome; models and a file of questions a study that searches well (`drafting`).
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from merging.document import Document, read_document
from merging.recipe_reader import read_recipe
from search.space_walk import models_of, refuse_modules

from .drafting.models import family_of, one_template
from .drafting.questions import Draft, clean_name, draft_tasks
from .drafting.sizes import sizes_of
from .drafting.writing import study_yaml
from .errors import StudyError
from .genome import (
    goals_from_evolve,
    ignored_by_study,
    layers_of,
    recipe_from_genome,
    tasks_from_evolve,
)
from .names import renamed
from .ranging import ranged_recipe


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `init` was asked for: a recipe, or base and experts; tasks; where it will stand."""

    recipe: Path | None = None
    base: str | None = None
    experts: Sequence[str] = ()
    method: str | None = None
    tasks: Sequence[str] = ()
    output: Path | None = None
    maps: Mapping[str, Path] = field(default_factory=dict)

    @property
    def place(self) -> Path:
        """The folder that the study will stand in."""
        return (self.output.parent if self.output else Path.cwd()).resolve()


def study_text(wanted: Wanted) -> str:
    """The study as YAML text; warnings go to standard error.

    Raises:
        StudyError: neither a recipe nor models, or both.
    """
    models = wanted.base is not None or bool(wanted.experts)
    if wanted.recipe is None and not models:
        raise StudyError(
            "init: give a RECIPE (mergekit's or mergekit-evolve's YAML), or models: "
            "--base MODEL --expert MODEL --expert MODEL --task questions.jsonl"
        )
    if wanted.recipe is None:
        return _from_models(wanted)
    if models or wanted.method:
        raise StudyError(
            f"init: {wanted.recipe} names its own models and method; leave out --base, --expert "
            "and --method"
        )
    return _from_recipe(wanted, wanted.recipe)


HEAD = """\
A study made from {source}.
Read it, change what you like, then:
  eutectic check {file}     what is wrong, what the search will take (--measure: in minutes)
  eutectic search {file}    Ctrl-C when you like: the same command goes on where it stopped"""
AROUND = "The recipe with ranges around its numbers; `start` is what it said, and the first trial."
FIRST = "Each task's first metric is an objective. "
CHAT = (
    "All models have the same chat template, so questions are asked with it. Drop `chat_template` "
    "where the experts were trained on plain text, and write the prompt as they know it."
)
PLAIN = "Prompts are Jinja over a row. Other keys: fewshot, description, system, limit (README)."


def _from_models(wanted: Wanted) -> str:
    family = family_of(wanted.base, wanted.experts, wanted.method, wanted.place, wanted.maps)
    for name in family.missing:
        print(
            f"note: {name} is no folder here, so it is taken for a name on the Hugging Face hub",
            file=sys.stderr,
        )
    drafts = draft_tasks(wanted.tasks, wanted.place, family.chat)
    stem = wanted.output.stem if wanted.output else "study"
    name = "-".join(family.labels) if stem == "study" else stem
    experts = "an expert" if len(wanted.experts) == 1 else f"{len(wanted.experts)} experts"
    base = f"{wanted.base} and {experts}" if wanted.base else experts
    return _text(
        wanted, base, clean_name(name), family.recipe, "\n".join(family.notes), drafts, {}
    )


def _from_recipe(wanted: Wanted, recipe: Path) -> str:
    document = read_document(recipe)
    if not isinstance(document.data, Mapping):
        raise StudyError(f"{recipe}: expected a recipe, a mapping of keys")
    folder, goals = recipe.resolve().parent, {}
    evolved: list[Draft] = []
    if "genome" in document.data:
        data = _from_genome(document, folder, wanted.maps)
        if not wanted.tasks:
            evolved = [Draft(one) for one in tasks_from_evolve(document)]
            goals = goals_from_evolve(document)
    else:
        _, notices = read_recipe(document, strict=False)
        for notice in notices:
            print(f"warning: {notice}", file=sys.stderr)
        refuse_modules(document)
        data = ranged_recipe(document, _layers(document.data, folder, wanted.maps))
    drafts = evolved or draft_tasks(wanted.tasks, wanted.place, _chat(data, folder, wanted.maps))
    moved = _moved(data, folder, wanted.place)
    return _text(wanted, recipe.name, clean_name(recipe.stem), moved, AROUND, drafts, goals)


def _text(
    wanted: Wanted,
    source: str,
    name: str,
    recipe: Mapping[str, Any],
    why: str,
    drafts: Sequence[Draft],
    goals: Mapping[str, Any],
) -> str:
    """The file, with a task to be edited where none was given."""
    if not drafts:
        print("note: no --task was given; edit `tasks` before searching", file=sys.stderr)
        drafts = [Draft(EXAMPLE_TASK, ("An example: put your own in its place.",))]
    sizes = sizes_of(drafts, references=len(models_of(dict(recipe))) + 2)
    chat = any("chat_template" in one.data for one in drafts)
    sections: dict[str, Any] = {"name": name, "recipe": recipe, "tasks": [d.data for d in drafts]}
    sections |= goals
    sections |= {"split": sizes.split} if sizes.split else {}
    sections |= {"budget": sizes.budget, "seed": 0}
    notes = {
        "recipe": why,
        "tasks": f"{'' if 'objectives' in goals else FIRST}{CHAT if chat else PLAIN}",
        "split": sizes.split_note,
        "budget": " ".join(
            filter(None, (sizes.budget_note, _claim(sizes.split, sizes.split_note)))
        ),
    }
    file = wanted.output.name if wanted.output else "study.yaml"
    head = HEAD.format(source=" ".join(source.split()), file=file)
    return study_yaml(head, sections, notes, ["\n".join(one.notes) for one in drafts])


def _claim(split: object, note: str) -> str:
    """What the default split has to be told of, where there is no section to tell it at."""
    return note if split is None else ""


def _from_genome(document: Document, folder: Path, maps: Mapping[str, Path]) -> dict[str, Any]:
    layers = _layers(document.data, folder, maps)
    data = recipe_from_genome(document, layers)
    for text in ignored_by_study(document):
        print(f"note: {text}; left out", file=sys.stderr)
    if layers is None and "anchors" in yaml.safe_dump(data):
        print(
            "warning: the models are not here, so their layers are not known and groups of layers "
            "became anchors; give --map NAME=PATH to have them as blocks",
            file=sys.stderr,
        )
    return data


EXAMPLE_TASK = {
    "name": "questions",
    "file": "questions.jsonl",
    "type": "multiple_choice",
    "prompt": "{{question}}",
    "choices": "choices",
    "answer": "answer",
}


def _layers(data: Any, folder: Path, maps: Mapping[str, Path]) -> int | None:
    """The layers of the models of a recipe or a genome, None where none of them is here."""
    found = data.get("genome", data)
    if not isinstance(found, Mapping):
        return None
    listed = found.get("models")
    entries = [*(listed if isinstance(listed, list) else []), found.get("base_model")]
    named = [one.get("model") if isinstance(one, Mapping) else one for one in entries]
    names = [one for one in named if isinstance(one, str)]
    layers = (layers_of(one, folder, maps) for one in names)
    return next((one for one in layers if one is not None), None)


def _chat(data: Mapping[str, Any], folder: Path, maps: Mapping[str, Path]) -> bool:
    """Whether all models of a recipe are here and have one chat template."""
    base = data.get("base_model")
    names = [*([base] if isinstance(base, str) else []), *models_of(data)]
    parts = [name.split("+")[0] for name in names]
    places = [maps.get(part) or folder / part for part in parts]
    return one_template([place if place.is_dir() else None for place in places])


def _moved(data: Any, source: Path, place: Path) -> Any:
    """Local model names, seen from where the study will stand; other names as they are."""
    if source == place:
        return data
    return renamed(
        data, lambda name: str((source / name).resolve()) if (source / name).is_dir() else name
    )

"""A task as a study file asks for it, validated in form; `native` and `lm_eval_tasks` load it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Fewshot:
    """`n` worked examples before each question, of the calibration split or a file's rows."""

    n: int = 0
    file: Path | None = None
    """JSONL, CSV or Parquet with the same columns; None: from the calibration split."""
    same: bool = False
    """The same examples for every item (much faster), else drawn for each item."""


@dataclass(frozen=True, slots=True)
class NativeSpec:
    """A task over a local JSONL, CSV or Parquet file; texts are Jinja2 over the row."""

    name: str
    file: Path
    type: Literal["multiple_choice", "loglikelihood", "generate"]
    prompt: str = ""
    choices: str | tuple[str, ...] | None = None
    """A column (keeps its type: a list), a template that gives a list, or fixed choices."""
    answer: str | None = None
    """Column or template; an integer is an index into choices, a string the text of a choice."""
    target: str | None = None
    """Column or template of the reference text: loglikelihood and generate."""
    description: str = ""
    fewshot: Fewshot = Fewshot()
    chat_template: bool = False
    system: str | None = None
    until: tuple[str, ...] = ()
    """Ends a text. Empty: an empty line (what stands between shots), or EOS alone in a chat."""
    max_new_tokens: int = 256
    extract: str | None = None
    """Regular expression; its first group (or the whole match) in the text is compared."""
    score: str | None = None
    """`PATH/scorers.py:function`, runs only when the command line allows that file."""
    group: str | None = None
    stratum: str | None = None
    limit: int | None = None
    """A seeded sample of this many rows instead of all."""
    place: str = ""
    """`file:line:column` of the task in the study file, for messages."""


@dataclass(frozen=True, slots=True)
class LmEvalSpec:
    """An lm-eval task by name, or by a YAML in `include_path`."""

    name: str
    task: str
    include_path: Path | None = None
    fewshot: int | None = None
    docs: Literal["train", "validation", "test"] | None = None
    """The official split searched on: validation, else train; test if that is allowed."""
    test: Literal["official"] | None = None
    """The official test split becomes the sealed test split; the others are made from `docs`."""
    chat_template: bool = False
    system: str | None = None
    limit: int | None = None
    place: str = ""


TaskSpec = NativeSpec | LmEvalSpec

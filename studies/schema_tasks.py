"""The form of one entry of `tasks`, key by key; `config_tasks` says which keys go together.

Descriptions and examples are the only ones there are: the reference of the study file and its
JSON schema are made of them.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Form(BaseModel):
    """A mapping in which unknown keys are faults and types are not guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class FewshotForm(Form):
    """`fewshot: {n: 3, from: FILE | calibration, same: true}`."""

    n: Count = Field(description="How many examples stand before each question.", examples=[3])
    source: str = Field(
        default="calibration",
        alias="from",
        description="Where they come from: `calibration`, or a file with the columns of the task.",
        examples=["shots.jsonl"],
    )
    same: bool = Field(
        default=False,
        description="The same examples for every question, read once for each candidate; else "
        "each question draws its own.",
        examples=[True],
    )


class TaskForm(Form):
    """One entry of `tasks`: a local file, or an lm-eval task."""

    name: Name = Field(
        description="What the task is called everywhere; no two have one name.", examples=["logic"]
    )
    file: str | None = Field(
        default=None,
        description="JSONL, CSV or Parquet, a row for each question; seen from the study file. "
        "By `..` or a link out of its folder it needs `--allow-file`.",
        examples=["logic.jsonl"],
    )
    lm_eval: str | None = Field(
        default=None,
        description="An lm-eval task, group or tag by name, in the place of `file`.",
        examples=["arc_easy"],
    )
    include_path: str | None = Field(
        default=None,
        description="A folder with lm-eval YAMLs of your own. They are code: `--allow-code FILE`.",
        examples=["tasks/"],
    )
    docs: Literal["train", "validation", "test"] | None = Field(
        default=None,
        description="The official split of an lm-eval task that is searched on; validation where "
        "there is one, else train. `test` needs `--allow-benchmark-test`.",
        examples=["train"],
    )
    type: Literal["multiple_choice", "loglikelihood", "generate"] | None = Field(
        default=None,
        description="How a task over a file is scored; such a task needs it.",
        examples=["multiple_choice"],
    )
    prompt: str | None = Field(
        default=None,
        description="Jinja2 over the row. Without one a loglikelihood task is plain text.",
        examples=["Question: {{question}}\nAnswer:"],
    )
    choices: str | list[str] | None = Field(
        default=None,
        description="The column with the list of choices, a template of a list, or the choices "
        "themselves.",
        examples=["choices"],
    )
    answer: str | None = Field(
        default=None,
        description="Column or template of the right choice: an index from 0, or its text.",
        examples=["answer"],
    )
    target: str | None = Field(
        default=None,
        description="Column or template of the text that is scored (loglikelihood) or compared "
        "with (generate).",
        examples=["text"],
    )
    description: str | None = Field(
        default=None,
        description="A text before shots and question.",
        examples=["Answer with one word.\n\n"],
    )
    fewshot: Count | FewshotForm | None = Field(
        default=None,
        description="Worked examples before each question: a number, or a mapping.",
        examples=[3],
    )
    chat_template: bool | None = Field(
        default=None,
        description="Ask through the chat template of the base model.",
        examples=[True],
    )
    system: str | None = Field(
        default=None,
        description="A text before everything; with `chat_template` the system turn.",
        examples=["Be brief."],
    )
    until: str | list[str] | None = Field(
        default=None,
        description="What ends a generated text. Without one an empty line does; in a chat the "
        "model's own end.",
        examples=["\n"],
    )
    max_new_tokens: Positive | None = Field(
        default=None,
        description="Tokens of a generated text, at most; 256 where nothing is said.",
        examples=[64],
    )
    extract: str | None = Field(
        default=None,
        description="A regular expression; its first group (else its match) in the text is "
        "compared with the target.",
        examples=["(-?\\d+)"],
    )
    score: str | None = Field(
        default=None,
        description="`FILE.py:function` of row and text, in the place of `target`. It is code: "
        "`--allow-code FILE`.",
        examples=["scorers.py:right"],
    )
    group: str | None = Field(
        default=None,
        description="Column or template; rows of one group are never separated by a split.",
        examples=["source"],
    )
    stratum: str | None = Field(
        default=None,
        description="Column or template; every split gets its share of each stratum.",
        examples=["kind"],
    )
    limit: Positive | None = Field(
        default=None,
        description="A seeded sample of so many rows instead of all.",
        examples=[400],
    )
    test: Literal["official"] | None = Field(
        default=None,
        description="The official test split of an lm-eval task becomes the sealed `test`.",
        examples=["official"],
    )

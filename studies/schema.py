"""The form of a study file, key by key: pydantic checks it, `config` gives it meaning.

The `recipe` is not described here: it is mergekit's YAML with ranges, read by `search.space` and
`merging`. Descriptions and examples are the only ones there are: the reference of the study file
and its JSON schema are made of them.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from .schema_tasks import Form, Name, Positive, TaskForm

Real = Annotated[float, Field(allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _switched(value: object) -> object:
    """YAML takes a bare `on` for true and a bare `off` for false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


GradientMode = Annotated[Literal["auto", "on", "refine", "off"], BeforeValidator(_switched)]


class MetricForm(Form):
    """`{task: logic, metric: acc}`; without a metric the task's first."""

    task: Name = Field(description="A task by its name.", examples=["logic"])
    metric: Name | None = Field(
        default=None,
        description="One of the task's metrics; the first where nothing is said.",
        examples=["acc_norm"],
    )


class MeanForm(Form):
    """`{mean: [{task, metric}, ...]}`: the same metric and direction throughout."""

    mean: Annotated[list[MetricForm], Field(min_length=1)] = Field(
        description="The mean of several tasks' metrics, of one direction.",
        examples=[[{"task": "logic"}, {"task": "sums"}]],
    )


class ConstraintForm(Form):
    """`{task, metric, max_drop | min | max, from}`; `max_drop` in the metric's own unit."""

    task: Name = Field(description="A task by its name.", examples=["code"])
    metric: Name | None = Field(
        default=None,
        description="One of the task's metrics; the first where nothing is said.",
        examples=["bits_per_byte"],
    )
    max_drop: Weight | None = Field(
        default=None,
        description="How much worse than `from` a candidate may be, in the metric's own unit; "
        "instead of `min` and `max`.",
        examples=[0.02],
    )
    min: Real | None = Field(
        default=None, description="The smallest value allowed.", examples=[0.5]
    )
    max: Real | None = Field(
        default=None, description="The largest value allowed.", examples=[1.1]
    )
    source: str = Field(
        default="base",
        alias="from",
        description="Whom `max_drop` starts from: `base`, `best_parent`, or a parent by its name.",
        examples=["best_parent"],
    )


class SplitForm(Form):
    """Shares of the four splits; they add up to 1."""

    calibration: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.15, description="Gradients and few-shot examples.", examples=[0]
    )
    search: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.45, description="What candidates are searched on.", examples=[0.5]
    )
    select: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.2, description="Where finalists and references meet.", examples=[0.2]
    )
    test: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.2,
        description="Scored once, after the budget has ended. 0: nothing is claimed.",
        examples=[0.3],
    )


class WinnerForm(Form):
    """How one member of the front is chosen."""

    rule: Literal["maximin", "weighted", "task"] = Field(
        default="maximin",
        description="On a scale where the base is 0 and the best parent 1: `maximin`, the largest "
        "smallest objective; `weighted`, the largest weighted mean; `task`, one objective.",
        examples=["weighted"],
    )
    weights: dict[str, Weight] | None = Field(
        default=None,
        description="With `weighted`: a number for each objective; one left out counts as 0.",
        examples=[{"logic": 2, "code": 1}],
    )
    task: Name | None = Field(
        default=None, description="With `task`: an objective by its name.", examples=["logic"]
    )


class BudgetForm(Form):
    """The first limit reached ends the search."""

    trials: Positive | None = Field(
        default=None, description="Candidates, dropped ones included.", examples=[60]
    )
    items: Positive | None = Field(
        default=None,
        description="Evaluations of one candidate on one question, references included.",
        examples=[20000],
    )
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Minutes in all, select and test included.", examples=[90]
    )


class StudyForm(Form):
    """A whole study file, but for the inside of `recipe`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = Field(
        description="What the study is called, and its run: `runs/NAME`. Letters, digits, `.`, "
        "`_`, `-`.",
        examples=["skills"],
    )
    recipe: dict[str, object] = Field(
        description="A mergekit recipe; any number in it may be a range.",
        examples=[{"merge_method": "ties"}],
    )
    tasks: Annotated[list[TaskForm], Field(min_length=1)] = Field(
        description="What candidates are scored on.",
        examples=[[{"name": "arc", "lm_eval": "arc_easy"}]],
    )
    objectives: dict[Name, MetricForm | MeanForm] | None = Field(
        default=None,
        description="What is searched for, by names of your own (not `number`, `state`, `items`); "
        "else each task's first metric.",
        examples=[{"logic": {"task": "logic", "metric": "acc"}}],
    )
    constraints: list[ConstraintForm] = Field(
        default=[],
        description="What a winner must keep.",
        examples=[[{"task": "code", "max_drop": 0.02}]],
    )
    split: SplitForm = Field(
        default=SplitForm(),
        description="Shares of the four splits; they add up to 1.",
        examples=[{"calibration": 0, "search": 0.4, "select": 0.3, "test": 0.3}],
    )
    winner: WinnerForm = Field(
        default=WinnerForm(),
        description="How one member of the front is chosen.",
        examples=[{"rule": "task", "task": "logic"}],
    )
    budget: BudgetForm = Field(
        default=BudgetForm(),
        description="When the search ends: at the first limit reached; 100 trials where none is "
        "given.",
        examples=[{"trials": 60}],
    )
    sampler: Name | dict[str, object] = Field(
        default="auto",
        description="Who proposes: a name, or a mapping of a name and its arguments.",
        examples=["tpe", {"name": "TPESampler", "n_ei_candidates": 48}],
    )
    racing: bool = Field(
        default=True,
        description="Score candidates on few questions first; false: each on all of them.",
        examples=[False],
    )
    gradients: GradientMode = Field(
        default="auto",
        description="Starting points from gradients: where they were found to pay, wherever they "
        "apply, with steps from the front as well, or none.",
        examples=["refine"],
    )
    seed: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Decides splits, samples of rows, shots and proposals.",
        examples=[1],
    )
    resolved: dict[str, object] | None = Field(
        default=None,
        description="Written by eutectic into a run's study.yaml: where it came from, `--map`s, "
        "content hashes. Not for you to write.",
    )

"""The form of a study file, key by key: pydantic checks it, `config` gives it meaning.

The `recipe` is not described here: it is mergekit's YAML with ranges, read by `search.space` and
`merging`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Form(BaseModel):
    """A mapping in which unknown keys are faults and types are not guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Real = Annotated[float, Field(allow_inf_nan=False)]


def _switched(value: object) -> object:
    """YAML takes a bare `off` for false."""
    return "off" if value is False else value


GradientMode = Annotated[Literal["auto", "off", "refine"], BeforeValidator(_switched)]


class FewshotForm(Form):
    """`fewshot: {n: 3, from: FILE | calibration, same: true}`."""

    n: Count
    source: str = Field(default="calibration", alias="from")
    same: bool = False


class TaskForm(Form):
    """One entry of `tasks`: a local file, or an lm-eval task."""

    name: Name
    file: str | None = None
    lm_eval: str | None = None
    include_path: str | None = None
    docs: Literal["train", "validation", "test"] | None = None
    type: Literal["multiple_choice", "loglikelihood", "generate"] | None = None
    prompt: str | None = None
    choices: str | list[str] | None = None
    answer: str | None = None
    target: str | None = None
    description: str | None = None
    fewshot: Count | FewshotForm | None = None
    chat_template: bool | None = None
    system: str | None = None
    until: str | list[str] | None = None
    max_new_tokens: Positive | None = None
    extract: str | None = None
    score: str | None = None
    group: str | None = None
    stratum: str | None = None
    limit: Positive | None = None
    test: Literal["official"] | None = None


class MetricForm(Form):
    """`{task: logic, metric: acc}`; without a metric the task's first."""

    task: Name
    metric: Name | None = None


class MeanForm(Form):
    """`{mean: [{task, metric}, ...]}`: the same metric and direction throughout."""

    mean: Annotated[list[MetricForm], Field(min_length=1)]


class ConstraintForm(Form):
    """`{task, metric, max_drop | min | max, from}`; `max_drop` in the metric's own unit."""

    task: Name
    metric: Name | None = None
    max_drop: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    min: Real | None = None
    max: Real | None = None
    source: str = Field(default="base", alias="from")


class SplitForm(Form):
    """Shares of the four splits; they add up to 1."""

    calibration: Annotated[float, Field(ge=0, le=1)] = 0.15
    search: Annotated[float, Field(gt=0, le=1)] = 0.45
    select: Annotated[float, Field(gt=0, le=1)] = 0.2
    test: Annotated[float, Field(ge=0, le=1)] = 0.2


class WinnerForm(Form):
    """How one member of the front is chosen."""

    rule: Literal["maximin", "weighted", "task"] = "maximin"
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = None
    task: Name | None = None


class BudgetForm(Form):
    """The first limit reached ends the search."""

    trials: Positive | None = None
    items: Positive | None = None
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class StudyForm(Form):
    """A whole study file, but for the inside of `recipe`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    recipe: dict[str, object]
    tasks: Annotated[list[TaskForm], Field(min_length=1)]
    objectives: dict[Name, MetricForm | MeanForm] | None = None
    constraints: list[ConstraintForm] = []
    split: SplitForm = SplitForm()
    winner: WinnerForm = WinnerForm()
    budget: BudgetForm = BudgetForm()
    sampler: Name | dict[str, object] = "auto"
    racing: bool = True
    gradients: GradientMode = "auto"
    seed: Count = 0
    resolved: dict[str, object] | None = None
    """Written into a run's study.yaml: the folder it came from, `--map`s, content hashes."""

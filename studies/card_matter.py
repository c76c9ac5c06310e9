"""The front matter of a model card: what the Hub reads.

Written through huggingface_hub's own ModelCardData, so that what its upload checks is what is
written. Intervals have no key of their own there: they stand in a metric's `args`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import yaml

from .card_text import HUB_NAME
from .licences import Licence, shared_licence
from .view import Benchmark, RunView, TestRow
from .wording import clean

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TAGS = ("mergekit", "merge", "eutectic")
HUB_DATASET = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?", re.ASCII)
OWN_DATA = "custom"
"""The type of a data set that is not on the hub."""


def front_matter(
    view: RunView, base_model: str | None, licences: Mapping[str, Licence | None]
) -> str:
    """The YAML between two lines of dashes, these included."""
    from huggingface_hub import ModelCardData

    names = [part for name in (base_model or "", *view.models) for part in name.split("+")]
    known = list(dict.fromkeys(name for name in names if HUB_NAME.fullmatch(name)))
    results = list(_results(view))
    data = ModelCardData(
        base_model=known or None,
        datasets=_datasets(view) or None,
        library_name="transformers",
        tags=list(TAGS),
        model_name=clean(view.name) if results else None,
        eval_results=results or None,
    )
    matter = data.to_dict()  # type: ignore[no-untyped-call]
    order = {"base_model": known, "base_model_relation": "merge"} if known else {}
    licence = shared_licence(licences)
    order |= {} if licence is None else licence.matter
    text = yaml.safe_dump({**order, **matter}, sort_keys=False, allow_unicode=True, width=10**6)
    return f"---\n{text.strip()}\n---"


def _datasets(view: RunView) -> list[str]:
    names = [name for one in view.benchmarks.values() for name in one.datasets]
    return [name for name in dict.fromkeys(names) if HUB_DATASET.fullmatch(name)]


def _results(view: RunView) -> "Iterator[EvalResult]":
    """The winner's figures on `test`, one a column."""
    row = next((one for one in view.test_rows if one.kind == "winner"), None)
    if row is None:
        return
    for column in view.columns:
        if column in row.values:
            yield _result(column, row, view.benchmarks)


def _result(column: str, row: TestRow, benchmarks: Mapping[str, Benchmark]) -> "EvalResult":
    from huggingface_hub import EvalResult

    task, _, metric = column.rpartition(" ")
    benchmark = benchmarks.get(task)
    datasets = [] if benchmark is None else list(filter(HUB_DATASET.fullmatch, benchmark.datasets))
    estimate = row.values[column]
    ends = {"low": estimate.low, "high": estimate.high, "items": estimate.items or None}
    told = {name: value for name, value in ends.items() if value is not None}
    official = benchmark is not None and benchmark.tested_on_test
    return EvalResult(
        task_type="text-generation",
        dataset_type=datasets[0] if len(datasets) == 1 else OWN_DATA,
        dataset_name=clean(task),
        dataset_split="test" if official else None,
        metric_type=clean(metric),
        metric_value=estimate.value,
        metric_name=f"{clean(column)} on the sealed test split",
        metric_args={**told, **({"interval": "95%"} if "low" in told else {})} or None,
    )

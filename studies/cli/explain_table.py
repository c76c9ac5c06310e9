"""`explain` as a table: one row for tensors that agree in every number."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from merging.explain import Column, Summary, explain_rows, explain_summary
from merging.plan import TensorJob


def print_explanation(jobs: Sequence[TensorJob], *, full: bool) -> None:
    """Prints the grouped table, or with `full` one line a tensor and number."""
    console = Console(highlight=False)
    if full:
        for row in explain_rows(jobs):
            model = "(output)" if row.model is None else str(row.model)
            print(f"{row.tensor}\t{model}\t{row.parameter}\t{_shown(row.value)}")
        return
    summary = explain_summary(jobs)
    models = list(dict.fromkeys(model for model, _ in summary.columns if model is not None))
    names = [str(model) for model in models]
    steps = sorted({job.stepwise for job in jobs if job.stepwise is not None})
    rounded = f", every step rounded to {' or '.join(steps)} as in mergekit" if steps else ""
    print(f"{jobs[0].method}, {len(jobs)} tensors{rounded}")
    for number, name in enumerate(names, 1):
        print(f"({number}) {name}")
    varying = []
    for index, column in enumerate(summary.columns):
        values = {row.values[index] for row in summary.rows}
        if len(values) == 1:
            print(f"{_heading(column, names)}: {_shown(values.pop())} everywhere")
        else:
            varying.append(index)
    if varying:
        console.print(_table(summary, varying, names))


def _table(summary: Summary, varying: Sequence[int], models: list[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("layers")
    table.add_column("tensors", overflow="fold", min_width=24)
    for index in varying:
        heading = _heading(summary.columns[index], models)
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for one in summary.rows:
        numbers = (_shown(one.values[index]) for index in varying)
        table.add_row(one.layers or "outside", Text(one.tensors), *numbers)
    return table


def explain_json(jobs: Sequence[TensorJob]) -> list[dict[str, Any]]:
    """Every value of every tensor, one object each."""
    return [
        {
            "tensor": row.tensor,
            "layer": row.layer,
            "model": None if row.model is None else str(row.model),
            "parameter": row.parameter,
            "value": row.value,
        }
        for row in explain_rows(jobs)
    ]


def _heading(column: Column, models: list[str]) -> str:
    model, parameter = column
    return parameter if model is None else f"{parameter} ({models.index(str(model)) + 1})"


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)

"""`explain` as tables: a row for each model, then a row for tensors that agree in every number."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from merging.explain import Column, Summary, explain_rows, explain_summary
from merging.methods.table import find_method
from merging.plan import TensorJob
from merging.recipe import ModelReference

VARIES = "varies"


def print_explanation(jobs: Sequence[TensorJob], *, full: bool) -> None:
    """Prints the tables, or with `full` one line a tensor and number."""
    if full:
        for row in explain_rows(jobs):
            model = "(output)" if row.model is None else str(row.model)
            print(f"{row.tensor}\t{model}\t{row.parameter}\t{_shown(row.value)}")
        return
    console = Console(highlight=False)
    summary = explain_summary(jobs)
    models = list(dict.fromkeys(model for model, _ in summary.columns if model is not None))
    console.print(_title(jobs), soft_wrap=True)
    same = _agreed(summary)
    if models:
        console.print(_models(summary.columns, models, same))
    output = [(name, same.get((None, name))) for model, name in summary.columns if model is None]
    if output:
        told = ", ".join(f"{name} {VARIES if v is None else _shown(v)}" for name, v in output)
        console.print(Text(f"output: {told}"), soft_wrap=True)
    for table in _details(console, jobs, [c for c in summary.columns if c not in same], models):
        console.print()
        console.print(table)
    console.print()
    _legend(console, jobs, summary.columns)


def _title(jobs: Sequence[TensorJob]) -> Text:
    steps = sorted({job.stepwise for job in jobs if job.stepwise is not None})
    rounded = f", every step rounded to {' or '.join(steps)} as in mergekit" if steps else ""
    return Text(f"{jobs[0].method}, {len(jobs)} tensors{rounded}")


def _agreed(summary: Summary) -> dict[Column, object]:
    """The columns in which all tensors agree, with the value."""
    found: dict[Column, object] = {}
    for index, column in enumerate(summary.columns):
        values = {row.values[index] for row in summary.rows} - {None}
        if len(values) == 1:
            found[column] = values.pop()
    return found


def _models(
    columns: Sequence[Column], models: Sequence[ModelReference], same: dict[Column, object]
) -> Table:
    """One row a model: its numbers, or that they vary from tensor to tensor."""
    names = list(dict.fromkeys(name for model, name in columns if model is not None))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("model", overflow="fold")
    for name in names:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for number, model in enumerate(models, 1):
        told = []
        for name in names:
            column = (model, name)
            known = VARIES if column in columns else "-"
            told.append(_shown(same[column]) if column in same else known)
        table.add_row(Text(f"({number}) {model}"), *told)
    return table


def _details(
    console: Console,
    jobs: Sequence[TensorJob],
    varying: Sequence[Column],
    models: Sequence[ModelReference],
) -> list[Table]:
    """What varies, in one table; in one for each model where that is wider than the console."""
    if not varying:
        return []
    whole = _detail(jobs, varying, models)
    if Measurement.get(console, console.options, whole).minimum <= console.width:
        if _width(whole) <= console.width:
            return [whole]
    apart = [[one for one in varying if one[0] == model] for model in (*models, None)]
    return [_detail(jobs, columns, models) for columns in apart if columns]


def _detail(
    jobs: Sequence[TensorJob], columns: Sequence[Column], models: Sequence[ModelReference]
) -> Table:
    summary = explain_summary(jobs, columns)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("layers", no_wrap=True, min_width=len("outside"))
    table.add_column("tensors", overflow="fold", min_width=TENSORS)
    for column in columns:
        heading = _heading(column, models)
        table.add_column(Text(heading), justify="right", no_wrap=True, min_width=len(heading))
    for one in summary.rows:
        numbers = (_shown(value) for value in one.values)
        table.add_row(one.layers or "outside", Text(one.tensors), *numbers)
    return table


TENSORS = 24
"""Characters that names of tensors have at least."""


def _width(table: Table) -> int:
    """What a table takes at least: headings and numbers are never cut."""
    numbers = sum((column.min_width or 0) + 2 for column in table.columns)
    cells = [
        max((len(str(cell)) for cell in column.cells), default=0) - (column.min_width or 0)
        for column in table.columns[2:]
    ]
    return numbers + sum(max(0, more) for more in cells)


def _legend(console: Console, jobs: Sequence[TensorJob], columns: Sequence[Column]) -> None:
    """What the parameters mean, and where the method is from."""
    method = find_method(jobs[0].method)
    shown = {name for _, name in columns}
    for one in method.parameters:
        if one.name in shown:
            console.print(Text(f"{one.name}: {one.meaning}"), soft_wrap=True)
    if method.paper:
        console.print(Text(f"paper: {method.paper}"), soft_wrap=True)


def explain_json(jobs: Sequence[TensorJob]) -> list[dict[str, Any]]:
    """Every value of every tensor, one object each; of a study's ranges what they span."""
    return [
        {
            "tensor": row.tensor,
            "layer": row.layer,
            "model": None if row.model is None else str(row.model),
            "parameter": row.parameter,
            "value": row.value.data() if hasattr(row.value, "data") else row.value,
        }
        for row in explain_rows(jobs)
    ]


def _heading(column: Column, models: Sequence[ModelReference]) -> str:
    model, parameter = column
    return parameter if model is None else f"{parameter} ({list(models).index(model) + 1})"


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)

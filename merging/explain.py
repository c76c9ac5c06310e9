"""The effective value of every parameter for every tensor, as plain rows and as a compact table.

Both read the jobs of `plan`, so what is shown is what is merged. The table has one column for each
parameter of each model and one row for tensors that agree in all of them: runs of layers and kinds
of tensors (`self_attn.*`), so that a model of 7B parameters with a gradient fits on a screen or two.
Drawing it is the caller's business.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .layers import kind_of
from .plan import TensorJob
from .recipe import ModelReference, Scalar


@dataclass(frozen=True, slots=True)
class ExplainRow:
    """One effective value: `model` None for a parameter of the output, `layer` None outside layers."""

    tensor: str
    layer: int | None
    model: ModelReference | None
    parameter: str
    value: Scalar


Column = tuple[ModelReference | None, str]
"""A model (None: the output) and a parameter."""


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """Tensors that agree in every value.

    `layers` is `0-7`, `3`, or empty outside the layers; `tensors` says which kinds in words
    (`all`, `self_attn.*, mlp.down_proj.weight`); `values` has one entry a column, None where the
    model has no part in these tensors.
    """

    layers: str
    tensors: str
    count: int
    values: tuple[Scalar | None, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """The table: columns in recipe order, rows in the order of depth."""

    columns: tuple[Column, ...]
    rows: tuple[SummaryRow, ...]


def explain_rows(jobs: Sequence[TensorJob]) -> tuple[ExplainRow, ...]:
    """Every value of every tensor: models in recipe order, then the output's own parameters."""
    return tuple(
        ExplainRow(job.name, job.layer, model, parameter, value)
        for job in jobs
        for (model, parameter), value in _values(job).items()
    )


def explain_summary(jobs: Sequence[TensorJob]) -> Summary:
    """The same values with tensors that agree put together; no value is left out."""
    columns = tuple(dict.fromkeys(column for job in jobs for column in _values(job)))
    everything = _kinds(jobs)
    rows: list[SummaryRow] = []
    for block in _blocks(jobs, columns):
        rows += [
            _row(run, kinds, values, everything) for run, kinds, values in _merged(block, columns)
        ]
    return Summary(columns, tuple(rows))

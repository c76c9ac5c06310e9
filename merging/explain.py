"""The effective value of every parameter for every tensor, as plain rows and as a compact table.

Both read the jobs of `plan`, so what is shown is what is merged. The table has one column for each
parameter of each model and one row for tensors that agree in all of them: runs of layers and kinds
of tensors (`self_attn.*`), so that a model of 7B parameters with a gradient fits on a screen.
Drawing it is the caller's business.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .layers import kind_of, prefix_of
from .plan import TensorJob
from .recipe import ModelReference, Scalar


@dataclass(frozen=True, slots=True)
class ExplainRow:
    """One effective value; `model` None: of the output, `layer` None: outside the layers."""

    tensor: str
    layer: int | None
    model: ModelReference | None
    parameter: str
    value: Scalar


Column = tuple[ModelReference | None, str]
"""A model (None: the output) and a parameter."""

Vector = tuple[Scalar | None, ...]
"""A value a column; None where the model has no part in a tensor."""


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """Tensors that agree in every value.

    `layers` is `0-7`, `3`, or empty outside the layers; `tensors` says which kinds in words
    (`all`, `self_attn.*, mlp.down_proj.weight`), `count` how many; `values` has one a column.
    """

    layers: str
    tensors: str
    count: int
    values: Vector


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


def explain_summary(jobs: Sequence[TensorJob], wanted: Sequence[Column] | None = None) -> Summary:
    """The same values with tensors that agree put together; no value is left out.

    Args:
        jobs: Of a recipe.
        wanted: These columns only; tensors then need to agree in them alone.
    """
    found = dict.fromkeys(column for job in jobs for column in _values(job))
    columns = tuple(wanted or sorted(found, key=lambda column: column[0] is None))
    inside = [index for index, job in enumerate(jobs) if job.layer is not None]
    first, end = (inside[0], inside[-1] + 1) if inside else (0, 0)
    outside = [job for job in (*jobs[:first], *jobs[end:]) if job.layer is None]
    rows = _outside_rows(outside, columns)
    above = {job.name for job in jobs[:first]} or {job.name for job in outside}
    top = [row for row, names in rows if not above.isdisjoint(names)]
    bottom = [row for row, names in rows if above.isdisjoint(names)]
    layered = [job for job in jobs if job.layer is not None]
    return Summary(columns, (*top, *_layer_rows(layered, columns), *bottom))


def _values(job: TensorJob) -> dict[Column, Scalar]:
    values: dict[Column, Scalar] = {
        (source.model, name): value
        for source in job.sources
        for name, value in source.parameters.items()
    }
    return values | {(None, name): value for name, value in job.parameters.items()}


def _vector(job: TensorJob, columns: Sequence[Column]) -> Vector:
    values = _values(job)
    return tuple(values.get(column) for column in columns)


def _outside_rows(
    jobs: Iterable[TensorJob], columns: Sequence[Column]
) -> list[tuple[SummaryRow, list[str]]]:
    """One row for outside tensors that agree, with their names."""
    groups: dict[Vector, list[str]] = {}
    for job in jobs:
        groups.setdefault(_vector(job, columns), []).append(job.name)
    return [
        (SummaryRow("", ", ".join(names), len(names), vector), names)
        for vector, names in groups.items()
    ]


def _layer_rows(jobs: Sequence[TensorJob], columns: Sequence[Column]) -> list[SummaryRow]:
    """Kinds that agree in every layer are one group; each group is cut where its values change."""
    prefixes = {prefix_of(job.name) for job in jobs}
    series: dict[str, list[tuple[int, Vector]]] = {}
    for job in jobs:
        kind = kind_of(job.name)
        kind = kind if len(prefixes) == 1 else f"{prefix_of(job.name)}.{kind}"
        series.setdefault(kind, []).append((job.layer or 0, _vector(job, columns)))
    groups: dict[tuple[tuple[int, Vector], ...], list[str]] = {}
    for kind, values in series.items():
        groups.setdefault(tuple(values), []).append(kind)
    rows = [
        (first, SummaryRow(_span(first, last), words, (last - first + 1) * len(kinds), vector))
        for values, kinds in groups.items()
        for words in (_words(kinds, series),)
        for first, last, vector in _runs(values)
    ]
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _runs(values: Sequence[tuple[int, Vector]]) -> list[tuple[int, int, Vector]]:
    """First layer, last layer and values of each run of equal neighbours."""
    runs: list[tuple[int, int, Vector]] = []
    for layer, vector in values:
        if runs and runs[-1][1] == layer - 1 and runs[-1][2] == vector:
            runs[-1] = (runs[-1][0], layer, vector)
        else:
            runs.append((layer, layer, vector))
    return runs


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _words(kinds: Sequence[str], everything: Iterable[str]) -> str:
    """The kinds, short: `all`, `mlp.*` where every kind below `mlp` is meant, else their names."""
    known = list(everything)
    if len(kinds) == len(known):
        return "all"
    words: dict[str, None] = {}
    for kind in kinds:
        part = kind.split(".")[0] + "."
        family = [one for one in known if one.startswith(part)]
        whole = len(family) > 1 and set(family) <= set(kinds)
        words[f"{part}*" if whole else kind] = None
    return ", ".join(words)

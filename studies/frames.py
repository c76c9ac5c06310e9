"""A run's figures as pandas frames, a row a value, for notebooks."""

from typing import TYPE_CHECKING, Any

from .view import Estimate, RunView
from .wording import estimate_text

if TYPE_CHECKING:
    import pandas as pd

TEST_COLUMNS = [
    "name", "kind", "metric", "higher_is_better", "value", "low", "high", "items",
    "difference", "difference_low", "difference_high",
]  # fmt: skip
REFERENCE_COLUMNS = ["name", "kind", "objective", "value", "low", "high", "items"]


def test_frame(view: RunView) -> "pd.DataFrame":
    """The sealed split, a row a model and metric, with 95% intervals."""
    import pandas as pd

    rows = []
    for row in view.test_rows:
        for metric in (name for name in view.columns if name in row.values):
            gap = row.difference.get(metric)
            rows.append(
                {
                    "name": row.name,
                    "kind": row.kind,
                    "metric": metric,
                    "higher_is_better": view.directions[metric],
                    **_estimate(row.values[metric]),
                    "difference": None if gap is None else gap.value,
                    "difference_low": None if gap is None else gap.low,
                    "difference_high": None if gap is None else gap.high,
                }
            )
    return _numbers(pd.DataFrame(rows, columns=TEST_COLUMNS))


def reference_frame(view: RunView) -> "pd.DataFrame":
    """The references on the search split, a row a model and objective, with 95% intervals."""
    import pandas as pd

    rows = [
        {"name": one.name, "kind": one.kind, "objective": name, **_estimate(found)}
        for one in view.references
        for name, found in one.objectives.items()
    ]
    return _numbers(pd.DataFrame(rows, columns=REFERENCE_COLUMNS))


def readable_test(view: RunView) -> "pd.DataFrame":
    """The sealed split as people read it: a row a model, a column a metric."""
    import pandas as pd

    rows = {
        f"{row.name} ({row.kind})": [estimate_text(row.values.get(name)) for name in view.columns]
        for row in view.test_rows
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(view.columns))


def _estimate(found: Estimate) -> dict[str, Any]:
    return {"value": found.value, "low": found.low, "high": found.high, "items": found.items}


def _numbers(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Missing ends of intervals as NaN, in columns of numbers even where all are missing."""
    names = [name for name in frame.columns if frame[name].dtype == object and name in _FLOATS]
    return frame.astype(dict.fromkeys(names, float))


_FLOATS = ("value", "low", "high", "difference", "difference_low", "difference_high")

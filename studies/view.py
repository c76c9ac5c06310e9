"""A run as plain data: all that the report, the tables and the notebook show.

`results` fills it from the ledger; `plots` draws it. No weights, no database, no plotly here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with a 95% interval; `low` and `high` are None where too few groups were seen."""

    value: float
    low: float | None = None
    high: float | None = None
    items: int = 0


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective: its name in the study, what it measures, its direction."""

    name: str
    metric: str
    higher_is_better: bool


@dataclass(frozen=True, slots=True)
class TrialView:
    """One trial: recipe values, objectives on the search split, wall seconds."""

    number: int
    state: str
    """complete | failed | running"""
    origin: str
    """`warm start: uniform`, `tpe`, ..."""
    parameters: Mapping[str, float | int | str | bool]
    objectives: Mapping[str, Estimate]
    items: int
    """Item evaluations of this trial."""
    items_so_far: int
    """Item evaluations of the run when this trial ended."""
    propose_seconds: float
    build_seconds: float
    score_seconds: float
    feasible: bool
    on_front: bool
    recipe_yaml: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ReferenceView:
    """A model everybody would compare with. `kind`: base | parent | uniform | other."""

    name: str
    kind: str
    objectives: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class TestRow:
    """One line of the table on the sealed split; `difference` is winner minus this, paired."""

    name: str
    kind: str
    """winner | base | parent | uniform"""
    values: Mapping[str, Estimate]
    """Column label (`logic acc`) to value."""
    difference: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Profile:
    """A parameter of one expert along depth: one value a layer, for the winner and the front."""

    parameter: str
    expert: str
    winner: tuple[float, ...]
    front_low: tuple[float, ...]
    front_high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Winner:
    """The recipe that won. `number` is None when a reference won (then `name` says which)."""

    name: str
    number: int | None
    recipe_yaml: str
    claim: str
    """One sentence with the interval, or in words that no gain was found."""
    utility_gain: Estimate | None


@dataclass(frozen=True, slots=True)
class RunView:
    """Everything a report says of one run."""

    name: str
    state: str
    """finished | interrupted | running"""
    created: str
    seed: int
    sampler: str
    rule: str
    """The winner rule in words."""
    models: tuple[str, ...]
    tasks: Mapping[str, Mapping[str, int]]
    """Task name to items per split: calibration, search, select, test."""
    objectives: tuple[Objective, ...]
    columns: tuple[str, ...]
    """Column labels of the test table."""
    directions: Mapping[str, bool]
    """Column label to higher_is_better."""
    trials: tuple[TrialView, ...]
    references: tuple[ReferenceView, ...]
    winner: Winner | None
    test_rows: tuple[TestRow, ...]
    profiles: tuple[Profile, ...]
    importance: Mapping[str, Mapping[str, float]]
    """Objective to parameter to share in [0, 1]."""
    hypervolume: tuple[tuple[int, float], ...]
    """(item evaluations so far, hypervolume of the front so far), one point a finished trial."""
    notices: tuple[str, ...]
    """Plain sentences: too few items, test seen k times, failed trials, masks are random, ..."""
    versions: Mapping[str, str]
    prices: tuple[str, ...] = ()
    """Sentences: the winner against each task's best parent, corrected by Holm."""
    budget: str = ""
    """What was allowed and what was used, in words."""
    constraints: tuple[str, ...] = ()
    """Each constraint as a plain sentence."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Content hashes: model or task name to hash, as they stand in the resolved study."""

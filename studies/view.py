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
class ItemView:
    """A question as examples show it, its texts cut short; of search or select, never of test."""

    task: str
    split: str
    question: str
    choices: tuple[str, ...]
    gold: str
    """The right answer; empty where the task names none."""


@dataclass(frozen=True, slots=True)
class Example:
    """An item on which a candidate and a reference differ."""

    item: int
    """Index into `RunView.items`."""
    mine: str
    """What the candidate answered; empty where the run has kept no answers."""
    theirs: str


@dataclass(frozen=True, slots=True)
class Against:
    """A candidate beside a reference on one metric, on the items that both were scored on."""

    rival: str
    column: str
    """`logic acc`"""
    items: int
    """How many items that is, of search and select together."""
    gained: int
    """Items on which the candidate is better; of a metric of right and wrong: right, and the
    reference is not."""
    lost: int
    right_or_wrong: bool = True
    """Whether an item is right or wrong, else it has a number."""
    gains: tuple[Example, ...] = ()
    losses: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class TrialView:
    """One trial: recipe values, objectives on the search split, wall seconds."""

    number: int
    state: str
    """complete | paused | dropped | failed | running"""
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
    looks: int = 0
    """How often the race looked at it, 1 where nothing is raced; 0 before anything was scored."""
    select: Mapping[str, Estimate] = field(default_factory=dict)
    """Objectives on the select split; a trial that was no finalist has none."""
    against: tuple[Against, ...] = ()
    """Beside each parent, metric by metric."""


@dataclass(frozen=True, slots=True)
class ReferenceView:
    """A model everybody would compare with. `kind`: base | parent | uniform | other."""

    name: str
    kind: str
    objectives: Mapping[str, Estimate]
    recipe_yaml: str = ""
    select: Mapping[str, Estimate] = field(default_factory=dict)
    against: tuple[Against, ...] = ()


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
class Optimism:
    """How much better the winner looked where it was searched on than on `select`."""

    objective: str
    search: Estimate
    select: Estimate
    too_good: float
    """In the objective's unit, above 0 where the search split shows the winner better."""
    base: float | None
    """The same of the base, which was not searched: what the questions alone make of it."""


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure of a random merge over its mask seeds; `own` is that of the exported one."""

    name: str
    own: float
    mean: float
    deviation: float
    """The sample standard deviation over the seeds."""
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Masks:
    """A winner that draws random masks, over several mask seeds, its own first."""

    seeds: tuple[int, ...]
    select: tuple[Spread, ...]
    """Each objective, then the utility by which it was ranked."""
    test: tuple[Spread, ...]
    """Each objective, then the gain in utility over the best parent; empty without a test."""
    gain: Estimate | None
    """That gain's mean over the seeds, with the paired interval of the mean; no claim."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A random search of as many item evaluations as the trials took, beside the search."""

    candidates: int
    failed: int
    items: int
    """Item evaluations of the trials when it was run."""
    trials: int
    hypervolume: tuple[tuple[int, float], ...]
    search: str
    """The search's best trial on `select`; empty where none could be scored."""
    random: str
    search_utility: float | None
    random_utility: float | None
    difference: Estimate | None
    """The utility of the first minus that of the second on `select`, paired."""
    recipe_yaml: str = ""
    """Of the best random candidate."""
    objectives: Mapping[str, Estimate] = field(default_factory=dict)
    """Of the best random candidate on the search split."""
    parameters: Mapping[str, float | int | str | bool] = field(default_factory=dict)
    against: tuple[Against, ...] = ()


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A task whose items others know too."""

    datasets: tuple[str, ...]
    """Names of the Hugging Face hub; empty where it is not known which."""
    searched_on_test: bool
    """Whether the search was run on the benchmark's own test split."""
    tested_on_test: bool
    """Whether the sealed test split is the benchmark's own."""


@dataclass(frozen=True, slots=True)
class Winner:
    """The recipe that won. `number` is None when a reference won (then `name` says which)."""

    name: str
    number: int | None
    recipe_yaml: str
    claim: str
    """One sentence with the interval, or in words that no gain was found."""
    utility_gain: Estimate | None
    choice: str = ""
    """In words, where a simpler recipe won within one standard error of the best."""
    improved: bool | None = None
    """Whether it was shown on `test` to be better than the best parent; None: nothing claimed."""


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
    """Sentences: the winner against each task's best parent and the uniform merge, by Holm."""
    budget: str = ""
    """What was allowed and what was used, in words."""
    constraints: tuple[str, ...] = ()
    """Each constraint as a plain sentence."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Content hashes: model or task name to hash, as they stand in the resolved study."""
    optimism: tuple[Optimism, ...] = ()
    """One an objective; empty before there is a winner."""
    masks: Masks | None = None
    """None where the winner draws no masks."""
    beside: Beside | None = None
    """None where none was asked for."""
    benchmarks: Mapping[str, Benchmark] = field(default_factory=dict)
    """Task name to what is public about its items; nothing for a task of local files."""
    items: tuple[ItemView, ...] = ()
    """The questions that examples show."""
    looks: tuple[int, ...] = ()
    """Items that a usual trial has been scored on after each look of the race."""

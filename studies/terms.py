"""What a search is asked to do, what it will take, and whether it can be done at all."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from merging.methods.table import METHODS
from search.errors import SearchError
from search.limits import refuse_small_budget
from search.loop import searched_tasks
from search.mask_seeds import MASK_SEEDS
from search.objectives import Budget
from search.winner import MAX_FINALISTS

from .config import RESERVED, Study
from .config_sampler import sampler_option
from .errors import StudyError
from .live.modes import Mode
from .preflight import Permissions, Preflight
from .proposing import refuse_sampler
from .session import Hardware
from .tracking.spec import Track

DEFAULT_BUDGET = Budget(trials=100, items=None, minutes=None)


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What the command line changes about one search."""

    trials: int | None = None
    items: int | None = None
    minutes: float | None = None
    sampler: str | None = None
    seed: int | None = None
    out: Path | None = None
    fresh: bool = False
    source: Path | None = None
    """`--from RUN`: another run whose results are reused where they apply."""
    storage: str | None = field(default=None, repr=False)
    """`--storage URL`: the database server that keeps the run; it holds a password."""
    beside: str | None = None
    """`--beside random`: another search of as many items, to compare with."""
    tracks: tuple[Track, ...] = ()
    """`--track TOOL`: the trackers that are told."""
    max_failed: float = 0.2
    quiet: bool = False
    """Nothing of the progress, and little of the result."""
    progress: Mode = Mode.auto
    """How the search shows itself on standard error."""
    exact: bool = False
    """`--mergekit-exact`: candidates are rounded, and their recipes read, as mergekit does."""
    maps: Mapping[str, Path] = field(default_factory=dict)
    hardware: Hardware = Hardware()
    permissions: Permissions = Permissions()


def overridden(study: Study, options: SearchOptions) -> Study:
    """The study with the command line's budget, sampler and seed in the place of its own."""
    study = exact_study(study) if options.exact else study
    own = study.budget
    budget = Budget(
        options.trials or own.trials, options.items or own.items, options.minutes or own.minutes
    )
    return replace(
        study,
        budget=budget if budget != Budget(None, None, None) else DEFAULT_BUDGET,
        sampler=study.sampler if options.sampler is None else sampler_option(options.sampler),
        seed=study.seed if options.seed is None else options.seed,
    )


def exact_study(study: Study) -> Study:
    """The study as if its recipe said `eutectic: {exact: true}`: so every candidate says it."""
    data = study.document.data
    recipe = study.recipe.data
    own = recipe.get("eutectic") if isinstance(recipe, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(recipe, Mapping):
        return study
    if own is not None and not isinstance(own, Mapping):
        return study  # told when the recipe is read
    exact = {**recipe, "eutectic": {**(own or {}), "exact": True}}
    document = study.document.with_data({**data, "recipe": exact})
    return replace(study, document=document, recipe=document.child("recipe"))


def refuse_hopeless(preflight: Preflight) -> None:
    """Refuses a sampler or a budget that cannot search the study, and names that clash."""
    study = preflight.study
    columns = {*RESERVED, *(one.name for one in preflight.stages.dimensions)}
    for one in preflight.objectives:
        if one.name in columns:
            place = study.document.place(("objectives", one.name))
            raise StudyError(
                f"{place} objective {one.name!r}: a parameter, or a column of trials.csv, has "
                "that name; give it another under `objectives`"
            )
    refuse_sampler(preflight)
    with _placed(study, study.budget.items, "budget", "items"):
        each = items_per_candidate(preflight)
        refuse_small_budget(study.budget, len(preflight.references), each)


@contextmanager
def _placed(study: Study, value: object, *path: str) -> Iterator[None]:
    """Puts the place before a fault of what the file says; the command line's has none."""
    try:
        yield
    except SearchError as error:
        written: Any = study.document.data
        for key in path:
            written = written.get(key) if isinstance(written, Mapping) else None
        if written != value:
            raise
        raise StudyError(f"{study.document.place(path)} {error}") from None


def items_per_candidate(preflight: Preflight, split: str = "search") -> int:
    """Item evaluations of one candidate on a split of what the search looks at."""
    searched = searched_tasks(preflight.tasks, preflight.objectives, preflight.study.constraints)
    return sum(len(preflight.splits[task][split]) for task in searched)


def reserved_items(preflight: Preflight) -> int:
    """Item evaluations that select and test will take at most; random merges take five each."""
    references = len(preflight.references)
    random = any(METHODS[name].random for name in preflight.space.methods)
    draws = MASK_SEEDS if random else 1
    select = (references + draws * MAX_FINALISTS) * items_per_candidate(preflight, "select")
    if preflight.study.constraints and preflight.study.racing:  # finalists are scored in full
        select += MAX_FINALISTS * items_per_candidate(preflight)
    test = sum(len(splits["test"]) for splits in preflight.splits.values())
    return select + (references + draws) * test

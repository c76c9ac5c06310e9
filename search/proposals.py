"""Proposal n is a pure function of the seed, n and the trials told.

Every draw has a sampler of its own, seeded by a hash of (seed, n, attempt); what the samplers
keep of a trial (`kept`) comes back with the proposal and is handed in again with the trial. Torch
works on one thread meanwhile: two move a Gaussian process' proposals in their last bits. A point
that has been tried is drawn again a few times.

`Proposer` does this in a process of its own, so that the next proposal is made while a candidate
is scored.
"""

import hashlib
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from .coordinates import Coordinate, Coordinates
from .draws import Ask, Draw, Told, is_finite
from .errors import SamplerError, SamplerOptionError, told_in_short
from .kept import STUDY, Kept
from .processes import follow_parent, without_main
from .sampler import Sampler
from .sampler_spec import SamplerSpec, spec_of
from .samplers import SAMPLERS, population_size, sampler_of
from .space_parts import Values
from .space_ranges import Value
from .stages import STAGE, stage_of
from .warp import Warp

_BY_CHANCE = 5
"""Draws at random for a point that was not tried, after the sampler's own."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A trial that was scored: recipe values, scores in the order of the objectives.

    Scores are None where it failed, and estimates where it was not scored on every item.

    `violations`: one number a constraint, above 0 where it is violated; every trial with scores
    has as many.
    """

    number: int
    values: Values
    scores: tuple[float, ...] | None
    violations: tuple[float, ...] = ()
    system_attrs: Kept = field(default_factory=dict)
    """As its proposal gave them; empty for a warm start."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A trial under way: a sampler spreads its proposals around it."""

    number: int
    values: Values
    system_attrs: Kept = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProposalRequest:
    """Everything that proposal `number` depends on."""

    seed: int
    number: int
    sampler: str | SamplerSpec
    coordinates: Coordinates
    higher_is_better: tuple[bool, ...]
    finished: tuple[Finished, ...]
    pending: tuple[Pending, ...] = ()
    trials: int | None = None
    """The budget of trials, if there is one: sets the size of generations."""
    warps: tuple[Warp, ...] = ()
    """One an objective; none: raw values."""
    stage: int = 0
    """Whose coordinates these are; trials of earlier stages are warm starts, of no generation."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A point of the space to try next.

    `seconds` is what proposing took, the one thing that differs when it is repeated.
    """

    number: int
    values: Mapping[str, Value]
    coordinates: Mapping[str, Coordinate]
    system_attrs: Kept
    sampler: str
    seconds: float = field(default=0.0, compare=False)


def propose(request: ProposalRequest) -> Proposal:
    """The next point: of the samplers' answers the first that was not tried, else the last.

    Args:
        request: The seed, the number, and what is known so far.

    Raises:
        SamplerError: the sampler raises, or does what it must not.
    """
    started = time.perf_counter()
    tried = [dict(one.values) for one in request.finished]
    tried += [dict(one.values) for one in request.pending]
    kept: Kept = {}
    with _one_thread():
        sampler = sampler_of(spec_of(request.sampler))
        ask = _ask(request, sampler)
        for attempt in range(1 + sampler.redraws + _BY_CHANCE):
            by_chance = attempt > sampler.redraws
            draw = _draw(SAMPLERS["random"] if by_chance else sampler, ask, request, attempt)
            kept = kept if by_chance else draw.kept
            values = request.coordinates.decode(draw.coordinates)
            if values not in tried:
                break
            ask = replace(ask, study=_of_study(kept))
    label = str(request.sampler)
    return Proposal(
        number=request.number,
        values=values,
        coordinates=draw.coordinates,
        system_attrs=_attributes(request, kept),
        sampler=label,
        seconds=time.perf_counter() - started,
    )


def seed_of(seed: int, number: int, attempt: int) -> int:
    """The seed of one draw, 32 bits of BLAKE2b."""
    digest = hashlib.blake2b(f"{seed}:{number}:{attempt}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


class Proposer:
    """Proposes in one process of its own; use as a context manager."""

    def __init__(self) -> None:
        """Starts the process, which loads what it needs in the background."""
        self._pool = ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_prepare_process,
        )
        with without_main():
            self._pool.submit(_load)

    def submit(self, request: ProposalRequest) -> "Future[Proposal]":
        """Begins `propose(request)`; its result is that of the function."""
        return self._pool.submit(propose, request)

    def close(self) -> None:
        """Ends the process; what is being proposed is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "Proposer":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _ask(request: ProposalRequest, sampler: Sampler) -> Ask:
    told: list[Told] = []
    study: Kept = {}
    trials: list[Finished | Pending] = [*request.finished, *request.pending]
    for one in sorted(trials, key=lambda trial: trial.number):
        kept = _kept(request, one.system_attrs)
        study = _of_study(kept) or study
        coordinates = request.coordinates.encode(one.values)
        if coordinates is None:
            continue  # all weights 0: legal, and nowhere on the simplex
        pending = isinstance(one, Pending)
        scores = None if isinstance(one, Pending) else _shown(request, sampler, one.scores)
        violations = () if isinstance(one, Pending) or scores is None else one.violations
        told.append(Told(one.number, coordinates, scores, violations, kept, pending))
    return Ask(
        request.coordinates,
        request.higher_is_better,
        tuple(told),
        population_size(request.trials),
        seed_of(request.seed, -1, 0),
        study,
    )


def _attributes(request: ProposalRequest, kept: Kept) -> Kept:
    """What is stored with the trial: its stage, and what the sampler keeps."""
    named = {f"{request.sampler}:{name}": one for name, one in kept.items() if one is not None}
    return {STAGE: request.stage, **named} if request.stage else named


def _kept(request: ProposalRequest, attributes: Kept) -> Kept:
    """Of what was stored with a trial of this stage, what this sampler keeps."""
    if stage_of(attributes) != request.stage:
        return {}
    own = f"{request.sampler}:"
    return {
        name.removeprefix(own): one for name, one in attributes.items() if name.startswith(own)
    }


def _of_study(kept: Kept) -> Kept:
    return {name: kept[name] for name in STUDY if name in kept}


def _shown(
    request: ProposalRequest, sampler: Sampler, scores: tuple[float, ...] | None
) -> tuple[float, ...] | None:
    if scores is None or not is_finite(scores):
        return None
    if not request.warps or not sampler.models_scores:
        return scores
    shown = zip(request.warps, scores, request.higher_is_better, strict=True)
    return tuple(warp.show(score, up) for warp, score, up in shown)


def _draw(sampler: Sampler, ask: Ask, request: ProposalRequest, attempt: int) -> Draw:
    """One draw; whatever a sampler raises is told in one message that names it."""
    try:
        return sampler.draw(ask, seed_of(request.seed, request.number, attempt))
    except SamplerOptionError as error:
        raise SamplerOptionError(f"sampler: {sampler.name}: {error}", error.option) from error
    except SamplerError as error:
        raise SamplerError(f"sampler: {sampler.name} {error}") from error
    except (Exception, SystemExit) as error:
        raise SamplerError(f"sampler: {sampler.name} raised {told_in_short(error)}") from error


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _prepare_process() -> None:
    """Leaves Ctrl-C to the parent, works on one thread, and ends when the parent is gone."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    follow_parent()


def _load() -> None:
    """Imports what takes seconds, before the first proposal is asked for."""
    import optuna.samplers  # noqa: F401
    import torch  # noqa: F401

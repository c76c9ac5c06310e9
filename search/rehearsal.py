"""A sampler tried on a small study in memory, before a model is loaded.

What classes of Optuna can search is a table; whether an argument's value makes sense, and whether
somebody's own sampler takes this space, several objectives, constraints, failed and running trials
at all, shows when it is asked. Asked twice with the same seed it must answer the same: else a
search could not be gone on with.
"""

import math
from dataclasses import replace

from .coordinates import Coordinates
from .errors import SamplerError
from .proposals import Finished, Pending, ProposalRequest, propose
from .sampler_spec import SamplerSpec
from .space_parts import Values
from .space_ranges import Value

_BEFORE = 16
"""Trials at random that it is shown: more than the startup of common samplers."""
_PROPOSALS = 3


def rehearse(
    spec: SamplerSpec,
    coordinates: Coordinates,
    higher_is_better: tuple[bool, ...],
    constraints: int,
    seed: int,
    trials: int | None,
) -> None:
    """Makes a few proposals of a made-up history of the study's own space.

    Raises:
        SamplerError: the sampler raises, draws outside the ranges, keeps what cannot be stored, or
            answers the same question in two ways.
    """
    request = ProposalRequest(
        seed=seed,
        number=0,
        sampler="random",
        coordinates=coordinates,
        higher_is_better=higher_is_better,
        finished=(),
        trials=trials,
    )
    for number in range(_BEFORE):
        proposal = propose(replace(request, number=number))
        request = _with(request, _ended(number, proposal.values, {}, len(higher_is_better), 0))
    made_up = tuple(
        replace(one, violations=_numbers(one.values, constraints, 0.5) if one.scores else ())
        for one in request.finished
    )
    request = replace(request, sampler=spec, finished=made_up[:1])
    propose(replace(request, number=1))
    request = replace(request, finished=made_up)
    for number in range(_BEFORE, _BEFORE + _PROPOSALS):
        *ended, last = request.finished
        under_way = Pending(last.number, last.values, last.system_attrs)
        asked = replace(request, number=number, finished=tuple(ended), pending=(under_way,))
        proposal = propose(asked)
        attributes = dict(proposal.system_attrs)
        one = _ended(number, proposal.values, attributes, len(higher_is_better), constraints)
        request = _with(request, one)
    if propose(asked) != proposal:
        raise SamplerError(
            f"sampler: {spec} drew two different points for the same trials and the same seed, "
            "so a search could not be gone on with; make it draw from the `seed` that its "
            "constructor (or a function that makes it) is given"
        )


def _with(request: ProposalRequest, one: Finished) -> ProposalRequest:
    return replace(request, finished=(*request.finished, one))


def _ended(
    number: int, values: Values, attributes: dict[str, object], objectives: int, constraints: int
) -> Finished:
    """A trial with made-up scores; every seventh failed."""
    if number % 7 == 6:
        return Finished(number, values, None, (), attributes)
    scores = _numbers(values, objectives, 0.0)
    return Finished(number, values, scores, _numbers(values, constraints, 0.5), attributes)


def _numbers(values: Values, count: int, below: float) -> tuple[float, ...]:
    """As many smooth functions of a point, in [0, 1] less `below`."""
    total = sum(_number(one) for one in values.values())
    return tuple(0.5 + 0.5 * math.sin(total + index) - below for index in range(count))


def _number(value: Value) -> float:
    return float(len(value)) if isinstance(value, str) else float(value or 0.0)

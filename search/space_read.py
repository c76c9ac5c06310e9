"""A slot's values from a recipe's plain data: the way back from a filling to its point.

Where blocks were written as slices, gradients are written one value a layer; their knots are
found again: where one stands at a layer it is that layer's value, else by least squares over the
layers between.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from merging.document import Path, path_text

from .anchors import LADDER, refined
from .errors import SpaceError
from .space_blocks import Piece, gradient, runs
from .space_parts import Knot, Slot
from .space_ranges import Value

_DIGITS = (6, 9, 12, 15)


def get(data: Any, path: Path) -> Any:
    """What stands at a path of plain data.

    Raises:
        SpaceError: nothing does; the message names the path.
    """
    for step, key in enumerate(path):
        if isinstance(data, list) and key == "value" and data:
            data = data[0]  # a bare {filter, value} that was joined with the top level's entries
        if isinstance(data, Mapping):
            found = key in data
        else:
            found = isinstance(data, list) and isinstance(key, int) and key < len(data)
        if not found:
            raise SpaceError(
                f"not a filling of this space: {path_text(path[: step + 1])} is missing"
            )
        data = data[key]
    return data


def put(data: Any, path: Path, value: object) -> None:
    """Replaces what stands at a path of plain data."""
    get(data, path[:-1])[path[-1]] = value


def read_slot(slot: Slot, data: Mapping[str, Any], parts: Sequence[Piece]) -> list[Value]:
    """The values of the slot's dimensions, in the order of its knots.

    Args:
        slot: The slot.
        data: A filling.
        parts: The slices that the filling has after cutting; none where nothing is cut.

    Raises:
        SpaceError: something is missing there, or has another form.
    """
    ours = _ours(slot, data, parts)
    layered = [(path, piece) for path, piece in ours if piece is None or piece.stop > piece.start]
    if len(layered) <= 1:
        return _plain(slot, get(data, ours[0][0]))
    along: list[Any] = []
    for path, piece in layered:
        assert piece is not None
        here, size = get(data, path), piece.stop - piece.start
        if isinstance(here, list) and len(here) != size:
            raise SpaceError(f"not a filling of this space: {path_text(path)} needs {size} values")
        along += here if isinstance(here, list) else [here] * size
    if slot.form == "constant":
        return [along[0]]
    if slot.form == "blocks":
        return [along[start] for start, _ in runs(len(along), len(slot.knots))]
    return _along(slot, _numbers(along, slot.path))


def difference(expected: object, got: object, path: Path, tolerance: float) -> str | None:
    """Says where two plain data differ first, None where they do not."""
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        for key in expected:
            if key not in got:
                return f"{path_text((*path, key))} is missing"
            if found := difference(expected[key], got[key], (*path, key), tolerance):
                return found
        more = [key for key in got if key not in expected]
        return f"{path_text((*path, more[0]))} is not part of it" if more else None
    if isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        pairs = enumerate(zip(expected, got, strict=True))
        each = (difference(a, b, (*path, index), tolerance) for index, (a, b) in pairs)
        return next((one for one in each if one), None)
    if _is_number(expected) and _is_number(got):
        equal = expected == got or abs(expected - got) <= tolerance * max(1.0, abs(expected))
    else:
        equal = type(expected) is type(got) and expected == got
    return None if equal else f"{path_text(path)}: expected {expected!r}, got {got!r}"


def _ours(
    slot: Slot, data: Mapping[str, Any], parts: Sequence[Piece]
) -> list[tuple[Path, Piece | None]]:
    """Where the slot's values stand in the filling, with the piece each belongs to."""
    head, *rest = slot.path
    if not parts or (head == "parameters" and rest[0] in data.get(head, {})):
        return [(slot.path, None)]
    if head == "models":
        return [(("slices", at, "sources", *rest), piece) for at, piece in enumerate(parts)]
    if head == "parameters":
        return [(("slices", at, head, *rest), piece) for at, piece in enumerate(parts)]
    return [
        (("slices", at, *rest[1:]), piece)
        for at, piece in enumerate(parts)
        if piece.slice == rest[0]
    ]


def _plain(slot: Slot, data: Any) -> list[Value]:
    if slot.form == "constant":
        return [data]
    if slot.nested:
        coarse = data if isinstance(data, list) else [data]
        if len(coarse) in LADDER and all(map(_is_number, coarse)):
            data = refined(coarse, len(slot.knots))
    if not isinstance(data, list) or len(data) != len(slot.knots):
        raise SpaceError(
            f"not a filling of this space: {path_text(slot.path)} needs {len(slot.knots)} values"
        )
    return [one for one, knot in zip(data, slot.knots, strict=True) if knot.name is not None]


def _numbers(along: Sequence[Any], path: Path) -> list[float]:
    if not all(_is_number(one) for one in along):
        raise SpaceError(f"not a filling of this space: {path_text(path)} needs numbers")
    return [float(one) for one in along]


def _along(slot: Slot, along: Sequence[float]) -> list[Value]:
    """The values of a gradient that is written one value a layer."""
    for count in LADDER if slot.nested else ():
        if count < len(slot.knots):
            coarse = _solved(slot.knots[:count], along)
            if gradient(coarse, len(along)) == list(along):
                return refined(coarse, len(slot.knots))
    return [*_solved(slot.knots, along)]


def _solved(knots: Sequence[Knot], along: Sequence[float]) -> list[float]:
    count, length = len(knots), len(along)
    shares = np.array([gradient(row, length) for row in np.eye(count).tolist()]).T
    known = np.array([np.nan if one.name is not None else one.value for one in knots], float)
    for knot in range(count):
        if (at := np.flatnonzero(shares[:, knot] == 1.0)).size and np.isnan(known[knot]):
            known[knot] = along[at[0]]
    free = np.isnan(known)
    rest = np.array(along) - shares[:, ~free] @ known[~free]
    known[free] = np.linalg.lstsq(shares[:, free], rest, rcond=None)[0]
    exact = _snapped(known.tolist(), free.tolist(), along)
    return [one for one, knot in zip(exact, knots, strict=True) if knot.name is not None]


def _snapped(solved: list[float], free: list[bool], along: Sequence[float]) -> list[float]:
    """The free values as short decimals that give the same layers, else without last bits."""
    noise = 1e-13 * max(abs(one) for one in along)
    options = [[round(one, digits) + 0.0 for one in solved] for digits in _DIGITS]
    options.append([float(f"{one:.15g}") if abs(one) > noise else 0.0 for one in solved])
    mixed = [
        [
            short if is_free else one
            for short, one, is_free in zip(option, solved, free, strict=True)
        ]
        for option in options
    ]
    same = (option for option in mixed if gradient(option, len(along)) == list(along))
    return next(same, mixed[-1])


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""How simple a candidate is, told from its recipe: what decides where `select` cannot.

The one-standard-error rule is Breiman et al.'s (1984, Classification and Regression Trees, 3.4.3):
among candidates that a held-out set cannot tell from the best, the simplest.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from .ledger import Candidate


def complexity(candidate: Candidate) -> tuple[int, int, int]:
    """What is compared in order; less is simpler.

    Returns:
        0 for a reference and 1 for what the search proposed; models with a weight that is not
        zero (one that needs no weight counts); distinct (parameter, number) pairs: equal weights
        are one pair, three anchors three, layers or filters that differ one each.
    """
    trial = int(candidate.kind != "reference")
    return trial, len(_weighted(candidate.data)), len(set(_numbers(candidate.data)))


def _weighted(data: Mapping[str, Any]) -> set[str]:
    found = set()
    for source in _sources(data):
        weights = list(_values((source.get("parameters") or {}).get("weight")))
        if not weights or any(weights):
            found.add(str(source["model"]))
    return found


def _sources(node: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping that names a model, wherever it stands: in models, slices or modules."""
    if isinstance(node, Mapping):
        if "model" in node:
            yield node
        for value in node.values():
            yield from _sources(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _sources(value)


def _numbers(node: Any) -> Iterator[tuple[str, float]]:
    """(parameter, number) for every number under a `parameters` key."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "parameters" and isinstance(value, Mapping):
                for name, numbers in value.items():
                    yield from ((name, number) for number in _values(numbers))
            else:
                yield from _numbers(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _numbers(value)


def _values(node: Any) -> Iterator[float]:
    """The numbers of a parameter: one, a gradient's, or those of a list of filters."""
    if isinstance(node, bool):
        return
    if isinstance(node, int | float):
        yield float(node)
    elif isinstance(node, Mapping):
        yield from _values(node.get("value"))
    elif isinstance(node, list | tuple):
        for one in node:
            yield from _values(one)

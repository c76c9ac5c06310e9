"""Parameters along depth: what the winner uses at every layer, beside the front's spread."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from merging.plan import TensorJob

from .view import Profile

SHOWN = ("weight", "density", "epsilon", "lambda")
Lines = Mapping[tuple[str, str], tuple[float, ...]]
"""(parameter, expert) to one value a layer."""


def depth_lines(jobs: Sequence[TensorJob], labels: Mapping[str, str]) -> Lines:
    """The mean over each layer's tensors of every shown parameter; filters make tensors differ.

    `labels` are short names by model as written; a global parameter's expert is `all experts`.
    """
    found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for job in jobs:
        if job.layer is None:
            continue
        for name, value in job.parameters.items():
            if name in SHOWN and not isinstance(value, bool):
                found[name, "all experts"][job.layer].append(float(value))
        for source in job.sources:
            expert = labels.get(str(source.model), str(source.model))
            for name, value in source.parameters.items():
                if name in SHOWN and not isinstance(value, bool):
                    found[name, expert][job.layer].append(float(value))
    return {
        key: tuple(sum(layers[at]) / len(layers[at]) for at in sorted(layers))
        for key, layers in found.items()
    }


def depth_profiles(winner: Lines, front: Sequence[Lines]) -> tuple[Profile, ...]:
    """The winner's lines with the smallest and largest value over the front at every layer."""
    profiles = []
    for (parameter, expert), line in winner.items():
        others = [one[parameter, expert] for one in front if (parameter, expert) in one]
        same = [line, *(one for one in others if len(one) == len(line))]
        low = tuple(min(values) for values in zip(*same, strict=True))
        high = tuple(max(values) for values in zip(*same, strict=True))
        if any(left != right for left, right in zip(low, high, strict=True)) or len(set(line)) > 1:
            profiles.append(Profile(parameter, expert, line, low, high))
    return tuple(profiles)

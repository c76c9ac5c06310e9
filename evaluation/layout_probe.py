"""The probe behind a layout: do trees give what each input gives alone.

In float32 on the live weights (the base's), on made-up inputs and on the study's longest; and an
edit of one input must not move another. A model that reads the column of a row instead of the
position it is given is found out as far as the probe's rows are wide.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from .batches import Group, Limits
from .budget import memory_bytes, memory_ran_out
from .encoding import Span
from .layout import Layout
from .packing import pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROBE_BOUND = 1e-3
"""Nats by which trees may differ from inputs run alone, in float32."""
EDIT_BOUND = 2e-5
"""Nats by which an edit may move what does not see it: experts change their batches."""
MADE_UP_TREE = 56
"""Tokens of a tree in the made-up plan: too few for all its inputs, so that they have a stem."""
PROBE_TOKENS = 256
"""Tokens of the study's longest inputs that are run alone, beyond the first two inputs."""


Scores = NDArray[np.float64]
Score = Callable[[Sequence[Group], int], Scores]
"""From a plan of so many spans to the summed log-probability of each."""


def probe_layout(
    model: "PreTrainedModel", declared: Layout, spans: Sequence[Span], score: Score
) -> Layout:
    """`declared`, or padded rows with the reason where trees do not give what inputs alone give.

    Args:
        model: Holds the weights of the base.
        declared: What the config allows.
        spans: What the study asks; its longest inputs are tried, and some that are made up.
        score: The runner's own arithmetic.
    """
    if not declared.trees:
        return declared
    longest = declared.longest or 1 << 30
    vocabulary = next(model.get_input_embeddings().parameters()).shape[0]
    real = longest_spans(spans, longest)
    tried = [(made_up(vocabulary, longest), MADE_UP_TREE), *([(real, 1 << 30)] if real else [])]
    with in_float32(model) as exact, torch.inference_mode():
        for some, size in tried:
            reason = _deviation(some, Limits(size, 1 << 30), score, 1.0 if exact else 250.0)
            if reason:
                return Layout(False, reason, alone=declared.alone)
    return declared


def _deviation(spans: Sequence[Span], limits: Limits, score: Score, slack: float) -> str:
    """How trees go wrong on some inputs; empty where they do not."""
    plan = pack(spans, limits)
    edited, moved = _edited(plan, len(spans))
    try:
        trees, stirred = score(plan, len(spans)), score(edited, len(spans))
    except Exception as fault:  # any model code may stand between the plan and the answer
        if memory_ran_out(fault):
            raise
        return (str(fault) or repr(fault)).splitlines()[0]
    alone = [score(pack([one], Limits(1, 1 << 30, 0)), 1)[0] for one in spans]
    gap = float(np.abs(_numbers(trees) - _numbers(np.array(alone))).max())
    if gap > PROBE_BOUND * slack:
        return f"trees move log-likelihoods by {gap:.2g}"
    gap = float(np.abs(_numbers(trees) - _numbers(stirred))[~moved].max(initial=0.0))
    if gap > EDIT_BOUND * slack:
        return f"an edit moves what does not see it by {gap:.2g}"
    return ""


def _numbers(scores: Scores) -> Scores:
    """Equal NaN and Inf agree: weights that give them decide nothing about the architecture."""
    return np.nan_to_num(scores, nan=1e6, posinf=2e6, neginf=-2e6)


def made_up(vocabulary: int, longest: int) -> list[Span]:
    """Three items of two choices behind a common beginning, and one that shares nothing."""
    rng = np.random.Generator(np.random.PCG64(7))

    def draw(count: int) -> tuple[int, ...]:
        return tuple(map(int, rng.integers(0, vocabulary, count)))

    stem = draw(max(1, min(40, longest - 14)))
    spans = []
    for item in range(3):
        context = stem + draw(3 + item)
        spans += [Span(context + draw(k), draw(k + 1)) for k in (1, 4)]
    spans.append(Span(draw(min(9, longest)), draw(3 if longest >= 9 else 1)))
    return [span for span in spans if len(span.tokens) <= longest]


def longest_spans(spans: Sequence[Span], longest: int) -> list[Span]:
    """The longest input with its neighbours in the alphabet, which share most with it."""
    fit = sorted((span for span in spans if len(span.tokens) <= longest), key=lambda s: s.tokens)
    if not fit:
        return []
    first = max(range(len(fit)), key=lambda k: len(fit[k].tokens))
    chosen, left = [fit[first]], PROBE_TOKENS
    for near in (first - 1, first + 1, first - 2, first + 2):
        if 0 <= near < len(fit) and (len(chosen) < 2 or len(fit[near].tokens) <= left):
            chosen.append(fit[near])
            left -= len(fit[near].tokens)
    return chosen


def _edited(plan: Sequence[Group], spans: int) -> tuple[list[Group], NDArray[np.bool_]]:
    """The plan with one token of every batch changed, and which of so many spans see it."""
    moved = np.zeros(spans, dtype=np.bool_)
    groups = []
    for group in plan:
        batches = []
        for batch in group.batches:
            forest = batch.forest
            assert forest is not None  # made without a bound on the length
            place = int(np.argmin(forest.ends - np.arange(len(forest.ends))))
            tokens = batch.tokens.copy()
            tokens[0, place] = (tokens[0, place] + 1) % 2 if tokens[0, place] < 2 else 0
            bounds = np.append(batch.starts[1:], len(batch.at))
            for span, low, high in zip(batch.spans, batch.starts, bounds, strict=True):
                asked = batch.positions[batch.at[low:high]]
                moved[span] |= bool(((asked >= place) & (asked < forest.ends[place])).any())
            batches.append(replace(batch, tokens=tokens))
        groups.append(Group(group.stem, tuple(batches)))
    return groups, moved


@contextmanager
def in_float32(model: "PreTrainedModel") -> Iterator[bool]:
    """While open the weights are float32, and then the same tensors as before.

    False, and they stay as they are, where there is no room for both.
    """
    tensors = [*model.parameters(), *model.buffers()]
    narrow = [t for t in tensors if t.is_floating_point() and t.dtype != torch.float32]
    if 6 * sum(tensor.numel() for tensor in narrow) > memory_bytes(model.device) * 0.6:
        yield False
        return
    before = [tensor.data for tensor in narrow]
    try:
        for tensor in narrow:
            tensor.data = tensor.data.float()
        yield True
    finally:
        for tensor, data in zip(narrow, before, strict=True):
            tensor.data = data

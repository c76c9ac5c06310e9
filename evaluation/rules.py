"""How responses to an item's requests become its numbers; one rule an item, no model involved.

Every rule has a `signature`: plain JSON values that, with the requests, say all that the result
depends on.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import regex  # type: ignore[import-untyped]

from .encoding import shorten
from .errors import TaskError
from .metrics import choice_accuracy, text_bits
from .scorers import Scorer
from .task import Item, ItemResult, Response

EXTRACT_SECONDS = 2.0
"""A pattern that backtracks for longer than this on one text is at fault."""


MAX_PATTERN = 10_000
MAX_COUNT = 100_000
"""Bound of a pattern's counted repetitions, nested ones multiplied: compiling writes them out."""
COUNTED = re.compile(r"\{(\d{0,9})\d*,?(\d{0,9})\d*\}")


class Rule(Protocol):
    """From responses to numbers."""

    def score(self, item: Item, responses: Sequence[Response]) -> ItemResult:
        """The item's numbers, per metric."""
        ...

    def signature(self) -> object:
        """What the result depends on besides requests and weights."""
        ...


@dataclass(frozen=True, slots=True)
class ChoiceRule:
    """acc and acc_norm: one response a choice, `lengths` in characters, `gold` an index."""

    lengths: tuple[int, ...]
    gold: int

    def score(self, item: Item, responses: Sequence[Response]) -> ItemResult:
        """The choice with the largest log-likelihood is the answer."""
        return choice_accuracy([r.loglikelihood for r in responses], self.lengths, self.gold)

    def signature(self) -> object:
        """Gold and lengths."""
        return ["multiple_choice", list(self.lengths), self.gold]


@dataclass(frozen=True, slots=True)
class TextRule:
    """bits_per_byte of the text `target`: one response."""

    target: str

    def score(self, item: Item, responses: Sequence[Response]) -> ItemResult:
        """Nats and bytes."""
        return text_bits(responses[0].loglikelihood, self.target)

    def signature(self) -> object:
        """The text whose bytes are counted."""
        return ["loglikelihood", self.target]


@dataclass(frozen=True, slots=True)
class MatchRule:
    """exact_match of the generated text, or of what `pattern` extracts, with `target`."""

    target: str
    pattern: Any = None
    """A compiled `regex` pattern."""

    def score(self, item: Item, responses: Sequence[Response]) -> ItemResult:
        """1 where they are equal without outer whitespace; 0 where the pattern finds nothing."""
        found: str | None = responses[0].text
        if self.pattern is not None:
            found = extract(self.pattern, responses[0].text)
        match = found is not None and found.strip() == self.target.strip()
        return {"exact_match": (float(match),)}

    def signature(self) -> object:
        """Target and pattern."""
        return ["exact_match", self.target, self.pattern and self.pattern.pattern]


@dataclass(frozen=True, slots=True)
class OwnRule:
    """`score`: the user's function of row and text."""

    scorer: Scorer

    def score(self, item: Item, responses: Sequence[Response]) -> ItemResult:
        """What the function returns."""
        return {"score": (self.scorer(item.row, responses[0].text),)}

    def signature(self) -> object:
        """The function's name and the hash of its file."""
        return ["score", self.scorer.function_name, self.scorer.digest]


def compile_extract(source: str) -> Any:
    """A pattern that looks for an answer in a generated text.

    Raises:
        TaskError: it is no regular expression, or one that repeats too much to be compiled.
    """
    counts = COUNTED.findall(source)
    if (
        len(source) > MAX_PATTERN
        or math.prod(int(most or least or 1) for least, most in counts) > MAX_COUNT
    ):
        raise TaskError(f"extract: the pattern {shorten(source)} is too long or repeats too much")
    try:
        return regex.compile(source)
    except (regex.error, RecursionError) as fault:
        raise TaskError(f"extract: not a regular expression: {fault} in {source!r}") from None


def extract(pattern: Any, text: str) -> str | None:
    """The first match's first group (the whole match if it has none); None where there is none.

    Raises:
        TaskError: the pattern backtracks without end.
    """
    try:
        match = pattern.search(text, timeout=EXTRACT_SECONDS)
    except TimeoutError:
        raise TaskError(
            f"extract: {pattern.pattern!r} needs more than {EXTRACT_SECONDS:g} seconds on the "
            f"text {shorten(text)}; make its repetitions unambiguous"
        ) from None
    if match is None:
        return None
    return str((match[1] or "") if pattern.groups else match[0])

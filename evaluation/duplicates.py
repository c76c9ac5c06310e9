"""Items that are stated twice: a question of `test` that was searched on under another name.

Rows that are equal share a group and are never separated. Rows that differ in an id, in case or in
spacing are not equal, so one copy may be searched on and the other tested on. Here an item is what
is asked about it, without description, system text and shots (`Item.text`). Two items are one if
their texts are the same word for word ("exact"), or the same after `normalised`.

Not here: paraphrases, translations, a question with other numbers in it, one row that two tasks
put in other words.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

Splits = Mapping[str, Sequence[int]]
"""Split to the indices of its items."""

_OPERATORS = "*/%&#@\\"
"""Punctuation by Unicode that a formula or a path cannot do without."""
_NOTHING = re.compile("['`\u00b4\u2018\u2019\u00ad\u200b-\u200f\u2060\ufeff]")
"""Apostrophes and what cannot be seen."""
_FORMULA = re.compile(r"[=+*/^<>|~\\\[\]{}\d]|(?<!\w)[^\W\d_aio](?!\w)")
"""What prose seldom has: signs, digits, words of one letter."""
_DASH = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")


@dataclass(frozen=True, slots=True)
class Restated:
    """What of a task's items is stated in more than one split."""

    across: int
    """Items of any split whose text stands in another split of the task as well."""
    across_exact: int
    """Those of them that do so word for word."""
    test: tuple[int, ...]
    """Items of `test`, by index, whose text stands in another split of any task of the study."""
    test_exact: int
    """Those of them that do so word for word."""
    elsewhere: int
    """Those of them that only other tasks state again."""


def find_restated(
    texts: Mapping[str, Sequence[str]], splits: Mapping[str, Splits]
) -> dict[str, Restated]:
    """What is stated in more than one split, for each task.

    Args:
        texts: Task to the texts of its items, by index.
        splits: Task to split to the indices of its items; an item stands in one at most.
    """
    names = {split for of_task in splits.values() for split in of_task}
    bits = {split: 1 << place for place, split in enumerate(sorted(names))}
    alike: dict[str, dict[int, bytes]] = {}
    for task, of_task in splits.items():
        wanted = (index for indices in of_task.values() for index in indices)
        alike[task] = {index: _digest(normalised(texts[task][index])) for index in wanted}
    by_norm = _Places(alike, splits, bits)
    # What is the same word for word is the same normalised: only such texts are looked at again.
    suspects = {
        task: {
            index: _digest(texts[task][index])
            for index, key in keys.items()
            if by_norm.anywhere[key] & (by_norm.anywhere[key] - 1)
        }
        for task, keys in alike.items()
    }
    by_word = _Places(suspects, splits, bits)
    return {task: _of_task(task, splits[task], by_norm, by_word) for task in splits}


def statement(question: str, answers: Iterable[str] = ()) -> str:
    """What an item says: its question, then what may answer it, in an order of its own."""
    offered = sorted((answer.strip() for answer in answers), key=lambda one: (one.casefold(), one))
    return "\n".join(part for part in (question, *offered) if part)


def normalised(text: str) -> str:
    """The text as far as it says something: its words and signs, a space between any two.

    NFKC, casefold and NFKC again; dashes and minus signs become "-"; apostrophes and invisible
    characters go. Words (runs of letters, digits and _) and signs stay; white space between them
    does not, nor punctuation (Unicode's P), but for brackets, * / % & # @ and backslash, any mark
    right before a digit (1.5, 2,000), and a dash before a number (-5, 7 - $2). Where signs, digits
    or single letters make it look like a formula, ! and - stay too. Where nothing is left: the
    text as it is.
    """
    if text.isascii():
        plain = text.lower()
    else:
        folded = unicodedata.normalize("NFKC", text).casefold()
        plain = _DASH.sub("-", unicodedata.normalize("NFKC", folded))
    said = _NOTHING.sub("", plain)
    return " ".join(_words(formula=bool(_FORMULA.search(said))).findall(said)) or text


@cache
def _words(formula: bool) -> re.Pattern[str]:
    """What stays of a text, one at a time."""
    every = [(c, unicodedata.category(c)) for c in map(chr, range(0x110000))]
    kept = f"{_OPERATORS}-!" if formula else f"{_OPERATORS}-"
    said = [
        c for c, kind in every if kind[0] == "P" and kind not in ("Ps", "Pe") and c not in kept
    ]
    marks = re.escape("".join(said))
    minus = "-" if formula else r"-(?=\s*[^\w\s]?\s*\d)"
    return re.compile(rf"\w+|[{marks}](?=\d)\w+|{minus}|[^\w\s{marks}-]")


class _Places:
    """In which splits each text stands, as bits."""

    def __init__(
        self,
        keys: Mapping[str, Mapping[int, bytes]],
        splits: Mapping[str, Splits],
        bits: Mapping[str, int],
    ) -> None:
        self.keys, self.bits = keys, bits
        self.anywhere: dict[bytes, int] = {}
        self.of_task: dict[str, dict[bytes, int]] = {}
        for task, of_task in splits.items():
            own = self.of_task[task] = {}
            for split, indices in of_task.items():
                for key in (keys[task][index] for index in indices if index in keys[task]):
                    own[key] = own.get(key, 0) | bits[split]
            for key, places in own.items():
                self.anywhere[key] = self.anywhere.get(key, 0) | places

    def also(self, task: str, split: str, indices: Iterable[int], *, own: bool) -> Iterator[int]:
        """Those items of a split whose text stands in another one: of the task, or of any."""
        places, keys = self.of_task[task] if own else self.anywhere, self.keys[task]
        return (i for i in indices if i in keys and places[keys[i]] & ~self.bits[split])


def _of_task(task: str, splits: Splits, by_norm: _Places, by_word: _Places) -> Restated:
    across, across_exact = (
        sum(1 for split in splits for _ in found.also(task, split, splits[split], own=True))
        for found in (by_norm, by_word)
    )
    test = splits.get("test", ())
    if not test:
        return Restated(across, across_exact, (), 0, 0)
    kept_out = tuple(by_norm.also(task, "test", test, own=False))
    exact = sum(1 for _ in by_word.also(task, "test", test, own=False))
    by_itself = sum(1 for _ in by_norm.also(task, "test", test, own=True))
    return Restated(across, across_exact, kept_out, exact, len(kept_out) - by_itself)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

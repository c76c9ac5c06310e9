"""The skills of the embedded model family: puzzles on short lines of symbols, made by rule.

    reverse: k q a d e = e d a q k        lower-case letters, last to first
    sort: Q A Z E M = A E M Q Z           capitals, in alphabetical order
    climb: 4 7 1 0 9 = 5 9 4 4 4          digits, the first raised by 1, the second by 2, ...
    copy: k q a d e = k q a d e           any of the three alphabets; taught, never asked

A question is multiple choice: the right line among near misses (two neighbours exchanged, or one
digit off by one), so that chance is one in four and guessing the gist is not enough. Each skill
has an alphabet of its own, as experts of a real family have a domain of their own. Lines are drawn
from a generator that is an argument; nothing here knows of models.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from string import ascii_lowercase, ascii_uppercase, digits

Line = tuple[str, ...]
CHOICES = 4


@dataclass(frozen=True, slots=True)
class Skill:
    """A rule on lines over `alphabet`; `misses` lists every near miss of an answer, none right."""

    name: str
    alphabet: Line
    solve: Callable[[Line], Line]
    misses: Callable[[Line], list[Line]]


@dataclass(frozen=True, slots=True)
class Puzzle:
    """A question (`reverse: k q a`) and its answer (`a q k`), symbols apart by single spaces."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Lesson:
    """A skill on lines of `shortest` to `longest` symbols, as training and tests draw them."""

    skill: Skill
    shortest: int
    longest: int

    def draw(self, random: Random) -> Puzzle:
        """One puzzle; no symbol comes twice in a line."""
        length = random.randint(self.shortest, self.longest)
        line = tuple(random.sample(self.skill.alphabet, length))
        return Puzzle(f"{self.skill.name}: {' '.join(line)}", " ".join(self.skill.solve(line)))


def backwards(line: Line) -> Line:
    """Last symbol first."""
    return line[::-1]


def ordered(line: Line) -> Line:
    """Alphabetical order."""
    return tuple(sorted(line))


def climbing(line: Line) -> Line:
    """The first digit raised by one, the second by two, and so on, modulo ten."""
    return tuple(digits[(int(symbol) + k) % 10] for k, symbol in enumerate(line, 1))


def unchanged(line: Line) -> Line:
    """The line itself."""
    return line


def exchanged(answer: Line) -> list[Line]:
    """The answer with two different neighbours exchanged, for every such pair."""
    pairs = [k for k in range(len(answer) - 1) if answer[k] != answer[k + 1]]
    return [(*answer[:k], answer[k + 1], answer[k], *answer[k + 2 :]) for k in pairs]


def off_by_one(answer: Line) -> list[Line]:
    """The answer with one digit raised or lowered by one, for every digit."""
    return [
        (*answer[:k], digits[(int(answer[k]) + step) % 10], *answer[k + 1 :])
        for k in range(len(answer))
        for step in (1, -1)
    ]


def skills() -> Mapping[str, Skill]:
    """The skills that are asked, by name: one expert each."""
    found = (
        Skill("reverse", tuple(ascii_lowercase), backwards, exchanged),
        Skill("sort", tuple(ascii_uppercase), ordered, exchanged),
        Skill("climb", tuple(digits), climbing, off_by_one),
    )
    return {skill.name: skill for skill in found}


def copies() -> tuple[Skill, ...]:
    """What the base learns besides: copying, once for every alphabet."""
    return tuple(
        Skill("copy", skill.alphabet, unchanged, exchanged) for skill in skills().values()
    )


def symbols() -> Line:
    """Everything a puzzle is written with, in a fixed order: the tokenizer's vocabulary."""
    words = [f"{name}:" for name in ("copy", *skills())]
    alphabets = [symbol for skill in skills().values() for symbol in skill.alphabet]
    return (*words, "=", *alphabets)


def draw_fresh(lesson: Lesson, random: Random, taken: Container[str]) -> Puzzle:
    """One puzzle whose question is not among those `taken`."""
    while (puzzle := lesson.draw(random)).question in taken:
        pass
    return puzzle


def make_rows(lesson: Lesson, count: int, seed: int) -> list[dict[str, object]]:
    """`count` different questions as rows of a multiple-choice task; the same seed, the same rows.

    Columns: question, choices (CHOICES texts in random order), answer (index into choices),
    symbols (length of the line, the stratum).
    """
    random = Random(f"{lesson.skill.name} {seed}")
    taken: set[str] = set()
    rows: list[dict[str, object]] = []
    for _ in range(count):
        puzzle = draw_fresh(lesson, random, taken)
        taken.add(puzzle.question)
        rows.append(ask(lesson.skill, puzzle, random))
    return rows


def ask(skill: Skill, puzzle: Puzzle, random: Random) -> dict[str, object]:
    """A puzzle as a row: the answer among near misses."""
    answer = tuple(puzzle.answer.split())
    wrong = [" ".join(miss) for miss in random.sample(skill.misses(answer), CHOICES - 1)]
    choices = [puzzle.answer, *wrong]
    random.shuffle(choices)
    return {
        "question": puzzle.question,
        "choices": choices,
        "answer": choices.index(puzzle.answer),
        "symbols": len(answer),
    }


def prompt_of(question: str) -> str:
    """A question as the models are asked it, in training and in the study."""
    return f"{question} ="


def questions(tables: Sequence[Sequence[Mapping[str, object]]]) -> frozenset[str]:
    """Every question of several tables of rows: what training must not draw."""
    return frozenset(str(row["question"]) for table in tables for row in table)

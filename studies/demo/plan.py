"""What the embedded model family is made of: sizes, courses, rows, seeds; all numbers stand here.

The base learns to copy lines of any length in all three alphabets, and each skill on short lines
only. Each expert then learns its one skill on long lines, which is what the tasks ask. The
measured outcome is in docs/demo_family.md; a plan that differs in anything is another family.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from .skills import Lesson, copies, skills
from .training import Course, Shape

FORMAT = 2
"""Raise it when files of the family change in a way its numbers do not show."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and seeds of one family; lengths are symbols in a line, both ends included."""

    shape: Shape = Shape(hidden=128, inner=256, layers=4, heads=4, window=64)
    short: tuple[int, int] = (2, 4)
    long: tuple[int, int] = (5, 7)
    batch: int = 128
    base_steps: int = 300
    base_rate: float = 3e-3
    expert_steps: int = 60
    expert_rate: float = 3e-4
    rows: int = 900
    """Questions a task; the study's split divides them."""
    trials: int = 64
    seed: int = 0
    threads: int = 2
    """Of torch while training: sums depend on their number, so it is fixed, not the machine's."""

    def fingerprint(self) -> str:
        """16 hex digits that change with anything the family's files depend on."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def asked(self) -> Mapping[str, Lesson]:
        """What each task asks and its expert learns, by skill."""
        return {name: Lesson(skill, *self.long) for name, skill in skills().items()}

    def base_course(self) -> Course:
        """Copying at every length, the skills on short lines."""
        everything = (min(self.short), max(self.long))
        lessons = tuple(Lesson(skill, *everything) for skill in copies())
        lessons += tuple(Lesson(skill, *self.short) for skill in skills().values())
        return self._course(lessons, self.base_steps, self.base_rate, self.seed)

    def expert_courses(self) -> Mapping[str, Course]:
        """One skill on long lines, by skill."""
        return {
            name: self._course((lesson,), self.expert_steps, self.expert_rate, self.seed + number)
            for number, (name, lesson) in enumerate(self.asked().items(), 1)
        }

    def _course(self, lessons: tuple[Lesson, ...], steps: int, rate: float, seed: int) -> Course:
        return Course(lessons, steps, self.batch, rate, warmup=min(10, steps), seed=seed)

"""Many cases, kind by kind in turn, and the table of what was seen."""

import shutil
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fault_bench import furnish
from fault_cases import undisturbed
from fault_kinds import KINDS, Outcome, break_and_resume
from fault_rules import Broken

LONGEST = 30.0
"""Seconds that a database is gone."""


def break_many(
    numbers: Iterable[int], seed: int, trials: int, family: Path, scratch: Path, save: Path
) -> int:
    """Runs the cases of these numbers, prints figures, and gives how many held not everything.

    The folder of a case that did not is kept in `save`.
    """
    known = replace(undisturbed(furnish(scratch / "bench", family, trials)), longest=LONGEST)
    print(
        f"undisturbed: {known.blocks} blocks of work and backward passes, "
        f"{known.statements} steps of the database, {known.files} of files, "
        f"{known.seconds:.1f} s",
        flush=True,
    )
    kinds, begun = list(KINDS), time.monotonic()
    held: dict[str, list[Outcome]] = defaultdict(list)
    broken: dict[str, int] = defaultdict(int)
    for number in numbers:
        kind, place = kinds[number % len(kinds)], scratch / "case"
        try:
            held[kind].append(break_and_resume(known, kind, f"{seed} {number}", place))
            again, seconds = held[kind][-1].repeated, held[kind][-1].seconds
            print(f"faults {number}, {kind}: {again} repeated, {seconds:.1f} s", flush=True)
        except Broken as error:
            broken[kind] += 1
            kept = save / f"faults-{seed}-{number}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(place, kept, symlinks=True)
            print(f"faults {number}, {kind}: {str(error)[:1500]} (kept in {kept})", flush=True)
    print(table(held, broken))
    print(f"{time.monotonic() - begun:.0f} s")
    return sum(broken.values())


def table(held: dict[str, list[Outcome]], broken: dict[str, int]) -> str:
    """A line a kind, in Markdown."""
    lines = [
        "| kind | runs | held | blocks repeated, at most | seconds |",
        "|---|--:|--:|--:|--:|",
    ]
    total = 0
    for kind in KINDS:
        ones = held[kind]
        runs = len(ones) + broken[kind]
        total += runs
        if runs:
            most = max((one.repeated for one in ones), default=0)
            seconds = sum(one.seconds for one in ones) / max(len(ones), 1)
            lines.append(f"| {kind} | {runs} | {len(ones)} | {most} | {seconds:.1f} |")
    lines.append(f"| all | {total} | {total - sum(broken.values())} | | |")
    return "\n".join(lines)

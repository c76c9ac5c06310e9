"""Disks that are full: a file system too small for the run, a quota on the size of its files."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fault_cases import Case
from fault_harms import FilesLimited
from fault_rules import Broken


def disk_full(case: Case) -> int:
    """A disk with so little room that it fills up on the way; then it is given more."""
    if not can_mount():
        return quota(case)
    size = case.chance.choice((16, 64, 128, 256, 400, 600, 1000, 1500, 2000))
    disk = case.run.parent
    with mounted(disk, f"size={size}k"):
        command = case.command()
        code = case.ends(command, 0, 2)
        told_of_the_disk(command.said.read_text(), code)
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        return case.resumed(1)


def quota(case: Case) -> int:
    """No file may grow beyond a limit; then it may."""
    command = case.command(harm=FilesLimited(case.chance.randrange(1, 400) * 4096))
    code = case.ends(command, 0, 2)
    told_of_the_disk(command.said.read_text(), code)
    return case.resumed(1)


def told_of_the_disk(said: str, code: int) -> None:
    """A command that failed says in one line that the disk is at fault."""
    told = [line for line in said.splitlines() if line.startswith("eutectic: ")]
    about = r"full|space|too large|disk I/O"
    if code == 2 and not (len(told) == 1 and re.search(about, told[0], re.IGNORECASE)):
        raise Broken(f"the disk was full, and it said: {said[-600:]!r}")


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """A file system of its own in memory, for as long as the context is open."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def can_mount() -> bool:
    """Whether file systems may be mounted here: by root, outside of most containers."""
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(probe, capture_output=True).returncode == 0

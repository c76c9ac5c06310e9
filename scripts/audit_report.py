"""What `scripts/audit` asks about, and what it makes of pip-audit's report.

pip-audit ends well where PyPI answers nothing: each package is then skipped, and none has a known
vulnerability. So what was skipped counts as unknown here. Needs nothing but Python.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PINNED = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^ ;\\]+)", re.M)
CLEAR, VULNERABLE, UNKNOWN = 0, 1, 3


def locked(lock: str, setup: str) -> list[str]:
    """`name==version` of every dependency: those of the lock, and torch as setup installs it."""
    pins = PINNED.findall(lock)
    torch = re.search(r"\btorch==([0-9.]+)", setup)
    if torch is None:
        raise SystemExit("scripts/setup: pins no torch")
    return [f"{name}=={version}" for name, version in [*pins, ("torch", torch[1])]]


def judged(report: dict[str, Any], asked: list[str]) -> tuple[int, list[str]]:
    """The exit code, and the lines that say why.

    Args:
        report: pip-audit's, as JSON.
        asked: `name==version` of every dependency.
    """
    found = [one for one in report["dependencies"] if "vulns" in one]
    lines = [
        f"{one['name']} {one['version']}: {bug['id']}, mended in "
        f"{', '.join(bug['fix_versions']) or 'no version yet'}"
        for one in found
        for bug in one["vulns"]
    ]
    answered = {_spelled(f"{one['name']}=={one['version']}") for one in found}
    left = [one for one in asked if _spelled(one) not in answered]
    if left and not lines:
        return UNKNOWN, [f"no answer about {len(left)} of {len(asked)}: {', '.join(left[:5])} ..."]
    lines += [f"no answer about {one}" for one in left]
    return (VULNERABLE, lines) if lines else (CLEAR, [f"none known in {len(asked)} dependencies"])


def _spelled(pin: str) -> str:
    """As PyPI spells names."""
    name, version = pin.split("==")
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"


def apart(pins: list[str]) -> list[list[str]]:
    """Lists in which no package comes twice: of some the lock has a version for each Python."""
    seen: Counter[str] = Counter()
    lists: list[list[str]] = []
    for pin in pins:
        name = _spelled(pin).split("==")[0]
        if seen[name] == len(lists):
            lists.append([])
        lists[seen[name]].append(pin)
        seen[name] += 1
    return lists


def main() -> None:
    """`locked FOLDER` writes the lists; `judge SERVICE FOLDER` tells what the reports say."""
    lock, setup = ROOT / "requirements.lock", ROOT / "scripts" / "setup"
    asked = locked(lock.read_text(), setup.read_text())
    if sys.argv[1] == "locked":
        for number, pins in enumerate(apart(asked)):
            Path(sys.argv[2], f"{number}.txt").write_text("\n".join(pins) + "\n")
        return
    service, folder = sys.argv[2], Path(sys.argv[3])
    reports = [json.loads(one.read_text()) for one in folder.glob("*.json")]
    together = {"dependencies": [one for report in reports for one in report["dependencies"]]}
    code, lines = judged(together, asked)
    for line in lines:
        print(f"{service}: {line}", file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    main()

"""How a run was scored, and what is other now: numbers found otherwise do not compare."""

from collections.abc import Mapping
from typing import Any

from search.executors import Terms
from search.ledger import Ledger

from .errors import RunError
from .run import RunFolder


def refuse_other_scoring(ledger: Ledger, terms: Terms, run: RunFolder) -> None:
    """Raises RunError where candidates would not be scored as those of the run were."""
    if ledger.meta("settings") in (None, terms.settings):
        return
    changes = differences(ledger.meta("scoring") or {}, terms.scoring)
    told = "; ".join(changes) or "by another version of eutectic"
    raise RunError(
        f"{run.path}: was scored otherwise than it would be now ({told}); what can change scores "
        "is fixed at the start of a run. Leave it as it was, start anew with --fresh, or "
        f"{run.another}"
    )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What changed, name by name."""
    names = [name for name in now if name != "reasons" and name in before]
    return [
        f"{name.replace('_', ' ')} was {before[name]}, is {now[name]}"
        for name in names
        if before[name] != now[name]
    ]

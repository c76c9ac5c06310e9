"""Finds another distribution that took one of eutectic's four import names."""

from importlib.util import find_spec
from pathlib import Path

NAMES = ("search", "merging", "evaluation", "studies")


def shadowed() -> str | None:
    """What is wrong, in one message, or None: all four packages must lie side by side."""
    home = Path(__file__).resolve().parents[2]
    for name in NAMES:
        spec = find_spec(name)
        places = (
            [Path(place).resolve() for place in (spec.submodule_search_locations or [])]
            if spec
            else []
        )
        if home / name not in places:
            found = places[0] if places else (spec.origin if spec else "nowhere")
            return (
                f"the package {name!r} belongs to something else ({found}, expected under "
                f"{home}): another distribution or folder on the path shadows it; give eutectic "
                "an environment of its own"
            )
    return None

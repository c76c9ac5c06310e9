"""The versions that a result depends on, read from what is installed: nothing is imported."""

import platform
from importlib.metadata import PackageNotFoundError, version

SHOWN = ("eutectic", "torch", "transformers", "optuna", "lm_eval", "safetensors", "numba", "numpy")
TOLD = (*SHOWN, "tokenizers", "plotly", "peft", "optuna-dashboard", "optunahub")
"""What `--version` lists; the last three where they are installed."""


def versions() -> dict[str, str]:
    """Distribution to version, Python's own first."""
    return {"python": platform.python_version(), **{name: version(name) for name in SHOWN}}


def version_lines() -> list[str]:
    """What `--version` prints: eutectic first, then what matters to it, then the machine."""
    found = {"eutectic": _version("eutectic"), "python": platform.python_version()}
    found |= {name: _version(name) for name in TOLD}
    width = max(map(len, found))
    lines = [f"{name:{width}} {one}" for name, one in found.items() if one]
    return [f"eutectic {found['eutectic']}", *lines[1:], f"on {platform.platform(terse=True)}"]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""

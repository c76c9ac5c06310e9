"""The versions that a result depends on."""

import platform
from importlib.metadata import version

SHOWN = ("eutectic", "torch", "transformers", "optuna", "lm_eval", "safetensors", "numba", "numpy")


def versions() -> dict[str, str]:
    """Distribution to version, Python's own first."""
    return {"python": platform.python_version(), **{name: version(name) for name in SHOWN}}

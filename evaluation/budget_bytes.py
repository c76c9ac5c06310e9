"""What a pass holds for one token, from a model's config; no torch, so `check` can ask."""

from collections.abc import Mapping

SHARE = 0.25
"""Of a device's memory, for what a pass holds beside the weights."""
READ = ("hidden_size", "intermediate_size", "num_experts_per_tok")
"""What of a config is asked for."""


def widest_bytes(config: Mapping[str, object]) -> int:
    """What a pass holds for a token at its widest, roughly: some states and one inner layer."""
    hidden, inner, experts = (_whole(config.get(name)) for name in READ)
    hidden = hidden or 1024
    inner, experts = inner or 4 * hidden, experts or 1
    return (12 * hidden + 4 * inner * experts) * 4


def _whole(found: object) -> int:
    return int(found) if isinstance(found, int | float) else 0

"""Recipes that stack, drop or move layers: the config of a model with other layers.

A layer of the output is like the layer of the donor that its tensors come from, which matters
where layers differ (full and sliding attention, say). Not covered: architectures whose config
gives layers another form by a rule about their place; those are refused.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from .checkpoint import Checkpoint
from .errors import UnsupportedError
from .layers import COUNT_KEYS, claimed_layers, layer_of, prefix_of
from .plan import TensorJob

if TYPE_CHECKING:
    from transformers import PretrainedConfig

PLACE_KEYS = (
    "first_k_dense_replace",
    "attn_layer_period",
    "expert_layer_period",
    "full_attention_interval",
    "interleave_moe_layer_step",
    "decoder_sparse_step",
)
"""Numbers that give single layers another form by where they stand; a step of 1 gives none."""


def depth(config: Mapping[str, object]) -> int | None:
    """The number of layers a config speaks of."""
    found = (config.get(key) for key in COUNT_KEYS)
    return next((count for count in found if isinstance(count, int)), None)


def layer_order(jobs: Iterable[TensorJob]) -> tuple[int, ...]:
    """For each layer of the output, the layer of the base (else the first model) it is made of."""
    order: dict[int, int] = {}
    for job in jobs:
        source = job.base or job.sources[0]
        layer = layer_of(source.name)
        if job.layer is not None and layer is not None:
            order.setdefault(job.layer, layer)
    return tuple(order[layer] for layer in sorted(order))


def moved_layers(
    jobs: Iterable[TensorJob], config: Mapping[str, object]
) -> tuple[int, ...] | None:
    """The `layer_order` of jobs that need a model of other layers; None if the donor's will do.

    Several stacks (an image tower) are never moved: their heights say nothing about the config.
    Nor is anything where the config has no number of layers: plans with `slices` are refused.
    """
    todo = list(jobs)
    order = layer_order(todo)
    stacks = {prefix_of(job.name) for job in todo if job.layer is not None}
    count = claimed_layers(config)
    if len(stacks) > 1 or count is None or order == tuple(range(count)):
        return None
    return order or None


def output_config(config: Mapping[str, object], order: Sequence[int]) -> dict[str, object]:
    """A config with other layers: each new one is like layer `order[i]` of the old.

    Lists with a value for each layer (`layer_types`) follow.

    Raises:
        UnsupportedError: a config that ties layers to their place in a way not known here.
    """
    count = depth(config)
    if count is None:
        raise UnsupportedError(
            f"config.json names its layers in none of {', '.join(COUNT_KEYS)}: "
            "recipes that move layers are not supported for it"
        )
    changed = dict(config)
    if tuple(order) == tuple(range(count)):
        return changed
    if by_place := _by_place(config, count):
        raise UnsupportedError(
            f"config.json makes layers differ by their place ({', '.join(by_place)}): "
            "recipes that move layers are not supported for it"
        )
    for key, value in config.items():
        if isinstance(value, list) and len(value) == count and key.endswith(("types", "layers")):
            every = value == list(range(count))  # the indices of all layers, not a value for each
            changed[key] = [at if every else value[index] for at, index in enumerate(order)]
        elif key in COUNT_KEYS:
            changed[key] = len(order)
    return changed


def _by_place(config: Mapping[str, object], count: int) -> list[str]:
    """The keys that make layers differ by place: steps, and lists of some layers' indices."""
    steps = [
        key
        for key in PLACE_KEYS
        if isinstance(value := config.get(key), int) and value > (not key.startswith("first"))
    ]
    lists = [
        key
        for key, value in config.items()
        if key.endswith("layers") and isinstance(value, list) and len(value) not in (0, count)
    ]
    return steps + lists


def resized_config(
    checkpoint: Checkpoint, order: Sequence[int], *, trust_remote_code: bool = False
) -> "PretrainedConfig":
    """The checkpoint's config as transformers understands it, for other layers.

    Raises:
        UnsupportedError: see `output_config`.
    """
    from transformers import AutoConfig

    config: PretrainedConfig = AutoConfig.from_pretrained(
        checkpoint.folder, trust_remote_code=trust_remote_code, local_files_only=True
    )
    # With the defaults filled in: layer_types may be there only now.
    full = json.loads(config.to_json_string(use_diff=False))
    changed: PretrainedConfig = type(config).from_dict(output_config(full, order))
    return changed

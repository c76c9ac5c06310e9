"""Recipes that stack, drop or move layers: the config of a model with other layers.

A layer of the output is like the layer of the donor that its tensors come from, which matters
where layers differ (full and sliding attention, say). Which number of a config counts the layers
of which stack is read off the words of both names (`vision_config`, `num_decoder_layers`). Not
covered: architectures whose config gives layers another form by a rule about their place; those
are refused.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .checkpoint import Checkpoint
from .errors import MergeError, SourceError, UnsupportedError
from .headers import read_json
from .layers import COUNT_KEYS, kinds_of, layer_layout, layer_of, prefix_of
from .plan import TensorJob

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Orders = Mapping[str, Sequence[int]]
"""Stacks (by prefix) with other layers: the layer of the donor that each new one is made of."""

PLACE_KEYS = (
    "first_k_dense_replace",
    "attn_layer_period",
    "expert_layer_period",
    "full_attention_interval",
    "interleave_moe_layer_step",
    "decoder_sparse_step",
)
"""Numbers that give single layers another form by where they stand; a step of 1 gives none."""

STACK_KEYS = (*COUNT_KEYS, "depth", "num_encoder_layers", "encoder_layers", "decoder_layers")
"""Where configs say how many layers a stack has, the main one or another."""

SIDES = ("encoder", "decoder")


def layer_orders(jobs: Iterable[TensorJob]) -> dict[str, tuple[int, ...]]:
    """For each layer of each stack, the layer of the base (else the first model) it is made of."""
    found: dict[str, dict[int, int]] = {}
    for job in jobs:
        layer = layer_of((job.base or job.sources[0]).name)
        if job.layer is not None and layer is not None:
            found.setdefault(prefix_of(job.name), {}).setdefault(job.layer, layer)
    return {
        prefix: tuple(order[layer] for layer in sorted(order)) for prefix, order in found.items()
    }


def moved_layers(jobs: Iterable[TensorJob], donor: Checkpoint) -> Orders | None:
    """The stacks whose layers are not the donor's; None if a model like the donor will do."""
    return moved(layer_orders(jobs), layer_heights(donor))


def moved(orders: Orders, heights: Mapping[str, int]) -> Orders | None:
    """Those of the stacks that are not layers 0, 1, ... up to their height; None if all are.

    Args:
        orders: as `layer_orders` gives them.
        heights: the donor's, as `layer_heights` gives them.
    """
    found = {
        prefix: order
        for prefix, order in orders.items()
        if tuple(order) != tuple(range(heights.get(prefix, 0)))
    }
    return found or None


def output_config(
    config: Mapping[str, object], heights: Mapping[str, int], orders: Orders
) -> dict[str, object]:
    """A config with other layers: new layer i of a stack is like layer `orders[stack][i]`.

    Lists with a value for each layer (`layer_types`) follow.

    Args:
        config: with defaults filled in.
        heights: the layers that each stack has in the config's own model.
        orders: as `moved_layers` gives them.

    Raises:
        UnsupportedError: a config that ties layers to their place in a way not known here, or
            that does not say which number counts the layers of a stack.
    """
    changed: dict[str, Any] = json.loads(json.dumps(config))
    for prefix, order in orders.items():
        places = _counted(config, prefix, heights.get(prefix, 0))
        if not places:
            raise UnsupportedError(
                f"config.json does not say which number counts the layers of {prefix} "
                f"({', '.join(STACK_KEYS)}): recipes that move them are not supported for it"
            )
        for section, key in places:
            part = changed if section is None else changed[section]
            _refuse_places(part, heights[prefix])
            _follow(part, key, heights[prefix], order)
    return changed


def resized_config(
    checkpoint: Checkpoint, orders: Orders, *, trust_remote_code: bool = False
) -> "PretrainedConfig":
    """The checkpoint's config as transformers understands it, for other layers.

    Raises:
        SourceError: transformers cannot read the config.
        UnsupportedError: see `output_config`.
    """
    config = model_config(checkpoint, trust_remote_code=trust_remote_code)
    try:
        # With the defaults filled in: layer_types may be there only now.
        full = json.loads(config.to_json_string(use_diff=False))
        changed: PretrainedConfig = type(config).from_dict(
            output_config(full, layer_heights(checkpoint), orders)
        )
    except MergeError:
        raise
    except Exception as error:  # a strange config can make transformers raise nearly anything
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise SourceError(f"{checkpoint.folder}: config.json: {reason}") from error
    return changed


def model_config(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> "PretrainedConfig":
    """The checkpoint's config as transformers understands it.

    Raises:
        SourceError: transformers does not understand it, or needs code that is not allowed.
    """
    from transformers import AutoConfig

    try:
        stored = AutoConfig.from_pretrained(
            checkpoint.folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
        own: PretrainedConfig = stored
        if checkpoint.config != read_json(checkpoint.folder / "config.json"):
            own = _read_as(type(stored), checkpoint.config)
    except Exception as error:  # a strange config can make transformers raise nearly anything
        reason = next(filter(str.strip, str(error).splitlines()), type(error).__name__)
        raise SourceError(
            f"{checkpoint.folder}: transformers cannot read its config.json: {reason}"
        ) from error
    own.name_or_path = str(checkpoint.folder)
    return own


def _read_as(kind: "type[PretrainedConfig]", data: Mapping[str, object]) -> "PretrainedConfig":
    """A config that stands in no file (another vocabulary, a stage), read as if it did."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(data, file)
        file.flush()
        found: PretrainedConfig = kind.from_dict(kind._dict_from_json_file(file.name))
    return found


def layer_heights(checkpoint: Checkpoint) -> dict[str, int]:
    """Stack (by prefix) to its number of layers."""
    layout = layer_layout(checkpoint.tensors, checkpoint.config)
    return {stack.prefix: len(stack.layers) for stack in layout.stacks}


def _counted(
    config: Mapping[str, object], prefix: str, height: int
) -> list[tuple[str | None, str]]:
    """Where a config counts the layers of a stack: key, and the nested config it stands in.

    A number that names one side (`decoder_layers`) goes before one that names none, which in an
    encoder-decoder counts the encoder's.
    """
    found = [
        (section, key)
        for section, part in _parts(config, prefix)
        for key in STACK_KEYS
        if part.get(key) == height and not isinstance(part.get(key), bool)
    ]
    side = next((side for side in SIDES if side in prefix), None)
    named = [(section, key) for section, key in found if side and side in f"{section}.{key}"]
    plain = [
        (section, key)
        for section, key in found
        if not any(other in f"{section}.{key}" for other in SIDES)
    ]
    return named if named and side == "decoder" else [*named, *plain]


def _parts(
    config: Mapping[str, object], prefix: str
) -> Iterator[tuple[str | None, Mapping[str, object]]]:
    """A config and the nested ones, as far as their names speak of the same kind as the stack's.

    A stack without such a word in its name is one of text.
    """
    kinds = set(kinds_of(prefix)) or {"text"}
    if nested := [
        (key, part)
        for key, part in config.items()
        if isinstance(part, dict) and kinds & set(kinds_of(key))
    ]:
        yield from nested
    else:
        yield None, config
        sides = [side for side in SIDES if side in prefix]
        yield from ((key, part) for key in sides if isinstance(part := config.get(key), dict))


def _refuse_places(config: Mapping[str, object], count: int) -> None:
    if by_place := _by_place(config, count):
        raise UnsupportedError(
            f"config.json makes layers differ by their place ({', '.join(by_place)}): "
            "recipes that move layers are not supported for it"
        )


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


def _follow(config: dict[str, Any], key: str, height: int, order: Sequence[int]) -> None:
    """Writes the number of layers, and gives each its value of the lists with one a layer."""
    config[key] = len(order)
    for name, value in config.items():
        listed = isinstance(value, list) and name.endswith(("types", "layers"))
        if not listed or len(value) != height:
            continue
        if value == list(range(height)):  # the indices of all layers, not a value for each
            config[name] = list(range(len(order)))
            continue
        if max(order, default=0) >= height and any(one != value[0] for one in value):
            raise UnsupportedError(
                f"config.json has values for {height} layers ({name}), the recipe takes layer "
                f"{max(order)} of another model: make the model with more layers the base, or "
                "the first one"
            )
        config[name] = [value[min(index, height - 1)] for index in order]

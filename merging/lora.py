"""A PEFT LoRA adapter as changes of a checkpoint's tensors, and their arithmetic.

LoRA (Hu et al. 2021, arXiv:2106.09685): W' = W + scale B A, with scale = alpha / r, or alpha /
sqrt(r) for rsLoRA (Kalajdzievski 2023, arXiv:2312.03732). Linear layers, embeddings, biases, and
whole tensors that were trained beside them. Not covered: convolutions, heads that are tied to the
embedding.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import torch

from .checkpoint import Checkpoint
from .consistency import HEADS, is_tied
from .errors import SourceError, UnsupportedError
from .lora_config import LoraConfig

STEP = 1 << 22
"""Elements of a product held in float64 at a time."""

LOW_RANK = re.compile(
    r"(?P<module>.+?)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])"
    r"(?:\.(?!weight$|bias$)[^.]+)?(?P<end>\.weight|\.bias)?"
)
"""PEFT's names of the factors, with or without the adapter's own name in them."""


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one tensor: `whole` in its place, then `scale (left @ right + shift)` added.

    For W of shape (m, n): left (m, r), right (r, n), shift and whole of W's own shape.
    """

    scale: float = 1.0
    whole: torch.Tensor | None = field(default=None, repr=False)
    left: torch.Tensor | None = field(default=None, repr=False)
    right: torch.Tensor | None = field(default=None, repr=False)
    shift: torch.Tensor | None = field(default=None, repr=False)


def changes(
    base: Checkpoint, config: LoraConfig, weights: Mapping[str, torch.Tensor], place: str
) -> dict[str, Change]:
    """The changes of an adapter by checkpoint name.

    Args:
        base: the model the adapter belongs to.
        config: its adapter_config.json.
        weights: its tensors, by PEFT's names.
        place: opens messages.

    Raises:
        SourceError: a tensor that belongs to nothing in the base, or of another shape.
        UnsupportedError: DoRA's magnitudes and the like.
    """
    found: dict[str, Change] = {}
    modules: dict[tuple[str, bool], dict[str, torch.Tensor]] = {}
    for name, weight in weights.items():
        short = name.removeprefix("base_model.model.")
        if pair := LOW_RANK.fullmatch(short):
            side = "bias" if pair["end"] == ".bias" else pair["side"]
            modules.setdefault((pair["module"], bool(pair["embedding"])), {})[side] = weight
        else:
            found[_target(base, _whole(short, place), place)] = Change(whole=weight)
    for (module, embedding), factors in modules.items():
        target = _target(base, f"{module}.weight", place)
        change = _low_rank(config, module, embedding, factors, place)
        found[target] = replace(change, whole=found.get(target, Change()).whole)
        if "bias" in factors:
            bias = _target(base, f"{module}.bias", place)
            whole = found.get(bias, Change()).whole
            found[bias] = Change(change.scale, whole=whole, shift=factors["bias"])
    for target, change in found.items():
        _same_shape(target, change, base.tensors[target].shape, place)
    return found


def _whole(name: str, place: str) -> str:
    """The tensor that a weight of the adapter stands in the place of."""
    if "lora_" in name or "token_adapter" in name:
        raise UnsupportedError(
            f"{place}: {name}: more than plain LoRA (DoRA, trained tokens); merge it with peft"
        )
    return re.sub(r"\.(?:modules_to_save(?:\.[^.]+)?|base_layer)(?=\.)", "", name)


def _target(base: Checkpoint, name: str, place: str) -> str:
    """The checkpoint's tensor for a name in PEFT's model, which may have a prefix more or less."""
    without = name.partition(".")[2]
    for candidate in (name, without):
        if candidate in base.tensors:
            return candidate
    longer = [stored for stored in base.tensors if stored.partition(".")[2] == name]
    if len(longer) == 1:
        return longer[0]
    if name.endswith(HEADS) and is_tied(base.config):
        raise UnsupportedError(
            f"{place}: trains {name}, which {base.folder} ties to its embedding and does not store"
        )
    near = get_close_matches(name, base.tensors, n=1, cutoff=0.0)
    hint = f"; the nearest is {near[0]}" if near else ""
    raise SourceError(f"{place}: {name} is no tensor of {base.folder}{hint}")


def _low_rank(
    config: LoraConfig,
    module: str,
    embedding: bool,
    factors: Mapping[str, torch.Tensor],
    place: str,
) -> Change:
    if not {"A", "B"} <= set(factors):
        raise SourceError(f"{place}: {module}: expected lora_A and lora_B, got one of them")
    down, up = factors["A"], factors["B"]
    if down.dim() != 2 or up.dim() != 2:
        raise UnsupportedError(f"{place}: {module}: neither a linear layer nor an embedding")
    rank = config.rank_of(module)
    if down.shape[0] != rank or up.shape[1] != rank:
        raise SourceError(
            f"{place}: {module}: adapter_config.json says rank {rank:g}, the tensors are "
            f"{list(down.shape)} and {list(up.shape)}"
        )
    scale = config.scale_of(module)
    if embedding or config.transposed:
        return Change(scale, left=down.T, right=up.T)
    return Change(scale, left=up, right=down)


def _same_shape(target: str, change: Change, shape: tuple[int, ...], place: str) -> None:
    shapes = [tuple(part.shape) for part in (change.whole, change.shift) if part is not None]
    if change.left is not None and change.right is not None:
        shapes.append((change.left.shape[0], change.right.shape[1]))
    for other in shapes:
        if other != shape:
            raise SourceError(
                f"{place}: {target} is {list(shape)} in the base, {list(other)} in the adapter"
            )


def changed(weight: torch.Tensor, change: Change) -> torch.Tensor:
    """A tensor after its change, in its own dtype, rounded once from float32.

    The product is taken in float64, whose last bits, which may depend on the number of threads,
    are gone in float32.
    """
    source = weight if change.whole is None else change.whole
    if change.shift is not None:
        return (source.float() + change.scale * change.shift.float()).to(weight.dtype)
    if change.left is None or change.right is None:
        return source.to(weight.dtype)
    result = torch.empty_like(weight, memory_format=torch.contiguous_format)
    right = change.right.double()
    step = max(1, STEP // max(1, weight.shape[1]))
    for start in range(0, weight.shape[0], step):
        rows = slice(start, start + step)
        delta = (change.left[rows].double() @ right).mul_(change.scale).float()
        result[rows] = source[rows].float().add_(delta)
    return result

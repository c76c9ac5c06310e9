"""Whether a model's inputs may run as trees, as far as its config says.

Trees need attention that reads all earlier tokens at the positions it is given. A sliding
window, chunks, and rope that changes with the length of a pass are harmless for inputs that stay
within them; ALiBi, recurrent layers and convolutions never are. What no config says is found out
by `layout_probe`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .batches import Limits
from .rope import length_rope

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FULL = ("attention", "full_attention", "full", "global")
WINDOWED = ("sliding_attention", "sliding", "local", "chunked_attention")


@dataclass(frozen=True, slots=True)
class Layout:
    """Whether inputs run as trees, else why not.

    Inputs of more than `longest` tokens do not; longer than `alone` they run with none of another
    length; trees stand in rows of at most `widest` tokens (None: no bound).
    """

    trees: bool
    reason: str = ""
    longest: int | None = None
    alone: int | None = None
    widest: int | None = None

    def limits(self, tokens: int, positions: int) -> Limits:
        """The bounds of a plan."""
        longest = self.longest if self.trees else 0
        return Limits(tokens, positions, longest, self.alone, self.widest)


def declared_layout(model: "PreTrainedModel") -> Layout:
    """What the config allows; the probe has the last word."""
    config = model.config.get_text_config(decoder=True)
    alone, widest = length_rope(config), _scaled_from(config)
    bounds = [one for one in (_windows(config), alone, widest) if one is not None]
    reason = _refusal(model, config)
    return Layout(not reason, reason, min(bounds, default=None), alone, widest)


def _scaled_from(config: Any) -> int | None:
    """The column from which on Llama-4 scales its queries: by the column, not the position."""
    if not getattr(config, "attn_temperature_tuning", False):
        return None
    return int(getattr(config, "floor_scale", 0) or 0) or None


def _refusal(model: "PreTrainedModel", config: Any) -> str:
    named = [getattr(config, name, None) for name in ("layer_types", "layers_block_type")]
    odd = [kind for kinds in named for kind in kinds or () if kind not in (*FULL, *WINDOWED)]
    if getattr(model, "_is_stateful", False) or odd:
        return f"it has layers that are no attention{f' ({odd[0]})' if odd else ''}"
    inner = getattr(config, "attn_config", None)
    named_so = getattr(config, "position_embedding_type", "") == "alibi"
    if named_so or getattr(config, "alibi", False) or getattr(inner, "alibi", False):
        return "its positions are ALiBi"
    return ""


def _windows(config: Any) -> int | None:
    """The longest input that no layer's window cuts off, None without windows."""
    sliding = getattr(config, "sliding_window", None)
    if not getattr(config, "use_sliding_window", True):
        sliding = None
    windows = [sliding, getattr(config, "attention_chunk_size", None)]
    found = [int(one) for one in windows if isinstance(one, int) and one > 0]
    return min(found, default=None)

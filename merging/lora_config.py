"""adapter_config.json of a PEFT adapter: the numbers of plain LoRA; all else refused by name.

DoRA, other types than LoRA, and initialisations that change the base as well are not covered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import regex  # type: ignore[import-untyped]

from .errors import SourceError, UnsupportedError
from .headers import member, read_json
from .references import breaks_lines

CONFIG = "adapter_config.json"
MAX_PATTERN = 1000
PATIENCE = 1.0
"""Seconds that a pattern has for one name."""

HARMLESS = frozenset(
    (
        "auto_mapping base_model_name_or_path bias corda_config ensure_weight_tying eva_config "
        "exclude_modules inference_mode layers_pattern layers_to_transform lora_bias lora_dropout "
        "lora_ga_config megatron_config megatron_core modules_to_save peft_type peft_version "
        "qalora_group_size revision runtime_config target_modules task_type"
    ).split()
)
"""Settings that trained the adapter, or that its tensors show by themselves."""

READ = frozenset(
    "r lora_alpha use_rslora fan_in_fan_out rank_pattern alpha_pattern init_lora_weights".split()
)
PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Initialisations that leave the base as it is."""


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """What adapter_config.json says about the arithmetic."""

    rank: int
    alpha: float
    rank_stabilised: bool
    transposed: bool
    """`fan_in_fan_out`: weights are stored as (in, out)."""
    ranks: Mapping[str, float]
    alphas: Mapping[str, float]

    def rank_of(self, module: str) -> float:
        """The rank of a module, by its pattern or for all."""
        return _by_pattern(self.ranks, module, self.rank)

    def scale_of(self, module: str) -> float:
        """The factor before B A."""
        rank = self.rank_of(module)
        alpha = _by_pattern(self.alphas, module, self.alpha)
        return alpha / sqrt(rank) if self.rank_stabilised else alpha / rank


def read_config(folder: Path) -> LoraConfig:
    """Reads and checks adapter_config.json.

    Raises:
        SourceError: missing, not JSON, or a number out of its range.
        UnsupportedError: anything but plain LoRA.
    """
    file = member(folder, CONFIG)
    data = read_json(file)
    _refuse_others(file, data)
    return LoraConfig(
        rank=int(_number(file, data, "r")),
        alpha=_number(file, data, "lora_alpha"),
        rank_stabilised=bool(data.get("use_rslora")),
        transposed=bool(data.get("fan_in_fan_out")),
        ranks=_patterns(file, data, "rank_pattern"),
        alphas=_patterns(file, data, "alpha_pattern"),
    )


def _refuse_others(file: Path, data: Mapping[str, object]) -> None:
    kind = data.get("peft_type")
    if kind != "LORA":
        raise UnsupportedError(
            f"{file}: peft_type {repr(kind)[:80]} is not supported, only LORA; merge it with peft "
            "(merge_and_unload) and give the merged folder"
        )
    for key, value in data.items():
        if value and key not in HARMLESS | READ and value != {}:
            raise UnsupportedError(
                f"{file}: {_brief(key)}: {_brief(value)} is more than plain LoRA; merge it with "
                "peft (merge_and_unload) and give the merged folder"
            )
    if data.get("init_lora_weights") not in PLAIN_STARTS:
        raise UnsupportedError(
            f"{file}: init_lora_weights: {_brief(data['init_lora_weights'])} changed the base "
            "model as well; merge it with peft (merge_and_unload) and give the merged folder"
        )


def _brief(value: object) -> str:
    text = str(value)
    return (repr(text) if breaks_lines(text) else text)[:60]


def _number(file: Path, data: Mapping[str, object], key: str) -> float:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise SourceError(f"{file}: {key}: expected a number above 0, got {repr(value)[:80]}")
    return value


def _patterns(file: Path, data: Mapping[str, object], key: str) -> dict[str, float]:
    value = data.get(key) or {}
    if not isinstance(value, dict):
        raise SourceError(
            f"{file}: {key}: expected numbers by module name, got {repr(value)[:80]}"
        )
    for pattern in value:
        # PEFT takes regular expressions; those that can grow for ever have no business in a file.
        if len(pattern) > MAX_PATTERN or "{" in pattern:
            raise SourceError(f"{file}: {key}: the pattern {pattern[:60]!r} is too elaborate")
        try:
            regex.compile(_anchored(pattern))
        except (regex.error, RecursionError) as error:
            raise SourceError(f"{file}: {key}: {pattern[:60]!r}: {error}") from error
    return {pattern: _number(file, value, pattern) for pattern in value}


def _by_pattern(patterns: Mapping[str, float], module: str, default: float) -> float:
    """As PEFT: the first pattern that matches the end of the name, from a dot on."""
    for pattern, value in patterns.items():
        try:
            if regex.match(_anchored(pattern), module, timeout=PATIENCE):
                return value
        except TimeoutError:
            raise SourceError(
                f"{CONFIG}: the pattern {pattern[:60]!r} needs more than {PATIENCE:g} seconds on "
                f"{module[:60]!r}; write it plainly"
            ) from None
    return default


def _anchored(pattern: str) -> str:
    return rf"(?:.*\.)?(?:{pattern})$"

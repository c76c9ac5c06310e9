"""Where transformers puts the tensors of a checkpoint: its renames and conversions, followed.

While it loads, transformers 5 renames tensors, and fuses, splits or transposes some (the experts
of a mixture become one parameter). Nothing of that is written down here: its tables are asked.
A tensor that is only moved is a part of the parameter that it goes into: running the conversion
backwards on the live parameters gives these parts, as long as nothing in it copies.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GOLDEN = 0x9E3779B1 - (1 << 32)  # 2^32 / golden ratio, signed: its multiples look random (Knuth)


@dataclass(frozen=True, slots=True)
class Fusion:
    """Tensors of a checkpoint that become live parameters together, in transformers' order.

    `patterns` say as what each one enters the conversion, `inner` how each is called in between
    (renamed, not converted), `place` is the first of the live names `targets`.
    """

    names: tuple[str, ...]
    inner: tuple[str, ...]
    patterns: tuple[str, ...]
    place: str
    targets: tuple[str, ...]
    converter: Any


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a live parameter: its shape, and how its elements lie in the parameter's own."""

    target: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    def of(self, whole: torch.Tensor) -> torch.Tensor:
        """The part of a contiguous tensor."""
        return whole.as_strided(self.shape, self.strides, whole.storage_offset() + self.offset)


def trace(
    model: "PreTrainedModel", live: Mapping[str, torch.Tensor], names: Iterable[str]
) -> tuple[dict[str, str], tuple[Fusion, ...]]:
    """Follows names as transformers does when it loads them.

    Args:
        model: the architecture.
        live: its parameters and buffers.
        names: of the checkpoint.

    Returns:
        The live name of each tensor that is taken as it is, and the conversions of the others.
        Names that the architecture does not load are in neither.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key

    mapping = get_model_conversion_mapping(model)
    renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
    places: dict[str, str] = {}
    parts: dict[tuple[str, int], list[tuple[str, str, str]]] = {}
    for name in sorted(names, key=dot_natural_key):
        place, pattern = _renamed(model, live, name, renamings, converters)
        if place not in live:
            continue
        if pattern is None:
            places[name] = place
            continue
        at = next(at for at, one in enumerate(converters) if pattern in one.source_patterns)
        inner, _ = _renamed(model, {}, name, renamings, [])
        parts.setdefault((place, at), []).append((name, inner, pattern))
    fusions = (_fusion(place, converters[at], found) for (place, at), found in parts.items())
    return places, tuple(fusions)


def _renamed(
    model: "PreTrainedModel",
    live: Mapping[str, torch.Tensor],
    name: str,
    renamings: list[Any],
    converters: list[Any],
) -> tuple[str, str | None]:
    """A live name, and the pattern of the conversion it takes part in, as in `from_pretrained`."""
    from transformers.core_model_loading import rename_source_key

    prefix, known = model.base_model_prefix, cast(dict[str, Any], live)
    place, pattern = rename_source_key(name, renamings, converters, prefix, known)
    if place not in live and name in live:
        return rename_source_key(name, [], [], prefix, known)
    return place, pattern


def _fusion(place: str, converter: Any, parts: Sequence[tuple[str, str, str]]) -> Fusion:
    names, inner, patterns = zip(*parts, strict=True)
    return Fusion(names, inner, patterns, place, _targets(place, converter), converter)


def _targets(place: str, converter: Any) -> tuple[str, ...]:
    """The live names that a conversion writes."""
    first, *others = converter.target_patterns
    before, found, after = place.partition(first)
    return (place, *(before + one + after for one in others if found))


def convert(
    model: "PreTrainedModel", fusion: Fusion, tensors: Sequence[torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The live parameters that stored tensors become, by transformers' own conversion."""
    converter = deepcopy(fusion.converter)
    for name, pattern, tensor in zip(fusion.names, fusion.patterns, tensors, strict=True):
        converter.add_tensor(fusion.place, name, pattern, tensor)
    return _run(model, converter, fusion.place)


def _run(model: "PreTrainedModel", converter: Any, place: str) -> dict[str, torch.Tensor]:
    found = converter.convert(place, model=model, config=model.config)
    if isinstance(found, tuple):  # transformers 5.0 gives its errors too
        found = found[0]
    return {name: one[0] if isinstance(one, list) else one for name, one in found.items()}


class _Views(TorchFunctionMode):
    """Leaves out the copies that only make a tensor contiguous."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> torch.Tensor:
        if func is torch.Tensor.contiguous:
            view: torch.Tensor = args[0]
            return view
        result: torch.Tensor = func(*args, **(kwargs or {}))
        return result


def views(
    model: "PreTrainedModel", fusion: Fusion, live: Mapping[str, torch.Tensor]
) -> dict[str, Region] | None:
    """The part of a live parameter that each stored tensor is; None where one is no plain part.

    Args:
        model: the architecture.
        fusion: of `trace`.
        live: its parameters and buffers.
    """
    back = fusion.converter.reverse_transform()
    try:
        with torch.no_grad(), _Views():
            for target in fusion.targets:
                place, pattern = back.rename_source_key(target)
                back.add_tensor(place, target, pattern, live[target].detach())
            found = _run(model, back, place)
    except Exception:  # a conversion that does not run backwards: any error of theirs
        return None
    prefix = f"{model.base_model_prefix}."
    regions: dict[str, Region] = {}
    for name, inner in zip(fusion.names, fusion.inner, strict=True):
        spellings = (inner, prefix + inner, inner.removeprefix(prefix))
        view = next((found[one] for one in spellings if one in found), None)
        region = None if view is None else _region(fusion, live, view)
        if region is None:
            return None
        regions[name] = region
    return regions


def _region(fusion: Fusion, live: Mapping[str, torch.Tensor], view: torch.Tensor) -> Region | None:
    """Where a view lies in one of the parameters; None if it is a copy."""
    storage = view.untyped_storage().data_ptr()
    for target in fusion.targets:
        whole = live[target]
        offset = int(view.storage_offset() - whole.storage_offset())
        shared = whole.untyped_storage().data_ptr() == storage
        if shared and whole.is_contiguous() and 0 <= offset < whole.numel():
            return Region(target, tuple(view.shape), view.stride(), offset)
    return None


def confirmed(
    model: "PreTrainedModel",
    fusion: Fusion,
    regions: Sequence[Region],
    live: Mapping[str, torch.Tensor],
) -> bool:
    """Whether the conversion moves every element to where the regions say, and nothing else.

    Weights alone cannot tell: experts that start as zeros are all alike. Numbers that look random
    go through transformers' conversion and are sought in its result.
    """
    sizes = [prod(region.shape) for region in regions]
    if sum(sizes) != sum(live[target].numel() for target in fusion.targets):
        return False
    marks = [_marks(sum(sizes[:at]), region.shape) for at, region in enumerate(regions)]
    made = convert(model, fusion, list(marks))
    if any(made[target].shape != live[target].shape for target in fusion.targets):
        return False
    return all(
        torch.equal(region.of(made[region.target].contiguous()), mark)
        for region, mark in zip(regions, marks, strict=True)
    )


def _marks(start: int, shape: tuple[int, ...]) -> torch.Tensor:
    """16 bits an element, other ones for another start."""
    first = start % (1 << 30)
    numbers = torch.arange(first, first + prod(shape), dtype=torch.int32)
    return numbers.mul_(GOLDEN).bitwise_right_shift_(16).to(torch.int16).reshape(shape)


def split(
    model: "PreTrainedModel", fusions: Iterable[Fusion], live: Mapping[str, torch.Tensor]
) -> tuple[dict[str, Region], tuple[Fusion, ...]]:
    """The stored tensors that are parts of live parameters, and the conversions that compute."""
    parts: dict[str, Region] = {}
    computed: list[Fusion] = []
    known: set[object] = set()
    for fusion in fusions:
        regions = views(model, fusion, live)
        if regions is None:
            computed.append(fusion)
            continue
        form = _form(fusion, regions.values())
        if form not in known and not confirmed(model, fusion, list(regions.values()), live):
            computed.append(fusion)
            continue
        known.add(form)
        parts |= regions
    return parts, tuple(computed)


def _form(fusion: Fusion, regions: Iterable[Region]) -> object:
    """What two fusions share that place their tensors in the same way, whatever the layer."""
    return (
        id(fusion.converter),
        fusion.patterns,
        tuple(
            (fusion.targets.index(one.target), one.shape, one.strides, one.offset)
            for one in regions
        ),
    )

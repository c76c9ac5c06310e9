"""A candidate is written into the live model's own parameters: no second model, no file.

Recipes speak of checkpoint names; `conversion` says where transformers puts each. A tensor that is
a part of a live parameter is merged straight into it. Tensors that the architecture computes its
parameters from are merged beside them, one conversion at a time, and converted by transformers.
All of it is proved at the start with the weights that are in the model.
"""

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from .batch import merge_into
from .checkpoint import Checkpoint
from .conversion import Fusion, convert, split, trace
from .errors import MergeError, UnsupportedError
from .kernels.known import Known
from .loading import load_model, load_tokenizer
from .merge import merge_tensor
from .plan import TensorJob
from .recipe import ModelReference

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "LiveModel",
    "build_candidate",
    "live_model",
    "load_model",
    "load_tokenizer",
]


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A model and where each tensor of a checkpoint lives in it.

    `destinations` share storage with the parameters; a storage that two names share stands there
    once. `fusions` make parameters of tensors that are no part of them as they are stored.
    `parameters` are the names that every candidate must write; the others are buffers, which stay
    as loaded if it does not. `ignored` are names that the architecture does not load (old rotary
    buffers, a tied head). `known` is what building has found out about the models: all candidates
    of one live model are built from the same.
    """

    model: "PreTrainedModel"
    destinations: Mapping[str, torch.Tensor]
    fusions: tuple[Fusion, ...]
    parameters: frozenset[str]
    ignored: frozenset[str]
    known: Known = field(default_factory=Known)

    @property
    def names(self) -> frozenset[str]:
        """Every tensor that a candidate can write."""
        fused = {name for fusion in self.fusions for name in fusion.names}
        return frozenset(self.destinations.keys() | fused)


def live_model(
    model: "PreTrainedModel",
    checkpoint: Checkpoint,
    names: Iterable[str] | None = None,
    *,
    unproved: Collection[str] = (),
    prove: bool = True,
) -> LiveModel:
    """Maps checkpoint names to the parameters of a model that was loaded from that checkpoint.

    Args:
        model: from `load_model(checkpoint, ...)`.
        checkpoint: the weights that are in the model now.
        names: of the tensors that candidates have, where these are others (more or fewer layers).
        unproved: names whose tensors in the model are not the checkpoint's yet.
        prove: false for a model that holds no weights yet, of an architecture that was proved.

    Raises:
        UnsupportedError: a parameter that no tensor reaches, or that differs from it.
    """
    wanted = list(checkpoint.tensors if names is None else names)
    live: dict[str, torch.Tensor] = model.state_dict(keep_vars=True)
    places, found = trace(model, live, wanted)
    parts, fusions = split(model, found, live)
    destinations = _once(
        {name: live[place] for name, place in places.items()}
        | {name: region.of(live[region.target]) for name, region in parts.items()},
        checkpoint,
    )
    written = {*places.values(), *(target for fusion in found for target in fusion.targets)}
    _require_cover(model, live, written)
    for name, destination in destinations.items():
        if prove and name in checkpoint.tensors and name not in unproved:
            _prove(model, name, destination, checkpoint.tensor(name))
    for fusion in fusions:
        if prove and checkpoint.tensors.keys() >= set(fusion.names):
            made = _converted(model, fusion, live, checkpoint.tensor)
            for target, tensor in made.items():
                _prove(model, target, live.get(target), tensor)
    buffers = {name for name, place in places.items() if not _is_parameter(live[place])}
    mapped = destinations.keys() | {name for fusion in fusions for name in fusion.names}
    return LiveModel(
        model=model,
        destinations={name: tensor.detach() for name, tensor in destinations.items()},
        fusions=fusions,
        parameters=frozenset(mapped - buffers),
        ignored=frozenset(wanted) - mapped,
    )


def build_candidate(
    live: LiveModel,
    jobs: Iterable[TensorJob],
    tensors: Callable[[ModelReference, str], torch.Tensor],
    mask_seed: int,
    *,
    threads: int = 1,
) -> None:
    """Writes a candidate into the live model, in place.

    After it the model holds what `write_merged` writes for the same jobs, converted to the model's
    dtype.

    Args:
        live: the model and its map.
        jobs: one for each tensor of the output, all of `live.parameters` among them.
        tensors: a model's stored tensor by its checkpoint name.
        mask_seed: of the methods that draw.
        threads: of the kernels; the result does not depend on it.

    Raises:
        MergeError: a job for a tensor the model has not, or none for one it has.
    """
    todo = {job.name: job for job in jobs if job.name not in live.ignored}
    if odd := sorted((todo.keys() - live.names) | (live.parameters - todo.keys())):
        owner = "recipe" if odd[0] in todo else "model"
        raise MergeError(
            f"{odd[0]}: only the {owner} has this tensor ({len(odd)} such): "
            "the live model was loaded for another layout"
        )
    placed = [job for name, job in todo.items() if name in live.destinations]
    places, many = live.destinations, max(1, threads)
    merge_into(places, placed, tensors, mask_seed, threads=many, known=live.known)
    with torch.no_grad(), ThreadPoolExecutor(many) as pool:
        write_fused(
            live,
            lambda name: merge_tensor(todo[name], tensors, mask_seed, pool=pool, known=live.known),
            todo,
        )


def write_fused(
    live: LiveModel, tensor: Callable[[str], torch.Tensor], changed: Container[str]
) -> None:
    """Writes parameters that are computed from several tensors, where one of these changed.

    Args:
        live: the model and its map.
        tensor: the new tensor of a name.
        changed: names; conversions that none of them takes part in are left out.
    """
    whole: dict[str, torch.Tensor] = live.model.state_dict()
    for fusion in live.fusions:
        if any(name in changed for name in fusion.names):
            for target, made in _converted(live.model, fusion, whole, tensor).items():
                whole[target].copy_(made)


def _converted(
    model: "PreTrainedModel",
    fusion: Fusion,
    live: Mapping[str, torch.Tensor],
    tensor: Callable[[str], torch.Tensor],
) -> dict[str, torch.Tensor]:
    """What transformers makes of tensors, cast first to the model's dtype, as it does itself."""
    place = live[fusion.place]
    return convert(model, fusion, [tensor(name).to(place) for name in fusion.names])


def _is_parameter(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, torch.nn.Parameter)


def _once(found: Mapping[str, torch.Tensor], checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Keeps the first of the names that share a storage."""
    destinations: dict[str, torch.Tensor] = {}
    owners: dict[int, str] = {}
    for name, tensor in found.items():
        first = owners.setdefault(tensor.data_ptr(), name) if tensor.numel() else name
        if first == name:
            destinations[name] = tensor
        elif {first, name} <= checkpoint.tensors.keys() and not torch.equal(
            checkpoint.tensor(first), checkpoint.tensor(name)
        ):
            raise UnsupportedError(
                f"{checkpoint.folder}: {first} and {name} differ, "
                "the architecture has one tensor for both"
            )
    return destinations


def _require_cover(
    model: "PreTrainedModel", live: Mapping[str, torch.Tensor], written: Collection[str]
) -> None:
    """Every parameter is made of tensors of the checkpoint, or shares storage with one that is."""
    reached = {live[place].data_ptr() for place in written if place in live}
    missing = [
        name
        for name, parameter in model.named_parameters()
        if parameter.numel() and parameter.data_ptr() not in reached
    ]
    if missing:
        raise UnsupportedError(
            f"{type(model).__name__}: no tensor of the checkpoint is {', '.join(missing[:3])}; "
            "this architecture is not supported"
        )


def _prove(
    model: "PreTrainedModel", name: str, destination: torch.Tensor | None, stored: torch.Tensor
) -> None:
    """Writing the stored tensor to its destination must leave every bit as it is."""
    if destination is None or not _same_bits(destination.detach(), stored):
        raise UnsupportedError(
            f"{type(model).__name__}: {name} is changed while transformers loads it (it is stored "
            "otherwise than it is used); this architecture is not supported"
        )


def _same_bits(live: torch.Tensor, stored: torch.Tensor) -> bool:
    """Whether a stored tensor, cast to the live dtype, is what is live, bit for bit."""
    one, two = live.to("cpu").contiguous(), stored.to("cpu", live.dtype).contiguous()
    return one.shape == two.shape and torch.equal(
        one.reshape(-1).view(torch.uint8), two.reshape(-1).view(torch.uint8)
    )

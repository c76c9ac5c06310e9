"""A candidate is written into the live model's own parameters: no second model, no file.

Recipes speak of checkpoint names. For most architectures transformers' live parameters have the
same names, up to the base model's prefix and the name of the head; what is so mapped is proved at
the start. Architectures that transformers rebuilds while loading (fused experts) are refused by
name.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .checkpoint import Checkpoint
from .consistency import HEADS
from .errors import MergeError, UnsupportedError
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
    once. `parameters` are the names that every candidate must write; the others are buffers, which
    stay as loaded if it does not. `ignored` are names that the architecture does not load
    (old rotary buffers, a tied head).
    """

    model: "PreTrainedModel"
    destinations: Mapping[str, torch.Tensor]
    parameters: frozenset[str]
    ignored: frozenset[str]


def live_model(
    model: "PreTrainedModel",
    checkpoint: Checkpoint,
    names: Iterable[str] | None = None,
    *,
    unproved: Collection[str] = (),
) -> LiveModel:
    """Maps checkpoint names to the parameters of a model that was loaded from that checkpoint.

    Args:
        model: from `load_model(checkpoint, ...)`.
        checkpoint: the weights that are in the model now.
        names: of the tensors that candidates have, where these are others (more or fewer layers).
        unproved: names whose tensors in the model are not the checkpoint's yet.

    Raises:
        UnsupportedError: a parameter that no tensor reaches, or that differs from it.
    """
    wanted = list(checkpoint.tensors if names is None else names)
    live: dict[str, torch.Tensor] = model.state_dict(keep_vars=True)
    found = {name: live[place] for name in wanted if (place := _place(model, live, name))}
    destinations = _once(found, checkpoint)
    _require_cover(model, destinations, [name for name in wanted if name not in found])
    for name, destination in destinations.items():
        if name in checkpoint.tensors and name not in unproved:
            _prove(model, name, destination, checkpoint.tensor(name))
    return LiveModel(
        model=model,
        destinations={name: tensor.detach() for name, tensor in destinations.items()},
        parameters=frozenset(
            name for name, tensor in destinations.items() if isinstance(tensor, torch.nn.Parameter)
        ),
        ignored=frozenset(wanted) - destinations.keys(),
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
    if odd := sorted((todo.keys() - live.destinations.keys()) | (live.parameters - todo.keys())):
        owner = "recipe" if odd[0] in todo else "model"
        raise MergeError(
            f"{odd[0]}: only the {owner} has this tensor ({len(odd)} such): "
            "the live model was loaded for another layout"
        )
    with torch.no_grad(), ThreadPoolExecutor(max(1, threads)) as pool:
        for name, job in todo.items():
            merge_tensor(job, tensors, mask_seed, out=live.destinations[name], pool=pool)


def _place(model: "PreTrainedModel", live: Mapping[str, torch.Tensor], name: str) -> str | None:
    """The live name of a checkpoint tensor."""
    prefix = f"{model.base_model_prefix}."
    for candidate in (name, prefix + name, name.removeprefix(prefix)):
        if candidate in live:
            return candidate
    if not name.endswith(HEADS):
        return None
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    weight = getattr(head, "weight", None)
    return next((place for place, tensor in live.items() if tensor is weight), None)


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
    model: "PreTrainedModel", destinations: Mapping[str, torch.Tensor], unmatched: list[str]
) -> None:
    reached = {tensor.data_ptr() for tensor in destinations.values()}
    missing = [
        name
        for name, parameter in model.named_parameters()
        if parameter.numel() and parameter.data_ptr() not in reached
    ]
    if missing:
        stored = f" (stored otherwise, like {unmatched[0]})" if unmatched else ""
        raise UnsupportedError(
            f"{type(model).__name__}: no tensor of the checkpoint is {', '.join(missing[:3])}"
            f"{stored}; architectures that are rebuilt when loaded are not supported yet"
        )


def _prove(
    model: "PreTrainedModel", name: str, destination: torch.Tensor, stored: torch.Tensor
) -> None:
    """Writing the stored tensor to its destination must leave every bit as it is."""
    live = destination.detach().to("cpu").contiguous()
    same = live.shape == stored.shape and torch.equal(
        live.reshape(-1).view(torch.uint8), stored.to(live.dtype).reshape(-1).view(torch.uint8)
    )
    if not same:
        raise UnsupportedError(
            f"{type(model).__name__}: {name} is stored otherwise than it is used; "
            "this architecture is not supported yet"
        )

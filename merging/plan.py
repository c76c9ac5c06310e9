"""A recipe and the tensors of its checkpoints become one small job a tensor, with every number resolved.

`explain`, the in-memory candidate, the writer and the recipe hash all read the same jobs, so what is shown is
what is merged is what is hashed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .recipe import ModelReference, Scalar


@dataclass(frozen=True, slots=True)
class TensorSource:
    """One input of one tensor: which model, which tensor in it, its resolved parameters."""

    model: ModelReference
    name: str
    parameters: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class TensorJob:
    """How one tensor of the output is made.

    `sources` are the experts in recipe order (for linear: the base too, if the recipe lists it); `base` is
    None where the method has none. `layer` is the output layer index, None outside the layers. `position` of a
    source for its masks is its index in `sources`, which never contains the base for task-vector methods.
    """

    name: str
    method: str
    base: TensorSource | None
    sources: tuple[TensorSource, ...]
    parameters: Mapping[str, Scalar]
    layer: int | None
    dtype: str

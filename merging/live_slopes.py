"""The derivatives of a candidate in the live model: gradients by checkpoint name, then slopes.

After a backward pass the gradients lie beside the live parameters. What a job writes is a
parameter, a part of one, or something that transformers makes parameters of (`candidate` has the
map); the gradient goes back along the same way: as it is, as the same part, or through the
conversion, whose moves are followed element by element (one that does more is refused). A storage
that two names share has one gradient, the sum of both uses. Buffers and integers have none.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch

from .candidate import LiveModel
from .conversion import Fusion, convert
from .errors import UnsupportedError
from .merge import Tensors
from .plan import TensorJob
from .sloped import Slope
from .slopes import tensor_slope

OfParameter = Callable[[torch.nn.Parameter], torch.Tensor | None]
"""A parameter's gradient, of its shape; None where the loss does not depend on it."""


def live_slopes(
    live: LiveModel,
    jobs: Iterable[TensorJob],
    tensors: Tensors,
    mask_seed: int,
    gradient_of: OfParameter,
) -> Iterator[Slope]:
    """The slopes of the candidate that is in the live model, tensor by tensor, in order of jobs.

    Args:
        live: the model and its map; the candidate of `jobs` is in it.
        jobs: as they were built.
        tensors: a model's stored tensor by its checkpoint name.
        mask_seed: as it was built with.
        gradient_of: gives the gradients of the loss.

    Raises:
        UnsupportedError: a method, or a conversion, without a derivative.
    """
    todo = {job.name: job for job in jobs}
    parameters = _by_storage(live)
    fused = _Fused(live, todo, tensors, gradient_of)
    for name, job in todo.items():
        gradient = None
        if (place := live.destinations.get(name)) is not None:
            gradient = _part(place, parameters, gradient_of)
        elif name in live.names:
            gradient = fused.gradient(name)
        if gradient is None:
            yield Slope(name, (0.0,) * len(job.sources), 0.0)
        else:
            yield tensor_slope(job, tensors, mask_seed, gradient)


def _by_storage(live: LiveModel) -> Mapping[int, list[torch.nn.Parameter]]:
    found: dict[int, list[torch.nn.Parameter]] = {}
    for parameter in live.model.parameters():
        found.setdefault(parameter.untyped_storage().data_ptr(), []).append(parameter)
    return found


def _part(
    place: torch.Tensor,
    parameters: Mapping[int, list[torch.nn.Parameter]],
    gradient_of: OfParameter,
) -> torch.Tensor | None:
    """The gradient of what a destination covers; None for buffers."""
    for parameter in parameters.get(place.untyped_storage().data_ptr(), []):
        offset = place.storage_offset() - parameter.storage_offset()
        if not 0 <= offset < max(1, parameter.numel()):
            continue
        gradient = gradient_of(parameter)
        if gradient is None or place.shape == parameter.shape:
            return gradient
        whole = gradient.contiguous()  # as `conversion.Region` has it of a contiguous parameter
        return whole.as_strided(place.shape, place.stride(), whole.storage_offset() + offset)
    return None


class _Fused:
    """Gradients of tensors that are computed into parameters, one conversion at a time."""

    def __init__(
        self,
        live: LiveModel,
        jobs: Mapping[str, TensorJob],
        tensors: Tensors,
        gradient_of: OfParameter,
    ) -> None:
        self._live, self._jobs = live, jobs
        self._tensors, self._gradient_of = tensors, gradient_of
        self._of = {name: fusion for fusion in live.fusions for name in fusion.names}
        self._at: Fusion | None = None
        self._found: Mapping[str, torch.Tensor | None] = {}

    def gradient(self, name: str) -> torch.Tensor | None:
        """The gradient with respect to a tensor as it is stored."""
        fusion = self._of[name]
        if fusion is not self._at:
            self._at, self._found = fusion, self._back(fusion)
        return self._found[name]

    def _back(self, fusion: Fusion) -> dict[str, torch.Tensor | None]:
        """Every stored tensor's gradient, taken from where its elements went."""
        live = dict(self._live.model.named_parameters(remove_duplicate=False))
        sizes = [self._jobs_shape(name) for name in fusion.names]
        marks, start = [], 0
        for shape in sizes:
            count = math.prod(shape)
            marks.append(torch.arange(start, start + count).reshape(shape))
            start += count
        made = convert(self._live.model, fusion, marks)
        whole = torch.zeros(start, dtype=torch.float32)
        seen = torch.zeros(start, dtype=torch.int64)
        for target, places in made.items():
            given = self._gradient_of(live[target])
            if places.shape != live[target].shape or places.dtype != torch.int64:
                raise self._refused(fusion)
            seen.index_add_(0, places.reshape(-1), torch.ones(places.numel(), dtype=torch.int64))
            if given is not None:
                whole[places.reshape(-1)] = given.reshape(-1).float().cpu()
        if not bool((seen == 1).all()):
            raise self._refused(fusion)
        parts = torch.split(whole, [math.prod(shape) for shape in sizes])
        pairs = zip(fusion.names, parts, sizes, strict=True)
        return {name: part.reshape(shape) for name, part, shape in pairs}

    def _jobs_shape(self, name: str) -> tuple[int, ...]:
        job = self._jobs[name]
        source = job.base or job.sources[0]
        return tuple(self._tensors(source.model, source.name).shape)

    def _refused(self, fusion: Fusion) -> UnsupportedError:
        return UnsupportedError(
            f"{type(self._live.model).__name__}: {fusion.place} is computed from stored tensors, "
            "which are not only moved: gradients do not go back through that"
        )

"""Live models of other layers, made of the live model's own tensors.

Candidates whose slices are searched differ in depth. Each is run as the model that its checkpoint
would load as: transformers builds that from the config which the writer stores (`depth`), on the
meta device, so that every number and name in it (layers counted, kinds of layers, indices of
caches) is its own. Weights come from one pool, which every candidate writes anew: those outside
the layers are the live model's, the nth layer of one shape takes the nth place of the pool, and
the pool grows to what the largest candidate needs. Buffers are those of the layer of the base that
a layer is made like. What cannot be built so is refused, not approximated.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from .candidate import LiveModel, live_model
from .checkpoint import Checkpoint
from .depth import Orders, layer_heights, layer_orders, moved, resized_config
from .errors import UnsupportedError
from .layers import kind_of, layer_of, prefix_of, rename_layer
from .plan import TensorJob

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Place = tuple[str, str, tuple[int, ...]]
"""What layers of one stack share: its live prefix, a tensor's kind, its shape."""
Key = tuple[tuple[str, tuple[int, ...]], ...]
KEPT_MODELS = 16
"""Models that are kept; they hold no weights of their own."""


class LayerPool:
    """The tensors that live models of any depth are made of.

    Attributes:
        live: The base as it was loaded; its layers are the first of the pool.
    """

    def __init__(
        self, live: LiveModel, base: Checkpoint, *, trust_remote_code: bool = False
    ) -> None:
        """Takes the live model as it was loaded from `base`, before anything ran through it."""
        self.live = live
        self._base, self._trusted = base, trust_remote_code
        self._heights = layer_heights(base)
        model = live.model
        self._parameters = dict(model.named_parameters(remove_duplicate=False))
        self._buffers = dict(model.named_buffers(remove_duplicate=False))
        self._places: dict[Place, list[torch.nn.Parameter]] = defaultdict(list)
        for name, parameter in sorted(self._parameters.items(), key=_by_layer):
            if layer_of(name) is not None:
                self._places[_place(name, parameter)].append(parameter)
        self._made: OrderedDict[Key, LiveModel] = OrderedDict()

    def of(self, jobs: Sequence[TensorJob]) -> LiveModel:
        """The live model for a candidate: the base itself where no layer moves.

        Its weights are whatever was built last; it is good until another one is built.

        Raises:
            UnsupportedError: a config that cannot follow, or a model that cannot be made so.
        """
        orders = moved(layer_orders(jobs), self._heights)
        if orders is None:
            return self.live
        key = tuple((prefix, tuple(order)) for prefix, order in sorted(orders.items()))
        found = self._made.pop(key, None)
        if found is None:
            found = self._make(orders, [job.name for job in jobs])
        self._made[key] = found
        if len(self._made) > KEPT_MODELS:
            self._made.popitem(last=False)
        return found

    def _make(self, orders: Orders, names: Sequence[str]) -> LiveModel:
        model = self._empty(orders)
        self._fill_parameters(model)
        self._fill_buffers(model, orders)
        self._require_whole(model)
        model.generation_config = self.live.model.generation_config
        model.requires_grad_(False)
        model.train(False)
        live = live_model(model, self._base, names, prove=False)
        return replace(live, known=self.live.known)

    def _empty(self, orders: Orders) -> "PreTrainedModel":
        """The architecture without weights."""
        theirs = self.live.model
        config = resized_config(self._base, orders, trust_remote_code=self._trusted)
        try:
            with torch.device("meta"):
                kind: Any = type(theirs)
                model: PreTrainedModel = kind._from_config(config, dtype=theirs.dtype)
        except Exception as error:  # any model code may run here
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise self._refusal(f"it cannot be made without weights: {reason}") from error
        one, two = (found.config._attn_implementation for found in (model, theirs))
        if one != two:
            raise self._refusal(f"its attention is {one}, the base's is {two}")
        return model

    def _fill_parameters(self, model: "PreTrainedModel") -> None:
        taken: dict[Place, int] = defaultdict(int)
        found = dict(model.named_parameters(remove_duplicate=False))
        for name, empty in sorted(found.items(), key=_by_layer):
            own = self._parameters.get(name)
            if layer_of(name) is not None:
                place = _place(name, empty)
                own = self._at(place, taken[place])
                taken[place] += 1
            if own is None or own.shape != empty.shape:
                raise self._refusal(f"the base has no tensor like {name}")
            _set(model, name, own)

    def _at(self, place: Place, index: int) -> torch.nn.Parameter | None:
        held = self._places.get(place)
        if not held:
            return None
        if index == len(held):
            held.append(torch.nn.Parameter(torch.empty_like(held[0]), requires_grad=False))
        return held[index]

    def _fill_buffers(self, model: "PreTrainedModel", orders: Orders) -> None:
        for name, empty in list(model.named_buffers(remove_duplicate=False)):
            own = self._buffers.get(_like(name, orders, self._heights))
            if own is None or own.shape != empty.shape:
                raise self._refusal(f"the base has no buffer like {name}")
            _set(model, name, own)

    def _require_whole(self, model: "PreTrainedModel") -> None:
        """No tensor may be left empty, be it no parameter and no buffer."""
        for name, module in model.named_modules():
            for key, value in _tensors(module):
                if value.is_meta:
                    raise self._refusal(f"{name}.{key} would be empty")

    def _refusal(self, reason: str) -> UnsupportedError:
        return UnsupportedError(
            f"{type(self.live.model).__name__}: candidates of other layers cannot be scored in "
            f"memory ({reason}); `merge` and `evaluate` take such a recipe"
        )


def _by_layer(item: tuple[str, torch.Tensor]) -> tuple[int, str]:
    layer = layer_of(item[0])
    return (-1 if layer is None else layer), item[0]


def _place(name: str, tensor: torch.Tensor) -> Place:
    return prefix_of(name), kind_of(name), tuple(tensor.shape)


def _like(name: str, orders: Orders, heights: dict[str, int]) -> str:
    """The name in the base of the layer that a live tensor's layer is made like."""
    layer, prefix = layer_of(name), prefix_of(name)
    for stack, order in orders.items():
        if layer is not None and (prefix.endswith(stack) or stack.endswith(prefix)):
            return rename_layer(name, min(order[layer], heights[stack] - 1))
    return name


def _set(model: "PreTrainedModel", name: str, tensor: torch.Tensor) -> None:
    path, _, key = name.rpartition(".")
    module = model.get_submodule(path)
    (module._parameters if key in module._parameters else module._buffers)[key] = tensor  # type: ignore[assignment]


def _tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from ((key, one) for key, one in module._parameters.items() if one is not None)
    yield from ((key, one) for key, one in module._buffers.items() if one is not None)
    yield from ((key, one) for key, one in vars(module).items() if isinstance(one, torch.Tensor))

"""Where the merge method is a choice: a recipe carries what its own method reads, and no more."""

from collections.abc import Sequence
from typing import Any

from merging.methods.table import METHODS

from .space_read import get
from .space_walk import mappings, positions


def of_one_method(data: dict[str, Any], layers: int, methods: Sequence[str]) -> None:
    """Fits a filled recipe to its own method, in place.

    Parameters that only other methods of the choice read are taken out. A base that the others
    start from is listed with a weight of 0 for a mean of models, where nobody gave it one:
    mergekit takes it for one of them and fails without a weight.

    Args:
        data: A recipe without ranges; its `merge_method` is one of the choice.
        layers: Layers of the models.
        methods: The choice.
    """
    own = METHODS[data["merge_method"]]
    others = [METHODS[name] for name in methods if name != own.name]
    for one in list(positions(data, layers)):
        if not one.read_by(own) and any(one.read_by(other) for other in others):
            around = get(data, one.path[:-1])
            del around[one.path[-1]]
            if not around:
                del get(data, one.path[:-2])[one.path[-2]]
    base, models = data.get("base_model"), data.get("models")
    weighs = own.parameter("weight") is not None and not own.base_apart
    if base and models and weighs and any(other.base_apart for other in others):
        listed = any(model.get("model") == base for model in mappings(models))
        if not listed and not own.takes_in(data.get("parameters") or {}):
            models.append({"model": base, "parameters": {"weight": 0.0}})

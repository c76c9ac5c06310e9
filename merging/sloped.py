"""Which merge methods have a derivative by their weights, and the form it has; no torch.

See `merging.slopes` for the derivatives themselves.
"""

from dataclasses import dataclass

from .errors import MergeError
from .methods.formula import Numbers, TaskVectors, WeightedMean
from .methods.method import Method


@dataclass(frozen=True, slots=True)
class Slope:
    """The derivative of a loss with respect to the numbers of one merged tensor.

    `weights` in the order of the job's sources; `scale` is by lambda (0 for methods without one).
    """

    name: str
    weights: tuple[float, ...]
    scale: float


def refusal(method: Method) -> str:
    """Why a method has no derivative by its weights; empty where it has one.

    Methods that are a weighted sum of tensors or of sparse deltas have one. Asked is the formula
    that the method makes, so a method that is added to the table needs no entry here.
    """
    if method.origin:
        return f"{method.name} is a method of the user's own: it has no derivative by its weights"
    if method.parameter("weight") is None:
        return f"{method.name} reads no weight: it has no derivative by one"
    count = max(2, method.experts[0])
    experts = {one.name: 1.0 if one.default is None else one.default
               for one in method.parameters if one.scope == "model"}  # fmt: skip
    output = {one.name: 1.0 if one.default is None else one.default
              for one in method.parameters if one.scope == "global"}  # fmt: skip
    try:
        formula = method.merge(Numbers((experts,) * count, output))
    except MergeError:
        formula = None
    if isinstance(formula, TaskVectors | WeightedMean):
        return ""
    return f"{method.name} is no weighted sum of models: it has no derivative by its weights"

"""What every stepwise method is given."""

from dataclasses import dataclass

import torch

from ..kernels.engine import Keys
from ..methods.formula import Numbers


@dataclass(frozen=True, slots=True)
class Inputs:
    """One tensor of each model, all of one shape and of the dtype that steps are rounded to.

    `base` is None where the method has none, or counts it among the experts. `keys` are the mask
    keys of the experts, in their order.
    """

    base: torch.Tensor | None
    experts: tuple[torch.Tensor, ...]
    numbers: Numbers
    keys: tuple[Keys, ...]

    @property
    def origin(self) -> torch.Tensor:
        """The base of a method that needs one."""
        if self.base is None:
            raise ValueError("the method needs a base")
        return self.base

    def of(self, name: str) -> float:
        """A number of the output."""
        return float(self.numbers.output[name])

    def each(self, name: str) -> list[float]:
        """A number of every expert, in order."""
        return [self.numbers.of(index, name) for index in range(len(self.experts))]

    def weights(self) -> torch.Tensor:
        """The experts' weights, rounded to the dtype: [experts]."""
        return torch.tensor(self.each("weight"), dtype=self.experts[0].dtype)

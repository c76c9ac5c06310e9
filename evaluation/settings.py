"""How a candidate is scored: what differs here can change a score and is part of its key.

Holds no torch, so that a study can be read and checked without loading it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

PLAN = 2
"""Version of the packing plan: raise it when requests would be laid out in other batches."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The evaluation settings of a study, fixed at its start.

    `token_budget` bounds rows x width of a batch, padding included; `threads` is torch's number of
    threads inside an operation; `max_length` overrides the model's own window, in tokens.
    """

    device: str = "cpu"
    dtype: str = "float32"
    token_budget: int = 2048
    threads: int = 1
    max_length: int | None = None

    def __post_init__(self) -> None:
        """Takes `torch.bfloat16` for `bfloat16`; refuses numbers that cannot be a plan."""
        object.__setattr__(self, "dtype", self.dtype.removeprefix("torch."))
        for name in ("token_budget", "threads", "max_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected a whole number of at least 1, got {value}")

    def fingerprint(self) -> Mapping[str, object]:
        """Everything that can change a score, as plain JSON values in a fixed order."""
        return {
            "plan": PLAN,
            "device": self.device,
            "dtype": self.dtype,
            "token_budget": self.token_budget,
            "threads": self.threads,
            "max_length": self.max_length,
        }

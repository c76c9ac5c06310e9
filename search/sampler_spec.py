"""A sampler as a study names it: a short name, a class of Optuna, of OptunaHub, or of a file.

    sampler: gp                                          # the table of `samplers`
    sampler: {name: TPESampler, n_ei_candidates: 48}     # Optuna's, by class name
    sampler: optunahub:samplers/PACKAGE                  # @COMMIT and :CLASS may follow
    sampler: my_sampler.py:MySampler                     # a class, or a function that makes one

Only what was written, and the code that was permitted for it: plain data, fit to be sent to a
process. `samplers` makes a sampler of it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import SamplerError

HUB = "optunahub:"
_HUB_FORM = re.compile(
    r"optunahub:(?P<package>[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)+)"
    r"(@(?P<ref>[A-Za-z0-9][A-Za-z0-9._-]*))?(:(?P<target>[A-Za-z_]\w*))?"
)


@dataclass(frozen=True, slots=True)
class FileCode:
    """A Python file that the command line permitted: the bytes that were hashed, and run."""

    file: Path
    target: str
    """The class, or the function that makes a sampler."""
    source: bytes = field(repr=False)
    digest: str


@dataclass(frozen=True, slots=True)
class HubCode:
    """A package of OptunaHub that the command line permitted, in a registry on this machine."""

    registry: Path
    package: str
    """`samplers/NAME`, a folder under the registry."""
    target: str
    """The class; empty: the only sampler of the package."""
    digest: str
    """Of every file in the package."""


@dataclass(frozen=True, slots=True)
class SamplerSpec:
    """A sampler by name with its keyword arguments; `code` where it is not Optuna's or ours."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    code: FileCode | HubCode | None = None

    @property
    def written(self) -> Any:
        """As a study file says it."""
        return {"name": self.name, **self.options} if self.options else self.name

    @property
    def is_file(self) -> bool:
        """Whether it names a class in a Python file."""
        return not self.is_hub and self.name.rpartition(":")[0].endswith(".py")

    @property
    def is_hub(self) -> bool:
        """Whether it names a package of OptunaHub."""
        return self.name.startswith(HUB)

    def __str__(self) -> str:
        """What tables and messages call it: no folder of a file, no arguments."""
        if not self.is_file:
            return self.name
        file, _, target = self.name.rpartition(":")
        return f"{Path(file).name}:{target}"


def spec_of(sampler: str | SamplerSpec) -> SamplerSpec:
    """A bare name as a spec."""
    return SamplerSpec(sampler) if isinstance(sampler, str) else sampler


@dataclass(frozen=True, slots=True)
class HubReference:
    """`optunahub:samplers/PACKAGE@REF:CLASS`; `ref` is a commit, tag or branch."""

    package: str
    ref: str
    target: str

    @property
    def consents(self) -> tuple[str, ...]:
        """What `--allow-code` may say to permit it."""
        pinned = f"{HUB}{self.package}@{self.ref}"
        return (f"{HUB}{self.package}", pinned)


def hub_reference(name: str) -> HubReference:
    """The parts of a name.

    Raises:
        SamplerError: it has another form.
    """
    found = _HUB_FORM.fullmatch(name)
    if found is None:
        raise SamplerError(
            f"{name!r}: expected optunahub:samplers/PACKAGE, with @COMMIT and :CLASS where wanted"
        )
    return HubReference(found["package"], found["ref"] or "main", found["target"] or "")

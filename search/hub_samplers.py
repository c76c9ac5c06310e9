"""Samplers of OptunaHub (https://hub.optuna.org): packages of a registry, here or on GitHub.

The package `optunahub` is an extra; it downloads a package once, into its own cache, and only
where the command line permitted that package by name. What is searched with is the copy on this
machine, whose digest is kept: a process that proposes never downloads by itself, and refuses a
copy that has changed since. (Packages that load others do as they please.)
"""

import hashlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import SamplerError, told_in_short
from .sampler_spec import HUB, HubCode, HubReference

if TYPE_CHECKING:
    import types

_PICKLES = re.compile(rb"^\s*(import|from)\s+(pickle|cloudpickle|dill|joblib|shelve)\b", re.M)


def fetch_package(reference: HubReference, registry: Path | None) -> HubCode:
    """A package in a local registry, or downloaded where it is in no cache yet.

    Args:
        reference: Its name, permitted by the command line.
        registry: A folder with `samplers/...`, or a checkout of optunahub-registry with
            `package/samplers/...`; None: GitHub.

    Raises:
        SamplerError: optunahub is not installed, or the package is not there.
    """
    hub = _optunahub()
    name = f"sampler: {HUB}{reference.package}"
    if registry is None:
        root = _downloaded(hub, reference, name)
    else:
        root = registry / "package" if (registry / "package").is_dir() else registry
        if not (root / reference.package / "__init__.py").is_file():
            raise SamplerError(f"{name}: there is no such package in {root}")
    return HubCode(root, reference.package, reference.target, _digest(root / reference.package))


def hub_target(code: HubCode) -> Callable[..., Any]:
    """Runs a package and takes its sampler.

    Raises:
        SamplerError: it changed since it was read, fails, or has no such sampler.
    """
    folder = code.registry / code.package
    if _digest(folder) != code.digest:
        raise SamplerError(f"{folder} was changed while the search ran")
    _refuse_pickles(code)
    hub = _optunahub()
    _forget(code.package)
    module = _run(
        lambda: hub.load_local_module(code.package, registry_root=str(code.registry)),
        f"{folder}: cannot be loaded",
    )
    if code.target:
        found: Any = getattr(module, code.target, None)
        if not callable(found):
            raise SamplerError(f"{folder}: it has no class or function {code.target!r}")
        return found  # type: ignore[no-any-return]
    return _only_sampler(module, code)


def _downloaded(hub: Any, reference: HubReference, name: str) -> Path:
    module = _run(
        lambda: hub.load_module(reference.package, ref=reference.ref),
        f"{name}: cannot be fetched (offline, name a registry on this machine: "
        "`sampler: {name: ..., registry: FOLDER}`)",
    )
    return Path(str(module.__file__)).parents[reference.package.count("/") + 1]


def _run(load: Callable[[], "types.ModuleType"], failed: str) -> "types.ModuleType":
    try:
        return load()
    except (Exception, SystemExit) as error:  # git, the network, and whatever the code raises
        raise SamplerError(f"{failed}: {told_in_short(error)}") from error


def _only_sampler(module: "types.ModuleType", code: HubCode) -> Callable[..., Any]:
    from optuna.samplers import BaseSampler

    names = getattr(module, "__all__", None) or [one for one in vars(module) if one[0] != "_"]
    found = {
        name: one
        for name in names
        if isinstance(one := getattr(module, name, None), type)
        and issubclass(one, BaseSampler)
        and not one.__module__.startswith(("optuna.", "optunahub."))
    }
    if len(found) != 1:
        listed = ", ".join(found) or "none"
        raise SamplerError(
            f"{HUB}{code.package} has {len(found)} samplers ({listed}); name one: "
            f"{HUB}{code.package}:CLASS"
        )
    return next(iter(found.values()))


def _refuse_pickles(code: HubCode) -> None:
    """Raises SamplerError for a package that pickles: it would unpickle what a database says."""
    for file in sorted((code.registry / code.package).rglob("*.py")):
        parts = file.relative_to(code.registry / code.package).parts
        if "tests" not in parts and _PICKLES.search(file.read_bytes()):
            raise SamplerError(
                f"{HUB}{code.package} pickles ({'/'.join(parts)}), and would unpickle what a "
                "run's database says, which may be a stranger's; `cmaes` is a CMA-ES that does not"
            )


def _forget(package: str) -> None:
    """Lets every load run all of a package anew: nothing is kept in its modules."""
    name = f"optunahub_registry.package.{package.replace('/', '.')}"
    for one in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
        del sys.modules[one]


def _digest(folder: Path) -> str:
    """Of the names and bytes of a package's files, in order of name."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            content = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
            digest.update(f"{file.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def _optunahub() -> Any:
    try:
        import optunahub
    except ModuleNotFoundError as error:
        if error.name != "optunahub":
            raise SamplerError(f"sampler: optunahub needs {error.name}: install it") from None
        raise SamplerError(
            "sampler: samplers of OptunaHub are an extra: install it with pip install "
            "'.[optunahub]' in eutectic's folder"
        ) from None
    return optunahub

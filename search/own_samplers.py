"""Samplers of the user's own: from a Python file, or from OptunaHub.

    # my_sampler.py, permitted by --allow-code my_sampler.py
    class MySampler(optuna.samplers.BaseSampler):
        def __init__(self, seed, spread=0.1): ...

Proposal n must depend on nothing but the seed, n and the trials. So the file is run anew for every
proposal and a sampler made for every draw, with a `seed` where its constructor takes one; the
global generators of `random`, numpy and torch are seeded too. What it sets on trials or the study
(system and user attributes) comes back as JSON (`kept`), and `after_trial` is called for every
ended trial that it is shown. What it keeps elsewhere does not come back: the object is as at the
start, and state in modules that it imports, in files or services breaks resuming without a word.

Nothing restrains what permitted code does.
"""

import random
import shlex
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.errors import TaskError
from evaluation.own_code import read_own_code, run_own_code

from .draws import Ask, Draw, draw_with_optuna
from .errors import SamplerError
from .hub_samplers import fetch_package, hub_target
from .kept import EVERYTHING
from .sampler import Sampler
from .sampler_options import given, refuse_options
from .sampler_spec import FileCode, HubCode, SamplerSpec, hub_reference

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

REGISTRY = "registry"
"""The option that names a registry of OptunaHub on this machine; no argument of a sampler."""


def with_code(spec: SamplerSpec, folder: Path, allowed: frozenset[Path]) -> SamplerSpec:
    """The spec with the code that it names, read; Optuna's and ours as they are.

    Args:
        spec: As the study says it.
        folder: Where its relative names start.
        allowed: What `--allow-code` permits: files, and names of packages of OptunaHub.

    Raises:
        SamplerError: code that is missing or was not permitted.
    """
    if spec.is_hub:
        reference = hub_reference(spec.name)
        if not any(Path(one).resolve() in allowed for one in reference.consents):
            raise SamplerError(
                f"sampler: {spec.name} is code of strangers and runs only if you allow it: add "
                f"--allow-code {reference.consents[0]}"
            )
        registry = spec.options.get(REGISTRY)
        options = {name: one for name, one in spec.options.items() if name != REGISTRY}
        place = None if registry is None else folder / str(registry)
        if place is not None and not any(place.resolve().is_relative_to(a) for a in allowed):
            raise SamplerError(
                f"sampler: {REGISTRY}: {place} takes the place of OptunaHub, so what runs is that "
                f"folder's code: add --allow-code {shlex.quote(str(place))}"
            )
        return SamplerSpec(spec.name, options, fetch_package(reference, place))
    if not spec.is_file:
        return spec
    name, _, target = spec.name.rpartition(":")
    file = folder / name
    if not target.isidentifier():
        raise SamplerError(f"sampler: expected `my_sampler.py:MySampler`, got {spec.name!r}")
    try:
        source, digest = read_own_code("sampler", file, allowed)
    except TaskError as error:
        raise SamplerError(str(error)) from None
    return SamplerSpec(spec.name, spec.options, FileCode(file, target, source, digest))


def own_sampler(spec: SamplerSpec) -> Sampler:
    """Runs the code of a spec, and makes a sampler of what it names.

    Raises:
        SamplerError: the code fails, or does not have what is named.
        SamplerOptionError: an argument that its constructor does not have.
    """
    with own_ground(0):
        target = _target(spec)
        refuse_options(spec.options, target, {})

    def make(seed: int, ask: Ask) -> "BaseSampler":
        values = {"seed": seed, "search_space": ask.coordinates.distributions()}
        return _checked(target(**given(target, values), **spec.options))

    def draw(ask: Ask, seed: int) -> Draw:
        with own_ground(seed):
            return draw_with_optuna(make, EVERYTHING, ask, seed)

    return Sampler(str(spec), draw)


def _target(spec: SamplerSpec) -> Callable[..., Any]:
    """The class, or the function that makes a sampler."""
    if isinstance(spec.code, HubCode):
        return hub_target(spec.code)
    assert spec.code is not None
    code = spec.code
    # Registered: dataclasses in the file look their module up.
    module = sys.modules[f"eutectic_sampler_{code.digest}"] = types.ModuleType(
        f"eutectic_sampler_{code.digest}"
    )
    try:
        run_own_code("sampler", code.file, code.source, module)
    except TaskError as error:
        raise SamplerError(str(error).removeprefix("sampler: ")) from error
    target: Any = getattr(module, code.target, None)
    if not callable(target):
        raise SamplerError(f"{code.file}: it defines no class or function {code.target!r}")
    found: Callable[..., Any] = target
    return found


def _checked(made: object) -> "BaseSampler":
    from optuna.samplers import BaseSampler, CmaEsSampler

    if not isinstance(made, BaseSampler):
        raise SamplerError(
            f"made a {type(made).__name__}, which is no optuna.samplers.BaseSampler"
        )
    if isinstance(made, CmaEsSampler):
        raise SamplerError(
            "is a CmaEsSampler, which keeps its state pickled with the trials; pickles are "
            "neither stored nor read. `cmaes` is a CMA-ES that keeps none"
        )
    return made


@contextmanager
def own_ground(seed: int) -> Iterator[None]:
    """Seeds the global generators, and puts them back; what is printed goes to standard error."""
    import numpy as np
    import torch

    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])

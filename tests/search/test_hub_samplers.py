"""Samplers of OptunaHub: by permission only; from a local registry, or a copy fetched once."""

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from search.coordinates import Coordinates
from search.errors import SamplerError
from search.own_samplers import own_sampler, with_code
from search.proposals import Finished, ProposalRequest, Proposer, propose
from search.rehearsal import rehearse
from search.sampler_spec import HubCode, SamplerSpec, hub_reference
from search.space import Space

MakeSpace = Callable[..., Space]

needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("optunahub") is None, reason="optunahub is not installed"
)
NUMBERS = """
  merge_method: task_arithmetic
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0, 1]}}}
    - {model: code, parameters: {weight: {range: [0, 1]}}}
"""
NAME = "optunahub:samplers/middle"
INIT = "from .parts.drawing import MiddleSampler\n\n__all__ = ['MiddleSampler']\n"
DRAWING = """
import numpy as np
import optunahub

drawn = []

class MiddleSampler(optunahub.samplers.SimpleBaseSampler):
    def __init__(self, search_space, seed=None, spread=0.1):
        super().__init__(search_space, seed)
        self.rng, self.spread = np.random.default_rng(seed), spread

    def sample_relative(self, study, trial, search_space):
        drawn.append(trial.number)
        study._storage.set_trial_system_attr(trial._trial_id, "drawn", len(drawn))
        shift = self.rng.uniform(-self.spread, self.spread, len(search_space))
        middle = [(one.low + one.high) / 2 for one in search_space.values()]
        return {name: float(x + y) for name, x, y in zip(search_space, middle, shift)}
"""


def write_registry(root: Path) -> Path:
    """A registry as a checkout of optunahub-registry has it, with one package."""
    folder = root / "package" / "samplers" / "middle"
    (folder / "parts").mkdir(parents=True)
    (folder / "__init__.py").write_text(INIT)
    (folder / "parts" / "__init__.py").write_text("")
    (folder / "parts" / "drawing.py").write_text(DRAWING)
    return folder


def consent(*names: str) -> frozenset[Path]:
    """What the command line makes of `--allow-code NAME`."""
    return frozenset(Path(name).resolve() for name in names)


def test_names() -> None:
    found = hub_reference("optunahub:samplers/moead@1a2b:Sampler")
    assert (found.package, found.ref, found.target) == ("samplers/moead", "1a2b", "Sampler")
    assert hub_reference(NAME).ref == "main"
    for name in ("optunahub:moead", "optunahub:samplers/../x", "optunahub:/etc/x", "optunahub:"):
        with pytest.raises(SamplerError, match="expected optunahub:samplers/PACKAGE"):
            hub_reference(name)


def test_nothing_is_loaded_without_permission(tmp_path: Path) -> None:
    for allowed in (frozenset(), consent("optunahub:samplers/other"), consent("optunahub")):
        with pytest.raises(SamplerError) as caught:
            with_code(SamplerSpec(NAME), tmp_path, allowed)
        assert f"add --allow-code {NAME}" in str(caught.value)


@pytest.mark.skipif(
    importlib.util.find_spec("optunahub") is not None, reason="optunahub is installed"
)
def test_without_the_package_its_install_line_is_told(tmp_path: Path) -> None:
    with pytest.raises(SamplerError, match=r"pip install '\.\[optunahub\]'"):
        with_code(SamplerSpec(NAME, {"registry": "."}), tmp_path, consent(NAME, str(tmp_path)))


@needs_hub
def test_a_package_of_a_local_registry(make_space: MakeSpace, tmp_path: Path) -> None:
    folder = write_registry(tmp_path)
    for registry in (".", "package", str(tmp_path)):
        options = {"registry": registry, "spread": 0.2}
        spec = with_code(SamplerSpec(NAME, options), tmp_path, consent(NAME, str(tmp_path)))
        assert spec.options == {"spread": 0.2} and isinstance(spec.code, HubCode)
    coordinates = Coordinates(make_space(NUMBERS))
    rehearse(spec, coordinates, (True, True), 1, 0, None)
    start = Finished(0, {"math.weight": 0.1, "code.weight": 0.9}, (0.1,))
    request = ProposalRequest(0, 1, spec, coordinates, (True,), (start,))
    here = propose(request)
    assert here.sampler == NAME
    assert all(abs(float(value) - 0.5) <= 0.2 for value in here.values.values())
    assert here.system_attrs == {f"{NAME}:system_attrs": {"drawn": 1}}  # modules anew each time
    with Proposer() as proposer:
        assert proposer.submit(request).result(timeout=120) == here
    (folder / "parts" / "drawing.py").write_text(DRAWING.replace("/ 2", "/ 3"))
    with pytest.raises(SamplerError, match="was changed while the search ran"):
        propose(request)
    changed = with_code(SamplerSpec(NAME, options), tmp_path, consent(NAME, str(tmp_path)))
    assert isinstance(changed.code, HubCode) and changed.code.digest != spec.code.digest


@needs_hub
def test_faults_of_packages(tmp_path: Path) -> None:
    folder = write_registry(tmp_path)
    gone = "optunahub:samplers/gone"
    with pytest.raises(SamplerError, match="there is no such package in"):
        with_code(SamplerSpec(gone, {"registry": "."}), tmp_path, consent(gone, str(tmp_path)))
    two = INIT + "class Other(MiddleSampler):\n    pass\n__all__.append('Other')\n"
    for text, name, message in (
        (two, NAME, "has 2 samplers (MiddleSampler, Other); name one: " + NAME + ":CLASS"),
        (INIT, NAME + ":Middle", "it has no class or function 'Middle'"),
        ("import pickle", NAME, NAME + " pickles (__init__.py), and would unpickle what a"),
        ("import nothing_such", NAME, "cannot be loaded: ModuleNotFoundError: No module named"),
    ):
        (folder / "__init__.py").write_text(text)
        allowed = consent(NAME, str(tmp_path))
        spec = with_code(SamplerSpec(name, {"registry": "."}), tmp_path, allowed)
        with pytest.raises(SamplerError) as caught:
            own_sampler(spec)
        assert message in str(caught.value)


@needs_hub
@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_package_is_fetched_once_and_then_searched_with_offline(
    make_space: MakeSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real download by git, from a repository on this machine in the place of GitHub."""
    remote = tmp_path / "remote" / "optuna" / "optunahub-registry"
    write_registry(remote)
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "packages"],
    ):
        subprocess.run(["git", *command], cwd=remote, check=True)
    monkeypatch.setenv("OPTUNAHUB_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{(tmp_path / 'remote').as_uri()}/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")
    spec = with_code(SamplerSpec(NAME), tmp_path, consent(NAME, str(tmp_path)))
    shutil.rmtree(tmp_path / "remote")
    assert with_code(SamplerSpec(NAME), tmp_path, consent(f"{NAME}@main")) == spec
    coordinates = Coordinates(make_space(NUMBERS))
    start = Finished(0, {"math.weight": 0.1, "code.weight": 0.9}, (0.1,))
    request = ProposalRequest(0, 1, spec, coordinates, (True,), (start,))
    with Proposer() as proposer:
        assert proposer.submit(request).result(timeout=120) == propose(request)
    other = "optunahub:samplers/other"
    with pytest.raises(SamplerError) as caught:
        with_code(SamplerSpec(other), tmp_path, consent(other))
    assert "cannot be fetched (offline, name a registry" in str(caught.value)

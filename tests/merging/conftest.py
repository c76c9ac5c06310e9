"""Checkpoints of the pico family, and jobs as a recipe over them gives them."""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from merging.checkpoint import Checkpoint
from merging.plan import TensorJob, TensorSource
from merging.recipe import ModelReference
from merging.sources import open_checkpoint

Tensors = Callable[[ModelReference, str], object]


@pytest.fixture
def open_family(own_cache) -> Callable[..., dict[ModelReference, Checkpoint]]:
    """`open_family(family)`: base first, then the experts, each by its reference."""

    def opened(family) -> dict[ModelReference, Checkpoint]:
        names = ("base", *family.experts)
        references = [ModelReference(name) for name in names]
        return {model: open_checkpoint(model, folder=family.root) for model in references}

    return opened


@pytest.fixture
def opened(pico_family):
    """`opened(name, **options)`: a model as a recipe in the family's folder names it."""

    def open_named(name, folder=None, **options):
        reference = name if isinstance(name, ModelReference) else ModelReference(str(name))
        return open_checkpoint(reference, folder=folder or pico_family.root, **options)

    return open_named


@pytest.fixture(scope="session")
def make_jobs() -> Callable[..., tuple[TensorJob, ...]]:
    """`make_jobs(checkpoints, method, parameters, order=None)`: jobs over base and experts."""
    return jobs_over


@pytest.fixture(scope="session")
def tensors_of() -> Callable[[Mapping[ModelReference, Checkpoint]], Tensors]:
    """`tensors_of(checkpoints)`: what merge_tensor asks for tensors."""
    return lambda checkpoints: lambda model, name: checkpoints[model].tensor(name)


@pytest.fixture(scope="session")
def write_safetensors() -> Callable[..., None]:
    """`write_safetensors(file, header, data)`: a raw file, as wrong as the test wants it."""

    def write(file: Path, header: object, data: bytes = b"") -> None:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + data)

    return write


def jobs_over(
    checkpoints: Mapping[ModelReference, Checkpoint],
    method: str = "task_arithmetic",
    parameters: Mapping[str, float] | None = None,
    dtype: str | None = None,
    order: Sequence[int] | None = None,
) -> tuple[TensorJob, ...]:
    """One job a tensor of the first checkpoint; `order` stacks its layers anew."""
    base, *experts = checkpoints
    own = parameters or {"weight": 0.4}

    def job(name: str, source: str, layer: int | None) -> TensorJob:
        inputs = tuple(TensorSource(model, source, own) for model in experts)
        kind = dtype or checkpoints[base].tensors[source].dtype
        first = TensorSource(base, source, {})
        return TensorJob(name, method, first, inputs, {}, layer, kind)

    jobs: list[TensorJob] = []
    for name in checkpoints[base].tensors:
        parts = name.split(".")
        if parts[1] != "layers":
            jobs.append(job(name, name, None))
            continue
        for new, old in enumerate(order if order is not None else range(3)):
            if old == int(parts[2]):
                jobs.append(job(".".join([*parts[:2], str(new), *parts[3:]]), name, new))
    return tuple(jobs)


@pytest.fixture
def copy_checkpoint(tmp_path) -> Callable[..., Path]:
    """`copy_checkpoint(folder, config, drop, edit)`: a copy with other settings and tensors."""

    def copied(
        folder: Path,
        config: Mapping[str, object] | None = None,
        drop: Sequence[str] = (),
        edit: Mapping[str, object] | None = None,
        name: str = "copy",
    ) -> Path:
        import shutil

        from safetensors.torch import load_file, save_file

        target = tmp_path / name
        shutil.copytree(folder, target)
        if drop or edit:
            weights = load_file(target / "model.safetensors")
            weights = {key: value for key, value in weights.items() if key not in drop}
            save_file({**weights, **(edit or {})}, target / "model.safetensors", {"format": "pt"})
        if config:
            data = json.loads((target / "config.json").read_text())
            (target / "config.json").write_text(json.dumps({**data, **config}))
        return target

    return copied


@pytest.fixture
def pico_adapter(pico_family, tmp_path) -> Callable[..., Path]:
    """`pico_adapter(base=None, **settings)`: a trained-looking PEFT LoRA of the pico base."""

    def saved(name: str = "adapter", base: Path | None = None, **settings: object) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(base or pico_family.base)
        options = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj"], **settings}
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(3)
            adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options))
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.1 * torch.randn_like(parameter))
        adapted.save_pretrained(tmp_path / name)
        return tmp_path / name

    return saved


@pytest.fixture(scope="session")
def write_versions() -> Callable[..., None]:
    """`write_versions(model, root, dtype)`: base, alpha, beta, which differ in every float."""

    def write(model, root: Path, dtype) -> None:
        import torch

        with torch.random.fork_rng(), torch.no_grad():
            for seed, name in enumerate(("base", "alpha", "beta")):
                torch.manual_seed(seed)
                for tensor in (*model.parameters(), *model.buffers()):
                    if tensor.is_floating_point():
                        tensor.add_(0.1 * torch.rand_like(tensor))
                model.to(dtype).save_pretrained(root / name)
                model.float()

    return write


@pytest.fixture
def merge_here(own_cache) -> Callable[..., object]:
    """`plan, write = merge_here`: the jobs of a recipe in a folder; and the merge of it there."""
    import yaml

    from merging.document import parse_document
    from merging.plan import plan_recipe
    from merging.recipe_reader import read_recipe
    from merging.sources import open_models
    from merging.writer import write_merged

    def opened_plan(recipe, root: Path):
        document = parse_document(yaml.safe_dump(recipe), "recipe.yml")
        read, _ = read_recipe(document, strict=True)
        checkpoints = open_models(read, folder=root, mapping={}, allow_pickle=False)
        return plan_recipe(read, checkpoints, document=document), checkpoints

    def plan(recipe, root: Path):
        jobs, checkpoints = opened_plan(recipe, root)
        donor = next(iter(checkpoints.values()))
        return jobs, donor, lambda one, name: checkpoints[one].tensor(name)

    def write(recipe, root: Path, name: str = "out") -> Path:
        jobs, checkpoints = opened_plan(recipe, root)
        donor = next(iter(checkpoints.values()))
        write_merged(root / name, jobs, checkpoints, 3, donor=donor, recipe_text="")
        return root / name

    return plan, write

"""Spaces from the text of a recipe, and checkpoints small enough to plan merges of many layers."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from merging.checkpoint import Checkpoint
from merging.document import Document, parse_document
from merging.plan import TensorJob, plan_recipe
from merging.recipe import ModelReference
from merging.recipe_reader import read_recipe
from merging.sources import open_checkpoint
from search.space import Space, space_from

MODELS = ("base", "math", "code", "prose")


@pytest.fixture(scope="session")
def recipe() -> Callable[..., Document]:
    """`recipe(text)`: a recipe with ranges, from line 2 of `study.yaml`."""
    return lambda text: parse_document("recipe:\n" + text, "study.yaml").child("recipe")


@pytest.fixture(scope="session")
def make_space(recipe: Callable[..., Document]) -> Callable[..., Space]:
    """`make_space(text, layers=6)`: the search space of a recipe."""
    return lambda text, layers=6: space_from(recipe(text), layers=layers)


@pytest.fixture(scope="session")
def jobs_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[TensorJob, ...]]:
    """`jobs_of(data, layers)`: the plan of plain recipe data over models of that many layers."""
    opened: dict[int, dict[ModelReference, Checkpoint]] = {}

    def plan(data: Mapping[str, Any], layers: int) -> tuple[TensorJob, ...]:
        if layers not in opened:
            opened[layers] = write_models(tmp_path_factory.mktemp("models"), layers)
        document = Document("filled.yaml", data, {}, {})
        return plan_recipe(read_recipe(document, strict=True)[0], opened[layers])

    return plan


def write_models(root: Path, layers: int) -> dict[ModelReference, Checkpoint]:
    """Checkpoints of two matrices a layer, all of them zero."""
    names = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
    for layer in range(layers):
        names += [
            f"model.layers.{layer}.{part}.weight" for part in ("self_attn.q_proj", "mlp.up_proj")
        ]
    config = {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "vocab_size": 2,
        "hidden_size": 2,
    }
    for model in MODELS:
        folder = root / model
        folder.mkdir()
        save_file({name: torch.zeros(2, 2) for name in names}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    references = [ModelReference(model) for model in MODELS]
    return {model: open_checkpoint(model, folder=root) for model in references}

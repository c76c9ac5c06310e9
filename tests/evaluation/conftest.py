"""Shared by the tests of scoring: the pico model in float32, and task files."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WriteRows = Callable[..., Path]


@dataclass(frozen=True, slots=True)
class Pico:
    """A live model with its tokenizer."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"


@pytest.fixture(scope="session")
def pico(pico_family_float32: Any) -> Pico:
    """The family's base: one token a character, so texts of n characters have n tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = pico_family_float32.base
    model = AutoModelForCausalLM.from_pretrained(base)
    return Pico(model.eval(), AutoTokenizer.from_pretrained(base))


@pytest.fixture
def write_rows(tmp_path: Path) -> WriteRows:
    """`write(rows, name="rows.jsonl")`: a JSONL file of these rows."""

    def write(rows: Sequence[object], name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write

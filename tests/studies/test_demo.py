"""The embedded family: right answers, nothing asked was taught, ordinary checkpoints, trained once."""

from collections.abc import Iterator

import pytest
from transformers import PreTrainedTokenizerFast

from studies.demo.family import Family, ensure_family
from studies.demo.plan import Plan
from studies.demo.skills import symbols
from studies.demo.tokenizer import make_tokenizer
from studies.demo.training import Shape

MICRO = Plan(
    shape=Shape(hidden=16, inner=32, layers=2, heads=2, window=64),
    batch=8,
    base_steps=3,
    expert_steps=2,
    rows=80,
    trials=12,
    threads=1,
)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return ensure_family(tmp_path_factory.mktemp("cache"), plan=MICRO)


@pytest.fixture
def tokenizer() -> Iterator[PreTrainedTokenizerFast]:
    yield make_tokenizer(symbols(), 64)

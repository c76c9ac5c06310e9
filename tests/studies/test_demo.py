"""The embedded family: right answers, nothing asked was taught, ordinary checkpoints, trained once."""

import json
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from random import Random

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from evaluation.native import load_native_task
from evaluation.splits import assign
from studies.config import read_study
from studies.demo.family import RECORD, Family, ensure_family
from studies.demo.plan import Plan
from studies.demo.skills import CHOICES, Lesson, draw_fresh, make_rows, prompt_of, skills, symbols
from studies.demo.tokenizer import make_tokenizer
from studies.demo.training import Shape, encode, make_model, rate_at, reproducible, train
from studies.errors import StudyError

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

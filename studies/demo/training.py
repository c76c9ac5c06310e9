"""Training of the embedded model family: a small Llama, AdamW, loss on the answers only.

Learning rate: linear warm-up, then half a cosine down to a tenth. Every batch is drawn anew from
the lessons' generators, questions that are asked later left out. The same seed, thread count and
machine give the same bits. Made for models of about a million parameters on a CPU: no mixed
precision, no accumulation, no checkpoints on the way.
"""

import math
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from .skills import Lesson, Puzzle, draw_fresh, prompt_of

IGNORED = -100
"""A label that carries no loss (torch's own default)."""
FINAL_RATE = 0.1


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of the model; `window` in tokens."""

    hidden: int
    inner: int
    layers: int
    heads: int
    window: int


@dataclass(frozen=True, slots=True)
class Course:
    """One training: `lessons` are drawn equally often; `rate` is the learning rate's peak."""

    lessons: tuple[Lesson, ...]
    steps: int
    batch: int
    rate: float
    warmup: int
    seed: int


def make_model(shape: Shape, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A new model with random weights in float32; tied embeddings."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.window,
        initializer_range=0.04,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    course: Course,
    *,
    taken: Container[str],
    progress: Callable[[int], None] | None = None,
) -> float:
    """Trains the model where it stands.

    Args:
        model: Gets the new weights.
        tokenizer: One token a symbol; its PAD fills short lines up.
        course: What, how long, how fast.
        taken: Questions that are never drawn.
        progress: Told how many steps are done, after each.

    Returns:
        Seconds of wall time.
    """
    start = time.perf_counter()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=course.rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    random = Random(f"course {course.seed}")
    model.train()
    for step in range(course.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(course, step)
        puzzles = [
            draw_fresh(random.choice(course.lessons), random, taken) for _ in range(course.batch)
        ]
        optimizer.zero_grad()
        answer_loss(model, *encode(puzzles, tokenizer)).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if progress is not None:
            progress(step + 1)
    model.train(False)
    return time.perf_counter() - start


def rate_at(course: Course, step: int) -> float:
    """The learning rate of a step, counted from 0."""
    if step < course.warmup:
        return course.rate * (step + 1) / course.warmup
    done = (step - course.warmup) / max(1, course.steps - course.warmup)
    return course.rate * (FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * done)) / 2)


def encode(puzzles: Sequence[Puzzle], tokenizer: PreTrainedTokenizerFast) -> tuple[Tensor, Tensor]:
    """Puzzles as tokens and labels, both (lines, width), padded on the right.

    Labels are IGNORED but where the answer and the EOS after it stand.
    """
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    number = tokenizer.get_vocab()
    prompts = [[number[word] for word in prompt_of(one.question).split()] for one in puzzles]
    answers = [[*(number[word] for word in one.answer.split()), eos] for one in puzzles]
    width = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    tokens, labels = [], []
    for prompt, answer in zip(prompts, answers, strict=True):
        rest = width - len(prompt) - len(answer)
        tokens.append([*prompt, *answer, *[pad] * rest])
        labels.append([*[IGNORED] * len(prompt), *answer, *[IGNORED] * rest])
    return torch.tensor(tokens), torch.tensor(labels)


def answer_loss(model: LlamaForCausalLM, tokens: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats of the labelled positions; both (lines, width).

    Padding stands on the right, where a causal model does not see it, so no mask is needed.
    """
    hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    asked = targets != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[asked]), targets[asked])


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Torch with a fixed number of threads and deterministic algorithms, put back afterwards."""
    before = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(strict)

r"""Greedy text by this project's runner and by lm-eval's HFLM, of the same prompts and model.

Run it in the project's environment:

    .venv/bin/python scripts/bench_generation.py --model FOLDER --prompts ROWS.jsonl
        [--template 'Question: {question}\nAnswer:'] [--count 32] [--new 64] [--shots 3]

Each dtype has a line for each stop: one that never comes, with the end tokens suppressed, so that
all tokens are written, and a line break, at which items end early. The runner and HFLM at each
batch size take turns; a number is the best of the repeats, in seconds, and in brackets its ratio
to the runner's. The plan is made once per study and is not in the runner's time: `plan` says what
it took, probe included. `differ` counts texts that are not the runner's: in bfloat16 batching
alone changes some. With shots, the first rows and their answers stand before every prompt.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

NEVER = "\x00never\x00"


def main() -> None:
    """One table line for each dtype and stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--template", default="Question: {question}\\nAnswer:")
    parser.add_argument("--answer", default=" {answer}\\n\\n")
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--until", nargs="+", default=[NEVER, "\\n"])
    parser.add_argument("--budget", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    prompts = read_prompts(options)
    for dtype in options.dtype:
        for stop in options.until:
            print(line(options, prompts, dtype, plain(stop)), flush=True)


def plain(text: str) -> str:
    """Text with its written line breaks as such."""
    return text.replace("\\n", "\n")


def read_prompts(options: argparse.Namespace) -> list[str]:
    """The prompts of the rows behind those that serve as shots."""
    rows = [json.loads(text) for text in options.prompts.read_text().splitlines()]
    template, answer = plain(options.template), plain(options.answer)
    shots = "".join((template + answer).format(**row) for row in rows[: options.shots])
    asked = rows[options.shots : options.shots + options.count]
    return [shots + template.format(**row) for row in asked]


def line(options: argparse.Namespace, prompts: Sequence[str], dtype: str, stop: str) -> str:
    """Times of one dtype and stop, and how many texts differ."""
    model, tokenizer = load(options.model, dtype)
    if stop == NEVER:
        ends = model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        model.generation_config.suppress_tokens = sorted({*ends, tokenizer.eos_token_id})
    plan, ours = runner_of(options, model, tokenizer, prompts, dtype, stop)
    takers = [hflm_of(options, model, tokenizer, prompts, size, stop) for size in options.batch]
    seconds, texts = taking_turns([ours, *takers], options.repeats)
    own, length = seconds[0], sum(len(tokenizer.encode(text)) for text in texts[0])
    name = "never" if stop == NEVER else repr(stop)
    parts = [f"{dtype:8} until {name:5} {length:5} tokens  plan {plan:.2f}  ours {own:.2f}  HFLM"]
    for size, time_, theirs in zip(options.batch, seconds[1:], texts[1:], strict=True):
        differ = sum(one != other for one, other in zip(texts[0], theirs, strict=True))
        parts.append(f"{size}: {time_:.2f} ({time_ / own:.2f}) differ {differ} ")
    load_average = " ".join(f"{number:.1f}" for number in os.getloadavg())
    return "  ".join([*parts, f"load {load_average}"])


def load(folder: Path, dtype: str) -> tuple[Any, Any]:
    """The model in this dtype, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def runner_of(
    options: argparse.Namespace,
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    dtype: str,
    stop: str,
) -> tuple[float, Callable[[], list[str]]]:
    """Seconds of planning, and what writes the texts."""
    from evaluation.runner import Runner, Settings
    from evaluation.task import Request

    settings = Settings(dtype=dtype, token_budget=options.budget, threads=options.threads)
    runner = Runner(model, tokenizer, settings)
    start = time.perf_counter()
    requests = [
        Request("generate", prompt, until=(stop,), max_new_tokens=options.new)
        for prompt in prompts
    ]
    prepared = runner.prepare(requests)
    seconds = time.perf_counter() - start
    print(runner.decoding, *(batch.reading for batch in prepared.prompts), file=sys.stderr)
    return seconds, lambda: [response.text for response in runner.run(prepared)]


def hflm_of(
    options: argparse.Namespace,
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    size: int,
    stop: str,
) -> Callable[[], list[str]]:
    """What writes the texts by lm-eval at one batch size."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    judge = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=size, device="cpu")

    def texts() -> list[str]:
        settings = {"until": [stop], "max_gen_toks": options.new, "do_sample": False}
        requests = [
            Instance("generate_until", {}, (prompt, dict(settings)), number)
            for number, prompt in enumerate(prompts)
        ]
        return judge.generate_until(requests, disable_tqdm=True)

    return texts


def taking_turns(
    takers: Sequence[Callable[[], list[str]]], repeats: int
) -> tuple[list[float], list[list[str]]]:
    """The best seconds of each, and its texts."""
    seconds, texts = [float("inf")] * len(takers), [[""]] * len(takers)
    for _ in range(repeats):
        for number, taker in enumerate(takers):
            start = time.perf_counter()
            texts[number] = taker()
            seconds[number] = min(seconds[number], time.perf_counter() - start)
    return seconds, texts


if __name__ == "__main__":
    main()

"""What scoring costs beside lm-eval's HFLM and beside a bare forward pass, on this machine.

    .venv/bin/python scripts/bench_eval.py --model FOLDER --questions FILE --texts FILE [PART ...]
    .venv/bin/python scripts/bench_eval.py ... trial --expert FOLDER --expert FOLDER

FILE is JSONL: questions with `question`, `choices`, `answer`; texts with `text`. Each tool has a
process of its own, loads the model once and answers the same requests; the best of `--repeats`
runs counts. Parts:

    none, same, other   the questions with no shots, the same three for all, three others for each
    texts               perplexity of the texts
    trial               with experts: what of a search's trial is neither building nor passes

A line has, for each tool, seconds, tokens through the model and peak memory; `bare` is a forward
pass without padding over as many tokens as distinct beginnings of the inputs, with the output head
for as many positions as are asked for.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PARTS = ("none", "same", "other", "texts", "trial")
TOOLS = ("ours", "bare", "hflm")


def main() -> None:
    """Runs each part with each tool, one process each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--expert", type=Path, action="append", default=[])
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--token-budget", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=8, help="HFLM's batch size")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(*options.one, options)))
        return
    for part in options.parts or PARTS:
        print(f"{part}", flush=True)
        if part == "trial":
            print_trial(options)
            continue
        found = {tool: run_tool(part, tool) for tool in TOOLS}
        for tool, one in found.items():
            print(
                f"  {tool:5} {one['seconds']:8.2f} s  {one['tokens']:8} tokens  "
                f"{one['memory'] / 2**20:6.0f} MiB  "
                f"ours is {one['seconds'] / found['ours']['seconds']:.2f} times as fast",
                flush=True,
            )
        gap = max(
            abs(a - b)
            for a, b in zip(found["ours"]["answers"], found["hflm"]["answers"], strict=True)
        )
        print(f"  log-likelihoods differ by at most {gap:.2g} nats", flush=True)


def run_tool(part: str, tool: str) -> dict[str, Any]:
    """One tool's figures, from a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", part, tool]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(part: str, tool: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds, tokens, peak memory and answers of one tool on one part."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.dtype)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype).eval()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    requests = requests_of(part, options)
    run = {"ours": ours, "bare": bare, "hflm": hflm}[tool](model, tokenizer, requests, options)
    seconds, answers, tokens = float("inf"), [], 0
    for _ in range(options.repeats):
        start = time.perf_counter()
        answers, tokens = run()
        seconds = min(seconds, time.perf_counter() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "tokens": tokens, "memory": memory, "answers": answers}


def requests_of(part: str, options: argparse.Namespace) -> list[Any]:
    """The requests of a part, the same for each tool."""
    from evaluation.task import Request

    if part == "texts":
        rows = [json.loads(line) for line in options.texts.read_text().splitlines()]
        return [Request("rolling", row["text"]) for row in rows[: options.items]]
    rows = [json.loads(line) for line in options.questions.read_text().splitlines()]
    random.Random(0).shuffle(rows)
    chosen, pool = rows[: options.items], rows[options.items :]

    def before(number: int) -> str:
        if part == "none":
            return ""
        shots = pool[:3] if part == "same" else random.Random(number).sample(pool, 3)
        return "".join(
            f"{one['question']}\nAnswer: {one['choices'][one['answer']]}\n\n" for one in shots
        )

    return [
        Request("loglikelihood", f"{before(number)}{row['question']}\nAnswer:", f" {choice}")
        for number, row in enumerate(chosen)
        for choice in row["choices"]
    ]


Run = Callable[[], tuple[list[float], int]]


def ours(model: Any, tokenizer: Any, requests: Sequence[Any], options: Any) -> Run:
    """This project's runner; what no weight can change is done before the clock starts."""
    from evaluation.runner import Runner, Settings

    settings = Settings(
        dtype=options.dtype, token_budget=options.token_budget, threads=options.threads
    )
    runner = Runner(model, tokenizer, settings)
    runner.settle(requests)
    prepared = runner.prepare(requests)

    def run() -> tuple[list[float], int]:
        return [one.loglikelihood for one in runner.run(prepared)], prepared.padded

    return run


def hflm(model: Any, tokenizer: Any, requests: Sequence[Any], options: Any) -> Run:
    """lm-eval's own model class, tokens counted at the model's door."""
    import logging

    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    logging.disable(logging.CRITICAL)
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=options.batch, device="cpu")
    read = [0]
    model.register_forward_pre_hook(
        lambda _, args, kwargs: count(read, args, kwargs), with_kwargs=True
    )
    rolling = requests[0].kind == "rolling"
    kind = "loglikelihood_rolling" if rolling else "loglikelihood"
    instances = [
        Instance(kind, {}, (r.context,) if rolling else (r.context, r.continuation), k)
        for k, r in enumerate(requests)
    ]

    def run() -> tuple[list[float], int]:
        read[0] = 0
        answers = getattr(lm, kind)(instances, disable_tqdm=True)
        return [float(one if rolling else one[0]) for one in answers], read[0]

    return run


def count(read: list[int], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Adds the tokens of a pass."""
    tokens = kwargs.get("input_ids", args[0] if args else None)
    read[0] += int(tokens.numel())


def bare(model: Any, tokenizer: Any, requests: Sequence[Any], options: Any) -> Run:
    """A pass over the tokens that are needed, in rows of the inputs' mean length."""
    import torch

    from evaluation.encoding import make_encoder, request_spans

    encoder = make_encoder(model, tokenizer, None)
    spans = {span for request in requests for span in request_spans(encoder, request)}
    seen: dict[tuple[int, int], int] = {}
    asked = set()
    for span in spans:  # a trie: one number for each distinct beginning
        node = 0
        for place, token in enumerate(span.tokens):
            node = seen.setdefault((node, token), len(seen) + 1)
            if place >= len(span.tokens) - len(span.targets):
                asked.add(node)
    needed = len(seen)
    width = round(sum(len(span.tokens) for span in spans) / len(spans))
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 1000, (needed // width + 1, width), generator=generator)
    rows = max(1, options.token_budget // width)

    @torch.inference_mode()
    def run() -> tuple[list[float], int]:
        states = [
            model.base_model(input_ids=part, use_cache=False).last_hidden_state
            for part in tokens.split(rows)
        ]
        flat = torch.cat([state.flatten(0, 1) for state in states])
        for part in flat[torch.arange(len(asked)) % len(flat)].split(512):
            model.get_output_embeddings()(part)
        return [], tokens.numel()

    return run


def print_trial(options: argparse.Namespace) -> None:
    """A short search on the questions: where the time of its trials goes."""
    from search.ledger import Ledger
    from search.proposals import Proposer
    from search.study_log import StudyLog
    from studies.conduct import assemble
    from studies.preflight import Permissions, inspect
    from studies.reopen import open_study
    from studies.run import RunFolder
    from studies.session import Hardware, open_executor

    with tempfile.TemporaryDirectory(prefix="bench_eval.") as folder:
        file = Path(folder) / "study.yaml"
        file.write_text(study_text(options))
        named = Permissions(allow_files=frozenset({options.questions.resolve()}))
        preflight = inspect(open_study(file)[0], {}, named)
        hardware = Hardware(threads=options.threads, token_budget=options.token_budget)
        executor = open_executor(preflight, hardware.resolved(None), Permissions())
        url = RunFolder(Path(folder)).url
        watch = Watch(executor.harness.runner.passes)
        log = StudyLog(url, "bench", preflight.objectives, preflight.stages.dimensions, [])
        with Ledger(url) as ledger, Proposer() as proposer:
            assemble(preflight, ledger, executor, log, watch).run(proposer)
        log.close()
    for one in watch.trials:
        rest = one["seconds"] - one["build"] - one["passes"]
        print(
            f"  {one['seconds']:7.2f} s a trial: building {one['build']:.2f}, passes "
            f"{one['passes']:.2f}, all else {rest:.3f} ({100 * rest / one['seconds']:.1f}%)",
            flush=True,
        )


class Watch:
    """An observer of the search that notes where the time of each trial goes."""

    def __init__(self, passes: Any) -> None:
        self.passes, self.trials = passes, []
        self.then = (time.perf_counter(), 0.0)

    def phase(self, name: str, candidates: int = 0) -> None:
        """Nothing to note."""

    def step(self, step: Any) -> None:
        """Nothing to note."""

    def scoring(self, candidate: Any) -> None:
        """Nothing to note."""

    def resumed(self, trials: Any) -> None:
        """The references have been scored: the first trial begins."""
        self.then = (time.perf_counter(), self.passes.seconds)

    def note(self, text: str) -> None:
        """Nothing."""

    def ended(self, candidate: Any) -> None:
        """A trial runs from the end of the one before it to its own, proposing included."""
        now = (time.perf_counter(), self.passes.seconds)
        if candidate.kind == "trial":
            seconds, passes = now[0] - self.then[0], now[1] - self.then[1]
            self.trials.append(
                {"seconds": seconds, "passes": passes, "build": candidate.build_seconds}
            )
        self.then = now


def study_text(options: argparse.Namespace) -> str:
    """A search over the experts' weights, scored on the questions."""
    models = [
        {"model": str(one.absolute()), "parameters": {"weight": {"range": [0.0, 1.0]}}}
        for one in options.expert
    ]
    task = {
        "name": "questions",
        "file": str(options.questions.resolve()),
        "type": "multiple_choice",
        "prompt": "{{question}}\nAnswer:",
        "choices": "choices",
        "answer": "answer",
        "limit": 2 * options.items,
    }
    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": str(options.model.resolve()),
        "models": models,
        "dtype": options.dtype,
    }
    split = {"calibration": 0, "search": 0.5, "select": 0.3, "test": 0.2}
    study = {"name": "bench", "recipe": recipe, "tasks": [task], "split": split}
    return json.dumps({**study, "budget": {"trials": 4}})


if __name__ == "__main__":
    main()

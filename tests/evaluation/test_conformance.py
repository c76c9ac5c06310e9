"""Every kind of lm-eval task, and the native ones, against lm-eval's own evaluation of one model.

Three tokenizers: one symbol a character, byte-level BPE without BOS, and BPE over whole texts with
BOS, whose tokens reach over the border between a context and what continues it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from evaluation.chat import chat_renderer
from evaluation.harness import Harness
from evaluation.lm_eval_tasks import load_lm_eval_task
from evaluation.lm_eval_tasks_guard import quiet
from evaluation.native import load_native_task
from evaluation.runner import Runner
from evaluation.settings import Settings
from evaluation.spec import Fewshot, LmEvalSpec, NativeSpec
from evaluation.task import Response, Task, result_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DATA = Path(__file__).parents[1] / "data" / "conformance"
TASKS = tuple(sorted(p.stem for p in DATA.glob("c_*.yaml") if "\ntask: c_" in p.read_text()))
GROUPS = ("c_by_size", "c_evenly")
CHATS = (
    "c_letters",
    "c_texts",
    "c_no_delimiter",
    "c_blanks",
    "c_prefix",
    "c_shots",
    "c_last_word",
    "c_stops",
    "c_written",
)
SYSTEM = "Be brief."
WINDOW = 96
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}> {{ m['content'] | trim }}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<assistant> <think></think>{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A live model as lm-eval and as the runner see it."""

    name: str
    hflm: Any
    runner: Runner
    chat: Callable[..., str]
    lm_eval: Any


def texts() -> list[str]:
    """What the tokenizers are trained on."""
    return [line for name in ("questions", "examples") for line in rows_of(name)]


def rows_of(name: str) -> list[str]:
    return (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()


def byte_tokenizer() -> "PreTrainedTokenizerBase":
    """Byte-level BPE as GPT-2 has it: no BOS before a text, words never joined."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<end>", eos_token="<end>", pad_token="<end>"
    )


def piece_tokenizer() -> "PreTrainedTokenizerBase":
    """BPE as Llama 2 has it: BOS, a space put before a text, tokens over several words."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=520, special_tokens=special, max_token_length=3, show_progress=False
    )
    plain = [text.encode("ascii", "ignore").decode().replace(" ", "\u2581") for text in texts()]
    tokenizer.train_from_iterator(plain, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<unk>",
    )


def character_tokenizer(write: Callable[..., None], folder: Path) -> "PreTrainedTokenizerBase":
    """One symbol a character, unknown ones included."""
    from transformers import AutoTokenizer

    write(folder)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer


def teach(model: Any, tokenizer: "PreTrainedTokenizerBase") -> None:
    """A minute of school: likelihoods of real size, and continuations that are the likeliest."""
    import torch

    rows = [json.loads(line) for line in texts()]
    said = [f"The capital of {row['q']} is {row['a']}. {row['text'][:40]}" for row in rows]
    batch = [tokenizer.encode(text)[:60] for text in said]
    width = max(map(len, batch))
    tokens = torch.tensor([ids + [0] * (width - len(ids)) for ids in batch])
    labels = torch.tensor([ids + [-100] * (width - len(ids)) for ids in batch])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    model.train()
    for _ in range(60):
        optimizer.zero_grad()
        model(tokens, labels=labels).loss.backward()
        optimizer.step()
    model.eval()


@pytest.fixture(scope="module", params=["characters", "bytes", "pieces"])
def subject(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    write_pico_tokenizer: Callable[..., None],
    lm_eval: Any,
) -> Subject:
    """A small Llama in float32 with each of the tokenizers, and a window of 96 tokens."""
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import LlamaConfig, LlamaForCausalLM

    made: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
        "characters": lambda: character_tokenizer(
            write_pico_tokenizer, tmp_path_factory.mktemp("characters")
        ),
        "bytes": byte_tokenizer,
        "pieces": piece_tokenizer,
    }
    tokenizer = made[request.param]()
    tokenizer.chat_template = TEMPLATE
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=WINDOW,
        initializer_range=0.25,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )  # no pad_token_id: its embedding would be zero, and it is BOS in one tokenizer
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = LlamaForCausalLM(config)
        teach(model, tokenizer)
    with quiet():
        hflm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, device="cpu")
    runner = Runner(model, tokenizer, Settings(dtype="float32"))
    return Subject(request.param, hflm, runner, chat_renderer(tokenizer), lm_eval)


@pytest.fixture(scope="module")
def plain(subject: Subject) -> Mapping[str, Any]:
    """lm-eval's evaluation of every task."""
    return reference(subject, TASKS)


@pytest.fixture(scope="module")
def in_chat(subject: Subject) -> Mapping[str, Any]:
    """The same under the chat template, with system text and shots as turns."""
    return reference(
        subject,
        CHATS,
        apply_chat_template=True,
        system_instruction=SYSTEM,
        fewshot_as_multiturn=True,
    )


def ours(name: str, subject: Subject, **keys: Any) -> Task:
    """The task as a study loads it."""
    return load_lm_eval_task(
        LmEvalSpec(name, name, DATA, **keys), trust_task_code=True, chat=subject.chat
    )


def reference(subject: Subject, tasks: str | Sequence[str], **keys: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = subject.lm_eval.evaluate(DATA, tasks, subject.hflm, **keys)
    return found


def response(answer: Any) -> Response:
    """An answer of lm-eval's model as ours."""
    if isinstance(answer, str):
        return Response(text=answer)
    return Response(*answer) if isinstance(answer, tuple | list) else Response(answer)


def their_answers(task: Task, theirs: Mapping[str, Any]) -> list[list[Response]]:
    """What lm-eval's model said of each item, a task's documents in order."""
    found: dict[str, Iterator[list[Response]]] = {}
    for name, samples in theirs["samples"].items():
        by_document = {s["doc_id"]: [response(r[0]) for r in s["resps"]] for s in samples}
        found[name] = iter([by_document[number] for number in sorted(by_document)])
    return [next(found[item.stratum or task.name]) for item in task.items]


def figures(task: Task, theirs: Mapping[str, Any]) -> dict[str, float]:
    """lm-eval's figures under our names."""
    found = theirs.get("groups", {}).get(task.name) or theirs["results"][task.name]
    full = {key: value for key, value in found.items() if "," in key and "stderr" not in key}
    short = {key.split(",")[0]: value for key, value in full.items()}
    return {name: full.get(name, short.get(name)) for name in task.metrics}


def compare(task: Task, subject: Subject, theirs: Mapping[str, Any], many: int = 8) -> None:
    """Answers item by item, then figures: of lm-eval's answers exactly, of ours as close."""
    assert len(task.items) >= many
    requests = [request for item in task.items for request in item.requests]
    answers = iter(subject.runner.run(subject.runner.prepare(requests)))
    mine = [[next(answers) for _ in item.requests] for item in task.items]
    expected = their_answers(task, theirs)
    for item, one, other in zip(task.items, mine, expected, strict=True):
        for request, found, their in zip(item.requests, one, other, strict=True):
            assert found.text == their.text, request
            bound = 1e-4 + 1e-6 * abs(their.loglikelihood)
            assert abs(found.loglikelihood - their.loglikelihood) <= bound, request
            if request.kind == "loglikelihood":
                assert found.greedy == their.greedy, request
    wanted = figures(task, theirs)
    assert subject.lm_eval.values(task, expected) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    results = Harness((task,), subject.runner).score(task.name, range(len(task.items)))
    scored = [task.score(*pair) for pair in zip(task.items, mine, strict=True)]
    answers_aside = [{name: one[name] for name in task.metrics} for one in results.values()]
    assert answers_aside == scored
    for name, metric in task.metrics.items():
        value = metric.aggregate(result_rows(results.values(), name))
        of_likelihoods = any(part in name for part in ("perplexity", "bits", "brier", "margin"))
        assert value == pytest.approx(wanted[name], rel=1e-3 if of_likelihoods else 1e-9)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_evaluated_as_by_lm_eval(
    name: str, subject: Subject, plain: Mapping[str, Any]
) -> None:
    theirs = {**plain, "samples": {name: plain["samples"][name]}}
    compare(ours(name, subject), subject, theirs, 5 if name == "c_own_scoring" else 8)


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_template_is_applied_as_by_lm_eval(
    name: str, subject: Subject, in_chat: Mapping[str, Any]
) -> None:
    theirs = {**in_chat, "samples": {name: in_chat["samples"][name]}}
    compare(ours(name, subject, chat_template=True, system=SYSTEM), subject, theirs)


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_is_evaluated_as_by_lm_eval(name: str, subject: Subject) -> None:
    compare(ours(name, subject), subject, reference(subject, name), 20)


def test_a_sample_of_items_is_answered_as_all_of_them(
    subject: Subject, plain: Mapping[str, Any]
) -> None:
    every = ours("c_texts", subject)
    some = ours("c_texts", subject, limit=3)
    samples = {s["doc_id"]: s["resps"] for s in plain["samples"]["c_texts"]}
    numbers = {item.key: item.index for item in every.items}
    assert len(some.items) == 3 and [numbers[i.key] for i in some.items] != [0, 1, 2]
    for item in some.items:
        prepared = subject.runner.prepare(item.requests)
        for found, their in zip(
            subject.runner.run(prepared), samples[numbers[item.key]], strict=True
        ):
            assert found.loglikelihood == pytest.approx(their[0][0], abs=1e-4, rel=1e-6)


def test_tokens_reach_over_the_border_of_a_context(subject: Subject) -> None:
    encoder, over = subject.runner.encoder, 0
    for name in ("c_blanks", "c_shots"):
        for item in ours(name, subject).items:
            for request in item.requests:
                alone = encoder.encode(request.context.rstrip())
                whole = encoder.encode(request.context + request.continuation)
                over += whole[: len(alone)] != alone
    assert (over > 0) == (subject.name == "pieces")


@dataclass(frozen=True, slots=True)
class Pair:
    """A native task, and the keys of an lm-eval YAML that asks the same."""

    native: Mapping[str, Any]
    yaml: Mapping[str, Any]
    shots: int = 0
    chat: bool = False


QUESTION = "Question: what is the capital of {{q}}?\nAnswer:"
CHOICES = {"type": "multiple_choice", "choices": "choices", "answer": "label"}
SAME_CHOICES = {
    "output_type": "multiple_choice",
    "doc_to_choice": "choices",
    "doc_to_target": "label",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
WRITTEN = {
    "type": "generate",
    "prompt": "The capital of {{q}} is",
    "target": "{{a}}",
    "extract": "([A-Za-z]+)",
    "max_new_tokens": 8,
}
SAME_WRITTEN = {
    "output_type": "generate_until",
    "doc_to_text": "The capital of {{q}} is",
    "doc_to_target": "{{a}}",
    "filter_list": [
        {
            "name": "none",
            "filter": [
                {"function": "regex", "regex_pattern": "([A-Za-z]+)"},
                {"function": "take_first"},
            ],
        }
    ],
    "metric_list": [{"metric": "exact_match"}],
}
PAIRS = {
    "choices_with_shots": Pair(
        {**CHOICES, "prompt": QUESTION, "description": "Capitals.\n\n"},
        {**SAME_CHOICES, "doc_to_text": QUESTION, "description": "Capitals.\n\n"},
        shots=2,
    ),
    "choices_in_chat": Pair(
        {**CHOICES, "prompt": QUESTION, "description": "Capitals."},
        {**SAME_CHOICES, "doc_to_text": QUESTION, "description": "Capitals."},
        shots=1,
        chat=True,
    ),
    "choices_alone": Pair(
        {**CHOICES, "choices": "{{[native, a, words]}}", "answer": "0"},
        {
            **SAME_CHOICES,
            "doc_to_text": "",
            "doc_to_choice": "{{[native, a, words]}}",
            "doc_to_target": 0,
            "target_delimiter": "",
        },
    ),
    "target_after_a_prompt": Pair(
        {"type": "loglikelihood", "prompt": QUESTION, "target": "{{native}}, {{words}}"},
        {
            "output_type": "loglikelihood",
            "doc_to_text": QUESTION,
            "doc_to_target": " {{native}}, {{words}}",
            "target_delimiter": "",
            "process_results": "!function bits.score",
            "metric_list": [
                {
                    "metric": "bits_per_byte",
                    "aggregation": "bits_per_byte",
                    "higher_is_better": False,
                }
            ],
        },
        shots=1,
    ),
    "plain_text": Pair(
        {"type": "loglikelihood", "target": "text"},
        {
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{text}}",
            "metric_list": [{"metric": "bits_per_byte"}],
        },
    ),
    "written": Pair(
        {**WRITTEN, "until": ("\n", "o"), "prompt": "The capital of {{q}} is"},
        {
            **SAME_WRITTEN,
            "generation_kwargs": {"until": ["\n", "o"], "max_gen_toks": 8, "do_sample": False},
        },
    ),
    "written_after_shots": Pair(
        WRITTEN,
        {**SAME_WRITTEN, "generation_kwargs": {"max_gen_toks": 8}},
        shots=2,
    ),
}


def native(name: str, pair: Pair, subject: Subject, shots: Path) -> Task:
    """The pair's native task; its shots are all rows of a file."""
    keys = {"fewshot": Fewshot(pair.shots, shots, same=True), "chat_template": pair.chat}
    spec = NativeSpec(name, DATA / "questions.jsonl", **pair.native, **keys)
    if pair.chat:
        spec = replace(spec, system=SYSTEM)
    return load_native_task(spec, seed=0, chat=subject.chat)


def write_yaml(folder: Path, name: str, pair: Pair, shots: Sequence[Mapping[str, Any]]) -> None:
    """The pair's lm-eval task, with the same shots in the same order."""
    keys = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"validation": str(DATA / "questions.jsonl")}},
        "validation_split": "validation",
        "num_fewshot": pair.shots,
        **pair.yaml,
    }
    if shots:  # one more than is taken: lm-eval may leave one out
        keys["fewshot_config"] = {
            "sampler": "first_n",
            "samples": [*shots, {**shots[0], "q": "-"}],
        }
    text = yaml.safe_dump(keys, allow_unicode=True, sort_keys=False)
    text = text.replace("'!function bits.score'", "!function bits.score")
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    (folder / "bits.py").write_text(
        "def score(doc, results):\n"
        "    text = f\"{doc['native']}, {doc['words']}\"\n"
        "    return {'bits_per_byte': (results[0][0], len(text.encode()))}\n"
    )


@pytest.mark.parametrize("name", PAIRS)
def test_a_native_task_is_evaluated_as_by_lm_eval(
    name: str, subject: Subject, tmp_path: Path
) -> None:
    pair, file = PAIRS[name], tmp_path / "shots.jsonl"
    rows = [json.loads(line) for line in rows_of("examples")[: pair.shots]]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = native(name, pair, subject, file)
    context = task.items[0].requests[0].context
    rows.sort(key=lambda row: context.index(f"capital of {row['q']}"))
    write_yaml(tmp_path, name, pair, rows)
    keys: dict[str, Any] = {}
    if pair.chat:
        keys = {"apply_chat_template": True, "system_instruction": SYSTEM}
    theirs = subject.lm_eval.evaluate(tmp_path, name, subject.hflm, **keys)
    asked = [s["arguments"] for s in sorted(theirs["samples"][name], key=lambda s: s["doc_id"])]
    for item, arguments in zip(task.items, asked, strict=True):
        for request, argument in zip(item.requests, arguments, strict=True):
            assert request.context == argument[0]
            if request.kind == "loglikelihood":
                assert request.continuation == argument[1]
    compare(task, subject, theirs)

"""Losses of gold answers: transformers' own loss, the same gradient, the model left as it was."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from evaluation.errors import NoGoldError, NonFiniteError
from evaluation.gold_pass import bundles
from evaluation.harness import Harness
from evaluation.lm_eval_tasks import load_lm_eval_task
from evaluation.native import NativeTask, load_native_task
from evaluation.runner import Runner, Settings
from evaluation.spec import LmEvalSpec, NativeSpec

DATA = Path(__file__).parents[1] / "data" / "lm_eval"
ROWS = [
    {
        "q": f"{k} and {k}",
        "choices": ["same", "an other one", "x"],
        "answer": k % 3,
        "text": "abc " * (k + 1),
        "target": f"{k} twice",
    }
    for k in range(9)
]
METRIC = {"pick": "acc", "read": "bits_per_byte", "after": "bits_per_byte", "write": "exact_match"}


@pytest.fixture
def tasks(write_rows: Any) -> list[NativeTask]:
    file, ask = write_rows(ROWS), {"prompt": "{{q}}:"}
    specs = [
        NativeSpec("pick", file, "multiple_choice", choices="choices", answer="answer", **ask),
        NativeSpec("read", file, "loglikelihood", target="text"),
        NativeSpec("after", file, "loglikelihood", target="target", **ask),
        NativeSpec("write", file, "generate", target="target", max_new_tokens=4, **ask),
    ]
    return [load_native_task(spec, seed=0) for spec in specs]


@pytest.fixture
def live(pico: Any) -> Any:
    """A model of the test's own, with no parameter that requires a gradient."""
    return copy.deepcopy(pico.model).requires_grad_(False)


def harness_of(live: Any, pico: Any, tasks: Any, **settings: Any) -> Harness:
    return Harness(tasks, Runner(live, pico.tokenizer, Settings(**settings)))


def nats(model: Any, pico: Any, context: str, text: str) -> Any:
    """-log p(text | context), as transformers' own loss has it; a letter is a token."""
    before = pico.tokenizer(context).input_ids if context else [1]
    whole = torch.tensor([[*before, *pico.tokenizer(text).input_ids]])
    labels = whole.clone()
    labels[0, : len(before)] = -100
    return model(input_ids=whole, labels=labels).loss * (whole.shape[1] - len(before))


def expected(model: Any, pico: Any, task: str, metric: str, indices: Any) -> Any:
    """The loss from transformers' own losses, item by item."""
    rows = [ROWS[k] for k in indices]
    if task == "read":
        total = sum(nats(model, pico, "", row["text"]) for row in rows)
        return total / math.log(2) / sum(len(row["text"]) for row in rows)
    if task in ("after", "write"):
        total = sum(nats(model, pico, row["q"] + ":", " " + row["target"]) for row in rows)
        size = sum(len(row["target"]) for row in rows) * math.log(2)
        return total / (size if task == "after" else len(rows))
    losses = []
    for row in rows:
        sizes = [len(one) if metric == "acc_norm" else 1 for one in row["choices"]]
        each = [nats(model, pico, row["q"] + ":", " " + one) for one in row["choices"]]
        scores = torch.stack([-one / size for one, size in zip(each, sizes, strict=True)])
        losses.append(-torch.log_softmax(scores, 0)[row["answer"]])
    return sum(losses) / len(losses)


@pytest.mark.parametrize("budget", [2048, 64])
@pytest.mark.parametrize(("task", "metric"), [*METRIC.items(), ("pick", "acc_norm")])
def test_loss_and_gradient_are_those_of_transformers(
    live: Any, pico: Any, tasks: Any, task: str, metric: str, budget: int
) -> None:
    harness = harness_of(live, pico, tasks, token_budget=budget)
    chosen = [4, 0, 7, 8]
    before = {name: one.clone() for name, one in live.state_dict().items()}
    alone = harness.gold_loss(task, metric, chosen)
    with harness.gold_gradient(task, metric, chosen) as found:
        value, items = found.value, found.items
        ours = {name: found.of(one).clone() for name, one in live.named_parameters()}
    assert (alone.value, alone.items, items) == (pytest.approx(value, rel=1e-6), 4, 4)
    assert all(torch.equal(one, before[name]) for name, one in live.state_dict().items())
    assert all(one.grad is None and not one.requires_grad for one in live.parameters())
    assert not found.gradients

    live.requires_grad_(True)
    loss = expected(live, pico, task, metric, chosen)
    loss.backward()
    assert value == pytest.approx(loss.item(), rel=1e-5)
    for name, one in live.named_parameters():
        assert torch.allclose(ours[name], one.grad, rtol=1e-3, atol=1e-5), name


def test_an_item_too_large_for_a_batch_takes_two_passes(live: Any, pico: Any, tasks: Any) -> None:
    golds = [tasks[0].gold(item, "acc") for item in tasks[0].items]
    one_row = harness_of(live, pico, tasks, token_budget=20).runner
    several = [len(bundle.batches) for bundle in bundles(one_row, golds, ["x"] * 9)]
    assert len(several) == 9 and max(several) > 1
    whole = harness_of(live, pico, tasks).runner
    assert [len(bundle.batches) for bundle in bundles(whole, golds, ["x"] * 9)] == [1]
    found = []
    for harness in (harness_of(live, pico, tasks, token_budget=n) for n in (20, 2048)):
        with harness.gold_gradient("pick", "acc", range(9)) as loss:
            found.append([loss.of(one).clone() for one in live.parameters()])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-6)


def test_bfloat16_sums_its_gradients_in_float32(live: Any, pico: Any, tasks: Any) -> None:
    coarse = copy.deepcopy(live).bfloat16()
    with harness_of(live, pico, tasks).gold_gradient("read", "bits_per_byte", range(9)) as one:
        fine = torch.cat([one.of(p).flatten() for p in live.parameters()])
    harness = harness_of(coarse, pico, tasks, dtype="bfloat16", token_budget=64)
    with harness.gold_gradient("read", "bits_per_byte", range(9)) as other:
        assert {other.of(p).dtype for p in coarse.parameters()} == {torch.float32}
        rough = torch.cat([other.of(p).flatten() for p in coarse.parameters()])
    assert torch.nn.functional.cosine_similarity(fine, rough, dim=0) > 0.99
    assert all(one.grad is None for one in coarse.parameters())


def test_what_raises_leaves_the_model_as_it_was(live: Any, pico: Any, tasks: Any) -> None:
    harness = harness_of(live, pico, tasks)
    with pytest.raises(ZeroDivisionError), harness.gold_gradient("read", "bits_per_byte", [0]):
        raise ZeroDivisionError
    with torch.no_grad():
        live.model.norm.weight.fill_(float("nan"))
    with pytest.raises(NonFiniteError), harness.gold_gradient("read", "bits_per_byte", [0]):
        pass
    assert all(one.grad is None and not one.requires_grad for one in live.parameters())


def test_own_scorers_and_empty_targets_have_no_gold(write_rows: Any, tmp_path: Path) -> None:
    scorer = tmp_path / "scorers.py"
    scorer.write_text("def mine(row, text):\n    return 1.0\n")
    file = write_rows([{"q": "a", "target": " "}, {"q": "b", "target": "c"}])
    base = {"prompt": "{{q}}:", "target": "target"}
    own = NativeSpec("own", file, "generate", score=f"{scorer}:mine", **base)
    task = load_native_task(own, seed=0, allowed_code=frozenset({scorer}))
    with pytest.raises(NoGoldError, match="own function"):
        task.gold(task.items[0], "score")
    plain = load_native_task(NativeSpec("t", file, "generate", **base), seed=0)
    with pytest.raises(NoGoldError, match="empty"):
        plain.gold(plain.items[0], "exact_match")
    assert plain.gold(plain.items[1], "exact_match").requests[0].continuation == " c"


@pytest.mark.usefixtures("datasets_cache")
def test_tasks_of_lm_eval_name_their_gold() -> None:
    found = {
        name: load_lm_eval_task(LmEvalSpec("t", name, DATA), trust_task_code=True)
        for name in ("own_sums", "own_lines", "own_capitals")
    }
    for task in found.values():
        for item in task.items:
            metric = next(iter(task.metrics))
            gold = task.gold(item, metric)
            document = task.asked[item.key].instances[0].doc
            if len(item.requests) > 1:
                instances = task.asked[item.key].instances
                raw = [(-9.0, False)] * len(instances)
                raw[gold.right] = (-1.0, True)
                right = task.asked[item.key].task.process_results(document, raw)
                assert right["acc"] == 1.0
            elif item.requests[0].kind == "rolling":
                assert gold.weight == len(item.requests[0].context.encode())
            else:
                target = str(task.asked[item.key].task.doc_to_target(document))
                assert gold.requests[0].continuation.strip() == target.strip()

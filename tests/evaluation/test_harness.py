"""Tasks, a runner and live weights: results by item key."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.answers import ANSWER
from evaluation.chat import chat_renderer
from evaluation.errors import EvaluationError, NonFiniteError
from evaluation.harness import Harness
from evaluation.margins import margin_name
from evaluation.native import NativeTask, load_native_task
from evaluation.runner import Runner, Settings
from evaluation.spec import NativeSpec

ROWS = [
    {"q": f"{k} and {k}", "choices": ["same", "other"], "answer": k % 2, "text": "abc " * (k + 1)}
    for k in range(12)
]


@pytest.fixture
def tasks(write_rows: Any) -> list[NativeTask]:
    file = write_rows(ROWS)
    specs = [
        NativeSpec(
            "pick", file, "multiple_choice", prompt="{{q}}:", choices="choices", answer="answer"
        ),
        NativeSpec("read", file, "loglikelihood", target="text"),
        NativeSpec("write", file, "generate", prompt="{{q}}:", target="q", max_new_tokens=4),
    ]
    return [load_native_task(spec, seed=0) for spec in specs]


def test_every_type_gives_its_metrics_for_the_items_asked_for(pico: Any, tasks: Any) -> None:
    harness = Harness(tasks, Runner(pico.model, pico.tokenizer, Settings()))
    for task in tasks:
        found = harness.score(task.name, [5, 2, 7])
        assert list(found) == [task.items[k].key for k in (5, 2, 7)]
        for result in found.values():
            margins = [margin_name(one) for one in ("acc", "acc_norm") if one in task.metrics]
            aside = [ANSWER] if task.name != "read" else []
            assert list(result) == [*task.metrics, *margins, *aside]
            for name in (*task.metrics, *margins):
                assert len(result[name]) == (1 if name in margins else task.metrics[name].width)
                assert np.isfinite(result[name]).all()


def test_an_item_scores_the_same_in_any_company(pico: Any, tasks: Any) -> None:
    harness = Harness(tasks, Runner(pico.model, pico.tokenizer, Settings()))
    every = harness.score("read", range(12))
    for index, item in enumerate(tasks[1].items):
        (alone,) = harness.score("read", [index]).values()
        assert alone["bits_per_byte"] == pytest.approx(every[item.key]["bits_per_byte"], rel=1e-6)


def test_batches_are_made_once_and_scores_follow_the_live_weights(pico: Any, tasks: Any) -> None:
    model = copy.deepcopy(pico.model)
    harness = Harness(tasks, Runner(model, pico.tokenizer, Settings()))
    before = harness.score("read", range(4))
    plan = harness.prepare("read", range(4))
    with torch.no_grad():
        model.model.norm.weight.mul_(0.5)
    after = harness.score("read", range(4))
    assert harness.prepare("read", (0, 1, 2, 3)) is plan
    assert all(before[key] != after[key] for key in before)
    with torch.no_grad():
        model.model.norm.weight.mul_(2.0)
    assert harness.score("read", range(4)) == before


def test_seconds_and_tokens_are_counted(pico: Any, tasks: Any) -> None:
    harness = Harness(tasks, Runner(pico.model, pico.tokenizer, Settings()))
    assert harness.seconds == 0.0
    harness.score("read", range(3))
    first = harness.seconds
    harness.score("read", range(3))
    assert harness.seconds > first > 0.0
    # "abc ", "abc abc " and "abc abc abc ": each begins the next, so one row of the longest.
    assert harness.prepare("read", range(3)).tokens == 12
    assert harness.prepare("read", [1]).tokens == 8


def test_nan_names_task_and_item(pico: Any, tasks: Any) -> None:
    model = copy.deepcopy(pico.model)
    harness = Harness(tasks, Runner(model, pico.tokenizer, Settings()))
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match=f"task 'pick', item {tasks[0].items[3].key} .*NaN"):
        harness.score("pick", [3, 4])


def test_an_item_that_does_not_fit_is_told_before_scoring(pico: Any, tasks: Any) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings(max_length=4))
    with pytest.raises(EvaluationError, match="task 'write', item .*max_new_tokens"):
        Harness(tasks, runner).prepare("write", [0])


def test_names_must_differ(pico: Any, tasks: Any) -> None:
    with pytest.raises(EvaluationError, match="two tasks have the name 'read'"):
        Harness([*tasks, tasks[1]], Runner(pico.model, pico.tokenizer, Settings()))


def test_chats_are_rendered_by_the_tokenizers_template(pico: Any) -> None:
    render = chat_renderer(pico.tokenizer)
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert render(messages) == "system: s\nuser: u\nassistant: "


def test_a_template_without_a_system_role_gets_it_in_the_question(pico: Any) -> None:
    tokenizer = copy.deepcopy(pico.tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}{{ m['content'] }}|{% endfor %}"
    )
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert chat_renderer(tokenizer)(messages) == "s\n\nu|"
    tokenizer.chat_template = "{{ raise_exception('never') }}"
    with pytest.raises(EvaluationError, match="the tokenizer's template: never"):
        chat_renderer(tokenizer)(messages)
    tokenizer.chat_template = None
    with pytest.raises(EvaluationError, match="has none"):
        chat_renderer(tokenizer)


def test_faults_of_any_item_are_told_before_any_is_scored(pico: Any, write_rows: Any) -> None:
    rows = [{"text": "ab", "ask": "a"}] * 3 + [{"text": "b" * 70, "ask": "a"}]
    spec = NativeSpec("t", write_rows(rows), "loglikelihood", prompt="{{ask}}", target="text")
    task = load_native_task(spec, seed=0)
    harness = Harness([task], Runner(pico.model, pico.tokenizer, Settings(max_length=64)))
    with pytest.raises(EvaluationError, match=r"task 't'.*row 4.* 71 tokens, more than the model"):
        harness.settle()
    writes = NativeSpec("g", write_rows(rows), "generate", prompt="{{ask}}", target="text")
    harness = Harness(
        [load_native_task(writes, seed=0)],
        Runner(pico.model, pico.tokenizer, Settings(max_length=64)),
    )
    with pytest.raises(EvaluationError, match="task 'g'.*max_new_tokens: expected fewer than"):
        harness.settle()

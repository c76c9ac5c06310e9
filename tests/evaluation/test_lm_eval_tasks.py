"""lm-eval tasks: the same requests and the same figures as lm-eval itself, faults in one message."""

import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from evaluation import lm_eval_tasks_guard as guard
from evaluation.errors import TaskError
from evaluation.lm_eval_tasks import LmEvalTask, load_lm_eval_task
from evaluation.resampling import SumAggregate
from evaluation.spec import LmEvalSpec
from evaluation.task import Request, Response

DATA = Path(__file__).parents[1] / "data" / "lm_eval"
TASKS = ("own_sums", "own_lines", "own_capitals", "own_words", "own_signs")


@pytest.fixture(scope="module", autouse=True)
def datasets_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tasks, to be changed."""
    return Path(shutil.copytree(DATA, tmp_path / "tasks"))


def spec(task: str, include: Path | None = DATA, **keys: Any) -> LmEvalSpec:
    return LmEvalSpec("t", task, include, **keys)


def own(task: str, include: Path = DATA, **keys: Any) -> LmEvalTask:
    return load_lm_eval_task(spec(task, include, **keys), trust_task_code=True)


def rewrite(folder: Path, task: str, change: Callable[[str], str]) -> None:
    path = folder / f"{task}.yaml"
    path.write_text(change(path.read_text()))


def refused(task: str, include: Path | None = DATA, **keys: Any) -> str:
    with pytest.raises(TaskError) as caught:
        load_lm_eval_task(spec(task, include, **keys), trust_task_code=True)
    return str(caught.value)


def answer(request: Request) -> Response:
    """Made up, and the same in every run: from the request's own text."""
    rng = random.Random(f"{request.context}|{request.continuation}")
    words = ["Paris", " rome!", "oslo, of course", "", "x1 Tokyo"]
    return Response(-20 * rng.random(), rng.random() < 0.3, rng.choice(words))


class Replay(LM):  # type: ignore[misc]
    """lm-eval's model that gives the stored answers."""

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        found = [answer(Request("loglikelihood", *r.args)) for r in requests]
        return [(response.loglikelihood, response.greedy) for response in found]

    def loglikelihood_rolling(self, requests: Sequence[Instance]) -> list[float]:
        return [answer(Request("rolling", r.args[0])).loglikelihood for r in requests]

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        return [answer(Request("generate", r.args[0])).text for r in requests]


def evaluate(model: Any, task: str, shots: int | None, **keys: Any) -> Mapping[str, Any]:
    """What lm-eval itself reports, with the results of each document."""
    from lm_eval.evaluator import simple_evaluate

    with guard.quiet():
        found = simple_evaluate(
            model=model,
            tasks=[task],
            num_fewshot=shots,
            task_manager=TaskManager(include_defaults=False, include_path=str(DATA)),
            bootstrap_iters=0,
            **keys,
        )
    return dict(found)


def values(task: LmEvalTask, answers: Sequence[Sequence[Response]]) -> dict[str, float]:
    """Our figures for all items."""
    results = [task.score(*pair) for pair in zip(task.items, answers, strict=True)]
    return {
        name: metric.aggregate(np.array([result[name] for result in results]))
        for name, metric in task.metrics.items()
    }


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("shots", [None, 2])
def test_requests_and_figures_are_those_of_lm_eval(
    name: str, shots: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(DATA)  # lm-eval looks for data files where it runs
    theirs = evaluate(Replay(), name, shots)
    task = own(name, fewshot=shots)
    samples = sorted(theirs["samples"][name], key=lambda s: s["doc_id"])
    filters = {sample["filter"] for sample in samples}
    first = [s for s in samples if s["filter"] == samples[0]["filter"]]
    assert len(first) == len(task.items) >= 6
    for item, sample in zip(task.items, first, strict=True):
        asked = [
            (r.context,) if r.kind == "rolling" else (r.context, r.continuation)
            for r in item.requests
        ]
        given = [tuple(arguments) for arguments in sample["arguments"]]
        if task.items[0].requests[0].kind == "generate":
            asked, given = [(r.context,) for r in item.requests], [(a[0],) for a in given]
        assert asked == given
    ours = values(task, [[answer(r) for r in item.requests] for item in task.items])
    reported = theirs["results"][name]
    for metric, value in ours.items():
        key = metric if "," in metric else f"{metric},{next(iter(filters))}"
        assert value == pytest.approx(reported[key], rel=1e-12, abs=1e-12), metric
    assert len(ours) == len([k for k in reported if "," in k and "stderr" not in k])


def test_a_model_scores_as_under_lm_eval(
    pico_family_float32: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One model, float32: lm-eval's HFLM and our runner agree item by item."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from evaluation.runner import Runner
    from evaluation.settings import Settings

    monkeypatch.chdir(DATA)
    model = AutoModelForCausalLM.from_pretrained(pico_family_float32.base)
    tokenizer = AutoTokenizer.from_pretrained(pico_family_float32.base)
    runner = Runner(model, tokenizer, Settings(dtype="float32"))
    with guard.quiet():
        hflm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, device="cpu")
    for name, shots in (("own_sums", 2), ("own_lines", 0), ("own_capitals", 1), ("own_words", 0)):
        theirs = evaluate(hflm, name, shots)
        task = own(name, fewshot=shots)
        requests = [request for item in task.items for request in item.requests]
        responses = iter(runner.run(runner.prepare(requests)))
        answers = [[next(responses) for _ in item.requests] for item in task.items]
        samples = theirs["samples"][name]
        raw = {s["doc_id"]: [resp[0] for resp in s["resps"]] for s in samples}
        for number, mine in enumerate(answers):
            for response, their in zip(mine, raw[number], strict=True):
                if isinstance(their, str):
                    assert response.text == their
                else:
                    expected = their[0] if isinstance(their, tuple | list) else their
                    assert response.loglikelihood == pytest.approx(expected, abs=1e-4)
        for metric, value in values(task, answers).items():
            key = metric if "," in metric else f"{metric},none"
            assert value == pytest.approx(theirs["results"][name][key], rel=1e-4), metric


def test_answers_of_one_candidate_do_not_stay_for_the_next() -> None:
    task = own("own_capitals")
    item = task.items[0]
    right = task.score(item, [Response(text="Paris")])
    assert right == {"exact_match,strict": (1.0,), "exact_match,word": (1.0,)}
    wrong = task.score(item, [Response(text=" no, Paris")])
    assert wrong == {"exact_match,strict": (0.0,), "exact_match,word": (0.0,)}
    assert task.score(item, [Response(text="Paris")]) == right


def test_sums_and_lm_evals_own_aggregation_agree() -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    for name in ("own_lines", "own_words", "own_sums"):
        for metric in own(name).metrics.values():
            if isinstance(metric.aggregate, SumAggregate):
                rows = rng.random((9, metric.width)) + 0.1
                fast = metric.aggregate.from_sums(rows.sum(axis=0), np.array(9.0))
                assert float(fast) == pytest.approx(metric.aggregate(rows), rel=1e-12)
    assert not isinstance(own("own_sums").metrics["brier_score"].aggregate, SumAggregate)


def test_directions_are_lm_evals() -> None:
    higher = {name: m.higher_is_better for name, m in own("own_sums").metrics.items()}
    assert higher == {"acc": True, "acc_norm": True, "brier_score": False}
    assert next(iter(own("own_lines").metrics)) == "word_perplexity"
    assert not own("own_words").metrics["perplexity"].higher_is_better


def test_shots_never_hold_the_question_itself() -> None:
    task = own("own_capitals", fewshot=3)  # its shots come from the split it is scored on
    for item in task.items:
        prompt = item.requests[0].context
        assert prompt.count(f"The capital of {item.row['q']} is") == 1
        assert prompt.count("The capital of") == 4


def test_documents_of_the_training_split_on_request() -> None:
    assert len(own("own_sums").items) == 12
    task = own("own_sums", docs="train", fewshot=1)
    assert len(task.items) == 6
    questions = [f"Question: {item.row['question']}" for item in task.items]
    assert all(i.requests[0].context.endswith(f"{q}\nAnswer:") for i, q in zip(task.items, questions))
    assert all(i.requests[0].context.count(q) == 1 for i, q in zip(task.items, questions))

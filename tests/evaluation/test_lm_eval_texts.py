"""Metrics over texts and other results that are no plain numbers: lm-eval's figures, anew."""

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm_eval.api import metrics as lm_eval_metrics

from evaluation.errors import TaskError
from evaluation.lm_eval_tasks import LmEvalTask, load_lm_eval_task
from evaluation.lm_eval_tasks_corpus import CorpusAggregate, corpus_aggregate
from evaluation.lm_eval_tasks_texts import TextAggregate, from_text, to_text
from evaluation.resampling import SumAggregate
from evaluation.spec import LmEvalSpec
from evaluation.statistics import bootstrap_interval, paired_p_value
from evaluation.task import Response, result_rows

DATA = Path(__file__).parents[1] / "data" / "lm_eval"
CORPUS = ("bleu", "chrf", "chrf++", "ter")
pytestmark = pytest.mark.usefixtures("datasets_cache")


def own(task: str, folder: Path) -> LmEvalTask:
    found = load_lm_eval_task(LmEvalSpec("t", task, folder), trust_task_code=True)
    assert isinstance(found, LmEvalTask)
    return found


def with_metrics(folder: Path, metrics: str, more: str = "") -> None:
    """Gives own_capitals other metrics, and one filter."""
    path = folder / "own_capitals.yaml"
    head = path.read_text().split("filter_list:")[0]
    path.write_text(f"{head}{more}\nmetric_list:\n{metrics}")


def agree(folder: Path, lm_eval: Any) -> dict[str, float]:
    """Our figures, after they were found to be lm-eval's."""
    theirs = lm_eval.evaluate(folder, "own_capitals")["results"]["own_capitals"]
    task = own("own_capitals", folder)
    ours: dict[str, float] = lm_eval.values(task, lm_eval.answers(task))
    for name, value in ours.items():
        assert value == pytest.approx(theirs[f"{name},none"], rel=1e-12), name
    return ours


def test_figures_over_a_corpus_are_lm_evals(folder: Path, lm_eval: Any) -> None:
    with_metrics(folder, "".join(f"  - metric: {name}\n" for name in CORPUS))
    ours = agree(folder, lm_eval)
    assert set(ours) == set(CORPUS) and len(set(ours.values())) > 2
    task = own("own_capitals", folder)
    assert not task.metrics["ter"].higher_is_better and task.metrics["bleu"].higher_is_better
    for metric in task.metrics.values():
        assert isinstance(metric.aggregate, SumAggregate)


@pytest.mark.parametrize(
    ("number", "kind"), [("2", CorpusAggregate), ("1 + (n > 5)", TextAggregate)]
)
def test_several_references(folder: Path, lm_eval: Any, number: str, kind: type) -> None:
    (folder / "many.py").write_text(
        "def score(doc, results):\n"
        "    n = len(doc['q'])\n"
        f"    pair = ([doc['a'], doc['q'] + ', of course'][: {number}], results[0])\n"
        "    return {'bleu': pair, 'chrf': pair}\n"
    )
    metrics = "  - metric: bleu\n  - metric: chrf\n"
    with_metrics(folder, metrics, "process_results: !function many.score\n")
    assert agree(folder, lm_eval)["chrf"] > 0
    task = own("own_capitals", folder)
    assert isinstance(task.metrics["bleu"].aggregate, kind)


def test_results_of_any_form_are_kept(folder: Path, lm_eval: Any) -> None:
    (folder / "forms.py").write_text(
        "import numpy\n"
        "def score(doc, results):\n"
        "    text = results[0]\n"
        "    found = {'of_dicts': {'text': text, 'doc': dict(doc), 1: (text, None)},\n"
        "             'of_lists': list(text), 'of_arrays': numpy.arange(len(text)),\n"
        "             'plain': float(len(text)), 'whole': doc}\n"
        "    return found | ({'of_some': 1.5} if 'n' in doc['q'] else {})\n"
        "def of_dicts(items):\n"
        "    return sum(len(one['text']) + len(one['doc']['q']) for one in items\n"
        "               if one[1] == (one['text'], None))\n"
        "def of_lists(items):\n"
        "    return len({letter for one in items for letter in one})\n"
        "def of_arrays(items):\n"
        "    return sum(float((one * 2).sum()) for one in items)\n"
        "def whole(items):\n"
        "    return len({doc['a'] for doc in items})\n"
    )
    names = ("of_dicts", "of_lists", "of_arrays", "whole")
    direction = "    higher_is_better: true\n"
    metrics = "".join(
        f"  - metric: {name}\n    aggregation: !function forms.{name}\n{direction}"
        for name in names
    ) + "".join(
        f"  - metric: {name}\n    aggregation: mean\n{direction}" for name in ("plain", "of_some")
    )
    with_metrics(folder, metrics, "process_results: !function forms.score\n")
    assert set(agree(folder, lm_eval)) == {*names, "plain", "of_some"}
    task = own("own_capitals", folder)
    results = [task.score(*pair) for pair in zip(task.items, lm_eval.answers(task), strict=True)]
    stored = [{k: tuple(v) for k, v in json.loads(json.dumps(dict(r))).items()} for r in results]
    assert stored == [dict(result) for result in results]
    some = [r for item, r in zip(task.items, results, strict=True) if "n" in str(item.row["q"])]
    none = [r for r in results if r not in some]
    aggregate = task.metrics["of_some"].aggregate
    assert aggregate(result_rows(results, "of_some")) == 1.5
    assert math.isnan(aggregate(result_rows(none, "of_some")))
    assert result_rows(results, "plain").dtype == np.float64


def test_what_cannot_be_kept_is_left_out_and_told(folder: Path) -> None:
    (folder / "odd.py").write_text(
        "def score(doc, results):\n    return {'odd': object(), 'fine': 1.0, 'fails': 'x'}\n"
        "def fails(items):\n    raise ValueError('no such corpus')\n"
    )
    metrics = "".join(
        f"  - metric: {name}\n    aggregation: {how}\n    higher_is_better: true\n"
        for name, how in (
            ("odd", "mean"),
            ("fine", "mean"),
            ("fails", "!function odd.fails"),
            ("never", "mean"),
        )
    )
    with_metrics(folder, metrics, "process_results: !function odd.score\n")
    task = own("own_capitals", folder)
    assert list(task.metrics) == ["fine"]
    assert task.dropped == {
        "odd": "its results hold object, which cannot be stored",
        "fails": "no such corpus",
        "never": "no item has it",
    }


def test_a_result_that_is_lost_later_is_named(folder: Path) -> None:
    (folder / "late.py").write_text(
        "def score(doc, results):\n    return {} if results[0] == 'Paris' else {'fine': 1.0}\n"
    )
    metrics = "  - metric: fine\n    aggregation: mean\n    higher_is_better: true\n"
    with_metrics(folder, metrics, "process_results: !function late.score\n")
    task = own("own_capitals", folder)
    with pytest.raises(TaskError, match=rf"item {task.items[0].key}: .*expected numbers .* none"):
        task.score(task.items[0], [Response(text="Paris")])


def test_the_form_is_part_of_what_is_asked(folder: Path) -> None:
    def hashes() -> set[str]:
        return {item.prompt_hash for item in own("own_capitals", folder).items}

    code = "def score(doc, results):\n    return {{'one': {}}}\n"
    metrics = (
        "  - metric: one\n    aggregation: !function form.first\n    higher_is_better: true\n"
    )
    aggregation = "def first(items):\n    return 1.0\n"
    with_metrics(folder, metrics, "process_results: !function form.score\n")
    (folder / "form.py").write_text(code.format("1.0") + aggregation)
    numbers = hashes()
    (folder / "form.py").write_text(code.format("len(doc['q']) % 2 or None") + aggregation)
    assert not numbers & hashes()


def words(rng: random.Random, n: int) -> str:
    return " ".join(rng.choice("the a cat dog sat ran on mat . , hat".split()) for _ in range(n))


@pytest.mark.parametrize("name", ["bleu", "chrf", "chrfpp", "ter"])
def test_a_bootstrap_of_a_corpus_is_by_sums_and_exact(name: str) -> None:
    rng = random.Random(0)
    function = getattr(lm_eval_metrics, name)
    pairs = [[words(rng, 8), words(rng, 8)] for _ in range(200)]
    fast = corpus_aggregate(function, pairs)
    assert isinstance(fast, CorpusAggregate) and isinstance(fast, SumAggregate)
    rows = np.array([fast.counts(pair) for pair in pairs])
    plain = TextAggregate(function)
    texts = np.array([[to_text(pair)] for pair in pairs], dtype=object)
    assert fast(rows) == plain(texts) == function(pairs)
    some = [3, 3, 17, 60, 60, 60, 199]
    assert fast(rows[some]) == plain(texts[some])
    groups = [str(k) for k in range(200)]
    interval = bootstrap_interval(rows, groups, [""] * 200, fast, seed=0)
    assert interval.low is not None and interval.low < interval.value
    paired_p_value(rows, rows[::-1].copy(), groups, fast, seed=0)
    few = slice(0, 40)
    one, other = (
        bootstrap_interval(r[few], groups[:40], [""] * 40, a, seed=0, resamples=20)
        for r, a in ((rows, fast), (texts, plain))
    )
    assert one == other


def test_other_functions_of_those_names_are_no_corpus_metrics() -> None:
    def bleu(items: list[Any]) -> float:
        return 0.5

    pairs = [["a b c d", "a b c e"], ["b c d e", "b"]]
    assert corpus_aggregate(bleu, pairs) is None
    assert corpus_aggregate(lm_eval_metrics.mean, pairs) is None
    assert corpus_aggregate(lm_eval_metrics.bleu, [*pairs, [["a", "b"], "a"]]) is None
    assert corpus_aggregate(lm_eval_metrics.bleu, pairs) is not None
    assert corpus_aggregate(lm_eval_metrics.bleu, [1.0, 2.0]) is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        'a "quoted" \ud800 text\n',
        [1, 2.5, True, None, ["x", ("y",)]],
        {"tuple": (1, 2), 3: {"dict": []}, ("k", 1): {"set": {1, 2}}},
        (math.inf, -0.0),
    ],
)
def test_a_text_gives_back_what_was_written(value: object) -> None:
    found = from_text(to_text(value))
    assert found == value and type(found) is type(value)


def test_arrays_and_their_numbers_come_back() -> None:
    found = from_text(to_text({"a": np.array([[1.5, 2.0]]), "n": np.float32(0.5), "b": np.True_}))
    assert found["a"].tolist() == [[1.5, 2.0]] and found["a"].shape == (1, 2)
    assert (found["n"], found["b"]) == (0.5, True)
    with pytest.raises(TypeError, match="hold PosixPath, which"):
        to_text([Path()])


PYTHON_TASK = """\
from functools import partial
from math import exp

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask


def share(key, items):
    predictions, references = zip(*items)
    found = [
        prediction["text"] in reference[key] and prediction["none"] < 0.5
        for prediction, reference in zip(predictions, references)
    ]
    return sum(found) / len(found)


class Answers(ConfigurableTask):
    VERSION = 1
    DATASET_PATH = "json"

    def __init__(self, config=None):
        files = {"validation": "capitals.jsonl"}
        super().__init__(
            config={"metadata": {"version": 1}, "dataset_kwargs": {"data_files": files}}
        )

    def has_training_docs(self):
        return False

    def has_validation_docs(self):
        return True

    def has_test_docs(self):
        return False

    def validation_docs(self):
        return self.dataset["validation"]

    def doc_to_text(self, doc):
        return doc["q"] + ":"

    def doc_to_target(self, doc):
        return " " + doc["a"]

    def construct_requests(self, doc, ctx, **kwargs):
        for key in ("chat_template", "apply_chat_template"):
            kwargs.pop(key, None)
        asked = [
            ("generate_until", (ctx, {"until": ["\\n"]})), ("loglikelihood", (ctx, " nowhere"))
        ]
        return [
            Instance(request_type=kind, doc=doc, arguments=arguments, idx=0, **kwargs)
            for kind, arguments in asked
        ]

    def process_results(self, doc, results):
        text, (nowhere, _) = results
        pair = {"text": text, "none": exp(nowhere)}, {"names": [doc["a"]], "all": ["Paris", ""]}
        return {"named": pair, "known": pair}

    def aggregation(self):
        return {"named": partial(share, "names"), "known": partial(share, "all")}

    def higher_is_better(self):
        return {"named": True, "known": True}
"""


def test_a_task_in_python_with_results_like_squads(
    folder: Path, lm_eval: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "answers.py").write_text(PYTHON_TASK)
    (folder / "own_answers.yaml").write_text(
        "task: own_answers\nclass: !function answers.Answers\n"
    )
    theirs = lm_eval.evaluate(folder, "own_answers")["results"]["own_answers"]
    monkeypatch.chdir(folder)
    task = own("own_answers", folder)
    kinds = [request.kind for request in task.items[0].requests]
    assert kinds == ["generate", "loglikelihood"] and not task.official_test
    ours = lm_eval.values(task, lm_eval.answers(task))
    assert ours == {name: pytest.approx(theirs[f"{name},none"]) for name in ("named", "known")}
    assert 0 < ours["known"] < 1

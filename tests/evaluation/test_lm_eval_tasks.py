"""lm-eval tasks: the requests and figures of lm-eval itself, and faults in one message each."""

import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm_eval.api import metrics as lm_eval_metrics

from evaluation import lm_eval_tasks_guard as guard
from evaluation.errors import TaskError
from evaluation.lm_eval_tasks import LmEvalTask, load_lm_eval_task
from evaluation.lm_eval_tasks_config import hub_datasets
from evaluation.lm_eval_tasks_confusion import confusion_aggregate
from evaluation.lm_eval_tasks_results import LmEvalAggregate
from evaluation.resampling import SumAggregate, WideSumAggregate
from evaluation.spec import LmEvalSpec
from evaluation.statistics import bootstrap_interval, paired_p_value
from evaluation.task import Response, result_rows

DATA = Path(__file__).parents[1] / "data" / "lm_eval"
TASKS = ("own_sums", "own_lines", "own_capitals", "own_words", "own_signs")


pytestmark = pytest.mark.usefixtures("datasets_cache")


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


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("shots", [None, 2])
def test_requests_and_figures_are_those_of_lm_eval(
    name: str, shots: int | None, lm_eval: Any
) -> None:
    theirs = lm_eval.evaluate(DATA, name, num_fewshot=shots)
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
    ours = lm_eval.values(task, lm_eval.answers(task))
    reported = theirs["results"][name]
    for metric, value in ours.items():
        key = metric if "," in metric else f"{metric},{next(iter(filters))}"
        assert value == pytest.approx(reported[key], rel=1e-12, abs=1e-12), metric
    assert len(ours) == len([k for k in reported if "," in k and "stderr" not in k])


def test_a_model_scores_as_under_lm_eval(pico_family_float32: Any, lm_eval: Any) -> None:
    """One model, float32: lm-eval's HFLM and our runner agree item by item."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from evaluation.runner import Runner
    from evaluation.settings import Settings

    model = AutoModelForCausalLM.from_pretrained(pico_family_float32.base)
    tokenizer = AutoTokenizer.from_pretrained(pico_family_float32.base)
    runner = Runner(model, tokenizer, Settings(dtype="float32"))
    with guard.quiet():
        hflm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, device="cpu")
    for name, shots in (("own_sums", 2), ("own_lines", 0), ("own_capitals", 1), ("own_words", 0)):
        theirs = lm_eval.evaluate(DATA, name, hflm, num_fewshot=shots)
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
        for metric, value in lm_eval.values(task, answers).items():
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


@pytest.mark.parametrize(("name", "labels"), [("mcc", 2), ("mcc", 4), ("f1", 2)])
def test_counts_of_answers_give_lm_evals_figure(name: str, labels: int) -> None:
    function = {"mcc": lm_eval_metrics.matthews_corrcoef, "f1": lm_eval_metrics.f1_score}[name]
    plain = LmEvalAggregate(function, (int, int))
    fast = confusion_aggregate(function, plain, labels)
    assert fast is not None and isinstance(fast, WideSumAggregate)
    rng = np.random.Generator(np.random.PCG64(0))
    drawn = [rng.integers(0, labels, (n, 2)).astype(float) for n in (1, 2, 5, 40, 40)]
    for rows in (*drawn, np.zeros((4, 2)), np.array([[1.0, 0.0]] * 3)):
        value = fast.from_sums(fast.columns(rows).sum(axis=0), np.array(float(len(rows))))
        assert float(value) == pytest.approx(plain(rows), abs=1e-12)
        assert fast(rows) == plain(rows)
    rows, groups = drawn[-1], [str(k) for k in range(40)]
    ends = [
        bootstrap_interval(rows, groups, [""] * 40, aggregate, seed=0, resamples=50)
        for aggregate in (fast, plain)
    ]
    assert ends[0].low is not None
    assert (ends[0].low, ends[0].high) == pytest.approx((ends[1].low, ends[1].high), abs=1e-9)
    swapped = rows[::-1].copy()
    p_values = [
        paired_p_value(rows, swapped, groups, aggregate, seed=0, resamples=50)
        for aggregate in (fast, plain)
    ]
    assert p_values[0] == p_values[1]


def test_counts_are_kept_where_they_are_few(folder: Path) -> None:
    assert isinstance(own("own_signs").metrics["mcc"].aggregate, WideSumAggregate)
    assert not isinstance(own("own_signs").metrics["f1"].aggregate, WideSumAggregate)
    plain = LmEvalAggregate(lm_eval_metrics.f1_score, (int, int))
    assert confusion_aggregate(lm_eval_metrics.f1_score, plain, 3) is None
    assert confusion_aggregate(lm_eval_metrics.matthews_corrcoef, plain, 11) is None
    assert confusion_aggregate(lm_eval_metrics.mean, plain, 2) is None


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
    for item in task.items:
        question = f"Question: {item.row['question']}\nAnswer:"
        assert item.requests[0].context.endswith(question)
        assert item.requests[0].context.count(question) == 1


def test_the_chat_template_is_applied_as_lm_eval_does() -> None:
    def chat(messages: Sequence[Mapping[str, str]]) -> str:
        return "".join(f"<{m['role']}>{m['content']}</>" for m in messages) + "<assistant>"

    task = load_lm_eval_task(
        spec("own_sums", chat_template=True, system="Be brief.", fewshot=1),
        trust_task_code=True,
        chat=chat,
    )
    request = task.items[0].requests[0]
    assert request.context.startswith("<system>Be brief.</><user>Question: What is")
    assert request.context.count("<assistant>") == 2
    assert request.context.endswith("Answer:</><assistant>")
    assert request.continuation == task.items[0].row["choices"][0]  # type: ignore[index]


def test_an_answer_that_is_begun_goes_on(folder: Path) -> None:
    rewrite(folder, "own_capitals", lambda text: text + 'gen_prefix: "It is"\n')
    task = load_lm_eval_task(
        spec("own_capitals", folder, chat_template=True),
        trust_task_code=True,
        chat=lambda messages: "".join(f"<{m['role']}>{m['content']}" for m in messages),
    )
    context = task.items[0].requests[0].context
    assert context == "<user>The capital of France is<assistant>It is"
    assert "no tokenizer" in refused("own_capitals", chat_template=True)


def test_limit_keeps_the_same_rows_and_renumbers_them() -> None:
    every, some = own("own_sums"), own("own_sums", limit=5)
    assert [item.index for item in some.items] == list(range(5))
    by_key = {item.key: item for item in every.items}
    assert all(item.requests == by_key[item.key].requests for item in some.items)
    order = [by_key[item.key].index for item in some.items]
    assert order == sorted(order) != list(range(5))
    assert len(own("own_sums", limit=99).items) == 12


def test_equal_documents_are_one_group_with_keys_of_their_own(folder: Path) -> None:
    file = folder / "lines.jsonl"
    file.write_text(file.read_text() + json.dumps({"text": "ok"}) + "\n")
    items = own("own_lines", folder).items
    assert items[6].key == f"{items[5].key}-2"
    assert items[6].group == items[5].group
    assert len({item.key for item in items}) == 7


def test_the_prompt_hash_covers_how_an_item_is_scored(folder: Path) -> None:
    def hashes(task: str) -> list[str]:
        return [item.prompt_hash for item in own(task, folder).items]

    capitals, signs = hashes("own_capitals"), hashes("own_signs")
    assert hashes("own_capitals") == capitals == [i.prompt_hash for i in own("own_capitals").items]
    rewrite(folder, "own_capitals", lambda text: text.replace("ignore_case: true", ""))
    assert not set(hashes("own_capitals")) & set(capitals)
    code = folder / "own_signs.py"
    code.write_text(code.read_text().replace('average="macro"', 'average="micro"'))
    assert not set(hashes("own_signs")) & set(signs)


def test_loading_says_nothing_and_leaves_random_numbers_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    task = own("own_sums", fewshot=2)
    gold = {**task.items[0].row, "label": 9}
    task.asked[task.items[0].key].instances[0].doc.update(gold)  # lm-eval logs a warning of it
    task.score(task.items[0], [Response(-1.0)] * 3)
    assert capfd.readouterr() == ("", "")
    assert (random.random(), np.random.random()) == expected


def test_own_code_does_not_run_before_it_is_allowed_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = folder / "ran"
    code = folder / "own_signs.py"
    code.write_text(f"open({str(mark)!r}, 'w').close()\nmacro_f1 = max\n")
    monkeypatch.chdir(folder.parent)
    wish = spec("own_signs", folder)
    others = frozenset({folder / "own_sums.yaml", code, folder})
    for allowed in (frozenset[Path](), others):
        with pytest.raises(TaskError, match=r"tasks/own_signs\.yaml is code") as caught:
            load_lm_eval_task(wish, allowed_code=allowed)
        assert "add --allow-code tasks/own_signs.yaml, or --trust-task-code" in str(caught.value)
    assert not mark.exists()
    load_lm_eval_task(wish, allowed_code=frozenset({Path("tasks/own_signs.yaml").resolve()}))
    assert mark.exists()
    mark.unlink()
    code.write_text(code.read_text() + "\n")
    own("own_signs", folder)
    assert mark.exists()


def test_a_task_that_ships_needs_no_trust_but_its_data() -> None:
    with pytest.raises(TaskError, match="data set Rowan/hellaswag is not on this machine"):
        load_lm_eval_task(spec("hellaswag", None))


def test_without_a_network_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with guard.offline_if_unreachable(needs_hub=True):
        assert constants.HF_HUB_OFFLINE and datasets.config.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE and not datasets.config.HF_HUB_OFFLINE
    with guard.offline_if_unreachable(needs_hub=False):
        assert not constants.HF_HUB_OFFLINE


def test_a_test_split_is_never_searched_on_unasked(folder: Path) -> None:
    def only_test(text: str) -> str:
        return text.replace("validation_split:", "test_split:")

    rewrite(folder, "own_lines", only_test)
    message = refused("own_lines", folder)
    assert "nothing but a test split" in message and "--allow-benchmark-test" in message
    assert "--allow-benchmark-test" in refused("mmlu_anatomy", None)
    assert "--allow-benchmark-test" in refused("own_sums", docs="test")
    task = load_lm_eval_task(
        spec("own_lines", folder), trust_task_code=True, allow_benchmark_test=True
    )
    assert task.official_test and len(task.items) == 6
    assert not own("own_lines", folder, docs="validation").official_test


def test_a_test_split_beside_others_is_not_read(folder: Path) -> None:
    rewrite(
        folder,
        "own_sums",
        lambda text: text.replace("dataset_kwargs", "test_split: test\ndataset_kwargs").replace(
            "    train:", "    test: sums_train.jsonl\n    train:"
        ),
    )
    task = own("own_sums", folder)
    assert len(task.items) == 12 and not task.official_test


def with_test_split(folder: Path, task: str = "own_sums") -> None:
    """Three rows of train, and one of validation, as the task's official test split."""
    rows = (folder / "sums_train.jsonl").read_text().splitlines()[:3]
    rows += (folder / "sums_validation.jsonl").read_text().splitlines()[4:5]
    (folder / "official.jsonl").write_text("".join(row + "\n" for row in rows))
    rewrite(
        folder,
        task,
        lambda text: text.replace("dataset_kwargs", "test_split: test\ndataset_kwargs").replace(
            "    train:", "    test: official.jsonl\n    train:"
        ),
    )


def test_the_official_test_split_is_read_beside_the_documents(folder: Path, lm_eval: Any) -> None:
    with_test_split(folder)
    task = own("own_sums", folder, test="official", fewshot=1)
    sealed = [item for item in task.items if item.split == "test"]
    assert len(sealed) == 4 and not task.official_test
    assert len(task.items) == 15  # one of the twelve is a document of the test split too
    assert len({item.key for item in task.items}) == 15
    assert not {i.group for i in sealed} & {i.group for i in task.items if i.split == ""}
    theirs = lm_eval.evaluate(folder, "own_sums", num_fewshot=1)  # on the test split
    samples = sorted(theirs["samples"]["own_sums"], key=lambda sample: sample["doc_id"])
    asked = [[(r.context, r.continuation) for r in item.requests] for item in sealed]
    assert asked == [[tuple(pair) for pair in s["arguments"]] for s in samples]
    answers = [[lm_eval.answer(r) for r in item.requests] for item in sealed]
    results = [task.score(*pair) for pair in zip(sealed, answers, strict=True)]
    value = task.metrics["acc"].aggregate(result_rows(results, "acc"))
    assert value == pytest.approx(theirs["results"]["own_sums"]["acc,none"])
    without = {i.key: i.prompt_hash for i in own("own_sums", folder, fewshot=1).items}
    assert all(without[i.key] == i.prompt_hash for i in task.items if i.split == "")
    some = own("own_sums", folder, test="official", limit=3).items
    assert [item.split for item in some] == ["", "", "", "test", "test", "test"]


def test_an_official_test_split_that_cannot_be_sealed_is_refused(folder: Path) -> None:
    assert "it has no test split" in refused("own_sums", folder, test="official")
    with_test_split(folder)
    (folder / "both.yaml").write_text("group: both\ntask: [own_sums, own_words]\n")
    assert "t/own_words': test: official: it has no" in refused("both", folder, test="official")
    rewrite(folder, "own_sums", lambda text: text.replace("validation_split: validation\n", ""))
    assert len(own("own_sums", folder, test="official").items) == 3 + 4  # train, as it is alone
    rewrite(folder, "own_sums", lambda text: text + "fewshot_split: test\n")
    told = refused("own_sums", folder, test="official", fewshot=1)
    assert "its few-shot examples come from the test split" in told
    rewrite(folder, "own_sums", lambda text: text.replace("training_split: train\n", ""))
    assert "nothing but a test split" in refused("own_sums", folder, test="official")
    assert "would be its test split" in refused("own_sums", folder, test="official", docs="test")


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("own_capitals", ("do_sample: false\n  temperature: 0.0", "do_sample: true"), "samples"),
        ("own_capitals", ("do_sample: false\n  temperature: 0.0", "temperature: 0.7"), "samples"),
        ("own_capitals", ("max_gen_toks: 6", "num_beams: 4"), "without 'num_beams'"),
        ("own_capitals", ("doc_to_text", "doc_to_txt"), "unknown key 'doc_to_txt'; did you mean"),
        ("own_capitals", ("{{q}}", "{{question}}"), "'question' is undefined"),
        ("own_capitals", ("capitals.jsonl", "nowhere.jsonl"), "no data file nowhere.jsonl"),
        (
            "own_capitals",
            ("ignore_case: true", "higher_is_better: null"),
            "none of its metrics can be kept .* no direction",
        ),
        ("own_capitals", ("exact_match", "exact_mach"), "no metric 'exact_mach'"),
        ("own_capitals", ("task:", "unsafe_code: true\ntask:"), "runs the code that models write"),
        ("own_capitals", ("task:", "task: [\ntask:"), "cannot be read as YAML"),
        (
            "own_sums",
            ("doc_to_target: label", "doc_to_target: gold"),
            "the answer 'gold' is none of",
        ),
        (
            "own_sums",
            ("validation_split: validation", "validation_split: dev"),
            "no split .*'dev'",
        ),
        ("own_sums", ("metadata:", "num_fewshot: 0\nmetadata:"), "fixes 0 shots"),
        ("own_signs", ("own_signs.macro_f1", "own_signs.micro"), "no function 'micro'"),
        ("own_signs", ("own_signs.macro_f1", "nowhere.f"), "Cannot import module 'nowhere'"),
    ],
)
def test_faults_of_a_yaml_are_one_message(
    folder: Path, task: str, change: tuple[str, str], message: str
) -> None:
    rewrite(folder, task, lambda text: text.replace(*change))
    shots = 2 if task == "own_sums" else None
    with pytest.raises(TaskError, match=rf"(?s)^s\.yml:3:1 task 't': .*({message})") as caught:
        load_lm_eval_task(
            spec(task, folder, fewshot=shots, place="s.yml:3:1"), trust_task_code=True
        )
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "there are no rows in"),
        ('{"text": "a"}\n{"text": \n', "JSON parse error"),
        ('{"line": "a"}\n', "'text' is undefined"),
    ],
)
def test_faults_of_a_data_file_are_one_message(folder: Path, content: str, message: str) -> None:
    (folder / "lines.jsonl").write_text(content)
    assert message in refused("own_lines", folder)


def test_names_that_are_no_task() -> None:
    assert "no task 'own_sum' in" in refused("own_sum")
    assert "no task 'arc_esy' in lm-eval; the nearest are arc_easy" in refused("arc_esy", None)
    assert "no folder" in refused("own_sums", DATA / "nowhere")


def test_a_name_in_two_files_is_refused(folder: Path) -> None:
    shutil.copy(folder / "own_lines.yaml", folder / "copy.yaml")
    assert "both" in refused("own_lines", folder)


def test_scoring_code_that_fails_is_named(folder: Path) -> None:
    rewrite(
        folder,
        "own_words",
        lambda text: text + "process_results: !function own_signs.fails_on_greedy\n",
    )
    with (folder / "own_signs.py").open("a") as file:
        file.write(
            "def fails_on_greedy(doc, results):\n"
            "    if results[0][1]:\n        raise ValueError('a bug of mine')\n"
            "    return {'acc': 1.0, 'perplexity': -1.0}\n"
        )
    task = own("own_words", folder)
    with pytest.raises(TaskError, match=f"'t', item {task.items[0].key}: .* a bug of mine"):
        task.score(task.items[0], [Response(-1.0, greedy=True)])


def test_data_files_beside_the_yaml_come_before_those_where_one_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lines.jsonl").write_text('{"text": "another"}\n')
    monkeypatch.chdir(tmp_path)
    assert len(own("own_lines", folder).items) == 6
    (folder / "lines.jsonl").unlink()
    assert [item.row for item in own("own_lines", folder).items] == [{"text": "another"}]


def test_a_benchmark_that_reports_on_validation_is_searched_on_only_if_asked(folder: Path) -> None:
    rewrite(folder, "own_sums", lambda text: text + "test_split: validation\n")
    assert "--allow-benchmark-test" in refused("own_sums", folder)
    task = load_lm_eval_task(
        spec("own_sums", folder), trust_task_code=True, allow_benchmark_test=True
    )
    assert task.official_test
    assert not own("own_sums", folder, docs="train").official_test


def test_shots_of_all_documents_are_known_for_it(folder: Path) -> None:
    assert own("own_capitals", fewshot=2).shots_from_items  # it has one split alone
    assert not own("own_capitals").shots_from_items
    assert not own("own_sums", fewshot=2).shots_from_items  # its shots are of the training split


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_gen_toks: 6", "max_gen_toks: many", "a number of new tokens, got 'many'"),
        ("max_gen_toks: 6", "max_gen_toks: -1", "a number of new tokens, got -1"),
        ('until: ["\\n", "."]', "until: 5", "until: expected texts, got 5"),
        ("metadata:", "num_fewshot: three\nmetadata:", "expected a whole number, got 'three'"),
        ("metadata:", "tag: true\nmetadata:", ""),
    ],
)
def test_values_of_another_kind_are_told(folder: Path, old: str, new: str, message: str) -> None:
    rewrite(folder, "own_capitals", lambda text: text.replace(old, new))
    if message:
        assert message in refused("own_capitals", folder)
    else:
        assert own("own_capitals", folder).items


def test_which_data_sets_of_the_hub_a_task_is_of() -> None:
    assert own("own_sums").datasets == ()
    assert hub_datasets({"dataset_path": "allenai/ai2_arc"}) == ("allenai/ai2_arc",)
    assert (
        hub_datasets({"dataset_path": "json"}) == hub_datasets({"dataset_path": str(DATA)}) == ()
    )
    in_python = type("Task", (), {"DATASET_PATH": "rajpurkar/squad_v2"})
    assert hub_datasets({"class": in_python}) == ("rajpurkar/squad_v2",)
    assert hub_datasets({"custom_dataset": len}) == ()

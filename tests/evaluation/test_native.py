"""Native tasks: from rows and the keys of a study file to requests and numbers."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.errors import TaskError
from evaluation.native import NativeTask, load_native_task
from evaluation.spec import Fewshot, NativeSpec
from evaluation.task import Request, Response

CHOICE_ROWS = [
    {"question": f"{k} + 1?", "choices": ["one", "two", "three"], "answer": k, "kind": f"k{k}"}
    for k in range(3)
]
TEXT_ROWS = [{"text": f"text number {k}", "file": f"f{k // 2}"} for k in range(40)]
PROMPT = "Question: {{question}}\nAnswer:"


def choice_spec(file: Path, **keys: Any) -> NativeSpec:
    defaults = {"prompt": PROMPT, "choices": "choices", "answer": "answer"}
    return NativeSpec("logic", file, "multiple_choice", **(defaults | keys))


def load(spec: NativeSpec, **keys: Any) -> NativeTask:
    return load_native_task(spec, **({"seed": 0} | keys))


def fault(spec: NativeSpec, **keys: Any) -> str:
    with pytest.raises(TaskError) as caught:
        load(spec, **keys)
    return str(caught.value)


def first_half(groups: Sequence[str], strata: Sequence[str]) -> list[bool]:
    half = sorted(set(groups))[: len(set(groups)) // 2]
    return [group in half for group in groups]


def test_multiple_choice_asks_for_each_choice_after_a_space(write_rows) -> None:
    task = load(choice_spec(write_rows(CHOICE_ROWS), stratum="kind"))
    item = task.items[1]
    context = "Question: 1 + 1?\nAnswer:"
    assert item.requests == tuple(
        Request("loglikelihood", context, f" {choice}") for choice in ("one", "two", "three")
    )
    assert (item.index, item.stratum, item.group) == (1, "k1", item.key)
    assert list(task.metrics) == ["acc", "acc_norm"]
    responses = [Response(-4.0), Response(-4.1), Response(-5.0)]
    assert task.score(item, responses) == {"acc": (0.0,), "acc_norm": (0.0,)}
    assert task.score(task.items[0], responses)["acc"] == (1.0,)
    assert task.score(task.items[2], responses)["acc_norm"] == (1.0,)


def test_without_a_prompt_choices_stand_alone(write_rows) -> None:
    task = load(choice_spec(write_rows(CHOICE_ROWS), prompt=""))
    assert task.items[0].requests[0] == Request("loglikelihood", "", "one")


@pytest.mark.parametrize(
    ("choices", "answer", "gold"),
    [
        (["a", "b"], 1, 1),
        (["a", "b"], "b", 1),
        (["a", "b"], 1.0, 1),
        (["a", "b"], "1", 1),
        (["1", "0"], "0", 1),
        ([1, 2], 1, 1),
        (["True", "False"], False, 1),
    ],
)
def test_an_integer_is_an_index_and_a_string_a_choice(
    write_rows, choices: list[object], answer: object, gold: int
) -> None:
    row = {"question": "?", "choices": choices, "answer": answer}
    task = load(choice_spec(write_rows([row])))
    responses = [Response(0.0 if k == gold else -1.0) for k in range(len(choices))]
    assert task.score(task.items[0], responses)["acc"] == (1.0,)


def test_fields_are_templates_with_types(write_rows) -> None:
    rows = [{"q": "x", "a": "yes", "b": "no", "letter": "B"}]
    spec = choice_spec(
        write_rows(rows),
        prompt="{% if q %}{{ q|upper }}{% endif %}",
        choices="{{ [a, b] }}",
        answer="{{ 'AB'.index(letter) }}",
    )
    task = load(spec)
    assert [request.continuation for request in task.items[0].requests] == [" yes", " no"]
    assert task.items[0].requests[0].context == "X"
    assert task.score(task.items[0], [Response(-2.0), Response(-1.0)])["acc"] == (1.0,)
    fixed = load(choice_spec(spec.file, prompt="q", choices=("{{a}}", "maybe"), answer="a"))
    assert [request.continuation for request in fixed.items[0].requests] == [" yes", " maybe"]


def test_csv_lists_are_json_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('question,choices,answer\nx,"[""a"", ""b""]",1\n')
    task = load(choice_spec(path))
    assert [request.continuation for request in task.items[0].requests] == [" a", " b"]


def test_plain_text_is_rolling_and_a_prompt_makes_it_conditional(write_rows) -> None:
    path = write_rows([{"q": "hä", "t": "wü"}])
    plain = load(NativeSpec("code", path, "loglikelihood", target="t"))
    assert plain.items[0].requests == (Request("rolling", "wü"),)
    given = load(NativeSpec("code", path, "loglikelihood", prompt="{{q}}", target="t"))
    assert given.items[0].requests == (Request("loglikelihood", "hä", " wü"),)
    for task in (plain, given):
        result = task.score(task.items[0], [Response(-3 * math.log(2))])
        assert result["bits_per_byte"] == (pytest.approx(3 * math.log(2)), 3.0)
        value = task.metrics["bits_per_byte"].aggregate(np.array([result["bits_per_byte"]]))
        assert value == pytest.approx(1.0)


def test_generated_text_is_compared_with_the_target(write_rows) -> None:
    path = write_rows([{"q": "2+2", "a": 4}])
    spec = NativeSpec("sum", path, "generate", prompt="{{q}}=", target="a", max_new_tokens=5)
    task = load(spec)
    item = task.items[0]
    assert item.requests == (Request("generate", "2+2=", "", ("\n\n",), 5),)
    assert task.score(item, [Response(text=" 4\n")]) == {"exact_match": (1.0,)}
    assert task.score(item, [Response(text="44")]) == {"exact_match": (0.0,)}


def test_extract_takes_the_first_group_and_finding_nothing_is_wrong(write_rows) -> None:
    path = write_rows([{"a": "42"}])
    spec = NativeSpec("sum", path, "generate", prompt="?", target="a", extract=r"#### (\d+)|n/a")
    task = load(spec)
    score = lambda text: task.score(task.items[0], [Response(text=text)])["exact_match"]  # noqa: E731
    assert score("so #### 42, #### 7") == (1.0,)
    assert score("42") == (0.0,)
    assert score("n/a") == (0.0,)


@pytest.mark.parametrize("pattern", ["(((a{900}){900}){900})", "a{1000000000}", "(" * 5000])
def test_a_pattern_that_cannot_be_compiled_is_told(write_rows, pattern: str) -> None:
    file = write_rows([{"q": "a", "a": "b"}])
    spec = NativeSpec("sums", file, "generate", prompt="q", target="a", extract=pattern)
    assert "extract: " in fault(spec)


def test_a_pattern_that_backtracks_without_end_is_told(write_rows, monkeypatch) -> None:
    monkeypatch.setattr("evaluation.rules.EXTRACT_SECONDS", 0.05)
    path = write_rows([{"a": "42"}])
    spec = NativeSpec("sum", path, "generate", prompt="?", target="a", extract=r"^(a|aa)+$")
    task = load(spec)
    with pytest.raises(TaskError, match="task 'sum': item .*: extract: .* needs more than 0.05"):
        task.score(task.items[0], [Response(text="a" * 90 + "b")])
    bad = NativeSpec("sum", path, "generate", prompt="?", target="a", extract="(")
    assert "extract: not a regular expression" in fault(bad)


SCORER = """
def length(row, text):
    row["a"] = "changed"
    return len(text) / 2

def broken(row, text):
    return 1 / 0

def nothing(row, text):
    return None
"""


def test_an_own_scorer_runs_only_if_its_file_is_allowed(write_rows, tmp_path: Path) -> None:
    path, code = write_rows([{"a": "42"}]), tmp_path / "scorers.py"
    code.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n" + SCORER)
    spec = NativeSpec("own", path, "generate", prompt="?", score=f"{code}:length")
    assert f"--allow-code {code}" in fault(spec)
    assert f"--allow-code {code}" in fault(spec, allowed_code=frozenset({tmp_path}))
    assert not (tmp_path / "ran").exists()
    task = load(spec, allowed_code=frozenset({code}))
    assert task.score(task.items[0], [Response(text="abc")]) == {"score": (1.5,)}
    assert task.items[0].row == {"a": "42"}
    code.write_text(SCORER + "# another version")
    again = load(spec, allowed_code=frozenset({code}))
    assert again.items[0].prompt_hash != task.items[0].prompt_hash


@pytest.mark.parametrize(
    ("function", "message"),
    [("broken", "ZeroDivisionError"), ("nothing", "must return a finite number, got None")],
)
def test_a_scorer_at_fault_is_told(write_rows, tmp_path, function: str, message: str) -> None:
    code = tmp_path / "scorers.py"
    code.write_text(SCORER)
    path = write_rows([{"a": "42"}])
    spec = NativeSpec("own", path, "generate", prompt="?", score=f"{code}:{function}")
    task = load(spec, allowed_code=frozenset({code}))
    with pytest.raises(TaskError, match=message):
        task.score(task.items[0], [Response(text="abc")])


@pytest.mark.parametrize(
    ("score", "source", "message"),
    [
        ("scorers.py:none", SCORER, "defines no function 'none'"),
        ("scorers.py", SCORER, "expected `scorers.py:function`"),
        ("missing.py:length", SCORER, "no such file"),
        ("scorers.py:length", "def (", "SyntaxError"),
        ("scorers.py:length", "import no_such_module_x", "ModuleNotFoundError"),
    ],
)
def test_scorers_that_cannot_be_loaded(
    write_rows, tmp_path: Path, score: str, source: str, message: str
) -> None:
    (tmp_path / "scorers.py").write_text(source)
    path = write_rows([{"a": "42"}])
    spec = NativeSpec("own", path, "generate", prompt="?", score=str(tmp_path / score))
    assert message in fault(spec, allowed_code=frozenset({tmp_path / "scorers.py"}))


def test_shots_come_from_calibration_and_never_from_the_own_group(write_rows) -> None:
    spec = NativeSpec(
        "code", write_rows(TEXT_ROWS), "loglikelihood", prompt="Say:", target="text",
        group="file", fewshot=Fewshot(3), description="Speak.\n",
    )  # fmt: skip
    task = load(spec, calibration=first_half)
    groups = [str(row["file"]) for row in TEXT_ROWS]
    allowed = first_half(groups, groups)
    for item in task.items:
        (request,) = item.requests
        assert request.context.startswith("Speak.\nSay: text number")
        assert request.context.endswith("\n\nSay:")
        shots = [part.removeprefix("Say: ") for part in request.context[7:].split("\n\n")[:-1]]
        sources = [row for row in TEXT_ROWS if row["text"] in shots]
        assert len(sources) == 3
        for row in sources:
            assert allowed[TEXT_ROWS.index(row)]
            assert row["file"] != item.group
    assert len({item.requests[0].context for item in task.items}) > 20


def test_same_shots_for_all_but_the_shots_themselves(write_rows) -> None:
    spec = NativeSpec(
        "code", write_rows(TEXT_ROWS), "loglikelihood", prompt="Say:", target="text",
        fewshot=Fewshot(2, same=True),
    )  # fmt: skip
    task = load(spec, calibration=first_half)
    contexts = [item.requests[0].context for item in task.items]
    common = max(contexts, key=contexts.count)
    assert contexts.count(common) == len(contexts) - 2
    assert load(spec, calibration=first_half, seed=1).items[0].requests != task.items[0].requests


def test_shots_do_not_depend_on_the_order_of_the_file(write_rows) -> None:
    spec = NativeSpec(
        "code", write_rows(TEXT_ROWS), "loglikelihood", prompt="Say:", target="text",
        fewshot=Fewshot(2),
    )  # fmt: skip
    one = load(spec, calibration=first_half)
    write_rows(TEXT_ROWS[::-1])
    other = load(spec, calibration=first_half)
    assert {i.key: i.requests for i in one.items} == {i.key: i.requests for i in other.items}


def test_shots_from_a_file_show_the_gold_choice(write_rows) -> None:
    shots = write_rows([{"question": "shot?", "choices": ["x", "y"], "answer": "y"}], "s.jsonl")
    spec = choice_spec(write_rows(CHOICE_ROWS), fewshot=Fewshot(1, file=shots))
    context = load(spec).items[0].requests[0].context
    assert context == "Question: shot?\nAnswer: y\n\nQuestion: 0 + 1?\nAnswer:"
    own = choice_spec(spec.file, fewshot=Fewshot(3, file=write_rows(CHOICE_ROWS, "copy.jsonl")))
    assert "asks for 3 examples, but only 2 rows" in fault(own)


def test_shots_are_never_rows_that_are_scored(write_rows) -> None:
    file = write_rows(CHOICE_ROWS)
    assert "the task's own file" in fault(choice_spec(file, fewshot=Fewshot(1, file=file)))


def test_a_chat_has_shots_as_turns_and_no_space_before_the_answer(write_rows) -> None:
    shots = write_rows([{"question": "shot?", "choices": ["x", "y"], "answer": "y"}], "s.jsonl")
    spec = choice_spec(
        write_rows(CHOICE_ROWS), fewshot=Fewshot(1, file=shots), chat_template=True,
        system="Be brief.", description="Add.", prompt="{{question}}",
    )  # fmt: skip
    seen = []

    def chat(messages: Sequence[Any]) -> str:
        seen.append(list(messages))
        return "rendered"

    task = load(spec, chat=chat)
    assert seen[0] == [
        {"role": "system", "content": "Be brief.\n\nAdd."},
        {"role": "user", "content": "shot?"},
        {"role": "assistant", "content": "y"},
        {"role": "user", "content": "0 + 1?"},
    ]
    assert task.items[0].requests[0] == Request("loglikelihood", "rendered", "one")
    assert "no tokenizer" in fault(spec)


def test_keys_follow_content_and_repeated_rows_share_a_group(write_rows) -> None:
    rows = [TEXT_ROWS[0], TEXT_ROWS[1], TEXT_ROWS[0], TEXT_ROWS[0]]
    task = load(NativeSpec("code", write_rows(rows), "loglikelihood", target="text"))
    first, _, second, third = task.items
    assert [second.key, third.key] == [f"{first.key}-2", f"{first.key}-3"]
    assert first.group == second.group == third.group == first.key
    again = load(NativeSpec("code", write_rows(rows[::-1]), "loglikelihood", target="text"))
    assert {item.key for item in again.items} == {item.key for item in task.items}


def test_a_limit_is_a_seeded_sample_in_the_files_order(write_rows) -> None:
    path = write_rows(TEXT_ROWS)

    def texts(limit: int, seed: int) -> list[str]:
        spec = NativeSpec("code", path, "loglikelihood", target="text", limit=limit)
        return [item.requests[0].context for item in load(spec, seed=seed).items]

    everything = [row["text"] for row in TEXT_ROWS]
    five = texts(5, 0)
    assert len(five) == 5
    assert five == [text for text in everything if text in five] != everything[:5]
    assert set(five) < set(texts(10, 0))
    assert five != texts(5, 1)
    assert texts(99, 0) == everything


def test_the_prompt_hash_covers_requests_and_rule(write_rows) -> None:
    path = write_rows(CHOICE_ROWS[:1])
    base = load(choice_spec(path)).items[0].prompt_hash
    assert load(choice_spec(path)).items[0].prompt_hash == base
    for changed in (
        choice_spec(path, prompt="{{question}}"),
        choice_spec(path, description="D"),
        choice_spec(path, answer="{{1}}"),
        choice_spec(path, choices=("one", "two", "3")),
    ):
        assert load(changed).items[0].prompt_hash != base


@pytest.mark.parametrize(
    ("row", "keys", "message"),
    [
        ({"answer": 3}, {}, ":2: answer: 3 is no index into 3 choices"),
        ({"answer": -1}, {}, ":2: answer: -1 is no index"),
        (
            {"answer": "four"},
            {},
            ":2: answer: expected the index or the text of a choice, got str",
        ),
        ({"answer": True}, {}, ":2: answer: expected the index or the text of a choice, got bool"),
        ({"choices": ["a"]}, {}, ":2: choices: expected a list of two or more choices"),
        ({"choices": "abc"}, {}, ":2: choices: expected a list of two or more choices"),
        ({"choices": ["a", ""]}, {}, ":2: choices: choice 1 is str ''"),
        ({"choices": ["a", None]}, {}, ":2: choices: choice 1 is null"),
        ({"question": None}, {"prompt": "question"}, ":2: prompt: expected text, got null"),
        ({"question": None}, {}, ":2: prompt: a value is null"),
        ({}, {"prompt": "{{qestion}}"}, ":1: prompt: 'qestion' is undefined"),
        ({}, {"prompt": "qestion"}, "prompt: no column 'qestion'; did you mean 'question'?"),
        ({}, {"answer": "solution"}, "answer: no column 'solution' (columns: "),
        ({}, {"choices": None}, "choices: a multiple_choice task needs it"),
        ({}, {"answer": None}, "answer: a multiple_choice task needs it"),
        ({}, {"prompt": "{{ question"}, "prompt: "),
        ({}, {"stratum": "kin"}, "stratum: no column 'kin'; did you mean 'kind'?"),
        ({}, {"fewshot": Fewshot(2)}, "no calibration split"),
    ],
)
def test_a_fault_names_task_key_and_row(
    write_rows, row: dict[str, object], keys: dict[str, Any], message: str
) -> None:
    found = fault(choice_spec(write_rows([CHOICE_ROWS[0], CHOICE_ROWS[1] | row]), **keys))
    assert found.startswith("task 'logic': ")
    assert message in found


def test_a_row_that_lacks_a_column_is_named(write_rows) -> None:
    path = write_rows([{"text": "a"}, {"other": "b"}])
    spec = NativeSpec("code", path, "loglikelihood", target="text")
    assert f"{path}:2: target: this row has no column 'text'" in fault(spec)
    empty = NativeSpec("code", write_rows([{"text": ""}]), "loglikelihood", target="text")
    assert "target: the text is empty" in fault(empty)


@pytest.mark.parametrize(
    "template",
    [
        "{{ question.__class__ }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ question * 999999999 }}",
        "{{ '%999999999d' % 1 }}",
        "{{ 9 ** 999999999 }}",
        "{{ question.center(999999999) }}",
        "{{ question|center(999999999) }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ big|replace('z', big)|replace('z', big) }}",
        "{{ big|list|join(big)|list|join(big) }}",
        "{% for a in range(999999999) %}x{% endfor %}",
        "{{ range(999999999)|list }}",
        "{% for a in big %}{% for b in big %}{{ big }}{% endfor %}{% endfor %}",
        "{% for a in b %}{% for a in b %}{% for a in b %}{% endfor %}{% endfor %}{% endfor %}",
        "{% set x = question %}{{ x }}",
        "{% macro m() %}{% endmacro %}",
        "{% include 'x' %}",
        "{% for a in choices recursive %}{{ loop(a) }}{% endfor %}",
        "{{ lipsum() }}",
        "{{ cycler }}",
        "{{ question|map('center', 9)|list }}",
        "{{ 1|round(-2000000000) }}",
        "{{ 1|round(2000000000, 'ceil') }}",
        "{{ choices|tojson(indent=1000000000) }}",
        "{{ choices|join(choices) }}",
        "{{ question|dictsort }}",
        "{{ " + "(" * 5000 + "question" + ")" * 5000 + " }}",
        "{% if question %}" * 200 + "{% endif %}" * 200,
        "x" * 70_000,
    ],
)
def test_templates_of_strangers_are_bounded(write_rows, template: str) -> None:
    rows = [CHOICE_ROWS[0] | {"big": "z" * 900}]
    found = fault(choice_spec(write_rows(rows), prompt=template + " "))
    assert "prompt: " in found
    assert len(found) < 500


def test_what_prompts_usually_do_works(write_rows) -> None:
    prompt = (
        "{{question.strip()}}{% for c in choices %}\n{{loop.index}}. {{c|trim}}"
        "{% if not loop.last %},{% endif %}{% endfor %}{{ ' (' ~ choices|length ~ ')' }}\n"
    )
    task = load(choice_spec(write_rows(CHOICE_ROWS), prompt=prompt))
    assert task.items[0].requests[0].context == "0 + 1?\n1. one,\n2. two,\n3. three (3)\n"

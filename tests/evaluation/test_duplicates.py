"""What is stated twice is found, whatever it is called; what differs in a number is not."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.duplicates import Restated, find_restated, normalised, statement
from evaluation.native import load_native_task
from evaluation.spec import Fewshot, NativeSpec
from evaluation.splits import SPLITS

words = st.text("abcXYZéß09", min_size=1, max_size=6)
gaps = st.text(' \t\n.,;:?"\u00a0', min_size=1, max_size=3)
letters = st.text("abcXYZéß", min_size=2, max_size=6)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is it?", "what  is it"),
        ("Don\u2019t worry\u2014be \u201chappy\u201d!", 'Dont worry, be "happy".'),
        ("\uff28\uff45\uff4c\uff4c\uff4f \ufb01ne", "hello FINE"),
        ("STRASSE", "stra\u00dfe"),
        ("caf\u00e9", "cafe\u0301"),
        ("7 \u2212 2 =", "7-2 ="),
        ("5+3", "5 + 3"),
        ("zero\u200bwidth", "zerowidth"),
        ("- an item", "an item"),
        ("In 1990, he left.", "in 1990 he left"),
    ],
)
def test_what_is_said_in_other_letters_is_the_same(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.5", "15"),
        ("not ( True and False ) or True is", "not True and False or True is"),
        ("Complete it: [ { [", "Complete it: ( ( {"),
        ("(a+b)*c", "a+b*c"),
        ("x != y", "x = y"),
        ("What is n! for n = 5", "What is n for n = 5"),
        ("x - y", "x y"),
        ("1.5", "1,5"),
        ("-5 + 3", "5 + 3"),
        ("7 - 2", "7 2"),
        ("2 * 3", "2 / 3"),
        ("2 * (3 + 4)", "(2 * 3) + 4"),
        ("a < b", "a > b"),
        ("x + y", "x y"),
        ("-$5", "$5"),
        ("ab", "a b"),
        ("?", "!"),
        ("", " "),
    ],
)
def test_what_means_something_else_is_not(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@given(st.lists(st.tuples(letters, gaps), min_size=1, max_size=6), st.data())
def test_case_spacing_and_punctuation_say_nothing(
    parts: list[tuple[str, str]], data: st.DataObject
) -> None:
    plain = " ".join(word for word, _ in parts)
    other = "".join(word + gap for word, gap in parts)
    changed = data.draw(st.sampled_from([other, other.upper(), f'"{other}"', other.casefold()]))
    assert normalised(changed) == normalised(plain)


@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


def test_choices_are_stated_in_any_order() -> None:
    assert statement("Q?", ["b ", "A", "c"]) == statement("Q?", ["c", "b", "A"]) == "Q?\nA\nb\nc"
    assert statement("", ["x"]) == "x" and statement("Q?") == "Q?"


def by_hand(
    texts: Sequence[str], splits: Mapping[str, Sequence[int]]
) -> tuple[set[int], set[int]]:
    """Items that another split has as well, by comparing all with all: normalised and exact."""
    at = {index: split for split, indices in splits.items() for index in indices}
    pairs = [(i, j) for i in at for j in at if at[i] != at[j]]
    return (
        {i for i, j in pairs if normalised(texts[i]) == normalised(texts[j])},
        {i for i, j in pairs if texts[i] == texts[j]},
    )


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "A", "a!", "b", "B ", "c"]), st.sampled_from(SPLITS)),
        max_size=14,
    )
)
def test_of_one_task_it_is_what_comparing_all_with_all_finds(rows: list[tuple[str, str]]) -> None:
    texts = [text for text, _ in rows]
    splits = {s: [i for i, (_, own) in enumerate(rows) if own == s] for s in SPLITS}
    alike, exact = by_hand(texts, splits)
    test = [i for i in splits["test"] if i in alike]
    assert find_restated({"t": texts}, {"t": splits}) == {
        "t": Restated(len(alike), len(exact), tuple(test), sum(i in exact for i in test), 0)
    }


def test_a_text_of_another_task_is_kept_out_as_well() -> None:
    texts = {"one": ["x", "y", "z"], "two": ["Y", "z", "w"]}
    splits = {"one": {"search": [0], "test": [1, 2]}, "two": {"search": [0], "test": [1, 2]}}
    found = find_restated(texts, splits)
    assert found["one"] == Restated(0, 0, (1,), 0, 1)  # y is searched on as Y
    assert found["two"] == Restated(0, 0, (), 0, 0)  # z is tested in both: nobody saw it


def test_what_stands_twice_in_one_split_is_left_alone() -> None:
    splits = {"search": [0, 1], "test": [2, 3]}
    assert find_restated({"t": ["a", "a", "b", "b"]}, {"t": splits})["t"].across == 0


def test_many_long_items_are_not_compared_one_by_one() -> None:
    """Of 20,000 items pair by pair this would not end."""
    draw = random.Random(0)
    some = ["Hello,", "world", "it's", "1.5", "(of", "words)", "and", "more?", "caf\u00e9"]
    texts = [" ".join(draw.choices(some, k=50)) for _ in range(20_000)]
    texts[10_000] = texts[0].upper()
    found = find_restated(
        {"t": texts}, {"t": {"search": range(10_000), "test": range(10_000, 20_000)}}
    )
    assert found["t"].test == (10_000,)


ROWS = [{"q": f"What is {k} + 1?", "choices": ["one", "two"], "answer": k % 2} for k in range(12)]


def texts_of(spec: NativeSpec, **keys: Any) -> list[str]:
    return [item.text for item in load_native_task(spec, seed=0, **keys).items]


def half(groups: Sequence[str], strata: Sequence[str]) -> list[bool]:
    return [place % 2 == 0 for place in range(len(groups))]


def test_shots_description_and_id_are_no_part_of_a_statement(write_rows) -> None:
    rows = [{**row, "id": number} for number, row in enumerate(ROWS)]
    keys: dict[str, Any] = {"prompt": "{{q}}", "choices": "choices", "answer": "answer"}
    plain = texts_of(NativeSpec("t", write_rows(ROWS), "multiple_choice", **keys))
    shots = NativeSpec(
        "t",
        write_rows(rows, "other.jsonl"),
        "multiple_choice",
        description="Answer.",
        fewshot=Fewshot(3),
        **keys,
    )
    task = load_native_task(shots, seed=0, calibration=half)
    assert [item.text for item in task.items] == plain
    assert plain[3] == "What is 3 + 1?\none\ntwo"
    asked = task.items[3].requests[0].context
    assert asked.startswith("Answer.") and asked.count("What is") == 4


def test_each_type_states_what_it_asks(write_rows) -> None:
    file = write_rows([{"q": "Who?", "a": "he"}])
    text = NativeSpec("t", file, "loglikelihood", target="q")
    assert texts_of(text) == ["Who?"]
    assert texts_of(NativeSpec("t", file, "loglikelihood", prompt="{{q}}", target="a")) == [
        "Who?\nhe"
    ]
    assert texts_of(NativeSpec("t", file, "generate", prompt="{{q}}", target="a")) == ["Who?"]


def test_a_chat_states_the_question_alone(write_rows) -> None:
    spec = NativeSpec(
        "t", write_rows(ROWS), "generate", prompt="{{q}}", target="answer", chat_template=True,
        system="Be brief.",
    )  # fmt: skip
    assert texts_of(spec, chat=lambda messages: "rendered")[2] == "What is 2 + 1?"

"""What a model answered, as it is kept beside an item's numbers."""

from evaluation.answers import ANSWER, LONGEST, answer
from evaluation.task import Item, Request, Response


def asked(*requests: Request) -> Item:
    return Item("key", 0, "group", "", requests, "hash", {}, "text")


def choices(*texts: str) -> Item:
    return asked(*(Request("loglikelihood", "Q:", f" {text}") for text in texts))


def test_of_choices_the_likeliest_and_the_likeliest_by_length_are_kept() -> None:
    item = choices("a", "abcdefgh", "ab")
    said = [Response(-2.0), Response(-4.0), Response(-1.0)]
    assert answer(item, said) == {ANSWER: (2.0, 1.0)}  # -4 over 8 characters; of equals the first
    assert answer(choices("a", "b"), [Response(-1.0), Response(-1.0)]) == {ANSWER: (0.0, 0.0)}


def test_a_written_text_is_cut_and_can_be_written_to_a_file() -> None:
    item = asked(Request("generate", "Q:"))
    assert answer(item, [Response(text="42\n")]) == {ANSWER: ("42\n",)}
    (long,) = answer(item, [Response(text="x" * 1000)])[ANSWER]
    assert long == "x" * LONGEST
    (odd,) = answer(item, [Response(text="\ud800!")])[ANSWER]
    assert odd.encode("utf-8") == b"?!"


def test_a_log_likelihood_is_its_own_answer() -> None:
    assert answer(asked(Request("rolling", "text")), [Response(-3.0)]) == {}
    assert answer(asked(Request("loglikelihood", "a", " b")), [Response(-3.0)]) == {}

"""The embedded family: right answers, nothing asked was taught, ordinary checkpoints."""

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evaluation.encoding import make_encoder, request_spans
from evaluation.native import load_native_task
from evaluation.spec import NativeSpec
from evaluation.splits import assign_splits, split_faults
from studies.config import read_study
from studies.demo.family import RECORD, Family, ensure_family
from studies.demo.plan import Plan
from studies.demo.skills import (
    CHOICES,
    Lesson,
    Puzzle,
    draw_fresh,
    make_rows,
    questions,
    skills,
    symbols,
)
from studies.demo.tokenizer import SPECIAL, make_tokenizer
from studies.demo.training import (
    IGNORED,
    Course,
    Shape,
    answer_loss,
    encode,
    make_model,
    rate_at,
    reproducible,
    train,
)
from studies.errors import StudyError

MICRO = Plan(
    shape=Shape(hidden=16, inner=32, layers=2, heads=2, window=64),
    batch=8,
    base_steps=3,
    expert_steps=2,
    rows=200,
    threads=1,
)
CHECKPOINT = {
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return ensure_family(tmp_path_factory.mktemp("cache"), plan=MICRO)


@pytest.mark.parametrize(
    ("name", "line", "answer"),
    [
        ("reverse", "k q a d", "d a q k"),
        ("sort", "Q A Z E M", "A E M Q Z"),
        ("climb", "4 7 1 0 9", "5 9 4 4 4"),
    ],
)
def test_skills_follow_their_rules(name: str, line: str, answer: str) -> None:
    assert " ".join(skills()[name].solve(tuple(line.split()))) == answer


def test_answers_of_rows_are_right_and_the_only_right_ones() -> None:
    for name, lesson in Plan().asked().items():
        for row in make_rows(lesson, 200, seed=5):
            head, _, line = str(row["question"]).partition(": ")
            choices = row["choices"]
            right = " ".join(lesson.skill.solve(tuple(line.split())))
            assert head == name
            assert isinstance(choices, list) and len(set(choices)) == CHOICES
            assert choices[int(str(row["answer"]))] == right
            assert row["symbols"] == len(line.split())


def test_near_misses_differ_in_two_neighbours_or_one_digit() -> None:
    answer = ("a", "b", "c", "d")
    assert skills()["sort"].misses(answer) == [
        ("b", "a", "c", "d"),
        ("a", "c", "b", "d"),
        ("a", "b", "d", "c"),
    ]
    assert skills()["climb"].misses(("9", "4")) == [
        ("0", "4"),
        ("8", "4"),
        ("9", "5"),
        ("9", "3"),
    ]


def test_questions_of_a_table_differ_and_their_answers_stand_anywhere() -> None:
    rows = make_rows(Plan().asked()["sort"], 400, seed=0)
    assert len(questions([rows])) == 400
    places = [row["answer"] for row in rows]
    assert all(places.count(place) > 60 for place in range(CHOICES))


def test_rows_depend_on_the_seed_alone() -> None:
    lesson = Plan().asked()["reverse"]
    assert make_rows(lesson, 20, seed=1) == make_rows(lesson, 20, seed=1)
    assert make_rows(lesson, 20, seed=1) != make_rows(lesson, 20, seed=2)


def test_a_taken_question_is_never_drawn() -> None:
    lesson = Lesson(skills()["climb"], 1, 1)
    taken = {f"climb: {digit}" for digit in "012345678"}
    drawn = {draw_fresh(lesson, Random(seed), taken).question for seed in range(20)}
    assert drawn == {"climb: 9"}


def test_base_and_experts_are_taught_no_question_that_is_asked() -> None:
    plan = Plan()
    shorter, longer = plan.short, plan.long
    assert shorter[1] < longer[0]
    taught = [one for one in plan.base_course().lessons if one.skill.name != "copy"]
    assert [(one.shortest, one.longest) for one in taught] == [shorter] * 3
    for name, course in plan.expert_courses().items():
        assert course.lessons == (plan.asked()[name],)


def test_text_survives_the_tokenizer_and_pairs_split_cleanly() -> None:
    tokenizer = make_tokenizer(symbols(), 64)
    text = "sort: Q A Z ="
    whole = tokenizer.encode(f"{text} A Q Z")
    assert tokenizer.decode(whole) == f"{text} A Q Z"
    assert whole == tokenizer.encode(text) + tokenizer.encode(" A Q Z")
    assert len(whole) == 8
    assert tokenizer.unk_token_id in tokenizer.encode("sort: Ä =")
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL)) == [0, 1, 2, 3]


def test_only_answers_and_their_end_carry_loss() -> None:
    tokenizer = make_tokenizer(symbols(), 64)
    puzzles = [Puzzle("sort: B A", "A B"), Puzzle("sort: C", "C")]
    tokens, labels = encode(puzzles, tokenizer)
    assert tokenizer.batch_decode(tokens) == [
        "sort: B A = A B </s>",
        "sort: C = C </s> <pad> <pad>",
    ]
    kept = [tokenizer.decode(line[line != IGNORED]) for line in labels]
    assert kept == ["A B </s>", "C </s>"]


def test_loss_equals_that_of_transformers() -> None:
    tokenizer = make_tokenizer(symbols(), 64)
    model = make_model(MICRO.shape, tokenizer, seed=1)
    tokens, labels = encode([Puzzle("sort: B A", "A B"), Puzzle("sort: C", "C")], tokenizer)
    theirs = model(input_ids=tokens, labels=labels).loss
    assert torch.allclose(answer_loss(model, tokens, labels), theirs, atol=1e-5)


def test_rate_warms_up_and_falls_to_a_tenth() -> None:
    course = Course((), steps=110, batch=1, rate=1.0, warmup=10, seed=0)
    assert rate_at(course, 0) == pytest.approx(0.1)
    assert rate_at(course, 9) == rate_at(course, 10) == pytest.approx(1.0)
    assert rate_at(course, 60) == pytest.approx(0.55)
    assert rate_at(course, 109) == pytest.approx(0.1, abs=1e-3)


def test_training_lowers_the_loss_and_repeats_bit_for_bit() -> None:
    tokenizer = make_tokenizer(symbols(), 64)
    lesson = Lesson(skills()["climb"], 1, 1)
    course = Course((lesson,), steps=30, batch=16, rate=1e-2, warmup=2, seed=3)
    batch = encode([lesson.draw(Random(seed)) for seed in range(16)], tokenizer)
    ends = []
    for _ in range(2):
        with reproducible(1):
            model = make_model(MICRO.shape, tokenizer, seed=1)
            before = answer_loss(model, *batch).item()
            train(model, tokenizer, course, taken=frozenset())
            ends.append(answer_loss(model, *batch).item())
    assert ends[0] == ends[1] < before / 2


def test_torch_is_left_as_it_was_found() -> None:
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    state = torch.get_rng_state()
    with reproducible(threads + 1):
        make_model(MICRO.shape, make_tokenizer(symbols(), 64), seed=1)
        assert torch.get_num_threads() == threads + 1
    assert torch.get_num_threads() == threads
    assert torch.are_deterministic_algorithms_enabled() == strict
    assert torch.equal(torch.get_rng_state(), state)


def test_checkpoints_are_ordinary(family: Family) -> None:
    base = AutoModelForCausalLM.from_pretrained(family.base)
    tokenizer = AutoTokenizer.from_pretrained(family.base)
    assert base.dtype == torch.float32
    assert base.generation_config.eos_token_id == tokenizer.eos_token_id == 1
    assert tokenizer.decode(tokenizer.encode("sort: B A =")) == "sort: B A ="
    for folder in (family.base, *family.experts.values()):
        assert {path.name for path in folder.iterdir()} >= CHECKPOINT
    for folder in family.experts.values():
        expert = AutoModelForCausalLM.from_pretrained(folder).state_dict()
        moved = [key for key, value in base.state_dict().items() if not value.equal(expert[key])]
        assert len(moved) == len(expert)


def test_study_is_read_and_every_split_is_large_enough(family: Family) -> None:
    study = read_study(family.study)
    assert [task.name for task in study.tasks] == list(family.experts)
    assert study.budget.trials == MICRO.trials >= 60
    for spec in study.tasks:
        assert isinstance(spec, NativeSpec)
        task = load_native_task(spec, seed=study.seed)
        groups, strata = [one.group for one in task.items], [one.stratum for one in task.items]
        splits = assign_splits(groups, strata, study.split, seed=study.seed)
        assert split_faults(groups, splits, study.split) == ()
        assert len(task.items) == MICRO.rows


def test_test_split_of_the_real_family_holds_150_items(family: Family) -> None:
    study = read_study(family.study)
    assert study.split["test"] * Plan().rows >= 150


def test_runner_sees_the_tokens_of_training(family: Family) -> None:
    model = AutoModelForCausalLM.from_pretrained(family.base)
    tokenizer = AutoTokenizer.from_pretrained(family.base)
    spec = read_study(family.study).tasks[0]
    assert isinstance(spec, NativeSpec)
    item = load_native_task(spec, seed=0).items[0]
    answer = item.requests[int(str(item.row["answer"]))]
    (span,) = request_spans(make_encoder(model, tokenizer, None), answer)
    puzzle = Puzzle(str(item.row["question"]), answer.continuation.strip())
    tokens, _ = encode([puzzle], make_tokenizer(symbols(), 64))
    assert list(span.tokens) == tokens[0].tolist()[: len(span.tokens)]
    assert len(span.targets) == len(puzzle.answer.split())


def test_second_call_trains_nothing(family: Family) -> None:
    stamps = {path: os.stat(path).st_mtime_ns for path in family.folder.rglob("*")}
    told: list[str] = []
    again = ensure_family(
        family.folder.parent, plan=MICRO, progress=lambda what, share: told.append(what)
    )
    assert family.seconds > 0 and again == replace(family, seconds=0.0)
    assert told == []
    assert stamps == {path: os.stat(path).st_mtime_ns for path in family.folder.rglob("*")}


def test_progress_rises_to_one(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    ensure_family(tmp_path, plan=MICRO, progress=lambda what, share: told.append((what, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert {"training base", "training reverse"} <= {what for what, _ in told}


def test_two_at_once_train_once_and_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: ensure_family(tmp_path, plan=MICRO), range(2))
    assert first.folder == second.folder
    assert sorted([first.seconds > 0, second.seconds > 0]) == [False, True]


def test_remains_of_a_broken_training_are_swept_away(tmp_path: Path) -> None:
    folder = tmp_path / f"demo-{MICRO.fingerprint()}"
    for remains in (folder, tmp_path / f"{folder.name}.part"):
        remains.mkdir()
        (remains / "rubbish").write_text("half")
    family = ensure_family(tmp_path, plan=MICRO)
    assert not list(tmp_path.rglob("rubbish"))
    assert seconds_of(family).keys() == {"base", *family.experts}


def test_same_plan_same_bits_and_another_plan_another_folder(
    family: Family, tmp_path: Path
) -> None:
    again = ensure_family(tmp_path, plan=MICRO)
    for ours, theirs in zip(again.experts.values(), family.experts.values(), strict=True):
        weights = "model.safetensors"
        assert (ours / weights).read_bytes() == (theirs / weights).read_bytes()
    assert replace(MICRO, seed=1).fingerprint() != MICRO.fingerprint()


def test_a_cache_that_cannot_be_written_is_told_in_one_message(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StudyError, match=r"cache/demo-.*EUTECTIC_CACHE"):
        ensure_family(tmp_path / "cache", plan=MICRO)


def seconds_of(family: Family) -> Mapping[str, float]:
    """The seconds of each training, as recorded."""
    record = json.loads((family.folder / RECORD).read_text(encoding="utf-8"))
    seconds: Mapping[str, float] = record["seconds"]
    return seconds

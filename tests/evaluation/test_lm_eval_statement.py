"""What a document of an lm-eval task says by itself: the question and answers, no shots."""

import json
import shutil
from pathlib import Path

import pytest

from evaluation.duplicates import normalised
from evaluation.lm_eval_tasks import load_lm_eval_task
from evaluation.lm_eval_tasks_statement import stated
from evaluation.spec import LmEvalSpec
from evaluation.task import Item, Request

DATA = Path(__file__).parents[1] / "data" / "lm_eval"


pytestmark = pytest.mark.usefixtures("datasets_cache")


def items(task: str, folder: Path = DATA, shots: int = 0) -> list[Item]:
    spec = LmEvalSpec("t", task, folder, shots)
    return list(load_lm_eval_task(spec, trust_task_code=True).items)


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("own_sums", "Question: What is 8 and 5?\nAnswer:\n13\n15\n23"),
        ("own_words", "The capital of France is\nParis"),
        ("own_capitals", "The capital of France is"),
        ("own_lines", "The cat sat on the mat."),
    ],
)
def test_each_type_states_what_it_asks(task: str, text: str) -> None:
    assert items(task)[0].text == text


def test_shots_are_no_part_of_a_statement() -> None:
    plain, shots = items("own_sums"), items("own_sums", shots=2)
    assert [item.text for item in shots] == [item.text for item in plain]
    assert shots[0].requests[0].context.count("Question:") == 3


def test_a_document_under_another_id_states_the_same(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DATA, tmp_path / "tasks"))
    file = folder / "capitals.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows.append({**rows[0], "q": "FRANCE"})
    file.write_text("".join(json.dumps({**row, "id": n}) + "\n" for n, row in enumerate(rows)))
    first, *_, last = items("own_capitals", folder)
    assert first.group != last.group
    assert normalised(first.text) == normalised(last.text)


class OfContexts:
    """A task that asks one answer after several contexts, as winogrande does."""

    def doc_to_text(self, document: dict[str, str]) -> int:
        """The index of the right one."""
        return 0

    def doc_to_choice(self, document: dict[str, str]) -> list[str]:
        """The contexts."""
        return [f"{document['s']} Ann", f"{document['s']} Bob"]


class Broken:
    """A task whose own code fails."""

    def doc_to_text(self, document: dict[str, str]) -> str:
        """Nothing."""
        raise KeyError("no such column")


def test_where_the_answer_is_one_its_contexts_are_stated() -> None:
    row = {"s": "It was", "id": "7"}
    requests = [Request("loglikelihood", f"a shot. It was {one}", " who won") for one in "ab"]
    assert stated(OfContexts(), row, row, requests) == "It was Ann\nIt was Bob\nwho won"


def test_where_the_tasks_own_code_fails_it_is_the_row() -> None:
    row = {"s": "It was", "id": "7"}
    request = Request("generate", "a shot. It was")
    assert stated(Broken(), row, row, [request]) == '{"id": "7", "s": "It was"}'

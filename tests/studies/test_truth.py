"""What keeps a winner honest, from a real search of random merges to every place that tells it."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.ledger import Ledger
from search.mask_seeds import mask_seeds
from studies.results import stored_view
from studies.truth_text import (
    beside_sentences,
    masks_sentences,
    optimism_sentences,
)
from studies.view import RunView

from .conftest import Bench, PicoFamily, furnish

DARE = (
    ("merge_method: ties", "merge_method: dare_ties"),
    ("constraints:\n  - {task: lines, metric: bits_per_byte, max_drop: 5.0}\n", ""),
    ("search: 0.4, select: 0.3, test: 0.3", "search: 0.2, select: 0.4, test: 0.4"),
    ("sampler: random", "sampler: tpe"),
)


def more_rows(folder: Path) -> None:
    """150 questions a task, so that `select` and `test` have 30 groups each."""
    draw = random.Random(1)
    sums, lines = [], []
    for _ in range(150):
        one, other, right = draw.randrange(90), draw.randrange(90), draw.randrange(3)
        choices = [str(one + other + shift) for shift in (1, 10, 3)]
        choices[right] = str(one + other)
        sums.append({"question": f"{one} + {other} =", "choices": choices, "answer": right})
        lines.append({"text": "".join(draw.choice("abc de fgh i") for _ in range(20))})
    for name, rows in (("sums", sums), ("lines", lines)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, pico_family: PicoFamily, propose_here: None
) -> Iterator[tuple[Bench, str]]:
    """A run of random merges with a random search beside it, and what the terminal said."""
    bench = furnish(tmp_path_factory.mktemp("told"), pico_family)
    more_rows(bench.folder)
    bench.change(*DARE)
    arguments = ("search", bench.study, "--threads", "1", "--out", bench.run)
    result = bench.call(*arguments, "--beside", "random")
    assert result.exit_code == 0, result.stderr
    yield bench, " ".join(result.stdout.split())


def view_of(bench: Bench) -> RunView:
    with Ledger(f"sqlite:///{bench.run / 'study.db'}") as ledger:
        view = stored_view(ledger)
    assert view is not None and view.winner is not None
    return view


def test_look(told) -> None:
    bench, said = told
    view = view_of(bench)
    print(said)
    print(optimism_sentences(view), masks_sentences(view), beside_sentences(view))
    import shutil
    shutil.copy(bench.run / "report.html", "/tmp/report_truth.html")
    print(mask_seeds(0))
    assert 0

"""Runs to look at: sixty trials of a toy, told in code; and real searches of the pico family."""

import json
import math
import random
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import moocore
import numpy
import pytest
from ray_nodes import RayNodes, ray_nodes
from typer.testing import CliRunner, Result

from search.proposals import Proposal, ProposalRequest, propose
from studies import view as v

LAYERS = 12
EXPERTS = ("zoo/math", "zoo/code", "zoo/prose")
SKILLS = {
    "logic": "acc",
    "code": "exact_match",
    "prose": "bits_per_byte",
    "facts": "acc_norm",
    "names": "acc",
}


def skill(weights: list[float], density: float, of: int) -> float:
    """In [0, 1]: rises with the own weight, falls with the others', best near density 0.6."""
    of %= len(weights)
    own = weights[of]
    others = sum(w for i, w in enumerate(weights) if i != of)
    rise = own * (1.7 - 0.8 * own)
    return max(
        0.03, min(0.97, 0.22 + 0.75 * rise - 0.16 * others**1.6 - 0.3 * (density - 0.6) ** 2)
    )


def measured(weights: list[float], density: float, tasks: list[str], noise: random.Random, n: int):
    values = {}
    for i, task in enumerate(tasks):
        value = skill(weights, density, i) + noise.gauss(0, 0.012)
        half = 1.96 * math.sqrt(max(value * (1 - value), 0.01) / n)
        if SKILLS[task] == "bits_per_byte":
            value, half = 2.6 - 1.5 * value, half * 1.5
        values[task] = v.Estimate(
            round(value, 6), round(value - half, 6), round(value + half, 6), n
        )
    return values


def losses(objectives: dict[str, v.Estimate], wanted: list[v.Objective]) -> tuple[float, ...]:
    return tuple((-1 if o.higher_is_better else 1) * objectives[o.name].value for o in wanted)


def level(loss: float) -> float:
    """Losses on one scale: bits (positive) against right answers (negative)."""
    return loss if loss <= 0 else (loss - 2.6) / 1.5


def recipe(number: int, weights: list[float], density: float, names: tuple[str, ...]) -> str:
    models = "".join(
        f"  - model: {name}\n    parameters:\n"
        f"      weight: [{w * 0.8:.4f}, {w:.4f}, {w * 1.1:.4f}]\n      density: {density:.4f}\n"
        for name, w in zip(names, weights, strict=True)
    )
    return (
        f"# trial {number} of skills, seed 7\nmerge_method: dare_ties\nbase_model: zoo/base\n"
        f"models:\n{models}parameters:\n  normalize: true\n  lambda: 1.0\ndtype: bfloat16\n"
        f"eutectic:\n  mask_seed: 7\n"
    )


def build_view(
    objectives: int = 2, trials: int = 60, names: tuple[str, ...] = EXPERTS, seed: int = 7
) -> v.RunView:
    noise = random.Random(seed)
    tasks = list(SKILLS)[:objectives]
    wanted = [v.Objective(t, SKILLS[t], SKILLS[t] != "bits_per_byte") for t in tasks]
    drawn = []
    for n in range(trials):
        close = n / max(trials, 1)
        weights = [min(1.0, max(0.0, noise.gauss(0.25 + 0.4 * close, 0.3))) for _ in names]
        density = min(0.9, max(0.1, noise.gauss(0.6, 0.2)))
        drawn.append((weights, density, measured(weights, density, tasks, noise, 240)))
    failed = {n for n in range(trials) if n % 29 == 17}
    scores = {n: losses(d[2], wanted) for n, d in enumerate(drawn) if n not in failed}
    front = {
        n
        for n, mine in scores.items()
        if not any(
            o != mine and all(a <= b for a, b in zip(o, mine, strict=True))
            for o in scores.values()
        )
    }
    best = min(front, key=lambda n: (max(level(s) for s in scores[n]), n), default=None)
    reference = [3.0 if not o.higher_is_better else 0.0 for o in wanted]
    views, items, seen, hypervolume = [], 0, [], []
    for n, (weights, density, values) in enumerate(drawn):
        ok = n not in failed
        items += 240 * objectives if ok else 16
        if ok and objectives > 1 and trials <= 200:
            seen.append(scores[n])
            hv = moocore.hypervolume(numpy.array(seen), ref=numpy.array(reference))
            hypervolume.append((items, float(hv)))
        flat = {
            f"{e.rsplit('/', 1)[-1]}.weight@{k}": round(w * (0.8, 1.0, 1.1)[k], 4)
            for e, w in zip(names, weights, strict=True)
            for k in range(3)
        }
        views.append(
            v.TrialView(
                number=n,
                state="complete" if ok else "failed",
                origin=("warm start: uniform", "warm start: ties 0.2")[n] if n < 2 else "gp",
                parameters={
                    **flat,
                    "density": round(density, 4),
                    "merge_method": ("ties", "dare_ties")[n % 2],
                },
                objectives=values if ok else {},
                items=240 * objectives if ok else 16,
                items_so_far=items,
                propose_seconds=0.02 if n < 10 else 0.3 + 0.02 * n * noise.random(),
                build_seconds=0.13 + 0.02 * noise.random(),
                score_seconds=1.9 + 0.3 * noise.random(),
                feasible=n % 13 != 5 or n in front,
                on_front=n in front,
                recipe_yaml=recipe(n, weights, density, names),
                error=None if ok else "the output of zoo/code has NaN in model.layers.3",
            )
        )
    alone = [[float(i == j) for j in range(len(names))] for i in range(len(names))]
    known = [("zoo/base", "base", [0.0] * len(names))]
    known += [(name, "parent", w) for name, w in zip(names, alone, strict=True)]
    known += [("uniform merge", "uniform", [1 / len(names)] * len(names))]
    references = tuple(
        v.ReferenceView(
            name, kind, measured(w, 0.6, tasks, noise, 240), recipe(-1 - n, w, 0.6, names)
        )
        for n, (name, kind, w) in enumerate(known)
    )
    return assemble(views, references, best, drawn, wanted, tasks, names, hypervolume, noise)


def assemble(
    views, references, best, drawn, wanted, tasks, names, hypervolume, noise
) -> v.RunView:
    columns = tuple(f"{o.name} {o.metric}" for o in wanted)
    rows = []
    won = None
    if best is not None:
        weights, density, _ = drawn[best]
        won = measured(weights, density, tasks, noise, 120)
        rows.append(
            v.TestRow("winner", "winner", dict(zip(columns, won.values(), strict=True)), {})
        )
        for ref in references:
            ours = {t: ref.objectives[t] for t in tasks}
            gap = {}
            for column, t in zip(columns, tasks, strict=True):
                d = won[t].value - ours[t].value
                gap[column] = v.Estimate(d, d - 0.07, d + 0.07, 120)
            rows.append(
                v.TestRow(ref.name, ref.kind, dict(zip(columns, ours.values(), strict=True)), gap)
            )
    depth = [1 + 0.25 * math.sin(i / 2) for i in range(LAYERS)]
    profiles = tuple(
        v.Profile(
            parameter,
            name,
            tuple(round(scale * k * d, 4) for d in depth),
            tuple(round(scale * k * d * 0.7, 4) for d in depth),
            tuple(round(scale * k * d * 1.4, 4) for d in depth),
        )
        for parameter, scale in (("weight", 0.6), ("density", 0.4))
        for k, name in enumerate(names, 1)
    )
    shares = [noise.random() ** 2 for _ in range(9)]
    keys = [f"{e.rsplit('/', 1)[-1]}.weight@{k}" for e in names for k in range(3)]
    return v.RunView(
        name="skills",
        state="finished",
        created="2026-11-21 14:05",
        seed=7,
        sampler="auto: gp",
        rule="maximin: the largest smallest gain, where the base is 0 and the best parent 1",
        models=("zoo/base", *names),
        tasks={t: {"calibration": 60, "search": 240, "select": 120, "test": 120} for t in tasks},
        objectives=tuple(wanted),
        columns=columns,
        directions={c: o.higher_is_better for c, o in zip(columns, wanted, strict=True)},
        trials=tuple(views),
        references=references,
        winner=None
        if best is None
        else v.Winner(
            name=f"trial {best}",
            number=best,
            recipe_yaml=views[best].recipe_yaml,
            claim=f"Trial {best} is better than the best parent, zoo/math: its smallest gain on "
            "the sealed test split is 0.31 higher, 95% interval 0.12 to 0.49.",
            utility_gain=v.Estimate(0.31, 0.12, 0.49, 120),
        ),
        test_rows=tuple(rows),
        profiles=profiles,
        importance={
            o.name: {k: s * (i + 1) / sum(shares) / 3 for k, s in zip(keys, shares, strict=True)}
            for i, o in enumerate(wanted)
        },
        hypervolume=tuple(hypervolume),
        notices=(
            "Masks are random: mergekit draws others; `eutectic merge` draws the scored ones.",
            "2 of 60 trials failed.",
        ),
        versions={"eutectic": "0.1.0", "torch": "2.13.0", "optuna": "5.0.0"},
        budget="60 trials allowed, 60 used",
        constraints=("prose bits_per_byte must not rise by more than 0.02 over the base",),
        provenance={"zoo/base": "blake2b:5f3c…", "logic": "blake2b:91aa…"},
    )


@pytest.fixture(scope="session")
def make_view() -> Callable[..., v.RunView]:
    """`make_view(objectives=2, trials=60, names=(...))`."""
    return build_view


def with_truth(view: v.RunView) -> v.RunView:
    """The view of a random winner that was chosen as the simpler, with random search beside it."""
    assert view.winner is not None
    optimism = tuple(
        v.Optimism(
            one.name,
            v.Estimate(0.842, 0.79, 0.89, 240),
            v.Estimate(0.801, 0.73, 0.87, 120),
            0.041 if one.higher_is_better else -0.041,
            0.006,
        )
        for one in view.objectives
    )
    names = [one.name for one in view.objectives]
    select = [v.Spread(name, 0.80, 0.78, 0.012, 0.765, 0.801) for name in (*names, "utility")]
    test = [v.Spread(name, 0.79, 0.77, 0.015, 0.75, 0.795) for name in names]
    test.append(v.Spread("gain in utility over the best parent", 0.31, 0.27, 0.04, 0.22, 0.31))
    curve = tuple((items, volume * 0.8) for items, volume in view.hypervolume)
    choice = "On select trial 3 was ahead by 0.020 in utility, within one standard error (0.031)."
    return replace(
        view,
        winner=replace(view.winner, choice=choice, improved=True),
        optimism=optimism,
        masks=v.Masks(
            (7, 11, 12, 13, 14), tuple(select), tuple(test), v.Estimate(0.27, 0.08, 0.44, 120)
        ),
        prices=("logic acc: 0.100 better than the uniform merge (p = 0.010 after Holm).",),
        beside=v.Beside(
            60, 2, 28_800, 60, curve, "trial 55", "random 12", 0.42, 0.31,
            v.Estimate(0.11, 0.02, 0.20, 240), "merge_method: dare_ties\n",
            view.references[-1].objectives, {"math.weight@0": 0.5, "math.weight@1": 0.25},
        ),
    )  # fmt: skip


@pytest.fixture(scope="session")
def truthful() -> Callable[[v.RunView], v.RunView]:
    """`truthful(view)`: the view with everything that keeps a winner honest filled in."""
    return with_truth


def with_race(view: v.RunView) -> v.RunView:
    """The view of a raced run: looks, finalists on select, and everybody beside the parents."""
    draw = random.Random(3)
    columns = [f"{o.name} {o.metric}" for o in view.objectives]
    items = tuple(
        v.ItemView(
            o.name,
            ("search", "select")[n % 2],
            f"Question {n} of {o.name}: what is {n} + {n}?",
            tuple(str(2 * n + k) for k in range(4)) if o.metric.startswith("acc") else (),
            str(2 * n),
        )
        for o in view.objectives
        for n in range(20)
    )

    def beside(name: str, seen: int) -> tuple[v.Against, ...]:
        told = []
        for rival in [r.name for r in view.references if r.kind == "parent" and r.name != name]:
            for k, o in enumerate(view.objectives):
                gained, lost = draw.randrange(seen // 3), draw.randrange(seen // 3)
                shown = [
                    tuple(
                        v.Example(20 * k + draw.randrange(20), str(draw.randrange(40)), "7")
                        for _ in range(min(amount, 2))
                    )
                    for amount in (gained, lost)
                ]
                binary = o.metric != "bits_per_byte"
                told.append(v.Against(rival, columns[k], seen, gained, lost, binary, *shown))
        return tuple(told)

    def on_select(objectives: dict[str, v.Estimate]) -> dict[str, v.Estimate]:
        moved = {}
        for name, e in objectives.items():
            by = draw.gauss(-0.02, 0.02)
            moved[name] = v.Estimate(e.value + by, e.low + by, e.high + by, 120)
        return moved

    trials = []
    for one in view.trials:
        if one.state == "failed":
            trials.append(replace(one, looks=1))
            continue
        looks = 5 if one.on_front else draw.randrange(1, 5)
        state = "complete" if looks == 5 else ("paused", "dropped")[draw.randrange(2)]
        select = on_select(one.objectives) if one.on_front else {}
        seen = 48 * 2 ** (looks - 1) // len(view.objectives)
        told = beside(f"trial {one.number}", seen)
        trials.append(replace(one, looks=looks, state=state, select=select, against=told))
    references = tuple(
        replace(one, select=on_select(one.objectives), against=beside(one.name, 360))
        for one in view.references
    )
    return replace(
        view,
        trials=tuple(trials),
        references=references,
        items=items,
        looks=(48, 96, 192, 384, 720),
    )


@pytest.fixture(scope="session")
def raced() -> Callable[[v.RunView], v.RunView]:
    """`raced(view)`: the view of a run that raced, with items gained and lost."""
    return with_race


class PicoFamily(Protocol):
    """What is used of the family in the conftest above."""

    base: Path
    experts: dict[str, Path]


STUDY = """\
name: pico
recipe:
  merge_method: ties
  base_model: base
  models:
    - model: alpha
      parameters: {weight: {range: [0.0, 1.0], start: 0.5}, density: {range: [0.1, 0.9]}}
    - model: beta
      parameters: {weight: {range: [0.0, 1.0], start: 0.25}, density: 0.5}
  parameters: {normalize: false}
  dtype: bfloat16
tasks:
  - name: sums
    file: sums.jsonl
    type: multiple_choice
    prompt: "{{question}}"
    choices: choices
    answer: answer
  - name: lines
    file: lines.jsonl
    type: loglikelihood
    target: text
constraints:
  - {task: lines, metric: bits_per_byte, max_drop: 5.0}
split: {calibration: 0, search: 0.4, select: 0.3, test: 0.3}
budget: {trials: 6}
sampler: random
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """A folder with the pico family, two tiny tasks and `study.yaml`; `text` is what that says."""

    folder: Path
    text: str = STUDY

    @property
    def study(self) -> Path:
        """The study file."""
        return self.folder / "study.yaml"

    @property
    def run(self) -> Path:
        """Where a search of the study leaves its run, called from the folder."""
        return self.folder / "runs" / "pico"

    def change(self, *pairs: tuple[str, str]) -> None:
        """Writes the study with some of its text replaced; what is replaced must be there."""
        text = self.text
        for old, new in pairs:
            assert old in text, old
            text = text.replace(old, new)
        self.study.write_text(text, encoding="utf-8")

    def call(self, *arguments: object) -> Result:
        """A command, in this process."""
        from studies.cli import app

        return CliRunner().invoke(app, [str(one) for one in arguments])

    def search(self, *arguments: object) -> Result:
        """`eutectic search` of the study, quietly."""
        return self.call("search", self.study, "--quiet", "--threads", "1", *arguments)


def furnish(folder: Path, family: PicoFamily) -> Bench:
    """Models, task files and the study in a folder."""
    for name, place in (("base", family.base), *family.experts.items()):
        (folder / name).symlink_to(place, target_is_directory=True)
    draw = random.Random(0)
    sums, lines = [], []
    for _ in range(50):
        one, other, right = draw.randrange(50), draw.randrange(50), draw.randrange(3)
        choices = [str(one + other + shift) for shift in (1, 10, 3)]
        choices[right] = str(one + other)
        sums.append({"question": f"{one} + {other} =", "choices": choices, "answer": right})
        lines.append({"text": "".join(draw.choice("abc de fgh i") for _ in range(20))})
    for name, rows in (("sums", sums), ("lines", lines)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    bench = Bench(folder)
    bench.change()
    return bench


class HereProposer:
    """Proposes in this process: what the real one's process computes, without its start."""

    def submit(self, request: ProposalRequest) -> "Future[Proposal]":
        """The proposal, made at once."""
        future: Future[Proposal] = Future()
        future.set_result(propose(request))
        return future

    def __enter__(self) -> "HereProposer":
        return self

    def __exit__(self, *exception: object) -> None:
        return None


@pytest.fixture(scope="session")
def propose_here() -> Iterator[None]:
    """Spares a process of several seconds a search; one test of resuming has the real one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("studies.conduct.Proposer", HereProposer)
        yield


@pytest.fixture(scope="session")
def make_bench(propose_here: None) -> Callable[[Path, PicoFamily], Bench]:
    """`make_bench(folder, family)`: a bench in a folder that is there."""
    return furnish


@pytest.fixture
def bench(
    tmp_path: Path,
    pico_family: PicoFamily,
    propose_here: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Bench:
    """A bench of its own, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    return furnish(tmp_path, pico_family)


@pytest.fixture(scope="session")
def searched(
    tmp_path_factory: pytest.TempPathFactory, pico_family: PicoFamily, propose_here: None
) -> Bench:
    """A bench whose search has ended; look, do not touch (`another` copies it)."""
    bench = furnish(tmp_path_factory.mktemp("searched"), pico_family)
    result = bench.search("--out", bench.run)
    assert result.exit_code == 0, result.stderr
    return bench


@pytest.fixture
def another(searched: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A copy of `searched` to spoil, which is the working folder."""
    folder = tmp_path / "copy"
    shutil.copytree(searched.folder, folder, symlinks=True)
    study = folder / "runs" / "pico" / "study.yaml"
    study.write_text(study.read_text().replace(str(searched.folder), str(folder)))
    monkeypatch.chdir(folder)
    return Bench(folder)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayNodes]:
    """A Ray cluster of two nodes of one CPU, beside a head of none; skips without Ray."""
    with ray_nodes(2) as nodes:
        yield nodes

"""Searches told to real trackers, offline or local, and what those then hold."""

import json
import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search.ledger import Candidate, Ledger
from studies.errors import StudyError
from studies.tracking import spec
from studies.tracking.facts import CandidateFacts, EndFacts, RunFacts
from studies.tracking.feed import Feed
from studies.tracking.mlflow_tracker import valid_keys
from studies.tracking.spec import Track, parse_tracks

REFERENCES = {"base", "alpha", "beta", "uniform"}


def trials_of(run: Path) -> list[Candidate]:
    with Ledger(f"sqlite:///{run / 'study.db'}") as ledger:
        return ledger.candidates("trial")


def verdict_of(run: Path) -> str:
    with Ledger(f"sqlite:///{run / 'study.db'}") as ledger:
        return str(ledger.meta("verdict")["winner"])


@pytest.fixture
def mlflow_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The URI of a local store, and its client."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'store.db'}"
    return uri, mlflow.MlflowClient(tracking_uri=uri)


def test_mlflow_has_the_search_and_goes_on_with_it(bench, mlflow_store) -> None:
    uri, client = mlflow_store
    result = bench.search("--trials", 3, "--track", f"mlflow:{uri}")
    assert result.exit_code == 0, result.stderr
    assert bench.search("--trials", 5, "--track", f"mlflow:{uri}").exit_code == 0

    experiment = client.get_experiment_by_name("eutectic").experiment_id
    runs = client.search_runs([experiment])
    children = {
        one.data.tags["mlflow.runName"]: one
        for one in runs
        if "mlflow.parentRunId" in one.data.tags
    }
    (parent,) = (one for one in runs if "mlflow.parentRunId" not in one.data.tags)
    trials = trials_of(bench.run)
    assert len(runs) == 1 + len(children) and len(trials) == 5
    assert {name for name in children if name.startswith("trial")} == {
        f"trial {one.number}" for one in trials
    }
    for one in trials:
        data = children[f"trial {one.number}"].data
        assert data.tags["state"] == one.state
        assert data.metrics["items"] == one.items
        for name, value in zip(("sums", "lines"), one.standing, strict=True):
            assert data.metrics[f"objective/{name}"] == pytest.approx(value)
        told = {name: float(value) for name, value in data.params.items()}
        wanted = {valid_keys([name])[name]: value for name, value in one.values.items()}
        assert told == pytest.approx(wanted)
    told = [one.data.metrics for name, one in children.items() if name.startswith("trial")]
    assert any(one.get("objective/sums items") for one in told)  # those of the front
    assert parent.info.status == "FINISHED" and parent.data.tags["search"] == "finished"
    assert parent.data.tags["winner"] == verdict_of(bench.run)
    assert parent.data.params["sampler"] == "random"
    assert {"test/sums acc", "utility gain", "hypervolume"} <= parent.data.metrics.keys()
    assert "| winner minus |" in parent.data.tags["mlflow.note.content"]
    kept = {one.path for one in client.list_artifacts(parent.info.run_id)}
    assert kept == {"report.html", "winner.yaml", "trials.csv"}
    steps = [one.step for one in client.get_metric_history(parent.info.run_id, "hypervolume")]
    assert steps == sorted(steps) and len(set(steps)) >= 5


def test_names_as_mlflow_takes_them() -> None:
    names = ["alpha.weight#0", "alpha.weight_0", "a/b c", "ü[1]", "x" * 300, "../"]
    keys = valid_keys(names)
    assert len(set(keys.values())) == len(names)
    assert keys["a/b c"] == "a/b c" and keys["alpha.weight#0"] == "alpha.weight_0"
    assert all(0 < len(key) <= 250 for key in keys.values())


def test_tensorboard_has_curves_trials_and_words(bench, searched) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert bench.search("--trials", 3, "--track", "tensorboard").exit_code == 0
    assert bench.search("--trials", 5, "--track", "tensorboard").exit_code == 0
    (folder,) = (bench.run / "tensorboard").iterdir()
    read = EventAccumulator(str(folder)).Reload()
    trials = trials_of(bench.run)
    points: dict[int, float] = {}
    for event in read.Scalars("objective/sums"):
        points[event.step] = event.value
    assert sorted(points) == [one.number for one in trials] == [0, 1, 2, 3, 4]
    untracked = trials_of(searched.run)[:5]
    assert [(one.values, one.scores) for one in trials] == [
        (one.values, one.scores) for one in untracked
    ]
    seen = [event.step for event in read.Scalars("hypervolume")]
    assert seen == sorted(seen)
    text = read.Tensors("winner/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert verdict_of(bench.run) in text and "| winner minus |" in text
    assert b"merge_method: " in read.Tensors("recipe/text_summary")[-1].tensor_proto.string_val[0]
    told = EventAccumulator(str(folder / "trial-4")).Reload()
    assert told.Scalars("trial/objective/sums")[-1].value == pytest.approx(trials[4].standing[0])
    plugins = told.SummaryMetadata("_hparams_/session_start_info").plugin_data
    assert plugins.plugin_name == "hparams"
    assert len([one for one in folder.iterdir() if one.is_dir()]) >= 5 + len(REFERENCES)

    assert bench.search("--trials", 1, "--fresh").exit_code == 0
    assert not (bench.run / "tensorboard").exists()


def test_wandb_offline_has_rows_tables_and_files(bench, monkeypatch) -> None:
    wandb = pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(bench.folder))
    for trials in (2, 4):
        result = bench.search("--trials", trials, "--track", "wandb:lab")
        assert result.exit_code == 0, result.stderr
    wandb.teardown()
    files = sorted(bench.folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 2 and len({file.name for file in files}) == 1  # one run, in two parts
    rows, summary, projects = [], {}, set()
    for file in files:
        for record in map(Record.FromString, records_of(file)):
            if record.HasField("run"):
                projects.add(record.run.project)
            if record.HasField("history"):
                rows.append(cells(record.history.item))
            if record.HasField("summary"):
                summary |= cells(record.summary.update)
    told = [row for row in rows if "trial" in row]
    trials = trials_of(bench.run)
    assert projects == {"lab"}
    assert sorted({row["trial"] for row in told}) == [one.number for one in trials]
    last = {row["trial"]: row for row in told}
    for one in trials:
        for name, value in one.values.items():
            assert last[one.number][f"parameter/{name}"] == pytest.approx(value)
        assert last[one.number]["items"] == one.items
    assert summary["winner"] == verdict_of(bench.run) and "test/sums acc" in summary
    shown = {key.partition("/")[0] for row in rows for key in row}
    assert {"trials", "test split"} <= shown
    assert "warning" not in (bench.run / "log.txt").read_text()
    everything = b"".join(
        file.read_bytes() for file in bench.folder.glob("wandb/**/*") if file.is_file()
    )
    assert b"winner.yaml" in everything and b"--track" not in everything


def records_of(file: Path) -> Iterator[bytes]:
    """The records of a .wandb file: a LevelDB log (blocks of 32 KB) behind seven bytes."""
    data, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def cells(items) -> dict[str, object]:
    return {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in items}


def test_wandb_without_a_key_is_refused_before_work(bench, monkeypatch) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(bench.folder / "none"))
    result = bench.search("--track", "wandb")
    assert result.exit_code == 2 and not bench.run.exists()
    assert "WANDB_API_KEY" in result.stderr and "WANDB_MODE=offline" in result.stderr


def test_a_server_that_is_gone_ends_nothing(bench, monkeypatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setattr("studies.tracking.watch.PATIENCE", 5.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = f"mlflow:http://ann:hunter2@127.0.0.1:{port}"
    result = bench.call("search", bench.study, "--threads", "1", "--trials", 3, "--track", place)
    assert result.exit_code == 0, result.stderr
    log = bench.run.joinpath("log.txt").read_text()
    assert log.count("the search goes on, what is missing is sent when it answers") <= 1
    assert log.count("of its messages are missing there") == 1
    everything = result.output + result.stderr + log
    for file in bench.run.iterdir():
        everything += file.read_bytes().decode("latin-1")
    assert "hunter2" not in everything and "Traceback" not in everything


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["comet"], "expected one of wandb, mlflow, tensorboard"),
        (["mlflow:"], "give a URI"),
        (["tensorboard", "tensorboard:logs"], "given twice"),
        (["mlflow"], "pip install 'eutectic[mlflow]'"),
        (["wandb:me/lab"], "pip install 'eutectic[wandb]'"),
    ],
)
def test_what_cannot_be_had_is_refused(bench, monkeypatch, entries, message) -> None:
    monkeypatch.setattr(spec, "find_spec", lambda name: None if name != "tensorboard" else spec)
    arguments = [part for entry in entries for part in ("--track", entry)]
    result = bench.search(*arguments)
    assert result.exit_code == 2 and message in result.stderr and not bench.run.exists()


def test_places(monkeypatch) -> None:
    monkeypatch.setattr(spec, "find_spec", lambda name: spec)
    found = parse_tracks(["tensorboard", "mlflow:http://a:5000/x?y=1"])
    assert found == (Track("tensorboard"), Track("mlflow", "http://a:5000/x?y=1"))
    with pytest.raises(StudyError, match="expected one of"):
        parse_tracks([":x"])


class Recorder:
    """A tracker that keeps what it is told; `hinder` may raise or wait."""

    def __init__(self, hinder: Callable[[str], None]) -> None:
        self.told: list[str] = []
        self.hinder = hinder

    def begin(self, run: RunFacts) -> None:
        """Opens a run."""
        self._take(f"begin {run.name}")

    def candidate(self, facts: CandidateFacts) -> None:
        """Shows a candidate."""
        self._take(facts.key)

    def end(self, facts: EndFacts) -> None:
        """Closes the run."""
        self._take(facts.state)

    def _take(self, what: str) -> None:
        self.hinder(what)
        self.told.append(what)


RUN = RunFacts("id", "pico", Path(), {})


def facts_of(number: int, looks: int = 1) -> CandidateFacts:
    return CandidateFacts(
        f"trial {number}", "trial", number, f"trial {number}", "random", "complete", looks, {},
        {"sums": 0.5}, 10, 10, 0.0, 0.0, "", 0.0, 1,
    )  # fmt: skip


def test_what_fails_is_sent_again_in_order() -> None:
    left = [2]

    def hinder(what: str) -> None:
        if what == "trial 1" and left[0]:
            left[0] -= 1
            raise ConnectionError("http://ann:hunter2@host is away")

    tracker = Recorder(hinder)
    feed = Feed("mlflow", tracker, RUN, {"trial 0": facts_of(0).digest}, pause=0.01)
    for number in (0, 1, 1, 2):  # 0 is known from an earlier search, 1 is told once
        feed.candidate(facts_of(number))
    feed.end(EndFacts("finished"))
    deadline = time.monotonic() + 20
    while tracker.told[-1:] != ["finished"] and time.monotonic() < deadline:
        time.sleep(0.01)
    fault = feed.fault()
    assert "mlflow: ConnectionError: http://host is away" in fault and feed.fault() == ""
    assert feed.close(20) == ""
    assert tracker.told == ["begin pico", "trial 1", "trial 2", "finished"]
    assert feed.taken() == {f"trial {n}": facts_of(n).digest for n in (0, 1, 2)}


def test_a_tracker_that_hangs_is_left_behind() -> None:
    blocked = threading.Event()
    tracker = Recorder(lambda what: blocked.wait(60) and None)
    feed = Feed("wandb", tracker, RUN, {})
    begun = time.monotonic()
    for number in range(50):
        feed.candidate(facts_of(number))
    feed.end(EndFacts("finished"))
    assert "did not answer within 0 s: 52 of its messages" in feed.close(0.2)
    assert time.monotonic() - begun < 5
    blocked.set()


def test_one_message_that_is_never_taken_costs_only_itself() -> None:
    def hinder(what: str) -> None:
        if what == "trial 0":
            raise ValueError("no such number")

    tracker = Recorder(hinder)
    feed = Feed("mlflow", tracker, RUN, {}, pause=60)
    feed.candidate(facts_of(0))
    feed.candidate(facts_of(1))
    feed.end(EndFacts("finished"))
    while not feed.fault():
        time.sleep(0.01)
    assert "1 of its messages are missing" in feed.close(20)
    assert tracker.told == ["begin pico", "trial 1", "finished"]


def test_a_kept_secret_stays_one(monkeypatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")

    def hinder(what: str) -> None:
        raise RuntimeError("denied for 0123456789abcdef\nat once")

    feed = Feed("wandb", Recorder(hinder), RUN, {})
    missing = feed.close(20)
    assert "denied for *** at once" in missing and math.isfinite(len(missing))

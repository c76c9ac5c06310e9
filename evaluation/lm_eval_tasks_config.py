"""From a subtask's YAML to the configuration that lm-eval builds it from: documents, data files.

Nothing of an own YAML runs before it is trusted: until then functions are names.
"""

import difflib
import glob
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

from lm_eval.config.task import TaskConfig

from .errors import TaskError
from .lm_eval_tasks_groups import Config, Subtask, fault
from .spec import LmEvalSpec

Docs = Literal["train", "validation", "test"]

SPLIT_KEYS: Mapping[Docs, str] = {
    "validation": "validation_split",
    "train": "training_split",
    "test": "test_split",
}
"""The key of a task's YAML that names a split, in the order in which they are preferred."""
FILE_FORMATS = ("arrow", "csv", "json", "parquet", "text", "xml")
"""Values of `dataset_path` that read files."""


def check_config(spec: LmEvalSpec, subtask: Subtask, allow_benchmark_test: bool) -> None:
    """Refuses what can be refused before any code of the task runs.

    Raises:
        TaskError: unknown keys, tasks that eutectic cannot score, no documents but the test split.
    """
    config = subtask.config
    if "class" not in config:
        _check_keys(spec, subtask)
        _with_docs(spec, config, bool(subtask.folders), allow_benchmark_test)


def task_config(
    spec: LmEvalSpec, subtask: Subtask, grouped: bool, allow_benchmark_test: bool
) -> Config:
    """The configuration to build the task from.

    Raises:
        TaskError: shots where the task fixes none, a data file that is not there.
    """
    config = dict(subtask.config)
    metadata = config.get("metadata")
    config["metadata"] = dict(metadata) if isinstance(metadata, dict) else {"_metadata": metadata}
    config["num_fewshot"] = _fewshot(spec, config, grouped)
    if subtask.folders:
        config = _with_local_files(spec, subtask.folders, config)
    if "class" in config:
        return config
    return _with_docs(spec, config, bool(subtask.folders), allow_benchmark_test)


def is_remote(config: Config) -> bool:
    """Whether the documents may have to come from the hub."""
    source = config.get("dataset_path")
    local = source in FILE_FORMATS or (source is not None and Path(str(source)).exists())
    return not local and config.get("custom_dataset") is None


def hub_datasets(config: Config) -> tuple[str, ...]:
    """The data set of the hub that the documents are of; nothing where they are local files."""
    source = config.get("dataset_path") or getattr(config.get("class"), "DATASET_PATH", None)
    return (str(source),) if source and is_remote({**config, "dataset_path": source}) else ()


def test_spec(spec: LmEvalSpec, config: Config) -> LmEvalSpec:
    """The wish for the documents of the official test split, where `test: official` asks for them.

    Raises:
        TaskError: the task has no test split, or nothing else, or takes its shots from it.
    """
    test = config.get("test_split")
    if "class" in config:
        raise fault(spec, "test: official: this task is written in Python and chooses by itself")
    if not test:
        raise fault(spec, "test: official: it has no test split; leave `test` out")
    if spec.docs is None and not any(config.get(SPLIT_KEYS[k]) for k in ("validation", "train")):
        raise fault(
            spec,
            "test: official: it has nothing but a test split, and that is never searched on; set "
            "`docs` to train or validation if its data set has them",
        )
    if chosen_split(spec, config)[0] == test:
        raise fault(spec, f"test: official: what is searched on would be its test split, {test!r}")
    shots = config.get("fewshot_config") or {}
    pool = (shots.get("split") if isinstance(shots, dict) else None) or config.get("fewshot_split")
    if pool == test and (spec.fewshot if spec.fewshot is not None else config.get("num_fewshot")):
        raise fault(spec, "test: official: its few-shot examples come from the test split")
    return replace(spec, docs="test", test=None)


def refuse_test(spec: LmEvalSpec, own: bool = False) -> TaskError:
    """The error for a task that could only be searched on its official test split."""
    rename = ", or call your data validation_split in the YAML" if own else ""
    return fault(
        spec,
        "it has nothing but a test split, and a search on a benchmark's test split makes its "
        "figures worthless; set `docs` to train or validation if its data set has them"
        f"{rename}; or allow it with --allow-benchmark-test, which marks report and card",
    )


def _check_keys(spec: LmEvalSpec, subtask: Subtask) -> None:
    """Refuses what lm-eval would choke on, and tasks that eutectic cannot score."""
    known, config = [field.name for field in fields(TaskConfig)], subtask.config
    for key in config:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise fault(spec, f"{subtask.path}: unknown key {key!r}{hint}")
    if config.get("unsafe_code"):
        raise fault(spec, "it runs the code that models write, which eutectic never does")
    if config.get("doc_to_image") or config.get("doc_to_audio"):
        raise fault(spec, "it asks about images or sounds, eutectic scores text")


def _fewshot(spec: LmEvalSpec, config: Config, grouped: bool) -> int:
    """The number of shots: the study's, else the task's; a 0 that the task fixes stays.

    Alone such a task refuses the study's number, of a group the others take it, as in lm-eval.
    """
    fixed = config.get("num_fewshot")
    if spec.fewshot is None or (grouped and fixed == 0):
        if fixed is not None and type(fixed) is not int:
            raise fault(spec, f"num_fewshot: expected a whole number, got {fixed!r}")
        return int(fixed or 0)
    if fixed == 0 and spec.fewshot:
        raise fault(
            spec, f"fewshot: {spec.fewshot}, but the task itself fixes 0 shots; leave the key out"
        )
    return spec.fewshot


def chosen_split(spec: LmEvalSpec, config: Config) -> tuple[str, bool]:
    """The data set's name of the split that items come from, and whether it is the official test.

    `docs` as the study says, else validation, else train, else test.
    """
    docs = spec.docs or next((docs for docs, key in SPLIT_KEYS.items() if config.get(key)), None)
    if docs is None:
        raise fault(spec, f"it names none of {', '.join(SPLIT_KEYS.values())}")
    named = config.get(SPLIT_KEYS[docs])
    split = str(named or docs)
    # Some benchmarks report on what their data set, and they, call validation or train as well.
    doubled = named is not None and named == config.get("test_split")
    return split, "test" in (docs, split) or doubled


def shots_from_items(config: Config) -> bool:
    """Whether worked examples are drawn from the documents that are scored."""
    shots = config.get("fewshot_config") or {}
    shots = shots if isinstance(shots, dict) else {}
    if not config.get("num_fewshot") or shots.get("samples"):
        return False
    named = shots.get("split") or config.get("fewshot_split")
    scored = config.get("test_split") or config.get("validation_split")
    pool = named or config.get("training_split") or config.get("validation_split") or scored
    return bool(pool == scored)


def _with_docs(spec: LmEvalSpec, config: Config, own: bool, allow_benchmark_test: bool) -> Config:
    """The configuration under which lm-eval evaluates on the chosen split.

    It is changed only where lm-eval would take another split, or shots from the same split without
    leaving out the question itself; elsewhere the shots are those that lm-eval draws.
    """
    split, official_test = chosen_split(spec, config)
    if official_test and not allow_benchmark_test:
        raise refuse_test(spec, own)
    shots = config.get("fewshot_config") or {}
    shots = shots if isinstance(shots, dict) else {}
    named = shots.get("split") or config.get("fewshot_split")
    pool = named or config.get("training_split") or config.get("validation_split") or split
    excludes_itself = named == config.get("test_split")  # lm-eval's rule
    same = split == (config.get("test_split") or config.get("validation_split"))
    if same and (excludes_itself or pool != split):
        return config
    if named or shots.get("samples"):
        return config | {"test_split": split}
    return config | {"test_split": split, "fewshot_split": pool}


def _with_local_files(spec: LmEvalSpec, folders: tuple[Path, ...], config: Config) -> Config:
    """The configuration with relative data files looked for beside the YAML, then as written."""
    source = config.get("dataset_path")
    if source not in FILE_FORMATS:
        beside = [folder / str(source) for folder in folders if source]
        there = next((path for path in beside if path.exists()), None)
        return config if there is None else config | {"dataset_path": str(there)}
    given = config.get("dataset_kwargs") or {}
    if not isinstance(given, dict):
        raise fault(spec, f"dataset_kwargs: expected a mapping, got {given!r}")
    options = dict(given)

    def located(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: located(part) for key, part in value.items()}
        if isinstance(value, list):
            return [located(part) for part in value]
        return value if "://" in str(value) else _located(spec, folders, str(value))

    for key in ("data_files", "data_dir"):
        if options.get(key):
            options[key] = located(options[key])
    return config | {"dataset_kwargs": options}


def _located(spec: LmEvalSpec, folders: tuple[Path, ...], value: str) -> str:
    """A path or pattern of data files, made absolute."""
    for base in (*folders, Path.cwd()):
        path = base / Path(value).expanduser()
        if glob.glob(str(path), recursive=True) or path.exists():
            return str(path.resolve() if path.exists() else path)
    raise fault(spec, f"there is no data file {value}, neither in {folders[0]} nor where you are")

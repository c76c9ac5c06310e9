"""From a task's name to lm-eval's configuration of it: the YAML, the documents, the data files.

Building lm-eval's own index of its tasks takes seven seconds, because it parses 14,000 YAML files;
here they are searched as text, and one is parsed. Nothing of an own YAML runs before it is
trusted: until then it is read without resolving `!function`.
"""

import difflib
import glob
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import lm_eval.tasks
from lm_eval.config.task import TaskConfig
from lm_eval.tasks._yaml_loader import load_yaml

from .errors import TaskError
from .spec import LmEvalSpec

Config = dict[str, Any]
Docs = Literal["train", "validation", "test"]

SPLIT_KEYS: Mapping[Docs, str] = {
    "validation": "validation_split",
    "train": "training_split",
    "test": "test_split",
}
"""The key of a task's YAML that names a split, in the order in which they are preferred."""
FILE_FORMATS = ("arrow", "csv", "json", "parquet", "text", "xml")
"""Values of `dataset_path` that read files."""
_HEAD = re.compile(rb"^[\"']?(task|group)[\"']?[ \t]*:[ \t]*[\"']?([^\s\"'#\[{>|]+)", re.M)
_TAG = re.compile(rb"^[\"']?tag[\"']?[ \t]*:((?:[ \t]*[^\s#].*|(?:\r?\n[ \t]*-.*)+))", re.M)
_STRUCTURE = ("tag", "group", "task_list")
"""Keys that place a task among others."""
_WORD = re.compile(rb"[\w][\w.+-]*")


@dataclass(frozen=True, slots=True)
class TaskFile:
    """The YAML of a task, and whether it is the user's own."""

    path: Path
    own: bool


def fault(spec: LmEvalSpec, text: str) -> TaskError:
    """The error about a task, with its place in the study file."""
    return TaskError(f"{spec.place + ' ' if spec.place else ''}task {spec.name!r}: {text}")


def find_task(spec: LmEvalSpec) -> TaskFile:
    """The YAML of `spec.task`: in `include_path`, else among those that lm-eval ships.

    Raises:
        TaskError: an unknown folder or name (with the nearest names), a group or tag of tasks, a
            name in two files.
    """
    own = _own_names(spec, spec.include_path) if spec.include_path else {}
    if spec.task in own:
        return TaskFile(own[spec.task], own=True)
    shipped, members = _shipped(spec.task)
    if spec.task in shipped:
        return TaskFile(shipped[spec.task], own=False)
    if members:
        some = ", ".join(members[:8]) + (", ..." if len(members) > 8 else "")
        raise fault(spec, f"{spec.task!r} is a group of {len(members)} tasks; name one of {some}")
    places = f"in {spec.include_path} or lm-eval" if spec.include_path else "in lm-eval"
    near = difflib.get_close_matches(spec.task, [*own, *shipped], 3)
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    raise fault(spec, f"there is no task {spec.task!r} {places}{hint}")


def declared_config(spec: LmEvalSpec, file: TaskFile, allow_benchmark_test: bool) -> Config:
    """What the YAML says, functions as text: refuses what can be refused before any code runs.

    Raises:
        TaskError: unknown keys, tasks that eutectic cannot score, no documents but the test split.
    """
    config = _load(spec, file, resolve=False)
    if "class" not in config:
        _check_keys(spec, file, config)
        _with_docs(spec, config, file.own, allow_benchmark_test)
    return config


def task_config(spec: LmEvalSpec, file: TaskFile, allow_benchmark_test: bool) -> Config:
    """The configuration to build the task from; imports what the YAML's `!function` name.

    Raises:
        TaskError: a function that cannot be imported, a data file that is not there.
    """
    config = {k: v for k, v in _load(spec, file, resolve=True).items() if k not in _STRUCTURE}
    metadata = config.get("metadata")
    config["metadata"] = dict(metadata) if isinstance(metadata, dict) else {"_metadata": metadata}
    config["num_fewshot"] = _fewshot(spec, config)
    if file.own:
        config = _with_local_files(spec, file, config)
    if "class" in config:
        return config
    return _with_docs(spec, config, file.own, allow_benchmark_test)


def refuse_test(spec: LmEvalSpec, own: bool = False) -> TaskError:
    """The error for a task that could only be searched on its official test split."""
    rename = ", or call your data validation_split in the YAML" if own else ""
    return fault(
        spec,
        "it has nothing but a test split, and a search on a benchmark's test split makes its "
        "figures worthless; set `docs` to train or validation if its data set has them"
        f"{rename}; or allow it with --allow-benchmark-test, which marks report and card",
    )


def _own_names(spec: LmEvalSpec, folder: Path) -> dict[str, Path]:
    """Task names of the user's YAML files, read as data."""
    if not folder.exists():
        raise fault(spec, f"include_path: there is no folder {folder}")
    files = sorted(folder.rglob("*.y*ml")) if folder.is_dir() else [folder]
    names: dict[str, Path] = {}
    for path in filter(Path.is_file, files):
        try:
            name = load_yaml(path, resolve_func=False).get("task")
        except Exception as problem:  # other YAML files lie there too: only a mention counts
            if spec.task in path.read_text(encoding="utf-8", errors="replace"):
                raise fault(spec, f"{path}: cannot be read as YAML: {problem}") from problem
            continue
        if isinstance(name, str) and name == spec.task and name in names:
            raise fault(spec, f"both {names[name]} and {path} define {name!r}; rename one")
        if isinstance(name, str):
            names.setdefault(name, path)
    return names


def _shipped(name: str) -> tuple[dict[str, Path], list[str]]:
    """The tasks that lm-eval ships, by name; and what its group or tag of this name holds."""
    tasks: dict[str, Path] = {}
    members: list[str] = []
    for path in sorted(Path(lm_eval.tasks.__file__).parent.rglob("*.yaml")):
        text = path.read_bytes()
        heads = dict(_HEAD.findall(text))
        task = heads.get(b"task", b"").decode()
        if heads.get(b"group") == name.encode():
            children = load_yaml(path, resolve_func=False).get("task") or []
            members += [c if isinstance(c, str) else str(c.get("task", c)) for c in children]
        elif task and b"group" not in heads:
            tasks.setdefault(task, path)
            if name.encode() in _WORD.findall(b" ".join(_TAG.findall(text))):
                members.append(task)
    return tasks, members


def _load(spec: LmEvalSpec, file: TaskFile, resolve: bool) -> Config:
    """The YAML with what it includes."""
    try:
        config: Config = load_yaml(file.path, resolve_func=resolve)
    except Exception as problem:  # functions of a stranger are imported
        raise fault(spec, f"{file.path}: {type(problem).__name__}: {problem}") from problem
    return config


def _check_keys(spec: LmEvalSpec, file: TaskFile, config: Config) -> None:
    """Refuses what lm-eval would choke on, and tasks that eutectic cannot score."""
    known = [field.name for field in fields(TaskConfig)]
    for key in config:
        if key not in (*known, *_STRUCTURE):
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise fault(spec, f"{file.path}: unknown key {key!r}{hint}")
    if config.get("unsafe_code"):
        raise fault(spec, "it runs the code that models write, which eutectic never does")
    if config.get("doc_to_image") or config.get("doc_to_audio"):
        raise fault(spec, "it asks about images or sounds, eutectic scores text")


def _fewshot(spec: LmEvalSpec, config: Config) -> int:
    """The number of shots: the study's, else the task's."""
    fixed = config.get("num_fewshot")
    if spec.fewshot is None:
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
    split = str(config.get(SPLIT_KEYS[docs]) or docs)
    return split, "test" in (docs, split)


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


def _with_local_files(spec: LmEvalSpec, file: TaskFile, config: Config) -> Config:
    """The configuration with relative data files looked for beside the YAML, then as written."""
    folder, source = file.path.parent, config.get("dataset_path")
    if source not in FILE_FORMATS:
        beside = folder / str(source)
        return config | {"dataset_path": str(beside)} if source and beside.exists() else config
    options = dict(config.get("dataset_kwargs") or {})

    def located(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: located(part) for key, part in value.items()}
        if isinstance(value, list):
            return [located(part) for part in value]
        return value if "://" in str(value) else _located(spec, folder, str(value))

    for key in ("data_files", "data_dir"):
        if options.get(key):
            options[key] = located(options[key])
    return config | {"dataset_kwargs": options}


def _located(spec: LmEvalSpec, folder: Path, value: str) -> str:
    """A path or pattern of data files, made absolute."""
    for base in (folder, Path.cwd()):
        path = base / Path(value).expanduser()
        if glob.glob(str(path), recursive=True) or path.exists():
            return str(path.resolve() if path.exists() else path)
    raise fault(spec, f"there is no data file {value}, neither in {folder} nor where you are")

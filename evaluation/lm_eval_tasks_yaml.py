"""A YAML of lm-eval's form, read within bounds: one of the user's own may be a stranger's.

lm-eval reads by libyaml, in whose depth the process itself can fall, and expands nothing until
something writes an alias out. So the events of a file, which need no depth, are counted first,
and those of the files that it includes.
"""

from pathlib import Path
from typing import Any

import yaml
from lm_eval.tasks._yaml_loader import load_yaml

MAX_BYTES = 16 << 20
MAX_VALUES = 500_000
"""Of a file, its aliases expanded; lm-eval ships some of a few thousand lines."""
MAX_DEPTH = 64
MAX_FILES = 64
"""That include each other."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path, *, resolve: bool) -> dict[str, Any]:
    """What `load_yaml` reads; `resolve` imports the functions that it names, which is code.

    Raises:
        ValueError: out of bounds, or no ordinary file; else whatever `load_yaml` raises.
    """
    todo, seen = [path.expanduser().resolve()], set[Path]()
    while todo:
        file = todo.pop()
        if file in seen:
            continue
        seen.add(file)
        if len(seen) > MAX_FILES:
            raise ValueError(f"{path} includes more than {MAX_FILES} files")
        _refuse_boundless(file)
        included = load_yaml(file, resolve_func=False, recursive=False).get("include", [])
        names = included if isinstance(included, list) else [included]
        todo += [(file.parent / name).resolve() for name in names if isinstance(name, str)]
    found: dict[str, Any] = load_yaml(path, resolve_func=resolve)
    return found


def _refuse_boundless(file: Path) -> None:
    if not file.is_file():
        raise ValueError(f"{file}: no such file")
    if file.stat().st_size > MAX_BYTES:
        raise ValueError(f"{file}: larger than {MAX_BYTES} bytes")
    open_sizes, anchors = [1], dict[str, int]()
    names: list[str | None] = []
    for event in yaml.parse(file.read_bytes(), Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            open_sizes.append(1)
            names.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            size, name = open_sizes.pop(), names.pop()
            open_sizes[-1] += size
            if name is not None:
                anchors[name] = size
        elif isinstance(event, yaml.ScalarEvent):
            open_sizes[-1] += 1
            if event.anchor is not None:
                anchors[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            open_sizes[-1] += anchors.get(event.anchor or "", MAX_VALUES)  # else itself
        if len(names) > MAX_DEPTH or open_sizes[-1] > MAX_VALUES:
            raise ValueError(f"{file}: more than {MAX_DEPTH} deep, or than {MAX_VALUES} values")

"""A recipe to search, from a base and its experts alone."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merging.chat_templates import own_template
from merging.errors import MergeError, SourceError
from merging.headers import member, read_json
from merging.methods.method import Method
from merging.methods.table import find_method
from merging.references import parse_reference
from search.space_walk import model_labels

from ..errors import StudyError

METHOD = "task_arithmetic"
WHY: Mapping[str, str] = {
    "task_arithmetic": (
        "Task arithmetic, base + the sum of weight x (expert - base), is a good first search: one "
        "number an expert; the same merge every time, where methods that draw random masks "
        "(DARE, DELLA) are scored with five masks each at the end. Where experts pull against "
        "each other, TIES elects a sign: try --method ties, or write merge_method: {choice: "
        "[task_arithmetic, ties]}."
    ),
    "linear": (
        "The weighted mean of the models: without --base there are no task vectors. Only the "
        "ratios of the weights count, so they are sampled as shares."
    ),
}
SUM_NOTE = (
    "A weight of 0 leaves an expert out, 1 adds all of what it learned. Each expert alone, the "
    "uniform merge and the like lie in these ranges, and are the first trials."
)
ANCHORS_NOTE = (
    "anchors: auto begins with one number for all layers, and gives more along depth while that "
    "helps."
)
RANGES: Mapping[str, Mapping[str, Any]] = {
    "weight": {"range": [0.0, 1.2], "anchors": "auto"},
    "density": {"range": [0.2, 1.0]},
    "t": {"range": [0.0, 1.0], "anchors": "auto"},
    "scale": {"range": [0.5, 1.5]},
    "select_topk": {"range": [0.1, 1.0]},
    "alpha": {"range": [0.0, 1.0]},
    "r": {"range": [0.0, 0.5]},
}
"""What is searched, where a method has it; other parameters keep their defaults."""
SHARES = {"range": [0.0, 1.0], "anchors": "auto"}


@dataclass(frozen=True, slots=True)
class Family:
    """A recipe with ranges, and what is known of its models."""

    recipe: dict[str, Any]
    notes: tuple[str, ...]
    labels: tuple[str, ...]
    """The experts' short names."""
    chat: bool
    """Whether all models are here and have one chat template."""
    missing: tuple[str, ...]
    """Names that stand for no folder here: the hub's, or faults that `check` will tell."""


def family_of(
    base: str | None,
    experts: Sequence[str],
    method: str | None,
    place: Path,
    maps: Mapping[str, Path],
) -> Family:
    """The recipe that searches these models.

    Args:
        base: The model that the experts were trained from; None where there is none.
        experts: Models, or adapters of the base: `base+adapter`, or the adapter's folder alone.
        method: A merge method; None chooses.
        place: The folder that the study will stand in.
        maps: Local paths in the place of names.

    Raises:
        StudyError: a folder that is no model, too few models, a method that cannot be searched.
    """
    if not experts:
        raise StudyError("--expert: at least one is needed; give each fine-tuned model")
    found = find_method(method or (METHOD if base else "linear"))
    names = [_expert(base, one) for one in experts]
    for name in names:
        if names.count(name) > 1 or name == base:
            raise StudyError(f"--expert {name}: is given twice, or is the base")
    folders = {name: _folders(name, maps) for name in (*([base] if base else []), *names)}
    placed = {name: _placed(name, place) for name in folders}
    recipe: dict[str, Any] = {"merge_method": found.name}
    if base:
        recipe["base_model"] = placed[base]
    elif found.base == "required":
        raise StudyError(f"--method {found.name} needs --base, the model the experts come from")
    if fault := found.wrong_number(len(names), with_base=base is not None):
        raise StudyError(f"--method {found.name}: {fault}")
    recipe["models"] = [{"model": placed[one], **_parameters(found)} for one in names]
    shared = _shared(found)
    recipe |= {"parameters": shared} if shared else {}
    if not shared and "parameters" not in recipe["models"][0]:
        raise StudyError(f"--method {found.name}: has no number to search; choose another")
    here = [one for paths in folders.values() for one in paths]
    recipe["dtype"] = _dtype(next((one for one in here if one is not None), None))
    labels = model_labels([placed[one] for one in names])
    return Family(
        recipe,
        _notes(found),
        tuple(labels.values()),
        one_template([paths[0] for paths in folders.values()]),
        tuple(name for name, paths in folders.items() if None in paths),
    )


def _notes(method: Method) -> tuple[str, ...]:
    sums = method.parameter("weight") is not None and _sums(method)
    return (WHY.get(method.name, _summary(method)), *([SUM_NOTE] if sums else []), ANCHORS_NOTE)


def _sums(method: Method) -> bool:
    """Whether weights are amounts, and not shares."""
    return not (method.scale_free or _divides(method))


def _summary(method: Method) -> str:
    paper = f" ({method.paper})" if method.paper else ""
    random = (
        " It draws random masks: select and test score five for each finalist."
        if method.random
        else ""
    )
    return f"{method.name}{paper}, as asked for.{random}"


def _parameters(method: Method) -> dict[str, Any]:
    """The ranges of one expert."""
    own = [one.name for one in method.parameters if one.scope == "model" and one.name in RANGES]
    ranges = {name: dict(RANGES[name]) for name in own}
    if "weight" in ranges and not _sums(method):
        ranges["weight"] = dict(SHARES)  # only their ratios count
    return {"parameters": ranges} if ranges else {}


def _divides(method: Method) -> bool:
    return method.normalizer is not None and method.normalizer.default is True


def _shared(method: Method) -> dict[str, Any]:
    own = [one.name for one in method.parameters if one.scope == "global" and one.name in RANGES]
    return {name: dict(RANGES[name]) for name in own}


def _expert(base: str | None, given: str) -> str:
    """An adapter's folder alone means the base with it."""
    folder = Path(given)
    adapter = (folder / "adapter_config.json").is_file() and "+" not in given
    if not adapter:
        return given
    if base is None:
        raise StudyError(
            f"--expert {given}: is an adapter; give the model it was made for: --base"
        )
    return f"{base}+{given}"


def _folders(name: str, maps: Mapping[str, Path]) -> list[Path | None]:
    """Where model and adapter are, None for what is not here.

    Raises:
        StudyError: a path with nothing there, or a folder that is no model.
    """
    try:
        reference = parse_reference(name)
    except MergeError as error:
        raise StudyError(f"--base or --expert: {error}") from None
    found: list[Path | None] = []
    parts = ((reference.path, "config.json"), (reference.adapter, "adapter_config.json"))
    for part, file in parts:
        if part is None:
            continue
        folder = maps.get(name) or maps.get(part) or Path(part)
        if folder.is_dir() and not (folder / file).is_file():
            raise StudyError(f"{part}: the folder {folder} has no {file}, so it is no model")
        if not folder.is_dir() and part.startswith((".", "/", "~")):
            raise StudyError(f"{part}: there is no such folder; expected a model")
        found.append(folder if folder.is_dir() else None)
    return found


def _placed(name: str, place: Path) -> str:
    """The name as a study in `place` says it: folders seen from there, other names as they are."""
    return "+".join(_seen(part, place) for part in name.split("+"))


def _seen(part: str, place: Path) -> str:
    folder = Path(part)
    if not folder.is_dir():
        return part
    seen = os.path.relpath(folder.absolute(), place)
    if seen.startswith(os.path.join("..", "..", "..")):
        return str(folder.resolve())
    return seen if seen.startswith("..") else f"./{seen}"


def _dtype(folder: Path | None) -> str:
    """The dtype that the first model is stored in, bfloat16 where that is not known."""
    try:
        data = read_json(member(folder or Path(), "config.json"))
    except SourceError:
        return "bfloat16"
    for one in (data, data.get("text_config")):
        found = one.get("dtype") or one.get("torch_dtype") if isinstance(one, dict) else None
        if found in ("float32", "bfloat16", "float16"):
            return str(found)
    return "bfloat16"


def one_template(folders: Sequence[Path | None]) -> bool:
    """Whether all folders are here, and their models have one chat template."""
    try:
        texts = {own_template(one) if one else None for one in folders}
    except MergeError:
        return False
    return len(texts) == 1 and None not in texts

"""From a name in a recipe to a folder on this machine.

`./x`, `../x`, `/x` are paths; any other name is a folder beside the recipe if there is one, else a
name on the Hugging Face hub, taken from the ordinary cache when it is there (no network: a study
sees the same weights when it goes on), else downloaded. A mapping puts a local path in the place
of a name, of a whole reference or of one of its parts. What is found is not opened here.
"""

import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from .errors import SourceError
from .headers import member, read_index
from .recipe import ModelReference

PATIENCE = 4.0
"""Seconds the hub has to answer before it counts as out of reach."""

SMALL_FILES = ("*.json", "tokenizer*", "*.model", "*.txt", "*.jinja", "*.py", "README.md")
INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def locate(
    reference: ModelReference, *, folder: Path, mapping: Mapping[str, Path], allow_pickle: bool
) -> tuple[Path, Path | None]:
    """The folder of a model and that of its adapter, if it has one.

    Args:
        reference: a model as the recipe names it.
        folder: the recipe's folder, where relative names start.
        mapping: local paths in the place of `base+adapter`, `base@revision`, `base`, `adapter`.
        allow_pickle: whether a download takes pytorch_model.bin too.

    Raises:
        SourceError: nothing stands under the name; within seconds, whatever the network does.
    """
    if reference.adapter is None:
        return _find(reference.path, reference.revision, folder, mapping, allow_pickle), None
    if str(reference) in mapping:
        return _existing(mapping[str(reference)], str(reference)), None
    return (
        _find(reference.path, reference.revision, folder, mapping, allow_pickle),
        _find(reference.adapter, reference.adapter_revision, folder, mapping, allow_pickle),
    )


def _spelled(name: str, revision: str | None) -> str:
    return name if revision is None else f"{name}@{revision}"


def _find(
    name: str, revision: str | None, folder: Path, mapping: Mapping[str, Path], allow_pickle: bool
) -> Path:
    for key in (_spelled(name, revision), name):
        if key in mapping:
            return _existing(mapping[key], key)
    beside = folder / name
    if name.startswith(("./", "../", "/")) or name in (".", ".."):
        if not _exists(beside, name):
            raise SourceError(f"{name}: no folder at {beside.absolute()}")
        return beside.absolute()
    if _exists(beside, name):
        return beside.absolute()
    return _from_hub(name, revision, folder, allow_pickle)


def _exists(path: Path, name: str) -> bool:
    try:
        return path.exists()
    except OSError as error:  # too long, or in a folder that may not be looked into
        raise SourceError(f"{name[:200]}: cannot be looked up: {error.strerror}") from error


def _existing(path: Path, name: str) -> Path:
    if not _exists(path, name):
        raise SourceError(
            f"{name}: mapped to {path}, where there is no folder (--map {name}={path})"
        )
    return path.absolute()


def _from_hub(name: str, revision: str | None, folder: Path, allow_pickle: bool) -> Path:
    spelled = _spelled(name, revision)
    absent = (
        f"{spelled}: neither a folder in {folder.absolute()} nor a model in the Hugging Face cache"
    )
    remedy = f"give its folder with --map {spelled}=PATH"
    if not re.fullmatch(r"(?:[\w.-]+/)?[\w.-]+", name) or len(name) > 96 or ".." in name:
        raise SourceError(f"{absent} (and no name the hub could have); {remedy}")
    if revision is not None and (not re.fullmatch(r"[\w./-]+", revision) or ".." in revision):
        raise SourceError(f"{spelled}: {revision!r} is no branch, tag or commit; {remedy}")
    cached = _snapshot(name, revision, allow_pickle, local=True)
    if cached is not None and _complete(cached):
        return cached
    if revision is not None and (known := _cached_revisions(name)):
        absent += f" (of {name} the cache has {', '.join(known)})"
    _ask_hub(name, revision, absent, remedy)
    try:
        found = _snapshot(name, revision, allow_pickle, local=False)
    except (OSError, ValueError) as error:
        raise SourceError(f"{spelled}: download failed: {_first_line(error)}; {remedy}") from error
    if found is None:
        raise SourceError(f"{absent}; {remedy}")
    return found


def _snapshot(name: str, revision: str | None, allow_pickle: bool, *, local: bool) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    weights = ("*.safetensors", "pytorch_model*.bin") if allow_pickle else ("*.safetensors",)
    try:
        found = snapshot_download(
            name,
            revision=revision,
            allow_patterns=[*SMALL_FILES, *weights],
            ignore_patterns=["*/*", "consolidated*"],
            local_files_only=local,
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return Path(found)


def _cached_revisions(name: str) -> list[str]:
    """The branches and tags of a model in the cache, the first few."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    model = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")
    files = (one for one in (model / "refs").rglob("*") if one.is_file())
    found = (one.relative_to(model / "refs").as_posix() for one in files)
    return sorted(filter(re.compile(r"[\w./-]+").fullmatch, found))[:5]


def _complete(folder: Path) -> bool:
    """Whether a cached snapshot holds weights, and all shards of its index."""
    for index in INDICES:
        if (folder / index).is_file():
            shards = set(read_index(member(folder, index)).values())
            if all((folder / shard).is_file() for shard in shards):
                return True
    single = ("model.safetensors", "adapter_model.safetensors", "pytorch_model.bin")
    return any((folder / name).is_file() for name in single)


def _ask_hub(name: str, revision: str | None, absent: str, remedy: str) -> None:
    """Finds out within seconds whether the hub has the model; a dead network hangs nobody."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    answer = _within(
        PATIENCE, lambda: HfApi().model_info(name, revision=revision, timeout=PATIENCE)
    )
    if answer is None:
        return
    if isinstance(answer, OfflineModeIsEnabled):
        reason = "the hub is switched off (HF_HUB_OFFLINE)"
    elif isinstance(answer, RevisionNotFoundError):
        reason = f"the hub has no revision {revision!r} of it"
    elif isinstance(answer, RepositoryNotFoundError):
        reason = "the hub does not have it, or not for this user (hf auth login)"
    elif isinstance(answer, HfHubHTTPError):
        reason = f"the hub answers: {_first_line(answer)}"
    else:
        reason = f"the hub cannot be reached: {_first_line(answer)}"
    raise SourceError(f"{absent}, and {reason}; {remedy}") from answer


def _within(seconds: float, call: Callable[[], object]) -> Exception | None:
    """What `call` raises, None if it returns; a TimeoutError when it does neither in time."""
    outcome: list[Exception | None] = []

    def run() -> None:
        try:
            call()
            outcome.append(None)
        except Exception as error:  # whatever the network stack raises is the answer
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else TimeoutError(f"no answer in {seconds:.0f} seconds")


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)

"""`export --push-to-hub`: a built checkpoint as a repository of the Hugging Face hub.

Only through huggingface_hub, with the token it knows (HF_TOKEN, or `hf auth login`): none is ever
an option, where a shell's history would keep it. HF_ENDPOINT names another hub.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import StudyError
from .wording import clean

if TYPE_CHECKING:
    from huggingface_hub import HfApi

STALE = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*")
"""Weights that stood there before: beside the new ones they would be loaded, or refused."""


@dataclass(frozen=True, slots=True)
class Push:
    """Where to: `USER/NAME`, which branch, and what the commit says."""

    repo: str
    private: bool = False
    revision: str | None = None
    message: str = ""
    replace: bool = False
    """`--yes`: a repository that is there already may get another model."""


def refuse_push(push: Push) -> None:
    """Raises StudyError, before anything is built, for what the hub would refuse in the end."""
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(push.repo)
    except HFValidationError as error:
        raise StudyError(f"--push-to-hub {clean(push.repo)}: {_first(error)}") from None
    if push.repo.count("/") != 1:
        raise StudyError(f"--push-to-hub {push.repo}: expected USER/NAME or ORGANISATION/NAME")
    if constants.HF_HUB_OFFLINE:
        raise StudyError(
            "--push-to-hub: the hub is switched off by HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE); "
            "unset it, or leave --push-to-hub out"
        )
    if get_token() is None:
        raise StudyError(
            "--push-to-hub: no token of the hub is known here: `hf auth login`, or set HF_TOKEN "
            "to one that may write"
        )
    api = HfApi()
    with _told(push.repo):
        api.whoami()
        there = api.repo_exists(push.repo)
    if there and not push.replace:
        raise StudyError(
            f"--push-to-hub {push.repo}: it is there already; --yes puts this model in the place "
            "of the one in it (its history keeps that), or choose another name"
        )


def push_folder(folder: Path, push: Push) -> str:
    """Creates the repository, if need be, and uploads the folder in one go; its address."""
    from huggingface_hub import HfApi

    api = HfApi()
    with _told(push.repo, f"; {folder} is kept, the same command with --yes goes on"):
        made = api.create_repo(push.repo, private=push.private or None, exist_ok=True)
        if push.revision is not None:
            api.create_branch(push.repo, branch=push.revision, exist_ok=True)
        _upload(api, folder, push)
    return str(made) if push.revision is None else f"{made}/tree/{push.revision}"


def _upload(api: "HfApi", folder: Path, push: Push) -> None:
    api.upload_folder(
        repo_id=push.repo,
        folder_path=folder,
        revision=push.revision,
        commit_message=push.message or "Upload a merge found with eutectic",
        delete_patterns=list(STALE),
    )


@contextmanager
def _told(repo: str, after: str = "") -> Iterator[None]:
    """Whatever the hub or the network says, as one message; its client has many ways to say it."""
    try:
        yield
    except Exception as error:
        raise StudyError(f"--push-to-hub {repo}: {_first(error)}{after}") from error


def _first(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return clean(lines[0] if lines else type(error).__name__).rstrip(".")

"""One entry of `tasks`, read: which keys go together, and what they mean."""

from pathlib import Path
from typing import NoReturn

from evaluation.spec import Fewshot, LmEvalSpec, NativeSpec, TaskSpec
from merging.document import Document
from merging.document import Path as KeyPath

from .errors import StudyError
from .schema_tasks import FewshotForm, TaskForm

NATIVE_KEYS = frozenset(
    "file type prompt choices answer target description until max_new_tokens extract score group "
    "stratum".split()
)
LM_EVAL_KEYS = frozenset("lm_eval include_path docs test".split())


def fault_at(document: Document, path: KeyPath, message: str) -> NoReturn:
    """Raises a StudyError that carries the place."""
    raise StudyError(str(document.error(path, message)))


def read_task(document: Document, index: int, form: TaskForm, folder: Path) -> TaskSpec:
    """The task at `tasks[index]`; raises StudyError for keys that do not go together."""
    path: KeyPath = ("tasks", index)
    given = form.model_fields_set
    if (form.file is None) == (form.lm_eval is None):
        fault_at(document, path, "a task has exactly one of `file` and `lm_eval`")
    wrong = given & (LM_EVAL_KEYS if form.file is not None else NATIVE_KEYS)
    if wrong:
        key = sorted(wrong)[0]
        kind = "a task over a `file`" if form.file is not None else "an lm-eval task"
        fault_at(document, (*path, key), f"{kind} has no `{key}`")
    place = str(document.place(path))
    if form.file is None:
        return _lm_eval_task(document, path, form, folder, place)
    return _native_task(document, path, form, folder, place)


def _lm_eval_task(
    document: Document, path: KeyPath, form: TaskForm, folder: Path, place: str
) -> LmEvalSpec:
    if isinstance(form.fewshot, FewshotForm):
        fault_at(document, (*path, "fewshot"), "an lm-eval task takes a number; it draws its own")
    if form.test == "official" and form.docs == "test":
        fault_at(
            document,
            (*path, "docs"),
            "`test: official` seals the test split, so `docs` is train or validation",
        )
    return LmEvalSpec(
        name=form.name,
        task=form.lm_eval or "",
        include_path=None if form.include_path is None else folder / form.include_path,
        fewshot=form.fewshot,
        docs=form.docs,
        test=form.test,
        chat_template=bool(form.chat_template),
        system=form.system,
        limit=form.limit,
        place=place,
    )


REQUIRED = {
    "multiple_choice": ("choices", "answer"),
    "loglikelihood": ("target",),
    "generate": ("prompt",),
}


def _native_task(
    document: Document, path: KeyPath, form: TaskForm, folder: Path, place: str
) -> NativeSpec:
    if form.type is None:
        fault_at(document, path, f"the key 'type' is missing; one of {', '.join(REQUIRED)}")
    for key in REQUIRED[form.type]:
        if getattr(form, key) is None:
            fault_at(document, path, f"a {form.type} task needs `{key}`")
    if form.type == "generate" and form.target is None and form.score is None:
        fault_at(document, path, "a generate task needs `target`, or `score` with its own scorer")
    until = [form.until] if isinstance(form.until, str) else form.until or []
    return NativeSpec(
        name=form.name,
        file=folder / (form.file or ""),
        type=form.type,
        prompt=form.prompt or "",
        choices=tuple(form.choices) if isinstance(form.choices, list) else form.choices,
        answer=form.answer,
        target=form.target,
        description=form.description or "",
        fewshot=_fewshot(form.fewshot, folder),
        chat_template=bool(form.chat_template),
        system=form.system,
        until=tuple(until),
        max_new_tokens=form.max_new_tokens or 256,
        extract=form.extract,
        score=None if form.score is None else str(folder / form.score),
        group=form.group,
        stratum=form.stratum,
        limit=form.limit,
        place=place,
    )


def _fewshot(form: int | FewshotForm | None, folder: Path) -> Fewshot:
    if form is None or isinstance(form, int):
        return Fewshot(n=form or 0)
    file = None if form.source == "calibration" else folder / form.source
    return Fewshot(n=form.n, file=file, same=form.same)

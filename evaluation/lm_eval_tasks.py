"""Tasks of lm-eval, by name or by an own YAML, through lm-eval's own task objects.

A name may be a task, a group or a tag. Requests are built once, for all documents in order; the
harness then takes any subset. Answers are scored by lm-eval's own filters and metrics. A metric
whose results cannot be stored, or that says no direction, is left out; `dropped` says why.

Not here: sampled generation, images, sounds, tasks that run what a model wrote.
"""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .fewshot import draw
from .lm_eval_tasks_building import Chat
from .lm_eval_tasks_groups import Plan, fault, plan_of
from .lm_eval_tasks_guard import (
    compiled_once,
    lm_eval_seeds,
    quiet,
    silence_warnings,
    template_cache,
)
from .lm_eval_tasks_index import own_names
from .lm_eval_tasks_members import LmEvalGroup, joined
from .lm_eval_tasks_single import LmEvalTask, check_sources, member_of, sources_of, with_requests
from .spec import LmEvalSpec
from .task import Item

FEWSHOT_SEED = 1234
"""lm-eval's own default: the same shots as its command line draws."""


def load_lm_eval_task(
    spec: LmEvalSpec,
    *,
    seed: int = FEWSHOT_SEED,
    trust_task_code: bool = False,
    allowed_code: frozenset[Path] = frozenset(),
    allow_benchmark_test: bool = False,
    chat: Chat | None = None,
) -> LmEvalTask | LmEvalGroup:
    """Loads a task, or the subtasks of a group or tag as one, with all items and requests.

    Args:
        spec: The task as the study file asks for it; of a group `fewshot`, `docs` and so on hold
            for each subtask, `limit` for all items together (and as many of `test: official`).
        seed: Draws few-shot examples, and the rows that `limit` keeps.
        trust_task_code: Allows every own YAML, whose templates and `!function` are code.
        allowed_code: Own YAMLs that are allowed, with what they include and the functions they
            name; a group's also covers the subtasks it names.
        allow_benchmark_test: Allows a test split to be the one that is read.
        chat: Renders messages by the tokenizer's template; needed for `spec.chat_template`.

    Raises:
        TaskError: anything that keeps the task from being scored, in one message.
    """
    names = own_names(spec.include_path)
    declared = plan_of(spec, names, resolve=False)
    if not trust_task_code:
        _refuse_code(spec, declared, allowed_code)
    if spec.chat_template and chat is None:
        raise fault(spec, "chat_template: there is no tokenizer at hand to render it")
    silence_warnings()
    with quiet(), lm_eval_seeds(), compiled_once(templates := template_cache()):
        check_sources(spec, declared, allow_benchmark_test)
        plan = plan_of(spec, names, resolve=True)
        sources = sources_of(spec, declared, plan, allow_benchmark_test)
        members = [member_of(read, templates) for read in with_requests(sources, seed, chat)]
        task = joined(spec, plan, members) if plan.grouped else members[0]
    return replace(task, items=_sample(_unsealed(spec, task.items), spec.limit, seed))


def _refuse_code(spec: LmEvalSpec, plan: Plan, allowed: frozenset[Path]) -> None:
    """Refuses own YAMLs that the command line does not allow, before anything in them runs."""
    named = {path.resolve() for path in allowed}
    asked = dict.fromkeys(one.code for one in plan.subtasks if one.code is not None)
    missing = [path for path in asked if path.resolve() not in named]
    if missing:
        flags = " ".join(f"--allow-code {shlex.quote(_shown(path))}" for path in missing)
        group = ", the tasks it names" if plan.grouped else ""
        raise fault(
            spec,
            f"{_shown(missing[0])} is code: its templates and functions would run here; read it"
            f"{group} and what it includes, then add {flags}, or --trust-task-code for every "
            "YAML of the study",
        )


def _shown(path: Path) -> str:
    """The path as it can be written where the command runs."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _unsealed(spec: LmEvalSpec, items: Sequence[Item]) -> list[Item]:
    """The items without those whose document is in the official test split as well."""
    sealed = {item.group for item in items if item.split == "test"}
    kept = [item for item in items if item.split == "test" or item.group not in sealed]
    if all(item.split == "test" for item in kept):
        raise fault(spec, "test: official: every other document is in the test split as well")
    return kept


def _sample(items: Sequence[Item], limit: int | None, seed: int) -> tuple[Item, ...]:
    """At most `limit` items, those whose keys hash lowest, in order and renumbered.

    As many again of those that are bound to the test split.
    """
    ranked = sorted(items, key=lambda item: (draw(seed, f"limit/{item.key}"), item.index))
    parts = ([item for item in ranked if item.split == split] for split in ("", "test"))
    kept = sorted((one for part in parts for one in part[:limit]), key=lambda item: item.index)
    return tuple(replace(item, index=index) for index, item in enumerate(kept))

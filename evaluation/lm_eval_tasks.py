"""Tasks of lm-eval, by name or by an own YAML, through lm-eval's own task objects.

A name may be a task, a group or a tag. Requests are built once, for all documents in order; the
harness then takes any subset. Answers are scored by lm-eval's own filters and metrics. A metric
whose results cannot be stored, or that says no direction, is left out; `dropped` says why.

Not here: sampled generation, images, sounds, tasks that run what a model wrote.
"""

from collections.abc import Sequence
from dataclasses import replace

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
    allow_benchmark_test: bool = False,
    chat: Chat | None = None,
) -> LmEvalTask | LmEvalGroup:
    """Loads a task, or the subtasks of a group or tag as one, with all items and requests.

    Args:
        spec: The task as the study file asks for it; of a group `fewshot`, `docs` and so on hold
            for each subtask, `limit` for all items together.
        seed: Draws few-shot examples, and the rows that `limit` keeps.
        trust_task_code: Allows own YAML files, whose templates and `!function` are code.
        allow_benchmark_test: Allows a test split to be the one that is read.
        chat: Renders messages by the tokenizer's template; needed for `spec.chat_template`.

    Raises:
        TaskError: anything that keeps the task from being scored, in one message.
    """
    names = own_names(spec.include_path)
    declared = plan_of(spec, names, resolve=False)
    _refuse_code(spec, declared, trust_task_code)
    if spec.chat_template and chat is None:
        raise fault(spec, "chat_template: there is no tokenizer at hand to render it")
    silence_warnings()
    with quiet(), lm_eval_seeds(), compiled_once(templates := template_cache()):
        check_sources(spec, declared, allow_benchmark_test)
        plan = plan_of(spec, names, resolve=True)
        sources = sources_of(spec, declared, plan, allow_benchmark_test)
        tasks = with_requests(sources, seed, chat)
        members = [member_of(*pair, templates) for pair in zip(sources, tasks, strict=True)]
        task = joined(spec, plan, members) if plan.grouped else members[0]
    return replace(task, items=_sample(task.items, spec.limit, seed))


def _refuse_code(spec: LmEvalSpec, plan: Plan, trusted: bool) -> None:
    """Refuses own YAMLs that nobody allowed, before anything in them runs."""
    for path in (subtask.code for subtask in plan.subtasks if not trusted):
        if path is not None:
            raise fault(
                spec,
                f"{path} is not one of lm-eval's own: its templates and functions are code that "
                "would run here; read it, then allow it with --trust-task-code",
            )


def _sample(items: Sequence[Item], limit: int | None, seed: int) -> tuple[Item, ...]:
    """At most `limit` items, those whose keys hash lowest, in order and renumbered."""
    ranked = sorted(items, key=lambda item: (draw(seed, f"limit/{item.key}"), item.index))
    kept = sorted(ranked[:limit], key=lambda item: item.index)
    return tuple(replace(item, index=index) for index, item in enumerate(kept))

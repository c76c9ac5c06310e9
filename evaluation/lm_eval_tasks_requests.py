"""lm-eval's instances as items and requests of ours, and the hash of what decides a result."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import lm_eval
from lm_eval.api.instance import Instance

from .lm_eval_tasks_groups import Config, fault
from .lm_eval_tasks_statement import stated
from .rows import content_hash
from .spec import LmEvalSpec
from .task import Item, Request

DEFAULT_NEW_TOKENS = 256
"""lm-eval's own, where a task gives no number."""
_SCORING_KEYS = (
    "class",
    "doc_to_choice",
    "doc_to_target",
    "doc_to_text",
    "filter_list",
    "metric_list",
    "output_type",
    "process_docs",
    "process_results",
    "repeats",
    "use_prompt",
)
_LONGEST_PATH = 1024
_TOKEN_KEYS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_NEUTRAL = {"num_beams": 1, "num_return_sequences": 1, "repetition_penalty": 1.0}
"""Generation settings that change nothing at these values."""
_SAMPLING = ("do_sample", "temperature", "top_p", "top_k")
"""Settings that say nothing once it is clear that nothing is sampled."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where items stand among others: before their keys, their stratum, the split they serve."""

    prefix: str = ""
    stratum: str = ""
    split: Literal["", "test"] = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What lm-eval asks about one item; answers are never written to the instances."""

    task: Any
    """lm-eval's own object."""
    instances: tuple[Instance, ...]


def items_of(
    spec: LmEvalSpec, task: Any, rule: str, place: Place
) -> tuple[list[Item], dict[str, Asked]]:
    """All items of a task whose requests are built, in order, and what is asked, by key.

    Raises:
        TaskError: no documents, or a request that eutectic cannot answer.
    """
    by_document: dict[int, list[Instance]] = {}
    for instance in task.instances:
        by_document.setdefault(instance.doc_id, []).append(instance)
    seen: Counter[str] = Counter()
    items: list[Item] = []
    asked: dict[str, Asked] = {}
    for index, group in enumerate(by_document.values()):
        ordered = tuple(sorted(group, key=lambda instance: instance.idx))
        item = _item(spec, task, index, ordered, rule, seen, place)
        items.append(item)
        asked[item.key] = Asked(task, ordered)
    return items, asked


def rehash(item: Item, more: object) -> str:
    """The item's prompt hash where more than requests and scoring rule decides its numbers."""
    text = json.dumps([item.prompt_hash, more], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def scoring_rule(declared: Config) -> str:
    """What decides the numbers of an item besides its document and the answers, as text.

    The keys of the YAML that score, with a hash of each file that `!function` names (not of what
    these import), and lm-eval's version.
    """
    keys = {key: declared[key] for key in _SCORING_KEYS if key in declared}
    return json.dumps([lm_eval.__version__, _with_hashes(keys)], sort_keys=True, default=str)


def _with_hashes(value: Any) -> Any:
    """The value with each function, an absolute path and a name as text, as name and hash."""
    if isinstance(value, dict):
        return {str(key): _with_hashes(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_hashes(part) for part in value]
    if isinstance(value, str) and value.startswith("/") and len(value) < _LONGEST_PATH:
        path = Path(value)
        module = path.parent / (path.name.rpartition(".")[0].replace(".", "/") + ".py")
        if module.is_file():
            return [path.name, hashlib.blake2b(module.read_bytes(), digest_size=8).hexdigest()]
    return value


def _item(
    spec: LmEvalSpec,
    task: Any,
    index: int,
    instances: tuple[Instance, ...],
    rule: str,
    seen: Counter[str],
    place: Place,
) -> Item:
    """The item of one document; equal documents are one group, whichever subtask they are of."""
    document = instances[0].doc
    row = dict(document) if isinstance(document, Mapping) else {"document": document}
    content = content_hash(f"task {spec.name!r}, document {index}", row)
    seen[content] += 1
    key = place.prefix + (content if seen[content] == 1 else f"{content}-{seen[content]}")
    requests = tuple(_request(spec, index, instance) for instance in instances)
    asked = json.dumps([[asdict(request) for request in requests], rule], sort_keys=True)
    digest = hashlib.blake2b(asked.encode(), digest_size=8).hexdigest()
    text = stated(task, document, row, requests)
    return Item(key, index, content, place.stratum, requests, digest, row, text, place.split)


def _request(spec: LmEvalSpec, index: int, instance: Instance) -> Request:
    """One instance as a request.

    Raises:
        TaskError: prompts that are no text, sampled generation.
    """
    kind, arguments = instance.request_type, instance.args
    texts = arguments[:1] if kind == "generate_until" else arguments
    for text in texts:
        if not isinstance(text, str):
            name = type(text).__name__
            raise fault(spec, f"document {index}: expected a text as prompt or target, got {name}")
    if kind == "loglikelihood":
        return Request("loglikelihood", arguments[0], arguments[1])
    if kind == "loglikelihood_rolling":
        return Request("rolling", arguments[0])
    if kind == "generate_until":
        until, new_tokens = _generation(spec, dict(arguments[1]))
        return Request("generate", arguments[0], until=until, max_new_tokens=new_tokens)
    raise fault(spec, f"document {index}: requests of type {kind!r} are not known")


def _generation(spec: LmEvalSpec, settings: dict[str, Any]) -> tuple[tuple[str, ...], int]:
    """Stop strings and the bound of new tokens; refuses what greedy decoding does not do."""
    until = settings.pop("until", None) or []
    limits = [settings.pop(key) for key in _TOKEN_KEYS if settings.get(key) is not None]
    sample, temperature = settings.get("do_sample"), settings.get("temperature")
    if sample is not False and (temperature != 0 if sample else temperature):
        raise fault(
            spec,
            "it samples its answers (generation_kwargs: do_sample, temperature), and the same "
            "candidate would score differently each time; set do_sample: false",
        )
    others = {k: v for k, v in settings.items() if k not in (*_SAMPLING, *_TOKEN_KEYS)}
    for key, value in others.items():
        if value is not None and _NEUTRAL.get(key, object()) != value:
            raise fault(spec, f"generation_kwargs: eutectic decodes greedily, without {key!r}")
    if not isinstance(until, str | list | tuple):
        raise fault(spec, f"generation_kwargs: until: expected texts, got {until!r}")
    most = limits[0] if limits else DEFAULT_NEW_TOKENS
    if type(most) is not int or most < 1:
        raise fault(spec, f"generation_kwargs: expected a number of new tokens, got {most!r}")
    texts = (until,) if isinstance(until, str) else tuple(map(str, until))
    return tuple(text for text in texts if text), most

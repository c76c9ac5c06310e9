"""The model card of an exported winner: Markdown with the Hub's front matter.

Names in it are a stranger's: front matter is dumped as YAML, table cells are escaped, the recipe
stands in a fence longer than any in it. A card travels, so it shows no absolute path: each is cut
to its last part. Licences are not guessed.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import yaml

from merging.methods.table import METHODS

from .truth_text import beside_sentences, masks_sentences, optimism_sentences
from .view import Estimate, RunView, TestRow
from .wording import clean, count, direction, estimate_text, interval, signed

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
ROOT = r"(?:file://|~)?(?:/|[A-Za-z]:[\\/])"
IS_ABSOLUTE = re.compile(ROOT)
ABSOLUTE = re.compile(
    rf"(?<![\w.:/\\~-]){ROOT}[^\s'\"`,;()\[\]{{}}<>|/\\]+[/\\][^\s'\"`,;()\[\]{{}}<>|]*"
)
MARKUP = re.compile(r"([\\`*_\[\]<>|#~&!$])")


def model_card(view: RunView, recipe_yaml: str, base_model: str | None) -> str:
    """The card as Markdown.

    Args:
        view: the run; without test rows the card says that nothing is claimed.
        recipe_yaml: the exported recipe; absolute paths in it are cut to their last part.
        base_model: the recipe's base, None where its method has none.

    Returns:
        Front matter and text. `base_model` in the front matter lists what has the form of a Hub
        name, base first; anything else would be refused there.
    """
    parts = [
        _front_matter(view, base_model),
        f"# {_text(view.name)}",
        _text(view.winner.claim if view.winner else "The search ended without a winner."),
        _text(view.winner.choice) if view.winner else "",
        _scores(view),
        _told("## Other masks", masks_sentences(view)),
        _told("## Search score against select score", optimism_sentences(view)),
        "## Recipe",
        "A [mergekit](https://github.com/arcee-ai/mergekit) recipe, found with eutectic.",
        _fenced(_without_paths(recipe_yaml)),
        _method(recipe_yaml),
        "## The search",
        _search(view),
        _told("### Random search beside it", beside_sentences(view)),
    ]
    if view.notices:
        parts += ["## Notes", _list(view.notices)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(view: RunView, base_model: str | None) -> str:
    names = [part for name in (base_model or "", *view.models) for part in name.split("+")]
    known = list(dict.fromkeys(name for name in names if HUB_NAME.fullmatch(name)))
    matter: dict[str, object] = {"base_model": known, "base_model_relation": "merge"}
    if not known:
        matter = {}
    matter |= {"library_name": "transformers", "tags": ["mergekit", "merge", "eutectic"]}
    return f"---\n{yaml.safe_dump(matter, sort_keys=False, allow_unicode=True).strip()}\n---"


def _method(recipe_yaml: str) -> str:
    """The merge method, its paper, and what the parameters of the recipe mean."""
    method = METHODS.get(str(yaml.safe_load(recipe_yaml).get("merge_method")))
    if method is None:
        return ""
    paper = f" ({method.paper})" if method.paper else ""
    given = [one for one in method.parameters if f"{one.name}:" in recipe_yaml]
    meanings = [f"{one.name}: {one.meaning}" for one in given]
    return f"Merge method: `{method.name}`{paper}.\n\n{_list(meanings)}".rstrip()


def _scores(view: RunView) -> str:
    if not view.test_rows:
        return "Nothing was scored on a sealed test split, so nothing is claimed."
    rows = sorted(view.test_rows, key=lambda row: row.kind != "winner")
    others = [row for row in rows if row.kind != "winner"]
    return "\n\n".join(
        (
            "## Scores on the sealed test split",
            "Items that no trial was searched on. In brackets: 95% intervals.",
            _table(view, rows, "model", lambda row: row.values, estimate_text),
            "The winner minus each model, paired item by item:",
            _table(view, others, "winner minus", lambda row: row.difference, _difference),
            _list(view.prices),
        )
    )


def _difference(estimate: Estimate | None) -> str:
    if estimate is None:
        return estimate_text(None)
    return f"{signed(estimate.value)} ({interval(estimate, difference=True)})"


def _table(
    view: RunView,
    rows: Iterable[TestRow],
    corner: str,
    values: Callable[[TestRow], Mapping[str, Estimate]],
    write: Callable[[Estimate | None], str],
) -> str:
    heads = [f"{_text(c)}, {direction(view.directions.get(c, True))}" for c in view.columns]
    lines = [f"| {corner} | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for row in rows:
        cells = [write(values(row).get(column)) for column in view.columns]
        lines.append(f"| {_name(row.name)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _search(view: RunView) -> str:
    trials = sum(bool(trial.objectives) for trial in view.trials)
    evaluations = sum(trial.items for trial in view.trials)
    facts = [
        f"{count(trials, 'finished trial')}, {count(evaluations, 'item evaluation')}; "
        f"sampler {_text(view.sampler)}, seed {view.seed}",
        f"models: {', '.join(_name(name) for name in view.models)}",
        f"winner rule: {_text(view.rule)}",
    ]
    for task, sizes in view.tasks.items():
        splits = ", ".join(f"{_text(split)} {items:,}" for split, items in sizes.items())
        facts.append(f"items of {_text(task)}: {splits}")
    facts += [f"constraint: {_text(constraint)}" for constraint in view.constraints]
    if view.versions:
        versions = ", ".join(f"{_text(k)} {_text(v)}" for k, v in view.versions.items())
        facts.append(f"versions: {versions}")
    return "\n".join(f"- {fact}" for fact in facts)


def _told(title: str, sentences: Sequence[str]) -> str:
    """A heading, the first sentence, the others as a list; nothing where there are none."""
    if not sentences:
        return ""
    first, *others = sentences
    return "\n\n".join(part for part in (title, _text(first), _list(others)) if part)


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {_text(sentence)}" for sentence in sentences)


def _text(raw: str) -> str:
    """One line of Markdown that shows `raw` as it is, absolute paths cut to their last part."""
    return MARKUP.sub(r"\\\1", ABSOLUTE.sub(_last_part, clean(raw)))


def _last_part(match: re.Match[str]) -> str:
    return _base_name(match.group())


def _base_name(path: str) -> str:
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1] or "path"


def _portable(model: str) -> str:
    """A model's name, `model+adapter` too; a path may have spaces in it."""
    parts = model.split("+")
    return "+".join(_base_name(part) if IS_ABSOLUTE.match(part) else part for part in parts)


def _name(raw: str) -> str:
    return _text(_portable(raw))


def _fenced(source: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", source)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}yaml\n{source.strip()}\n{fence}"


def _without_paths(recipe: str) -> str:
    """The recipe, absolute paths cut: scalars by their place in the YAML, comments by pattern."""
    pieces, end = [], 0
    for node in sorted(_scalars(recipe), key=lambda node: node.start_mark.index):
        start = node.start_mark.index
        if _portable(node.value) != node.value:
            pieces += [recipe[end:start], _quoted(_portable(node.value))]
            end = node.end_mark.index
    text = "".join((*pieces, recipe[end:]))
    return re.sub(r"(?m)^\s*#.*$", lambda line: ABSOLUTE.sub(_last_part, line.group()), text)


def _quoted(name: str) -> str:
    return yaml.safe_dump(name, width=10**6, allow_unicode=True).removesuffix("\n...\n").strip()


def _scalars(recipe: str) -> Iterable[yaml.ScalarNode]:
    """Every scalar, keys included; an anchor is met once."""
    todo = [yaml.compose(recipe, Loader=yaml.SafeLoader)]
    seen: set[int] = set()
    while todo:
        node = todo.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            yield node
        elif isinstance(node, yaml.SequenceNode):
            todo += node.value
        elif isinstance(node, yaml.MappingNode):
            todo += [part for pair in node.value for part in pair]

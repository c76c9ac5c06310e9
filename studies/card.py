"""The model card of an exported winner: Markdown with the Hub's front matter.

Names in it are a stranger's: front matter is dumped as YAML, table cells are escaped, the recipe
stands in a fence longer than any in it. A card travels, so it shows no absolute path: each is cut
to its last part. Licences are not guessed.
"""

from collections.abc import Mapping, Sequence

import yaml

from merging.methods.table import METHODS

from .benchmarks import optimised_sentences
from .card_matter import front_matter
from .card_scores import scores_markdown
from .card_text import escaped, fenced, listed, name_cell, without_paths
from .licences import Licence, licence_sentence
from .truth_text import beside_sentences, masks_sentences, optimism_sentences
from .view import RunView
from .wording import count


def model_card(
    view: RunView,
    recipe_yaml: str,
    base_model: str | None,
    licences: Mapping[str, Licence | None] | None = None,
) -> str:
    """The card as Markdown.

    Args:
        view: the run; without test rows the card says that nothing is claimed.
        recipe_yaml: the exported recipe; absolute paths in it are cut to their last part.
        base_model: the recipe's base, None where its method has none.
        licences: model name to the licence that its own card names, None where it names none.

    Returns:
        Front matter and text. `base_model` in the front matter lists what has the form of a Hub
        name, base first; anything else would be refused there.
    """
    parts = [
        front_matter(view, base_model, licences or {}),
        f"# {escaped(view.name)}",
        *(f"> **Warning:** {escaped(one)}" for one in optimised_sentences(view)),
        escaped(view.winner.claim if view.winner else "The search ended without a winner."),
        escaped(view.winner.choice) if view.winner else "",
        scores_markdown(view),
        _told("## Other masks", masks_sentences(view)),
        _told("## Search score against select score", optimism_sentences(view)),
        "## Recipe",
        "A [mergekit](https://github.com/arcee-ai/mergekit) recipe, found with eutectic.",
        fenced(without_paths(recipe_yaml)),
        _method(recipe_yaml),
        "## The search",
        _search(view),
        _told("### Random search beside it", beside_sentences(view)),
    ]
    if licences:
        parts += ["## Licence", licence_sentence(licences)]
    if view.notices:
        parts += ["## Notes", listed(view.notices)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _method(recipe_yaml: str) -> str:
    """The merge method, its paper, and what the parameters of the recipe mean."""
    method = METHODS.get(str(yaml.safe_load(recipe_yaml).get("merge_method")))
    if method is None:
        return ""
    paper = f" ({method.paper})" if method.paper else ""
    given = [one for one in method.parameters if f"{one.name}:" in recipe_yaml]
    meanings = [f"{one.name}: {one.meaning}" for one in given]
    return f"Merge method: `{method.name}`{paper}.\n\n{listed(meanings)}".rstrip()


def _search(view: RunView) -> str:
    trials = sum(bool(trial.objectives) for trial in view.trials)
    evaluations = sum(trial.items for trial in view.trials)
    facts = [
        f"{count(trials, 'finished trial')}, {count(evaluations, 'item evaluation')}; "
        f"sampler {escaped(view.sampler)}, seed {view.seed}",
        f"models: {', '.join(name_cell(name) for name in view.models)}",
        f"winner rule: {escaped(view.rule)}",
    ]
    for task, sizes in view.tasks.items():
        splits = ", ".join(f"{escaped(split)} {items:,}" for split, items in sizes.items())
        facts.append(f"items of {escaped(task)}: {splits}")
    facts += [f"constraint: {escaped(constraint)}" for constraint in view.constraints]
    if view.versions:
        versions = ", ".join(f"{escaped(k)} {escaped(v)}" for k, v in view.versions.items())
        facts.append(f"versions: {versions}")
    return "\n".join(f"- {fact}" for fact in facts)


def _told(title: str, sentences: Sequence[str]) -> str:
    """A heading, the first sentence, the others as a list; nothing where there are none."""
    if not sentences:
        return ""
    first, *others = sentences
    return "\n\n".join(part for part in (title, escaped(first), listed(others)) if part)

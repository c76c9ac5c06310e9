"""What the page shows of a chosen candidate: its recipe, what it gained and lost; plain data.

A thousand recipes differ in their numbers: they travel as templates of lines with the lines that
differ, and are filled in when one is chosen. The texts are those of `eutectic export`, byte for
byte.
"""

from collections.abc import Mapping

from .points import RANDOM, reference_key, trial_key
from .view import Against, Example, RunView
from .wording import short_names, upright

Plain = dict[str, object]


def details(view: RunView) -> Plain:
    """Everything by key of a candidate.

    Returns:
        `recipes` (see `packed`); `titles`: [[key, title, where it comes from], ...] in the order
        of a list to choose from; `against`: key to [rival, column, items, gained, lost, right or
        wrong, examples gained, examples lost], rivals and columns as places in `names` and
        `short`; `items`: [task, split, question, choices, gold].
    """
    beside: dict[str, tuple[Against, ...]] = {
        **{trial_key(one.number): one.against for one in view.trials},
        **{reference_key(place): one.against for place, one in enumerate(view.references)},
        **({RANDOM: view.beside.against} if view.beside else {}),
    }
    names: dict[str, int] = {}
    return {
        "recipes": packed(recipes(view)),
        "titles": _titles(view),
        "against": {
            key: [_plain(one, names) for one in told] for key, told in beside.items() if told
        },
        "names": [upright(name) for name in names],  # after the line above, which fills it
        "short": list(short_names(list(names)).values()),
        "items": [[i.task, i.split, i.question, list(i.choices), i.gold] for i in view.items],
    }


def recipes(view: RunView) -> dict[str, str]:
    """Key to YAML, of everybody who has one."""
    found = {trial_key(one.number): one.recipe_yaml for one in view.trials}
    found |= {reference_key(at): one.recipe_yaml for at, one in enumerate(view.references)}
    if view.beside:
        found[RANDOM] = view.beside.recipe_yaml
    return {key: text for key, text in found.items() if text}


def chosen_key(view: RunView) -> str:
    """The key of the winner; empty where nobody won."""
    if view.winner is None:
        return ""
    if view.winner.number is not None:
        return trial_key(view.winner.number)
    names = [one.name for one in view.references]
    return reference_key(names.index(view.winner.name)) if view.winner.name in names else ""


def packed(texts: Mapping[str, str]) -> Plain:
    """Texts as templates and fills: the lines in which each differs from its template.

    Returns:
        `templates`: lists of lines, one for each number of lines that a text has; `fills`: key to
        [template, line, its text, line, its text, ...].
    """
    templates: list[list[str]] = []
    by_length: dict[int, int] = {}
    fills: dict[str, list[int | str]] = {}
    for key, text in texts.items():
        lines = text.split("\n")
        if len(lines) not in by_length:
            by_length[len(lines)] = len(templates)
            templates.append(lines)
        at = by_length[len(lines)]
        fill: list[int | str] = [at]
        for number, (line, usual) in enumerate(zip(lines, templates[at], strict=True)):
            if line != usual:
                fill += [number, line]
        fills[key] = fill
    return {"templates": templates, "fills": fills}


def filled(told: Mapping[str, object], key: str) -> str:
    """The text of a key: what the page's own script does."""
    templates, fills = told["templates"], told["fills"]
    assert isinstance(templates, list) and isinstance(fills, dict)
    at, *changes = fills[key]
    lines = list(templates[at])
    for number, line in zip(changes[::2], changes[1::2], strict=True):
        lines[number] = line
    return "\n".join(lines)


def _titles(view: RunView) -> list[list[str]]:
    """The winner, the references, random search's best, the front, then every other trial."""
    won = chosen_key(view)
    texts = recipes(view)
    titled = [[reference_key(at), one.name, one.kind] for at, one in enumerate(view.references)]
    if view.beside:
        titled.append([RANDOM, view.beside.random, "random search"])
    trials = sorted(view.trials, key=lambda one: (not one.on_front, one.number))
    for one in trials:
        where = "front" if one.on_front else one.state if one.state != "complete" else ""
        titled.append([trial_key(one.number), f"trial {one.number}", where])
    titled = [
        [key, upright(name), "winner" if key == won else where] for key, name, where in titled
    ]
    titled.sort(key=lambda one: one[0] != won)
    return [one for one in titled if one[0] in texts]


def _plain(one: Against, names: dict[str, int]) -> list[object]:
    places = [names.setdefault(name, len(names)) for name in (one.rival, one.column)]
    examples = [[_example(e) for e in some] for some in (one.gains, one.losses)]
    return [*places, one.items, one.gained, one.lost, int(one.right_or_wrong), *examples]


def _example(one: Example) -> list[object]:
    return [one.item, one.mine, one.theirs]

"""What a search found as Markdown, for the tools that show it: trackers, optuna-dashboard."""

from .card_scores import scores_markdown
from .card_text import escaped, fenced, without_paths
from .view import RunView


def claim_markdown(view: RunView) -> str:
    """Claim, test tables and notes; no absolute path in them."""
    if view.winner is None:
        return "The search ended without a winner."
    parts = [f"**{escaped(view.winner.name)}**", escaped(view.winner.claim), scores_markdown(view)]
    parts += [f"- {escaped(notice)}" for notice in view.notices]
    return "\n\n".join(parts)


def recipe_markdown(view: RunView) -> str:
    """The winner's recipe in a fence, no absolute path in it; empty without a winner."""
    return "" if view.winner is None else fenced(without_paths(view.winner.recipe_yaml))


def note_markdown(view: RunView) -> str:
    """Claim, tables and recipe in one, as optuna-dashboard shows a study's note."""
    return "\n\n".join(filter(None, (claim_markdown(view), recipe_markdown(view))))


def summary_attributes(view: RunView) -> dict[str, str]:
    """What a study's user attributes say: who won, and what is claimed."""
    if view.winner is None:
        return {"search": view.state}
    return {"search": view.state, "winner": view.winner.name, "claim": view.winner.claim}

"""The end of a search as Markdown, for trackers that show it."""

from ..card_scores import scores_markdown
from ..card_text import escaped, fenced, without_paths
from ..view import RunView


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

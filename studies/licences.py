"""The licence of a merge: that of its models where their own cards all name the same one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merging.errors import SourceError
from merging.headers import member
from merging.locations import locate
from merging.recipe import ModelReference

from .card_text import escaped, name_cell
from .wording import clean

KEYS = ("license", "license_name", "license_link")
LARGEST = 2**20
"""Bytes of a model's README.md; a larger one is not looked into."""


@dataclass(frozen=True, slots=True)
class Licence:
    """What a model's card says: the id, and for `other` its name and where it stands."""

    id: str
    name: str = ""
    link: str = ""

    @property
    def matter(self) -> dict[str, str]:
        """The keys of the front matter."""
        pairs = zip(KEYS, map(clean, (self.id, self.name, self.link)), strict=True)
        return {key: value for key, value in pairs if value}


def licences_of(
    models: Sequence[ModelReference], folder: Path, maps: Mapping[str, Path]
) -> dict[str, Licence | None]:
    """Each model and adapter of a recipe with the licence of its card; reads what is there."""
    found: dict[str, Licence | None] = {}
    for model in models:
        try:
            places = locate(model, folder=folder, mapping=maps, allow_pickle=True)
        except SourceError:
            places = (Path(), None)
        for name, place in zip((model.path, model.adapter), places, strict=True):
            if name is not None and name not in found:
                found[name] = None if place is None else licence_of(place)
    return found


def licence_of(folder: Path) -> Licence | None:
    """The licence that the front matter of a model's card names; None where none can be read."""
    from huggingface_hub import metadata_load

    try:
        card = member(folder, "README.md")
        if card.stat().st_size > LARGEST:
            return None
        matter: Any = metadata_load(card)
    except Exception:  # a stranger's file may be anything
        return None
    if not isinstance(matter, dict):
        return None
    values = [matter.get(key) for key in KEYS]
    if not isinstance(values[0], str) or not values[0].strip():
        return None
    return Licence(*(one.strip() if isinstance(one, str) else "" for one in values))


def shared_licence(licences: Mapping[str, Licence | None]) -> Licence | None:
    """The one that all name; None where they differ or one of them names none."""
    distinct = set(licences.values())
    return distinct.pop() if len(distinct) == 1 else None


def licence_sentence(licences: Mapping[str, Licence | None]) -> str:
    """In words, what the merge may be given as."""
    if (shared := shared_licence(licences)) is not None:
        return f"All its models are given under {escaped(shared.name or shared.id)}; so is this."
    told = (
        f"{name_cell(name)}: {escaped(one.name or one.id) if one else 'not said'}"
        for name, one in licences.items()
    )
    return (
        "Not stated, since the cards of its models do not all name the same: "
        f"{', '.join(told)}. What holds for them holds for this merge."
    )

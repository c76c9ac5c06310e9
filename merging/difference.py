"""One deliberate difference from mergekit, in words."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference, each side in a few words.

    `exact`: "yes", perhaps with what goes along, or "no" and why mergekit's side is not taken.
    """

    id: str
    what: str
    mergekit: str
    eutectic: str
    exact: str
    where: str

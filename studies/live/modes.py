"""How a search may show itself on standard error."""

from enum import StrEnum


class Mode(StrEnum):
    """`auto` draws on a terminal and writes plain lines elsewhere."""

    auto = "auto"
    live = "live"
    plain = "plain"
    json = "json"
    none = "none"

"""What can be wrong with a search, as the user asked for it.

SearchError             the root: a fault of the input, told in one message, exit code 2
├── StorageError        the database of a run: its URL, its server, its format, its disk
├── SpaceError          values that are no point of the space, a recipe that is no filling of it
└── SamplerError        a sampler that does not exist, cannot search this space, or fails
    └── SamplerOptionError      an argument that it does not take

Faults in the text of a range are `merging.errors.RecipeError`: they carry file, line and column.
"""


class SearchError(ValueError):
    """A fault of what the user asked for; its text is the whole message."""


class StorageError(SearchError):
    """A fault of where a run is kept; the message names the database without credentials."""


class SpaceError(SearchError):
    """Values outside the space; the message names the dimension, the value and the range."""


class SamplerError(SearchError):
    """A sampler unknown, unsuited or failing; the message says which would do, or what it did."""


class SamplerOptionError(SamplerError):
    """An argument of a sampler; `option` is its name, empty for one that is missing."""

    def __init__(self, message: str, option: str = "") -> None:
        super().__init__(message)
        self.option = option


def told_in_short(error: BaseException) -> str:
    """What a stranger's code raised: its type, and the first line that it says."""
    said = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__

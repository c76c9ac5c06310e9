"""What can be wrong with a user's recipe or models.

MergeError              the root: a fault of the input, told in one message, exit code 2
├── RecipeError         the text of a recipe: carries file, line and column
├── SourceError         a model folder, a shard, an adapter, a hub name
└── UnsupportedError    a thing mergekit knows that eutectic does not do (yet): named, refused
"""


class MergeError(ValueError):
    """A fault of the user's recipe or models; its text is the whole message."""


class RecipeError(MergeError):
    """A fault in the text of a recipe; the message starts with `file:line:column`."""


class SourceError(MergeError):
    """A fault of a model folder, a shard, an adapter or a hub name; the message names the file."""


class UnsupportedError(MergeError):
    """Something mergekit can say that eutectic refuses; the message says what to do instead."""

"""What can be wrong with a study, a run folder or a command.

StudyError              the root: a fault of the input, told in one message, exit code 2
├── RunError            a run folder: missing, in use, of another study, of another format
└── NoWinnerError       nothing usable came out; exit code 3
"""


class StudyError(ValueError):
    """A fault of the study file or of a command's arguments; its text is the whole message."""


class RunError(StudyError):
    """A fault of a run folder; the message says what to do."""


class NoWinnerError(StudyError):
    """The search ended without a usable winner; the message says why."""

"""From an exception to one message and an exit code; no traceback for a fault of the input.

0 a result was produced; 1 `verify` found a difference; 2 the input is at fault; 3 no usable
winner, or too many failed trials; 130 interrupted, state saved.
"""

import functools
import os
import sqlite3
import sys
import unicodedata
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from evaluation.errors import EvaluationError, NonFiniteError
from merging.errors import MergeError
from search.errors import SearchError

from ..errors import NoWinnerError, StudyError
from ..wording import TURNS

DIFFERENT = 1
INPUT_AT_FAULT = 2
NO_WINNER = 3
INTERRUPTED = 130

P = ParamSpec("P")
R = TypeVar("R")


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Makes a command tell faults in one message.

    EUTECTIC_DEBUG (set by --debug) lets them through.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except NoWinnerError as error:
            raise _told(error, NO_WINNER) from error
        except (MergeError, EvaluationError, NonFiniteError, SearchError, StudyError) as error:
            raise _told(error, INPUT_AT_FAULT) from error
        except OSError as error:
            raise _told(_readable(error), INPUT_AT_FAULT) from error
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            raise _told(OUT_OF_MEMORY, INPUT_AT_FAULT) from error
        except KeyboardInterrupt as error:
            raise _told("interrupted", INTERRUPTED) from error
        except Exception as error:
            if (said := _database_at_fault(error)) is None:
                raise
            raise _told(said, INPUT_AT_FAULT) from error

    return run


OUT_OF_MEMORY = (
    "out of memory; a smaller --token-budget or another --device takes less (a run keeps what it "
    "was begun with: start anew with --fresh)"
)


def _out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, by the name of torch's error: torch may not be loaded."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _database_at_fault(error: BaseException | None) -> str | None:
    """What SQLite says of its disk, through those that wrap it: SQLAlchemy and Optuna."""
    while error is not None:
        if isinstance(error, sqlite3.OperationalError):
            return (
                f"the run's database: {error}; what was recorded is kept: see to the disk, and "
                "the same command goes on"
            )
        error = getattr(error, "orig", None) or error.__cause__
    return None


def _told(message: object, code: int) -> BaseException:
    if os.environ.get("EUTECTIC_DEBUG") and isinstance(message, BaseException):
        raise message
    print(f"eutectic: {one_line(str(message))}", file=sys.stderr)
    return typer.Exit(code)


def one_line(text: str) -> str:
    """What breaks lines or speaks to the terminal is escaped: names come from strangers."""
    odd = ("Cc", "Cs", "Zl", "Zp")
    return "".join(
        repr(one)[1:-1] if unicodedata.category(one) in odd or ord(one) in TURNS else one
        for one in text
    )


def _readable(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"

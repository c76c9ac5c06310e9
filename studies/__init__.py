"""One study's life: its file, its run folder, its results, its report and the command line.

For Python and notebooks `from studies import Study, Run` (docs/python.md); whatever they need is
imported when they are first asked for.
"""

from typing import TYPE_CHECKING

from .errors import NoWinnerError, RunError, StudyError

if TYPE_CHECKING:
    from .api import Study
    from .api_run import Run

__all__ = ["NoWinnerError", "Run", "RunError", "Study", "StudyError"]


def __getattr__(name: str) -> object:
    if name == "Study":
        from .api import Study

        return Study
    if name == "Run":
        from .api_run import Run

        return Run
    raise AttributeError(f"module 'studies' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

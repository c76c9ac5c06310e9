"""Linear algebra on one thread: small matrices gain nothing from more, and bits may depend on it.

numpy and scipy bring BLAS libraries that split a product by the cores of the machine, and add up
in another order on another machine. What a search decides by must not depend on that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@contextmanager
def one_thread() -> Iterator[None]:
    """Numpy and scipy work on one thread inside; as before behind it."""
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> Any:
    """The libraries of this process, looked for once."""
    import scipy.linalg  # noqa: F401 - it brings one of its own
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()

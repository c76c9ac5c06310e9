"""How kernels are compiled: at the first call, without the interpreter lock, without fast-math.

Division by zero gives infinity or NaN, as in numpy: a check would keep loops from being
vectorised.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """A kernel; its machine code is kept on disk where a cache folder is writable."""
    try:
        return cast(Function, njit(nogil=True, error_model="numpy", cache=True)(function))
    except RuntimeError:  # numba finds no folder to write to
        return inlined(function)


def inlined(function: Function) -> Function:
    """A part of kernels in the same file."""
    return cast(Function, njit(nogil=True, error_model="numpy")(function))

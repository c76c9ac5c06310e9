"""How kernels are compiled: at the first call, without the interpreter lock, without fast-math.

Division by zero gives infinity or NaN, as in numpy: a check would keep loops from being
vectorised.
"""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from inspect import getfile
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.extending import intrinsic

Array = np.ndarray[Any, Any]
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """A kernel; its machine code is kept on disk where a cache folder is writable."""
    kernel: Any = inlined(function)
    with suppress(RuntimeError):  # numba finds no folder to write to
        cache = FolderCache(function)
        if is_ours(Path(str(cache.cache_path))):
            kernel._cache = cache
    return cast(Function, kernel)


def inlined(function: Function) -> Function:
    """A part of kernels, in any file of this folder."""
    return cast(Function, njit(nogil=True, error_model="numpy")(function))


def generated(function: Callable[..., Any]) -> Any:
    """An operation that Python lacks: it gives types, and what writes LLVM's instructions."""
    return intrinsic(function)


def is_ours(folder: Path) -> bool:
    """Whether nobody else may have written there: what numba keeps are pickles, which are code."""
    if not hasattr(os, "getuid"):
        return True
    status = folder.stat()
    return status.st_uid in (0, os.getuid()) and not status.st_mode & stat.S_IWOTH


class FolderCache(FunctionCache):
    """numba's cache of one kernel, out of date as soon as any file of its folder changes.

    numba itself looks at the kernel's own file alone, and what a kernel inlines would stay as it
    was. A cache that cannot be read or written costs a compilation and nothing else.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        stamp = folder_stamp(Path(getfile(function)).parent)
        self._cache_file: Any = IndexDataCacheFile(  # type: ignore[no-untyped-call]
            self.cache_path, self._impl.filename_base, stamp
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kernel for types, None where the disk has none that can be read."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:  # a damaged pickle raises almost anything
            with suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keeps a kernel, if the disk takes it."""
        with suppress(OSError):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


def folder_stamp(folder: Path) -> bytes:
    """A digest of the names and contents of the folder's Python files."""
    files = sorted(folder.glob("*.py"))
    return _digest(tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@cache
def _digest(files: tuple[tuple[Path, int, int], ...]) -> bytes:
    """Read once for all kernels of a folder; times and sizes tell when it has changed."""
    digest = blake2b(digest_size=16)
    for file, _, _ in files:
        source = file.read_bytes()
        digest.update(f"{file.name}\0{len(source)}\0".encode() + source)
    return digest.digest()

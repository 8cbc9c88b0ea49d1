"""Compiled loops: `jit` marks a scalar loop over NumPy arrays that numba turns into machine code.

Where numba (Lam, Pitrou and Seibert, "Numba: A LLVM-based Python JIT Compiler", 2015) is missing,
or `LACONIC_NO_JIT=1` is set, the very same function runs uncompiled: a hundred times slower, with
the same result. Nothing is imported before the first call, because numba's import takes longer
than most commands of the toolkit.

What makes both ways equal, and safe:

* Whole numbers only, and every number fits in int64 at every step. Machine code wraps around and
  Python's integers grow; NumPy's scalars do neither. Read elements of narrow arrays with `int(...)`
  before calculating with them, and never mix uint64 with signed integers (both make float64 of it).
* Machine code checks no bounds. Every index that comes from a file is checked before the call, or
  masked in the loop. `NUMBA_BOUNDSCHECK=1` finds what was forgotten.
* A kernel may call kernels and use constants of files of its own folder. Compiled code is kept
  beside the source and renewed when one of them changes, whatever happened elsewhere.
* Every new combination of types is compiled anew, for a second or more: call with arrays of one
  type, contiguous and writable.

Kernels hold no global lock while they run, so threads run them side by side.

    >>> import numpy as np
    >>> @jit
    ... def total(values: np.ndarray) -> int:
    ...     found = 0
    ...     for n in range(values.size):
    ...         found += int(values[n])
    ...     return found
    >>> total(np.arange(5))
    10
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache, update_wrapper
from hashlib import sha256
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

LOADING = 1 << 17  # symbols whose coding takes longer than importing numba
P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """The function compiled at its first call, or as it is where that cannot be.

    Compiled code is cached in `__pycache__` beside the source, in `NUMBA_CACHE_DIR`, or in the
    user's cache directory; where none can be written to, every process compiles for itself.
    """
    return _marked(function, fused=False)


def jit_fused(function: Callable[P, R]) -> Callable[P, R]:
    """As :func:`jit`, but sums may be in any order, a product and a sum one operation: for floats
    that hold whole numbers so small that nothing is ever rounded."""
    return _marked(function, fused=True)


def worth_compiling(symbols: int) -> bool:
    """Whether a compiled loop should take the place of a library for so many symbols: numba is
    installed, and imported already or worth it."""
    if os.environ.get("LACONIC_NO_JIT", "0") not in ("", "0"):
        return False
    return ("numba" in sys.modules or symbols >= LOADING) and _numba() is not None


def _marked(function: Callable[P, R], *, fused: bool) -> Callable[P, R]:
    if os.environ.get("LACONIC_NO_JIT", "0") not in ("", "0"):
        return function
    return cast(Callable[P, R], _Kernel(function, fused))


class _Kernel:
    """A function that is compiled when it is called, by Python or by another kernel."""

    def __init__(self, function: Callable[..., Any], fused: bool) -> None:
        update_wrapper(self, function)
        self._function, self._fused = function, fused
        self._call: Callable[..., Any] = self._load

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def _load(self, *arguments: Any) -> Any:
        self._call = self.compiled() if _numba() else self._function
        return self._call(*arguments)

    @cache  # noqa: B019 - kernels live as long as their modules
    def compiled(self) -> Any:
        """The function as numba knows it; nothing is compiled yet."""
        numba: Any = _numba()
        options: dict[str, Any] = {
            "nogil": True,
            "no_cfunc_wrapper": True,
            "fastmath": {"contract", "reassoc"} if self._fused else False,
        }
        try:
            compiled = numba.njit(self._function, cache=True, **options)
        except RuntimeError:  # no directory for the cache
            return numba.njit(self._function, **options)
        keep = compiled._cache.save_overload

        def keep_if_possible(types: Any, code: Any) -> None:
            with suppress(OSError):  # a full disk: the next process compiles again
                keep(types, code)

        compiled._cache.save_overload = keep_if_possible
        folder = Path(self._function.__code__.co_filename).parent
        compiled._cache._cache_file._source_stamp = _stamp(folder)
        return compiled


def written(build: Callable[[Any], Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Marks a kernel whose compiled form is not its own text: ``build(numba)`` makes it, a function
    of the same arguments that `numba.njit` made."""

    def marked(function: Callable[P, R]) -> Callable[P, R]:
        if os.environ.get("LACONIC_NO_JIT", "0") not in ("", "0"):
            return function
        return cast(Callable[P, R], _Written(function, build))

    return marked


class _Written(_Kernel):
    """A kernel of two texts."""

    def __init__(self, function: Callable[..., Any], build: Callable[[Any], Any]) -> None:
        super().__init__(function, fused=False)
        self._build = build

    @cache  # noqa: B019 - kernels live as long as their modules
    def compiled(self) -> Any:
        return self._build(_numba())


@cache
def _stamp(folder: Path) -> str:
    """What tells one state of the sources in a folder from another."""
    digest = sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _numba() -> Any:
    """numba, taught to see through `_Kernel`; None where it is not installed."""
    try:
        import numba
        from numba.extending import typeof_impl
    except ImportError:
        return None

    @typeof_impl.register(_Kernel)
    def _(kernel: _Kernel, _context: object) -> Any:
        return numba.types.Dispatcher(kernel.compiled())

    return numba

"""Scalar loops compiled where a compiler is at hand.

``@jit`` is ``numba.njit(cache=True, nogil=True)``, or nothing where numba is not installed or the
environment says ``LACONIC_NO_JIT=1``: functions of arrays and integers that give the same bytes
either way.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def _compiler() -> Callable[[Any], Any] | None:
    if os.environ.get("LACONIC_NO_JIT") == "1":
        return None
    try:
        import numba
    except ImportError:
        return None
    compiler: Callable[[Any], Any] = numba.njit(cache=True, nogil=True)
    return compiler


_COMPILER = _compiler()


def jit(function: Function) -> Function:
    """Compile ``function`` on its first call, where that is possible."""
    return function if _COMPILER is None else _COMPILER(function)  # type: ignore[no-any-return]

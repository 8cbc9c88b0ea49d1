"""`inner`: as ``laconic.entropy.jit.jit``, for kernels that other kernels alone call.

numba then makes no second function that takes Python's objects apart, which for kernels of many
arrays takes longer to compile than the kernel itself; and it makes one version of each kernel,
where it would make one for every constant and every width of integer that a caller passes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any, ParamSpec, TypeVar, cast

from laconic.entropy.jit import _Kernel, _numba

P = ParamSpec("P")
R = TypeVar("R")


def inner(function: Callable[P, R]) -> Callable[P, R]:
    """The function compiled for the use of kernels, or as it is where nothing is compiled."""
    if os.environ.get("LACONIC_NO_JIT", "0") not in ("", "0"):
        return function
    return cast(Callable[P, R], _Inner(function, False))


class _Inner(_Kernel):
    """A kernel without an entry for Python."""

    @cache  # noqa: B019 - kernels live as long as their modules
    def compiled(self) -> Any:
        """The function as numba knows it; nothing is compiled yet."""
        numba: Any = _numba()
        options = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        try:
            made = numba.njit(self._function, cache=True, **options)
        except RuntimeError:  # no directory for the cache
            made = numba.njit(self._function, **options)
        resolve = made.get_call_template

        def plain(arguments: tuple[Any, ...], named: Any) -> Any:
            types = numba.types
            wide = [
                types.int64 if isinstance(t, types.Integer | types.Boolean) else t
                for t in map(types.unliteral, arguments)
            ]
            return resolve(tuple(wide), named)

        made.get_call_template = plain
        return made

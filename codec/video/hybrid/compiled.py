"""`outer` and `inner`: kernels of many files that become one piece of machine code.

`laconic.entropy.jit.jit` makes machine code of every kernel, and of all it calls once more: with
kernels ten calls deep each would be optimised ten times. Here a kernel that other kernels alone
call (`inner`) is translated and no more; one that Python calls (`outer`) takes in all it calls, and
is optimised, made into machine code and kept on disk as a whole. Its code is renewed when any file
of this package changes, because kernels call those of other files.

Inner kernels allocate nothing, so they count no references. There is one version of each, where
numba would make one for every constant and every width of integer that a caller passes.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from laconic.entropy.jit import _Kernel, _numba

P = ParamSpec("P")
R = TypeVar("R")


def outer(function: Callable[P, R]) -> Callable[P, R]:
    """The function compiled with all it calls, or as it is where nothing is compiled."""
    return function if _plain() else cast(Callable[P, R], _Outer(function, False))


def inner(function: Callable[P, R]) -> Callable[P, R]:
    """The function compiled for the use of kernels, or as it is where nothing is compiled."""
    return function if _plain() else cast(Callable[P, R], _Inner(function, False))


def _plain() -> bool:
    return os.environ.get("LACONIC_NO_JIT", "0") not in ("", "0")


class _Outer(_Kernel):
    """A kernel whose code is kept for as long as no file of the package changes."""

    @cache  # noqa: B019 - kernels live as long as their modules
    def compiled(self) -> Any:
        """The function as numba knows it; nothing is compiled yet."""
        made = super().compiled()
        kept = getattr(made._cache, "_cache_file", None)
        if kept is not None:
            kept._source_stamp = _stamp()
        compile_ = made.compile

        def at_once(signature: Any) -> Any:
            """Without looking for garbage, which takes a tenth of the time."""
            collects = gc.isenabled()
            gc.disable()
            try:
                return compile_(signature)
            finally:
                if collects:
                    gc.enable()

        made.compile = at_once
        return made


@cache
def _stamp() -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of the package's files."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple((f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in files)


class _Inner(_Kernel):
    """A kernel without an entry for Python."""

    @cache  # noqa: B019 - kernels live as long as their modules
    def compiled(self) -> Any:
        """The function as numba knows it; nothing is compiled yet."""
        numba: Any = _numba()
        made = numba.njit(
            self._function,
            nogil=True,
            no_cpython_wrapper=True,
            no_cfunc_wrapper=True,
            _nrt=False,
            pipeline_class=_translation(),
        )
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


@cache
def _translation() -> Any:
    """numba's compiler, ending where a kernel's code is ready to be taken in by others."""
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import Compiler

    class Parts(JITCodeLibrary):
        """Code that is never run by itself."""

        @property
        def codegen(self) -> Any:
            return self

        def set_env(self, name: str, environment: object) -> None:
            """Nothing: kernels use no object of Python's."""

        def get_pointer_to_function(self, _name: str) -> int:
            self._ensure_finalized()
            return 0

        def _optimize_final_module(self) -> None:
            pass

        def _finalize_final_module(self) -> None:
            self._finalize_dynamic_globals()
            self._finalized = True

    class Translation(Compiler):
        def __init__(self, typing: Any, target: Any, _library: None, *rest: Any) -> None:
            super().__init__(typing, target, Parts(target.codegen(), "parts"), *rest)

    return Translation

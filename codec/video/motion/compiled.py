"""`outer` and `inner`: kernels of many files that become one piece of machine code.

`laconic.entropy.jit.jit` makes machine code of every kernel, and of all it calls once more: with
kernels ten calls deep each would be optimised ten times. Here a kernel that other kernels alone
call (`inner`) is translated and no more; one that Python calls (`outer`) takes in all it calls, and
is optimised, made into machine code and kept on disk as a whole. Its code is renewed when any file
of this package changes, because kernels call those of other files.

This reaches into numba's compiler, as it is in the versions that `HOOKED` names; with others the
kernels are compiled in numba's own way, which takes longer and makes the same bytes.

Inner kernels allocate nothing, so they count no references. There is one version of each, where
numba would make one for every constant and every width of integer that a caller passes.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, ParamSpec, TypeVar, cast

from laconic.entropy.jit import _Kernel, _numba

HOOKED = ("0.68.",)
P = ParamSpec("P")
R = TypeVar("R")


def outer(function: Callable[P, R]) -> Callable[P, R]:
    """The function compiled with all it calls, or as it is where nothing is compiled."""
    return function if _plain() else cast(Callable[P, R], _Outer(function, False))


def inner(function: Callable[P, R]) -> Callable[P, R]:
    """The function compiled for the use of kernels, or as it is where nothing is compiled."""
    return function if _plain() else cast(Callable[P, R], _Inner(function, False))


def _hooked() -> bool:
    """Whether the numba at hand is one whose compiler is known here."""
    return str(_numba().__version__).startswith(HOOKED)


def _plain() -> bool:
    return os.environ.get("LACONIC_NO_JIT", "0") not in ("", "0")


class _Outer(_Kernel):
    """A kernel that takes in all it calls."""

    @cache  # noqa: B019 - kernels live as long as their modules
    def compiled(self) -> Any:
        """The function as numba knows it; nothing is compiled yet."""
        made = super().compiled()
        compile_ = made.compile

        def at_once(signature: Any) -> Any:
            with _in_haste():
                return compile_(signature)

        if _hooked():
            made.compile = at_once
        return made


@contextmanager
def _in_haste() -> Iterator[None]:
    """While this lasts, numba compiles in three quarters of the time.

    Garbage is not looked for, and what an operator makes of given types of numbers is found out
    once, where numba goes through all its candidates at every place.
    """
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.types.functions import BaseFunction

    functions: Any = BaseFunction
    types: Any = _numba().types
    known: dict[Any, Any] = {}

    def remembered(self: Any, context: Any, arguments: Any, named: Any) -> Any:
        numbers = all(isinstance(t, types.Number | types.Boolean) for t in arguments)
        if named or not numbers or getattr(self.typing_key, "__module__", "") != "_operator":
            return resolve(self, context, arguments, named)
        key = (self.typing_key, *map(types.unliteral, arguments))
        if key in known:
            signature, implementation = known[key]
            self._impl_keys[signature.args] = implementation
            return signature
        signature = resolve(self, context, arguments, named)
        if not any(isinstance(t, types.Literal) for t in signature.args):
            known[key] = signature, self._impl_keys[signature.args]
        return signature

    with global_compiler_lock:
        resolve: Any = functions.get_call_type
        collects = gc.isenabled()
        gc.disable()
        functions.get_call_type = remembered
        try:
            yield
        finally:
            functions.get_call_type = resolve
            if collects:
                gc.enable()


class _Inner(_Kernel):
    """A kernel without an entry for Python."""

    @cache  # noqa: B019 - kernels live as long as their modules
    def compiled(self) -> Any:
        """The function as numba knows it; nothing is compiled yet."""
        if not _hooked():
            return super().compiled()
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

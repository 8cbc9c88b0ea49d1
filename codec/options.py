"""Options as declarations: a dataclass field says type, range, default, unit and one sentence.

A codec's options are a frozen dataclass whose fields are made by :func:`option`. From them follow
the flags of the command line, its help, what is refused, and the keywords of the Python API.
Nothing here, and nothing that declares options, imports torch: ``laconic encode --help`` reads
them all.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Options:
...     tile: int = option(64, "Side of a tile.", low=64, high=256, step=64, unit="pixels")
>>> declared(Options)["tile"].checked(128)
128
>>> declared(Options)["tile"].checked(100)
Traceback (most recent call last):
    ...
laconic.formats.errors.ParameterError: tile is 100: expected a multiple of 64 from 64 to 256 pixels

:func:`need` imports the packages of extras where they are used, or names them with their command.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from importlib import import_module
from types import NoneType
from typing import Any, get_args, get_type_hints

from laconic.formats.errors import ParameterError, UnsupportedError

KEY = "laconic.option"


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: keyword of the API; the flag is ``--name`` with hyphens.
        kind: ``int``, ``float``, ``bool`` or ``str``.
        default: what holds when it is not given; None where the codec chooses.
        help: one sentence.
        unit: of the value, such as "pixels".
        low, high, step: range of numbers, and what they must be a multiple of.
        choices: the words that are allowed.
        shown: the default in words, where ``default`` does not say it.
        flag: whether the command line has it; the others are for programs.
    """

    name: str
    kind: type
    default: Any
    help: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    step: int | None = None
    choices: tuple[str, ...] = ()
    shown: str = ""
    flag: bool = True

    @property
    def expected(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind is bool:
            return "true or false"
        if self.kind is str:
            return "a text"
        what = "a whole number" if self.kind is int else "a number"
        if self.step is not None:
            what = f"a multiple of {self.step}"
        if self.low is not None and self.high is not None:
            what += f" from {self.low} to {self.high}"
        elif self.low is not None:
            what += f" of at least {self.low}"
        return f"{what} {self.unit}".rstrip()

    def checked(self, value: Any) -> Any:
        """The value in its type; raises ``ParameterError`` for one that is not allowed."""
        if not self._allows(value):
            raise ParameterError(f"{self.name} is {value!r}: expected {self.expected}")
        return self.kind(value) if self.kind in (int, float) else value

    def _allows(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if self.kind in (bool, str):
            return isinstance(value, self.kind)
        try:
            number = float(value)
        except (TypeError, ValueError):
            return False
        if isinstance(value, bool | str) or not math.isfinite(number):
            return False
        whole = self.kind is float or number == int(number)
        inside = (self.low is None or number >= self.low) and (
            self.high is None or number <= self.high
        )
        return whole and inside and (self.step is None or number % self.step == 0)


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    step: int | None = None,
    choices: Sequence[str] = (),
    shown: str = "",
    flag: bool = True,
) -> Any:
    """A field of a dataclass of options; see :class:`Option`."""
    about = {
        "help": help, "unit": unit, "low": low, "high": high, "step": step,
        "choices": tuple(choices), "shown": shown, "flag": flag,
    }  # fmt: skip
    return field(default=default, metadata={KEY: about})


_seen: dict[type, Mapping[str, Option]] = {}


def declared(options: type) -> Mapping[str, Option]:
    """The options of a dataclass by name, inherited ones included."""
    if options not in _seen:
        hints = get_type_hints(options)
        _seen[options] = {
            f.name: Option(f.name, _kind(hints[f.name]), _default(f), **f.metadata[KEY])
            for f in fields(options)
            if KEY in f.metadata
        }
    return _seen[options]


def _kind(hint: Any) -> type:
    kinds = [k for k in get_args(hint) or (hint,) if k is not NoneType]
    if len(kinds) != 1 or kinds[0] not in (int, float, bool, str):
        raise TypeError(
            f"an option is {hint}: expected int, float, bool or str, or one of them or None"
        )
    kind: type = kinds[0]
    return kind


def _default(f: Field[Any]) -> Any:
    return None if f.default is MISSING else f.default


def need(module: str, extra: str) -> Any:
    """The module; ``UnsupportedError`` says which extra of Laconic brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise UnsupportedError(
            f"this needs the package {package}: pip install 'laconic[{extra}]'"
        ) from error

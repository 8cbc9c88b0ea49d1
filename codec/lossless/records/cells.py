"""Cells of a text column <-> numbers, where the numbers give back the text to the byte.

A column is numeric when every cell, apart from empty ones, is a whole number in its shortest form
or a decimal with the same number of places. ``007``, ``+1``, ``1e3`` or ``-0`` make it texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.records.columns import LARGEST, Ints

MAX_PLACES = 9
_WHOLE = re.compile(rb"-?(?:0|[1-9]\d{0,17})")
_DECIMAL = re.compile(rb"-?(?:0|[1-9]\d{0,8})\.(\d{1,%d})" % MAX_PLACES)


@dataclass(frozen=True)
class Style:
    """How numbers become text: ``places`` after the point (-1 for texts), in quotes or not."""

    places: int
    quoted: bool = False


@dataclass(frozen=True)
class Distinct:
    """A column as codes ``[N]`` into its different texts, in order of appearance."""

    codes: Ints
    words: list[bytes]


def distinct(cells: Sequence[bytes]) -> Distinct:
    """Number the different cells."""
    numbers: dict[bytes, int] = {}
    codes = np.fromiter(
        (numbers.setdefault(cell, len(numbers)) for cell in cells), np.int64, len(cells)
    )
    return Distinct(codes, list(numbers))


def style_of(words: Sequence[bytes]) -> tuple[Style, Ints | None]:
    """Style of a column with these different cells, and the number of each (0 where empty); None
    for texts."""
    quoted = bool(words) and all(
        len(w) >= 2 and w[:1] == w[-1:] == b'"' and b'"' not in w[1:-1] for w in words
    )
    if quoted:
        words = [w[1:-1] for w in words]
    filled = [w for w in words if w]
    places = _places(filled)
    if places < 0:
        return Style(-1, quoted), None
    values = [int(w.replace(b".", b"")) if w else 0 for w in words]
    if any(abs(v) >= LARGEST for v in values):
        return Style(-1, quoted), None
    style = Style(places, quoted)
    if any(w and w != _number(style, v) for w, v in zip(words, values, strict=True)):
        return Style(-1, quoted), None
    return style, np.array(values, np.int64)


def _places(filled: Sequence[bytes]) -> int:
    """Decimal places that all numbers share, or -1."""
    if not filled:
        return -1
    if all(_WHOLE.fullmatch(w) for w in filled):
        return 0
    matches = [_DECIMAL.fullmatch(w) for w in filled]
    found = {len(m[1]) for m in matches if m}
    return found.pop() if len(found) == 1 and all(matches) else -1


def write_numbers(style: Style, values: Ints, empty: NDArray[np.bool_]) -> list[bytes]:
    """Cells of numbers ``[N]``."""
    unique, inverse = np.unique(values, return_inverse=True)
    texts = [_quote(style, _number(style, int(v))) for v in unique]
    nothing = _quote(style, b"")
    return [nothing if e else texts[k] for k, e in zip(inverse, empty, strict=True)]


def write_words(style: Style, words: Sequence[bytes], codes: Ints) -> list[bytes]:
    """Cells of a dictionary."""
    texts = [_quote(style, w) for w in words]
    return [texts[k] for k in codes]


def unquote(style: Style, words: Sequence[bytes]) -> list[bytes]:
    """Texts without the quotes that the style adds."""
    return [w[1:-1] for w in words] if style.quoted else list(words)


def _number(style: Style, value: int) -> bytes:
    if style.places == 0:
        return b"%d" % value
    whole, part = divmod(abs(value), 10**style.places)
    return b"%s%d.%0*d" % (b"-" if value < 0 else b"", whole, style.places, part)


def _quote(style: Style, text: bytes) -> bytes:
    return b'"' + text + b'"' if style.quoted else text

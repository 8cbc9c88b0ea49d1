"""Columns of a table as small alphabets.

Columns of values <-> small symbols that a circuit can model.

How a column of whole numbers (or of decimals with a fixed number of places) is coded:

* PLAIN: a range of at most 256 values, each its own symbol;
* DICTIONARY: few different values far apart, or texts;
* BINS: many different values: bins of about equal probability are modelled, the place inside a bin
  is coded as it is (a piecewise constant density).

The differences between rows are coded instead when that is cheaper (identifiers, time stamps); an
arithmetic sequence then costs nothing. The planner compares estimated bits, dictionary included.
Texts with too many different values are TEXT: compressed by a general-purpose method.

Cells of a text column <-> numbers, where the numbers give back the text to the byte.

A column is numeric when every cell, apart from empty ones, is a whole number in its shortest form
or a decimal with the same number of places. ``007``, ``+1``, ``1e3`` or ``-0`` make it texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

BYTE = 256
MAX_DICTIONARY = 1 << 14
MAX_BINS = 256
LARGEST = 1 << 60  # values beyond +- this are treated as text
# Numbers of bins that are tried, and for each of them which share of the values lies below a bin.
_NUMBERS = (1, 2, 4, 8, 16, 32, 64, 128, MAX_BINS)
_SHARES = np.concatenate([np.arange(n) for n in _NUMBERS])
_SIZES = np.repeat(_NUMBERS, _NUMBERS)
_FIRSTS = np.concatenate([[0], np.cumsum(_NUMBERS)])


class Kind(IntEnum):
    """How a column becomes symbols."""

    PLAIN = 0
    DICTIONARY = 1
    BINS = 2
    TEXT = 3


@dataclass(frozen=True)
class Column:
    """Everything needed to turn symbols of a column back into its values.

    Attributes:
        kind: see the module.
        null: symbol 0 stands for an empty cell.
        delta: values are differences to the row before.
        offset: smallest value (PLAIN, BINS).
        size: symbols of a PLAIN column, without the empty cell's.
        entries: values of a DICTIONARY of numbers, ascending, or first values of BINS, then the
            end of the last bin, both relative to ``offset``.
        words: texts of a DICTIONARY, most frequent first.
    """

    kind: Kind
    null: bool = False
    delta: bool = False
    offset: int = 0
    size: int = 1
    entries: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    words: tuple[bytes, ...] = ()

    @property
    def symbols(self) -> int:
        """Number of symbols, the empty cell's included."""
        own = {
            Kind.PLAIN: self.size,
            Kind.DICTIONARY: len(self.words) or len(self.entries),
            Kind.BINS: len(self.entries) - 1,
            Kind.TEXT: 1,
        }[self.kind]
        return own + self.null

    @property
    def variables(self) -> tuple[int, ...]:
        """Sizes of the circuit's variables for this column: none if it is constant, two digits if
        it has more than 256 symbols."""
        if self.symbols <= 1:
            return ()
        if self.symbols <= BYTE:
            return (self.symbols,)
        return (-(-self.symbols // BYTE), BYTE)

    @cached_property
    def widths(self) -> Ints:
        """Number of values that share each symbol; all 1 unless there are BINS."""
        if self.kind != Kind.BINS:
            return np.ones(self.symbols, np.int64)
        return np.concatenate([np.ones(int(self.null), np.int64), np.diff(self.entries)])

    def encode(self, values: Ints, empty: NDArray[np.bool_]) -> tuple[Ints, Ints]:
        """``(symbols, remainders)`` of values ``[N]``; differences are taken by the caller."""
        if self.kind == Kind.PLAIN:
            symbols, rest = values - self.offset, np.zeros_like(values)
        elif self.kind == Kind.DICTIONARY:
            symbols = np.searchsorted(self.entries, values - self.offset)
            rest = np.zeros_like(values)
        else:
            relative = values - self.offset
            symbols = np.searchsorted(self.entries, relative, side="right") - 1
            rest = relative - self.entries[np.clip(symbols, 0, len(self.entries) - 2)]
        if self.null:
            symbols, rest = np.where(empty, 0, symbols + 1), np.where(empty, 0, rest)
        return symbols.astype(np.int64), rest

    def decode(self, symbols: Ints, rest: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """Inverse of :meth:`encode`: ``(values, empty)``."""
        empty = (symbols == 0) & self.null
        own = np.where(empty, 0, symbols - self.null)
        if self.kind == Kind.PLAIN:
            return own + self.offset, empty
        return self.entries[own] + rest + self.offset, empty


def split_digits(column: Column, symbols: Ints) -> list[Ints]:
    """Symbols ``[N]`` as the circuit's variables."""
    if not column.variables:
        return []
    return [symbols] if len(column.variables) == 1 else [symbols // BYTE, symbols % BYTE]


def join_digits(column: Column, digits: Sequence[Ints], count: int) -> Ints:
    """Inverse of :func:`split_digits`."""
    if not digits:
        return np.zeros(count, np.int64)
    return digits[0] if len(digits) == 1 else digits[0] * BYTE + digits[1]


def plan_numbers(
    values: Ints, empty: NDArray[np.bool_] | None = None, *, delta: bool = True
) -> Column:
    """The cheapest way to code whole numbers ``[N]``; ``empty`` marks cells without a value."""
    null = bool(empty is not None and empty.any())
    present = values if empty is None or not null else values[~empty]
    if present.size == 0:
        return Column(Kind.PLAIN, null=null, size=0 if null else 1)
    column, bits = _plan(present)
    if delta and not null and values.size > 2 and bits > 64:
        steps = differences(values, first_base(values))
        if _spread(steps) <= _spread(values):
            step, step_bits = _plan(steps)
            if step_bits < 0.9 * bits - 64:
                column = replace(step, delta=True)
    return replace(column, null=null)


def plan_words(codes: Ints, words: Sequence[bytes]) -> tuple[Column, Ints]:
    """A dictionary of texts, most frequent first, and the codes ``[N]`` in its order."""
    counts = np.bincount(codes, minlength=len(words))
    order = np.argsort(-counts, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return Column(Kind.DICTIONARY, words=tuple(words[k] for k in order)), rank[codes]


def first_base(values: Ints) -> int:
    """What stands before the first row when differences are coded: one more step back."""
    return int(values[0] - (values[1] - values[0])) if len(values) > 1 else int(values[0])


def differences(values: Ints, base: int) -> Ints:
    """Steps from row to row, the first from ``base``."""
    return np.diff(values, prepend=np.int64(base))


def _spread(values: Ints) -> float:
    """Roughly the bits that the distances from the middle value take."""
    middle = np.partition(values, len(values) // 2)[len(values) // 2]
    return float(np.log2(1.0 + np.abs(values - middle)).sum())


def _plan(values: Ints) -> tuple[Column, float]:
    """The cheapest column without empty cells, and its estimated bits."""
    low, high = int(values.min()), int(values.max())
    span = high - low + 1
    if span <= BYTE:
        counts = np.bincount(values - low, minlength=span)
        return Column(Kind.PLAIN, offset=low, size=span), _entropy(counts) + 4 * span
    distinct, counts = np.unique(values - low, return_counts=True)
    bins, bits = _plan_bins(values - low, distinct, counts, span)
    bins = replace(bins, offset=low)
    if len(distinct) <= MAX_DICTIONARY:
        gap = np.log2(span / len(distinct)) + 1.5
        dictionary = _entropy(counts) + len(distinct) * (gap + 4)
        if dictionary < bits:
            return Column(Kind.DICTIONARY, offset=low, entries=distinct), dictionary
    return bins, bits


def _plan_bins(relative: Ints, distinct: Ints, counts: Ints, span: int) -> tuple[Column, float]:
    """Bins of about equal probability, their number chosen by estimated bits.

    All numbers are tried at once: a wide table has thousands of columns, and few values in each.
    """
    tried = sum(1 for n in _NUMBERS if n < 2 * distinct.size) + 1  # then more cuts than values
    firsts = _FIRSTS[: tried + 1]
    shares, numbers = _SHARES[: firsts[-1]], _SIZES[: firsts[-1]]
    before = np.concatenate([[0], np.cumsum(counts)])  # values below each different one
    places = np.searchsorted(before[1:], shares * relative.size / numbers, side="right")
    kept = np.ones(len(places), bool)
    kept[1:] = places[1:] != places[:-1]
    kept[firsts[:-1]] = True  # the first bin of every number begins at 0
    begins = (np.cumsum(kept) - 1)[firsts[:-1]]
    places = places[kept]
    starts, below = distinct[places], before[places]
    starts[begins] = 0
    ends = np.append(begins[1:], len(places)) - 1
    widths, inside = np.append(starts[1:], span) - starts, np.append(below[1:], 0) - below
    widths[ends], inside[ends] = span - starts[ends], relative.size - below[ends]
    each = np.log2(relative.size) + np.log2(widths) - np.log2(inside)
    bits = np.add.reduceat(inside * each, begins)
    entries = ends - begins + 2
    bits += entries * (np.log2(span / entries) + 6)
    best = int(np.argmin(bits))
    cuts = starts[begins[best] : ends[best] + 1]
    return Column(Kind.BINS, entries=np.append(cuts, span).astype(np.int64)), float(bits[best])


def _entropy(counts: NDArray[np.int64]) -> float:
    """Bits of a sequence with these counts."""
    present = counts[counts > 0].astype(np.float64)
    return float(present @ (np.log2(present.sum()) - np.log2(present)))


def plain_columns(sizes: tuple[int, ...]) -> list[Column]:
    """Columns whose symbols are their values."""
    return [Column(Kind.PLAIN, size=size) for size in sizes]


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
    words = list(dict.fromkeys(cells))
    numbers = {word: number for number, word in enumerate(words)}
    return Distinct(np.fromiter(map(numbers.__getitem__, cells), np.int64, len(cells)), words)


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
    texts = [_quote(style, _number(style, v)) for v in unique.tolist()]
    texts.append(_quote(style, b""))
    inverse[empty] = len(unique)
    return [texts[k] for k in inverse.tolist()]


def write_words(style: Style, words: Sequence[bytes], codes: Ints) -> list[bytes]:
    """Cells of a dictionary."""
    texts = [_quote(style, w) for w in words]
    return [texts[k] for k in codes.tolist()]


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

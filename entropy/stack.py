"""The ANS stack of `constriction` (Bamler, "Understanding Entropy Coding With Asymmetric Numeral
Systems", 2022): models that give it our integer frequencies exactly, and compiled loops to read it.

`exact_model` serves one symbol at a time. `JointModel` codes two or four successive symbols of one
small table as a single symbol of their product alphabet, which saves coder steps where symbols cost
little. Frequencies of products are rounded to 2^-24: for symbols that follow their table the size
changes by less than 10^-4 bits each, and whatever the symbols are by less than 3 %.

`StackReader` finds what `constriction`'s own decoder finds, several times as fast; that decoder
serves where nothing is compiled and where so few symbols are asked for that numba is not worth its
import. The loops find the symbol of a slot in a table of the slots' first bits instead of
by bisection, which branches without a pattern, and one call decodes all runs of a block: most runs
are so short that calls of their own would cost more.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.jit import jit
from laconic.entropy.quantize import MAX_PRECISION

if TYPE_CHECKING:
    from laconic.entropy.tables import CdfTables

JOINT_RUN = 256
"""Shortest run of symbols of one table that is coded jointly; part of the stream format."""

JOINT_ENTRIES = 2500
"""Largest product alphabet; part of the stream format."""


def exact_model(freqs: NDArray[np.int64]) -> Any:
    """Categorical model with probabilities freqs / 2^24; `freqs` [n] >= 1 sum to 2^24.

    constriction works with 24-bit fixed point and, with `perfect=False`, turns n weights w into
    cumulative sums floor(c * (2^24 - n) / sum(w)) + i: it leaks one unit to each symbol. The
    weights passed here are freqs - 1. They are integers that sum to exactly 2^24 - n, so the factor
    is exactly 1, every cumulative sum is an integer below 2^24 that float64 holds exactly, and
    adding the leak gives back freqs to the last bit. Passing freqs / 2^24 would not be exact.
    """
    import constriction

    weights = (freqs - 1).astype(np.float64)
    return constriction.stream.model.Categorical(weights, perfect=False)


def joint_span(size: int) -> int:
    """How many symbols of a table with `size` entries are coded at once: 4, 2 or 1."""
    return next(span for span in (4, 2, 1) if span == 1 or size**span <= JOINT_ENTRIES)


class JointModel:
    """Model of `span` (2 or 4) independent symbols of one table.

    Args:
        freqs: the table, shape [n], sums to 2^24.
        span: symbols coded at once.

    Attributes:
        freqs: of the joint entries, which sum to 2^24.
        digits: the entries that a joint one stands for, [n^span, span].
    """

    def __init__(self, freqs: NDArray[np.int64], span: int) -> None:
        self.span = span
        self._size = freqs.size
        self.freqs = _pair(freqs) if span == 2 else _pair(_pair(freqs))
        self.model = exact_model(self.freqs)
        digits = np.unravel_index(np.arange(self.freqs.size), (freqs.size,) * span)
        self.digits = np.stack(digits, axis=1).astype(np.int32)  # [n^span, span]

    def merge(self, entries: NDArray[np.int32]) -> NDArray[np.int32]:
        """Entries [m * span] -> joint entries [m]."""
        joint = entries[0::2] * np.int32(self._size) + entries[1::2]
        if self.span == 4:
            joint = joint[0::2] * np.int32(self._size**2) + joint[1::2]
        return joint

    def split(self, joint: NDArray[np.int32], out: NDArray[np.int32]) -> None:
        """Inverse of `merge`, into the contiguous `out` [m * span]."""
        # A decoded entry is in range; "clip" spares NumPy a second buffer.
        self.digits.take(joint, axis=0, out=out.reshape(-1, self.span), mode="clip")


def _pair(freqs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frequencies [n * n] of two independent symbols, again >= 1 with sum 2^24.

    Integer arithmetic alone, so equal on every machine. Rounding changes the sum by fewer than n^2
    units; the most frequent pair, which has at least 2^24 / n^2 - 1, takes the difference.
    """
    half = 1 << MAX_PRECISION - 1
    product = np.multiply.outer(freqs, freqs).reshape(-1) + half >> MAX_PRECISION
    product = np.maximum(product, 1)
    product[product.argmax()] += (1 << MAX_PRECISION) - product.sum()
    return product


_PRECISION = np.uint64(MAX_PRECISION)
_SLOT = np.uint64((1 << MAX_PRECISION) - 1)
_WORD = np.uint64(32)
_LOW = np.uint64(1 << 32)  # smallest state while words are left
MAX_SPAN = 4  # symbols that are coded at once
# Columns of the rows of `Searches`: of the model of single symbols, then of the joint one.
_SUMS, _FIRSTS, _SHIFT, _JOINT, _DIGITS, _SPAN = 0, 1, 2, 3, 6, 7


class Searches:
    """The distributions of a set of tables for compiled loops, each added at its first use.

    ``rows`` say where each begins. Of every distribution ``sums`` has the beginnings of its
    entries' intervals and the end of the last, ``firsts``, by a slot's first bits, the entry that
    holds the smallest such slot, and of a joint one ``digits`` the entries of its symbols.
    """

    def __init__(self, tables: CdfTables) -> None:
        self._tables = tables
        self._lock = Lock()
        self._rows = np.full((len(tables), 8), -1, np.int64)
        none: tuple[NDArray[Any], ...]
        none = np.zeros(0, np.uint32), np.zeros(0, np.int32), np.zeros((0, MAX_SPAN), np.int32)
        self._parts = [[part] for part in none]

    def of(
        self, counts: NDArray[np.int64]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """``rows``, ``sums``, ``firsts`` and ``digits`` with all that so many symbols of each table
        need. Several threads may ask at a time."""
        with self._lock:
            used = np.flatnonzero(counts)
            rows, many = self._rows[used], counts[used] >= JOINT_RUN
            lacking = (rows[:, _SUMS] < 0) | (rows[:, _SPAN] < 0) & many
            for table in used[lacking].tolist():
                row = self._rows[table]
                if row[_SUMS] < 0:
                    row[:_JOINT] = self._search(self._tables.scaled(table))
                if counts[table] < JOINT_RUN:
                    continue
                joint = self._tables.joint(table)
                if joint is not None:
                    row[_JOINT:_DIGITS] = self._search(joint.freqs)
                    padding = (0, 0), (0, MAX_SPAN - joint.span)
                    row[_DIGITS] = self._add(2, np.pad(joint.digits, padding))
                row[_SPAN] = 1 if joint is None else joint.span
            for part in self._parts:
                part[:] = [np.concatenate(part)] if len(part) > 1 else part
            (sums,), (firsts,), (digits,) = self._parts
            return self._rows, sums, firsts, digits

    def _search(self, freqs: NDArray[np.int64]) -> tuple[int, int, int]:
        sums = np.concatenate([[0], np.cumsum(freqs)])
        # At most eight KiB of first bits: they stay in the processor's nearest cache.
        bits = min(11, freqs.size.bit_length() + 3)
        begins = np.arange(1 << bits) << MAX_PRECISION - bits
        firsts = np.searchsorted(sums, begins, side="right") - 1
        at = self._add(0, sums.astype(np.uint32)), self._add(1, firsts.astype(np.int32))
        return *at, MAX_PRECISION - bits

    def _add(self, kind: int, part: NDArray[Any]) -> int:
        """Where the part begins."""
        begin = sum(map(len, self._parts[kind]))
        self._parts[kind].append(part)
        return begin


class StackReader:
    """Stands in for `constriction`'s `AnsCoder` as a decoder.

    Args:
        words: of the stack, uint32; the last is not 0.
    """

    def __init__(self, words: NDArray[np.uint32]) -> None:
        left = max(0, words.size - 2)
        state = sum(int(w) << 32 * n for n, w in enumerate(words[left:]))
        self._words = np.ascontiguousarray(words)
        self._head = np.array([state, left], np.uint64)  # of the stack, and words below it

    def pull(
        self, keys: NDArray[Any], tables: CdfTables, out: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        """Decode a block that was coded in the order of its keys into ``out``; returns where its
        escapes stand, in the order of the code. Past the end of the stack symbols mean nothing."""
        counts = _count(keys, len(tables))
        symbols, escapes = np.empty((2, keys.size), np.int32)
        escaped = _decode(
            self._head, self._words, counts, *tables.searches().of(counts), tables.lows,
            tables.sizes, symbols, escapes,
        )  # fmt: skip
        begins = np.cumsum(counts) - counts
        if not escaped:
            _spread(symbols, keys, begins, out)
            return np.zeros(0, np.int64)
        _spread(symbols, keys, begins.copy(), out)
        places = np.empty(escaped, np.int64)
        _find(escapes[:escaped], keys, begins, places)
        return places

    def get_compressed(self) -> NDArray[np.uint32]:
        """The words that are left, the state among them."""
        state, left = (int(n) for n in self._head)
        top = [word for word in (state & 0xFFFFFFFF, state >> 32) if word or state >> 32]
        return np.concatenate([self._words[:left], np.array(top, np.uint32)])


@jit
def _count(keys: NDArray[Any], tables: int) -> NDArray[np.int64]:
    """Symbols of each table ``[tables]``."""
    counts = np.zeros(tables, np.int64)
    for n in range(keys.size):
        counts[keys[n]] += 1
    return counts


@jit
def _decode(
    head: NDArray[Any], words: NDArray[Any], counts: NDArray[Any], rows: NDArray[Any],
    sums: NDArray[Any], firsts: NDArray[Any], digits: NDArray[Any], lows: NDArray[Any],
    sizes: NDArray[Any], symbols: NDArray[Any], escapes: NDArray[Any],
) -> int:  # fmt: skip
    """Pop all runs of a block into ``symbols``; returns how many places are in ``escapes``.

    Args:
        head: the state, and the words left.
        counts: symbols of each table.
        rows, sums, firsts, digits: of ``Searches``.
        lows, sizes: of the tables.
    """
    state, left = head[0], np.int64(head[1])
    at = escaped = 0
    for table in range(counts.size):
        end = at + counts[table]
        low, most = np.int64(lows[table]), np.int64(sizes[table]) - 1
        span = rows[table, _SPAN] if counts[table] >= JOINT_RUN else 1
        while at < end:
            if end - at < span:
                span = 1
            begin = 0 if span == 1 else _JOINT
            base, first = rows[table, begin + _SUMS], rows[table, begin + _FIRSTS]
            shift = np.uint64(rows[table, begin + _SHIFT])
            code = rows[table, _DIGITS]
            for _ in range((end - at) // span):
                slot = state & _SLOT
                place = base + np.int64(firsts[first + np.int64(slot >> shift)])
                while np.uint64(sums[place + 1]) <= slot:
                    place += 1
                start = np.uint64(sums[place])
                # state <- floor(state / 2^24) f + slot - start
                width = np.uint64(sums[place + 1]) - start
                state = (state >> _PRECISION) * width + (slot - start)
                if state < _LOW and left > 0:
                    left -= 1
                    state = state << _WORD | np.uint64(words[left])
                for n in range(span):
                    entry = place - base
                    if span > 1:
                        entry = np.int64(digits[code + place - base, n])
                    if entry == most:
                        escapes[escaped] = at
                        escaped += 1
                    symbols[at] = entry + low
                    at += 1
    head[0], head[1] = state, np.uint64(left)
    return escaped


@jit
def _spread(
    symbols: NDArray[Any], keys: NDArray[Any], begins: NDArray[Any], out: NDArray[Any]
) -> None:
    """Symbols in the order of their keys to where the keys stand; uses up the ``begins``
    ``[T]``."""
    for n in range(keys.size):
        key = keys[n]
        out[n] = symbols[begins[key]]
        begins[key] += 1


@jit
def _find(
    escapes: NDArray[Any], keys: NDArray[Any], begins: NDArray[Any], places: NDArray[Any]
) -> None:
    """Where escapes stand whose places in the order of the keys are known; uses up ``begins``."""
    numbers = np.full(keys.size, -1, np.int64)
    for n in range(escapes.size):
        numbers[escapes[n]] = n
    for n in range(keys.size):
        key = keys[n]
        number = numbers[begins[key]]
        begins[key] += 1
        if number >= 0:
            places[number] = n

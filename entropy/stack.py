"""Reads the ANS stack of `constriction` in compiled loops, several times as fast.

Words and symbols are those of `constriction`'s own decoder (Bamler, "Understanding Entropy Coding
With Asymmetric Numeral Systems", 2022), which serves where nothing is compiled and where so few
symbols are asked for that numba is not worth its import. The loops find the symbol of a slot in a
table of the slots' first bits instead of by bisection, which branches without a pattern, and one
call decodes all runs of a block: most runs are so short that calls of their own would cost more.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.jit import jit
from laconic.entropy.models import JOINT_RUN
from laconic.entropy.quantize import MAX_PRECISION

if TYPE_CHECKING:
    from laconic.entropy.tables import CdfTables

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

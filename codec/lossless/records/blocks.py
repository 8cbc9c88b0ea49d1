"""Blocks of rows <-> bytes: the walk through the circuit, one lane of rANS per record in flight.

Row r of a block is coded in lane r mod L, after row r - L: a batch of L records is decoded at a
time, and the overhead of a lane (6 bytes) is shared by all records it carries. What a record needs
beyond its symbols, the places inside BINS, follows in its lane as uniform numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.circuits import walk
from laconic.codec.lossless.circuits.integer import IntegerCircuit
from laconic.codec.lossless.records.columns import Column, Ints
from laconic.codec.lossless.records.small import SmallNetwork, interval, locate
from laconic.entropy.lanes import LaneDecoder, LaneEncoder

MAX_WIDTH = 1 << 20  # of a uniform number coded in one step; wider ones send 16 bits at a time
WALK = 2048  # records that the encoder walks at once


@dataclass
class Rows:
    """A block in symbols: ``symbols`` ``[N, variables]`` and, for each column with BINS, the place
    inside the bin ``rests`` ``[N, bins columns]``."""

    symbols: NDArray[np.integer]
    rests: Ints


@dataclass(frozen=True)
class Layout:
    """How columns map to variables of the circuit."""

    columns: tuple[Column, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Symbols of each variable."""
        return tuple(size for column in self.columns for size in column.variables)

    def slots(self) -> list[tuple[Column, slice]]:
        """Each column with its variables."""
        result, at = [], 0
        for column in self.columns:
            result.append((column, slice(at, at + len(column.variables))))
            at += len(column.variables)
        return result

    def bins(self) -> list[tuple[slice, Ints]]:
        """Variables and widths of the columns with places inside their symbols."""
        return [(s, c.widths) for c, s in self.slots() if c.widths.max(initial=1) > 1]


def symbol_of(parts: NDArray[np.integer]) -> Ints:
    """Symbol ``[N]`` of a column from its variables ``[N, 0..2]``."""
    if parts.shape[1] == 0:
        return np.zeros(len(parts), np.int64)
    wide = parts.astype(np.int64)
    return wide[:, 0] if parts.shape[1] == 1 else wide[:, 0] * 256 + wide[:, 1]


@dataclass
class Intervals:
    """Starts and widths (less 1) of all steps of a block in coding order, ``[N, steps]``."""

    starts: NDArray[np.uint32]
    widths: NDArray[np.uint32]

    @property
    def bits(self) -> float:
        """Ideal size."""
        return float((32 - np.log2(self.widths.astype(np.float64) + 1)).sum())

    def pack(self, lanes: int) -> bytes:
        """The stream."""
        coder = LaneEncoder(lanes)
        for first in range(0, len(self.starts), lanes):
            starts = self.starts[first : first + lanes].T.astype(np.uint64)
            widths = self.widths[first : first + lanes].T.astype(np.uint64) + np.uint64(1)
            for step in range(len(starts)):
                coder.push(starts[step], widths[step])
        return coder.finish()


def intervals_of(
    circuit: IntegerCircuit | SmallNetwork | None,
    layout: Layout,
    rows: Rows,
    progress: Callable[[int], None] | None = None,
) -> Intervals:
    """What a block's records cost, step by step; ``progress`` gets the records done."""
    count = len(rows.symbols)
    steps = (circuit.variables if circuit else 0) + sum(_passes(w) for _, w in layout.bins())
    result = Intervals(np.zeros((count, steps), np.uint32), np.zeros((count, steps), np.uint32))
    for first in range(0, count, WALK):
        part = slice(first, min(first + WALK, count))
        piece = Intervals(result.starts[part], result.widths[part])
        _fill(circuit, layout, Rows(rows.symbols[part], rows.rests[part]), piece)
        if progress:
            progress(part.stop)
    return result


def _fill(
    circuit: IntegerCircuit | SmallNetwork | None, layout: Layout, rows: Rows, out: Intervals
) -> None:
    """Intervals of some records into ``out``, in the order of coding."""
    symbols = rows.symbols.astype(np.int64)
    step = 0

    def write(starts: NDArray[Any], widths: NDArray[Any]) -> None:
        nonlocal step
        out.starts[:, step] = starts
        out.widths[:, step] = widths - 1
        step += 1

    if isinstance(circuit, SmallNetwork):

        def code_pixel(pixel: int, freqs: NDArray[np.float64]) -> Ints:
            write(*interval(freqs, symbols[:, pixel]))
            return symbols[:, pixel]

        circuit.walk(len(symbols), code_pixel)
    elif circuit is not None:
        walk.intervals(walk.plan_of(circuit), symbols, out.starts, out.widths)
        step = circuit.variables
    for k, (where, widths) in enumerate(layout.bins()):
        width = widths[symbol_of(symbols[:, where])]
        for starts, wide in _uniform_steps(rows.rests[:, k], width, _passes(widths)):
            write(starts, wide)


def decode_rows(
    circuit: IntegerCircuit | SmallNetwork | None,
    layout: Layout,
    data: bytes,
    count: int,
    lanes: int,
    until: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Rows:
    """Decode the first ``until`` of a block's ``count`` records, all by default.

    Raises:
        FormatError: the data is damaged.
    """
    lanes = min(lanes, count)
    decoder = LaneDecoder(data, lanes)
    stop = count if until is None else min(until, count)
    symbols = np.zeros((stop, circuit.variables if circuit else 0), np.uint16)
    rests = np.zeros((stop, len(layout.bins())), np.int64)
    for first in range(0, stop, lanes):
        batch = min(first + lanes, count) - first
        keep = min(batch, stop - first)
        found = _decode_batch(circuit, layout, decoder, batch)
        symbols[first : first + keep] = found.symbols[:keep]
        rests[first : first + keep] = found.rests[:keep]
        if progress:
            progress(first + keep)
    if stop == count:
        decoder.finish()
    return Rows(symbols, rests)


def _decode_batch(
    circuit: IntegerCircuit | SmallNetwork | None, layout: Layout, decoder: LaneDecoder, count: int
) -> Rows:
    """One record of each of the first ``count`` lanes."""
    bins = layout.bins()
    symbols = np.zeros((count, circuit.variables if circuit else 0), np.int64)
    rests = np.zeros((count, len(bins)), np.int64)
    if isinstance(circuit, SmallNetwork):

        def code_pixel(pixel: int, freqs: NDArray[np.float64]) -> Ints:
            found, starts, widths = locate(freqs, decoder.slots(count).astype(np.float64))
            decoder.advance(starts, widths)
            symbols[:, pixel] = found
            return found

        circuit.walk(count, code_pixel)
    elif circuit is not None:
        symbols = walk.read(walk.plan_of(circuit), decoder, count)
    for k, (where, widths) in enumerate(bins):
        width = widths[symbol_of(symbols[:, where])]
        rests[:, k] = _read_uniform(decoder, width, _passes(widths))
    return Rows(symbols, rests)


def _passes(widths: Ints) -> int:
    """Steps that a uniform number below any of these widths takes."""
    largest, steps = int(widths.max()), 1
    while largest > MAX_WIDTH:
        largest = (largest - 1 >> 16) + 1
        steps += 1
    return steps


def _uniform_steps(
    values: Ints, width: Ints, passes: int
) -> Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    steps = []
    for _ in range(passes - 1):
        wide = width > MAX_WIDTH
        steps.append((np.where(wide, (values & 0xFFFF) << 16, 0), np.where(wide, 1 << 16, 1 << 32)))
        values = np.where(wide, values >> 16, values)
        width = np.where(wide, (width - 1 >> 16) + 1, width)
    start = (values << 32) // width
    return [*steps, (start, ((values + 1) << 32) // width - start)]


def _read_uniform(decoder: LaneDecoder, width: Ints, passes: int) -> Ints:
    value = np.zeros(len(width), np.int64)
    shift = np.zeros(len(width), np.int64)
    for _ in range(passes - 1):
        wide = width > MAX_WIDTH
        digit = np.where(wide, decoder.slots(len(width)).astype(np.int64) >> 16, 0)
        decoder.advance(digit << 16, np.where(wide, 1 << 16, 1 << 32))
        value |= digit << shift
        shift += np.where(wide, 16, 0)
        width = np.where(wide, (width - 1 >> 16) + 1, width)
    slot = decoder.slots(len(width)).astype(np.int64)
    top = (slot * width) >> 32
    top += ((top + 1) << 32) // width <= slot
    start = (top << 32) // width
    decoder.advance(start, ((top + 1) << 32) // width - start)
    return value | top << shift


assert walk.TOTAL == 1 << 32

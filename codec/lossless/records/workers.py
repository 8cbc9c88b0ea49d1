"""Coding blocks of records, here or in helper processes (`laconic.codec.lossless.helpers`).

Blocks do not depend on each other, so that several of a large array are coded at a time. The
streams do not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from laconic.codec.base import Progress
from laconic.codec.lossless.circuits.compact import unpack
from laconic.codec.lossless.circuits.integer import IntegerCircuit
from laconic.codec.lossless.helpers import Head, ask, cores, share
from laconic.codec.lossless.records.blocks import Intervals, Layout, Rows, decode_rows, intervals_of
from laconic.codec.lossless.records.named import load_circuit
from laconic.codec.lossless.records.schema import Field, pack_fields, read_fields
from laconic.codec.lossless.records.small import SmallNetwork
from laconic.codec.lossless.records.wire import Cursor

SMALL = 1 << 18  # cells below which a helper's start costs more than it gains


@dataclass(frozen=True)
class Coded:
    """The stream of a block, how many rows it holds, and how many of them are wanted."""

    stream: bytes
    rows: int
    until: int


class BlockWorkers:
    """Codes blocks with one circuit.

    Args:
        circuit: of the file, or None for records that need none.
        fields: the columns.
        source: where a helper finds the circuit: its compact bytes, or the path of a model file.
        processes: how many; by default one for each core (or as OMP_NUM_THREADS says).
    """

    def __init__(
        self,
        circuit: IntegerCircuit | SmallNetwork | None,
        fields: Sequence[Field],
        source: bytes | str,
        processes: int | None = None,
    ) -> None:
        self.circuit = circuit
        self.layout = Layout(tuple(field.column for field in fields))
        self.processes = cores() if processes is None else processes
        self._named = source if isinstance(source, str) else ""
        self._packed = source if isinstance(source, bytes) else b""
        self._fields = [] if self._named else fields

    def intervals(self, blocks: Sequence[Rows], progress: Callable[[int], None]) -> list[Intervals]:
        """What each block costs; ``progress`` gets the records done."""
        if self._alone(blocks, sum(b.symbols.size for b in blocks)):
            found, done = [], 0
            for block in blocks:
                report = _from(done, progress)
                found.append(intervals_of(self.circuit, self.layout, block, report))
                done += len(block.symbols)
            return found

        def call(block: Rows) -> Intervals:
            request = {"op": "intervals", "rows": len(block.symbols)}
            symbols, rests = block.symbols.astype("<u2"), block.rests.astype("<i8")
            _, (starts, widths) = self._ask(request, symbols.tobytes(), rests.tobytes())
            return _intervals(starts, widths, len(block.symbols))

        found = share(call, blocks, self.processes)
        progress(sum(len(b.symbols) for b in blocks))
        return found

    def pack(self, found: Sequence[Intervals], lanes: int) -> list[bytes]:
        """The stream of each block."""
        if self._alone(found, sum(f.starts.size for f in found)):
            return [f.pack(min(lanes, len(f.starts))) for f in found]

        def call(block: Intervals) -> bytes:
            request = {"op": "pack", "rows": len(block.starts), "lanes": lanes}
            parts = [a.astype("<u4").tobytes() for a in (block.starts, block.widths)]
            _, (stream,) = self._ask(request, *parts)
            return stream

        return share(call, found, self.processes)

    def decode(
        self, blocks: Sequence[Coded], lanes: int, progress: Callable[[int], None]
    ) -> list[Rows]:
        """The wanted rows of each block; raises ``FormatError``."""
        variables = self.circuit.variables if self.circuit else 0
        if self._alone(blocks, variables * sum(b.until for b in blocks)):
            result, done = [], 0
            for b in blocks:
                report = _from(done, progress)
                rows = decode_rows(
                    self.circuit, self.layout, b.stream, b.rows, lanes, b.until, report
                )
                result.append(rows)
                done += b.until
            return result

        def call(block: Coded) -> Rows:
            request = {"op": "decode", "rows": block.rows, "until": block.until, "lanes": lanes}
            _, (symbols, rests) = self._ask(request, block.stream)
            return _rows(symbols, rests, block.until)

        result = share(call, blocks, self.processes)
        progress(sum(b.until for b in blocks))
        return result

    def _alone(self, blocks: Sequence[Any], cells: int) -> bool:
        return self.processes < 2 or len(blocks) < 2 or cells < SMALL

    def _ask(self, request: Head, *parts: bytes) -> tuple[Head, list[bytes]]:
        head = {**request, "named": self._named, "columns": len(self._fields)}
        return ask("records", head, self._packed, pack_fields(self._fields), *parts)


@lru_cache(maxsize=2)
def _model(
    named: str, packed: bytes, fields: bytes, columns: int
) -> tuple[IntegerCircuit | SmallNetwork | None, Layout]:
    if named:
        circuit = load_circuit(named).circuit
        return circuit, Layout(())
    found = read_fields(Cursor(fields), columns)
    layout = Layout(tuple(field.column for field in found))
    return unpack(packed).to_integer() if packed else None, layout


def answer(request: Head, blobs: list[bytes]) -> tuple[Head, list[bytes]]:
    """What a helper does: requests of :class:`BlockWorkers`."""
    packed, fields, *parts = blobs
    count = request["rows"]
    if request["op"] == "pack":
        return {}, [_intervals(parts[0], parts[1], count).pack(min(request["lanes"], count))]
    circuit, layout = _model(request["named"], packed, fields, request["columns"])
    if request["op"] == "intervals":
        found = intervals_of(circuit, layout, _rows(parts[0], parts[1], count))
        return {}, [a.astype("<u4").tobytes() for a in (found.starts, found.widths)]
    rows = decode_rows(circuit, layout, parts[0], count, request["lanes"], request["until"])
    return {}, [rows.symbols.astype("<u2").tobytes(), rows.rests.astype("<i8").tobytes()]


def _from(offset: int, progress: Callable[[int], None]) -> Callable[[int], None]:
    """Progress of a block that begins at an offset."""
    return lambda done: progress(offset + done)


def _intervals(starts: bytes, widths: bytes, count: int) -> Intervals:
    both = (np.frombuffer(data, "<u4").reshape(count, -1) for data in (starts, widths))
    return Intervals(*both)


def _rows(symbols: bytes, rests: bytes, count: int) -> Rows:
    return Rows(
        np.frombuffer(symbols, "<u2").reshape(count, -1),
        np.frombuffer(rests, "<i8").reshape(count, -1),
    )


def counter(progress: Progress | None, total: int) -> Callable[[int], Callable[[int], None]]:
    """Makes callbacks for blocks that begin at an offset."""

    def at(offset: int) -> Callable[[int], None]:
        def report(done: int) -> None:
            if progress is not None:
                progress(min(total, max(0, offset + done)), total)

        return report

    return at

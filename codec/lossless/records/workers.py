"""Coding blocks of records in threads: blocks do not depend on each other, so that several of a
large array are coded at a time, and the loops hold no lock. The streams do not depend on the number
of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

from laconic.codec.base import Progress
from laconic.codec.lossless.circuits.integer import IntegerCircuit
from laconic.codec.lossless.records.blocks import Intervals, Layout, Rows, decode_rows, intervals_of
from laconic.codec.lossless.records.schema import Field
from laconic.codec.lossless.records.small import SmallNetwork
from laconic.codec.workers import cores, share


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
        threads: how many; by default one for each core (or as OMP_NUM_THREADS says).
    """

    def __init__(
        self,
        circuit: IntegerCircuit | SmallNetwork | None,
        fields: Sequence[Field],
        threads: int | None = None,
    ) -> None:
        self.circuit = circuit
        self.layout = Layout(tuple(field.column for field in fields))
        self.threads = cores() if threads is None else threads

    def intervals(self, blocks: Sequence[Rows], progress: Callable[[int], None]) -> list[Intervals]:
        """What each block costs; ``progress`` gets the records done."""
        report = _Sum(progress)
        return share(
            lambda block: intervals_of(self.circuit, self.layout, block, report.of_one()),
            blocks,
            self.threads,
        )

    def pack(self, found: Sequence[Intervals], lanes: int) -> list[bytes]:
        """The stream of each block."""
        return share(lambda f: f.pack(min(lanes, len(f.starts))), found, self.threads)

    def decode(
        self, blocks: Sequence[Coded], lanes: int, progress: Callable[[int], None]
    ) -> list[Rows]:
        """The wanted rows of each block; raises ``FormatError``."""
        report = _Sum(progress)
        return share(
            lambda b: decode_rows(
                self.circuit, self.layout, b.stream, b.rows, lanes, b.until, report.of_one()
            ),
            blocks,
            self.threads,
        )


class _Sum:
    """Progress of several blocks at a time as one."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress, self._done, self._lock = progress, 0, Lock()

    def of_one(self) -> Callable[[int], None]:
        """Takes what is done of one block."""
        before = 0

        def report(done: int) -> None:
            nonlocal before
            with self._lock:
                self._done += done - before
                before = done
                self._progress(self._done)

        return report


def counter(progress: Progress | None, total: int) -> Callable[[int], Callable[[int], None]]:
    """Makes callbacks for blocks that begin at an offset."""

    def at(offset: int) -> Callable[[int], None]:
        def report(done: int) -> None:
            if progress is not None:
                progress(min(total, max(0, offset + done)), total)

        return report

    return at

"""Circuits that are installed models, and the processes that share the work.

Circuits that are shipped or trained once and named by files: load, save.

Coding blocks of records in threads: blocks do not depend on each other, so that several of a
large array are coded at a time, and the loops hold no lock. The streams do not depend on the number
of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from laconic.codec import models
from laconic.codec.base import Progress
from laconic.codec.devices import cores, share
from laconic.codec.lossless.circuits.compact import CompactCircuit, unpack
from laconic.codec.lossless.circuits.integer import IntegerCircuit
from laconic.codec.lossless.records.blocks import Intervals, Layout, Rows, decode_rows, intervals_of
from laconic.codec.lossless.records.schema import Field
from laconic.codec.lossless.records.small import SmallNetwork
from laconic.entropy import NumericsProfile
from laconic.formats.errors import LimitError, ModelError

CODEC = "records"


@dataclass(frozen=True)
class NamedCircuit:
    """A circuit, or a network of the preset `small`, with a fixed domain: records of ``shape`` with
    values 0..sizes[i]-1."""

    info: models.ModelInfo
    circuit: IntegerCircuit | SmallNetwork
    shape: tuple[int, ...]


def save_circuit(
    path: Path,
    circuit: CompactCircuit,
    *,
    name: str,
    shape: tuple[int, ...],
    training: Mapping[str, Any],
    overwrite: bool = False,
) -> models.ModelInfo:
    """Write a circuit as a model file: its compact bytes in one tensor."""
    config = {
        "kind": "hclt",
        "shape": list(shape),
        "states": int(circuit.totals.shape[1]),
        "variables": len(circuit.sizes),
        "weights": circuit.transitions.size + circuit.leaves.size,
        "tables": circuit.to_integer().digest().hex()[:24],
    }
    return models.write_model(
        path,
        name=name,
        codec=CODEC,
        config=config,
        numerics=int(NumericsProfile.INTEGER_TABLES),
        tensors={"circuit": np.frombuffer(circuit.pack(), np.uint8)},
        training=training,
        overwrite=overwrite,
    )


def save_network(
    path: Path,
    network: SmallNetwork,
    *,
    name: str,
    training: Mapping[str, Any],
    overwrite: bool = False,
) -> models.ModelInfo:
    """Write a network of the preset `small` as a model file of integers."""
    config = {
        "kind": "small",
        "shape": [network.height, network.width],
        "weights": int(sum(a.size for a in network.tensors.values())),
    }
    return models.write_model(
        path,
        name=name,
        codec=CODEC,
        config=config,
        numerics=int(NumericsProfile.INTEGER_NETWORK),
        tensors=network.tensors,
        training=training,
        overwrite=overwrite,
    )


def load_circuit(name_or_id: str) -> NamedCircuit:
    """The circuit of that name, id or path, loaded once.

    Raises:
        ModelError: there is none, it is damaged, or it is a model of another codec.
    """
    info = models.find(name_or_id)
    return _load(info.id, info.path)


@lru_cache(maxsize=4)
def _load(identity: str, path: Path) -> NamedCircuit:
    info = models.read_info(path)
    kind = info.config.get("kind")
    if info.codec != CODEC or kind not in ("hclt", "small"):
        raise ModelError(
            f"{info.name} is a model of the codec {info.codec!r}: expected a circuit for records"
        )
    if kind == "small":
        return _load_small(info)
    try:
        circuit = unpack(models.read_tensors(info)["circuit"].tobytes()).to_integer()
        shape = tuple(int(n) for n in info.config["shape"])
    except (LimitError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise ModelError(f"{path} holds no circuit: {error}") from error
    if circuit.digest().hex()[:24] != info.config.get("tables"):
        raise ModelError(f"{path} gives other tables here than where it was made: report this")
    return NamedCircuit(info, circuit, shape)


def _load_small(info: models.ModelInfo) -> NamedCircuit:
    try:
        height, width = (int(n) for n in info.config["shape"])
        network = SmallNetwork(height, width, models.read_tensors(info)).check()
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise ModelError(f"{info.path} holds no network of the preset small: {error}") from error
    return NamedCircuit(info, network, (height, width))


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

"""Encoding of records: which circuit, which blocks, or stored when that is smaller."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from laconic.codec.base import DecodeSettings
from laconic.codec.lossless.records.blocks import Intervals, Rows
from laconic.codec.lossless.records.columns import plain_columns
from laconic.codec.lossless.records.decoding import MAX_COLUMNS, DecodeJob
from laconic.codec.lossless.records.named import BlockWorkers, NamedCircuit, counter, load_circuit
from laconic.codec.lossless.records.prepare import (
    Prepared,
    check_symbols,
    plain_rows,
    prepare_array,
    prepare_cells,
)
from laconic.codec.lossless.records.schema import (
    CODEC_ID,
    Field,
    Method,
    RecordsHeader,
    TextFrame,
    pack_fields,
    squeeze,
    version_of,
    write_blob,
)
from laconic.codec.lossless.records.training import fit
from laconic.entropy import NumericsProfile, SymbolCheck
from laconic.formats.claims import padded
from laconic.formats.container import Container, Header, Media, Segment
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import ParameterError
from laconic.formats.records import FLOATS, Records
from laconic.formats.samples import to_whole

if TYPE_CHECKING:
    from laconic.codec.lossless.records.codec import RecordsOptions

BLOCK_CELLS = 1 << 22  # variables of a block, at most
MAX_BLOCK = 1 << 16  # rows
LANE_COST = 48  # bits
FEW_LANES = 64  # up to which lanes may cost 1 % of a block; more may cost a quarter of that
FEW_ROWS = 8  # below which no circuit is tried


class EncodeJob:
    """One file to be: :meth:`run` returns its bytes."""

    def __init__(self, records: Records, settings: RecordsOptions) -> None:
        self.records, self.settings = records, settings
        self.frame: TextFrame | None = None
        header = records.header
        cells = header.columns * header.rows
        settings.limits.check("the number of cells", cells, settings.limits.cells)
        self.original = records.original()

    def run(self) -> bytes:
        """Named circuit if one is asked for; else an own one, unless storing is smaller."""
        if self.settings.model is not None:
            return self._named(load_circuit(self.settings.model))
        header = self.records.header
        if header.rows < FEW_ROWS or header.coded_columns > MAX_COLUMNS:
            return self._stored()
        own = self._own()
        stored = self._stored(len(own))
        return own if len(own) < len(stored) else stored

    def _stored(self, beaten: int | None = None) -> bytes:
        header = RecordsHeader(Method.STORED, max(1, self.records.header.rows), 1, self.crc)
        check = SymbolCheck()
        check.update(np.frombuffer(self.original, np.uint8))
        return self._file(header, b"", [Segment(squeeze(self.original, beaten), check.value32())])

    def _named(self, named: NamedCircuit) -> bytes:
        array = self.records.array
        shape = self.records.header.shape
        if array is None or array.shape[1] != named.circuit.variables:
            found = "a table" if array is None else f"records of shape {list(shape)}"
            raise ParameterError(
                f"the input is {found}: {named.info.name} codes records of shape"
                f" {list(named.shape)}"
            )
        largest = np.array(named.circuit.sizes)
        outside = (array < 0) | (array >= largest)
        if outside.any():
            row, column = (int(k) for k in np.argwhere(outside)[0])
            raise ParameterError(
                f"value {column} of record {row} is {array[row, column]}: {named.info.name} codes"
                f" 0..{largest[column] - 1}; encode without --model to learn a circuit of its own"
            )
        if len(array) == 0:
            return self._stored()
        fields = [Field(column) for column in plain_columns(named.circuit.sizes)]
        workers = BlockWorkers(named.circuit, fields)
        ranges = list(self._ranges(len(named.circuit.sizes)))
        blocks = [plain_rows(array[a:b]) for a, b in ranges]
        model = bytes.fromhex(named.info.id)
        return self._blocks(Method.NAMED, model, b"", workers, blocks, [b""] * len(blocks))

    def _own(self) -> bytes:
        prepared = self._prepare()
        layout = prepared.layout
        circuit, packed = None, b""
        if layout.sizes:
            fitted = fit(
                prepared.rows.symbols,
                layout.sizes,
                states=self.settings.states,
                effort=self.settings.effort,
            )
            packed = fitted.data
            circuit = fitted.compact.to_integer()
        frame = b"" if self.frame is None else self.frame.pack()
        if self.records.frame is not None:
            frame = write_blob(self.records.frame.head())
        schema = squeeze(frame + pack_fields(prepared.fields))
        first = write_blob(write_blob(schema) + packed)
        ranges = list(self._ranges(len(layout.sizes) + 1))
        blocks = [prepared.block(a, b) for a, b in ranges]
        sides = [prepared.side(a, b) for a, b in ranges]
        workers = BlockWorkers(circuit, prepared.fields)
        return self._blocks(Method.OWN, b"", first, workers, blocks, sides)

    def _prepare(self) -> Prepared:
        if self.records.array is not None:
            floats = self.records.header.dtype in FLOATS
            return prepare_array(to_whole(self.records.array) if floats else self.records.array)
        if self.records.frame is not None:
            return prepare_cells(self.records.frame.columns, self.records.frame.rows)
        table = self.records.parts
        assert table is not None
        self.frame = TextFrame(table.delimiter, table.newline, table.ends, table.header, table.odd)
        return prepare_cells(table.columns, table.rows)

    def _ranges(self, variables: int) -> Iterator[tuple[int, int]]:
        rows = self.records.header.rows
        self.block = self.settings.block or int(np.clip(BLOCK_CELLS // variables, 256, MAX_BLOCK))
        for first in range(0, rows, self.block):
            yield first, min(first + self.block, rows)

    def _blocks(
        self,
        method: Method,
        model: bytes,
        first: bytes,
        workers: BlockWorkers,
        blocks: list[Rows],
        sides: list[bytes],
    ) -> bytes:
        report = counter(self.settings.progress, self.records.header.rows)
        lanes = 0
        segments: list[Segment] = []
        for start in range(0, len(blocks), workers.threads):
            some = blocks[start : start + workers.threads]
            found = workers.intervals(some, report(start * self.block))
            lanes = lanes or lanes_for(found[0], len(some[0].symbols))
            for block, stream in zip(some, workers.pack(found, lanes), strict=True):
                check = SymbolCheck()
                for values in check_symbols(block):
                    check.update(values)
                payload = (b"" if segments else first) + write_blob(sides[len(segments)])
                segments.append(Segment(payload + stream, check.value32()))
        header = RecordsHeader(method, self.block, lanes, self.crc)
        data = self._file(header, model, segments)
        if self.settings.verify:
            DecodeJob(ContainerReader(data, self.settings.limits), DecodeSettings()).run()
        return data

    @property
    def crc(self) -> int:
        """CRC-32 of the original."""
        return zlib.crc32(self.original)

    def _file(self, header: RecordsHeader, model: bytes, segments: list[Segment]) -> bytes:
        profile = int(NumericsProfile.INTEGER_TABLES)
        media = self.records.header.pack()
        packed = header.pack()
        version = version_of(self.records.header)
        whole = Header(Media.DATA, CODEC_ID, version, model, profile, media, packed)
        data = Container(whole, segments).to_bytes()
        return padded(data, self.settings.limits, unpacked=len(self.original))


def lanes_for(found: Intervals, rows: int) -> int:
    """Lanes, a power of two: more of them decode faster and cost 6 bytes each."""
    lanes = 1
    while lanes < 1024:
        share = 100 if lanes * 2 <= FEW_LANES else 400
        if lanes * 2 * LANE_COST * share > found.bits:
            break
        lanes *= 2
    return max(1, min(lanes, rows))

"""The records codec: tables and arrays <-> ``.lac`` files with a hidden Chow-Liu tree.

The first segment begins with the model, if it travels in the file: a varint length, the columns
(``schema.py``) squeezed, and the circuit (``compact.py``). Then, as in every segment, come the
block's side data (bases of differences, texts) and its coded symbols (``blocks.py``). Files that a
general-purpose method makes smaller are stored that way.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from laconic.codec.base import DecodeSettings, EncodeSettings, Progress, VerifyReport
from laconic.codec.lossless.circuits.compact import unpack
from laconic.codec.lossless.circuits.integer import IntegerCircuit
from laconic.codec.lossless.records.blocks import Intervals, Layout, Rows
from laconic.codec.lossless.records.columns import Column, Kind
from laconic.codec.lossless.records.header import CODEC_ID, CODEC_VERSION, Method, RecordsHeader
from laconic.codec.lossless.records.learning import fit
from laconic.codec.lossless.records.named import NamedCircuit, load_circuit
from laconic.codec.lossless.records.prepare import (
    Prepared,
    check_symbols,
    plain_rows,
    prepare_array,
    prepare_cells,
    read_side,
    restore,
    restore_cells,
)
from laconic.codec.lossless.records.schema import Field, TextFrame, pack_fields, read_fields
from laconic.codec.lossless.records.small import SmallNetwork
from laconic.codec.lossless.records.wire import Cursor, squeeze, unsqueeze, write_blob
from laconic.codec.lossless.records.workers import BlockWorkers, Coded
from laconic.entropy import NumericsProfile, SymbolCheck
from laconic.formats.container import Container, Header, Media, Segment
from laconic.formats.container_reader import ContainerReader
from laconic.formats.csv_table import CsvTable, split
from laconic.formats.data_header import DTYPES, TEXT, DataHeader
from laconic.formats.errors import (
    DesyncError,
    FormatError,
    ModelError,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.records import Records
from laconic.formats.table import Table

BLOCK_CELLS = 1 << 22  # variables of a block, at most
MAX_BLOCK = 1 << 16  # rows
LANE_COST = 48  # bits
FEW_LANES = 64  # up to which lanes may cost 1 % of a block; more may cost a quarter of that
FEW_ROWS = 8  # below which no circuit is tried
MAX_COLUMNS = 1 << 14


class RecordsCodec:
    """Implements :class:`laconic.codec.base.Codec` for :class:`Records`."""

    name = "records"
    codec_id = CODEC_ID
    media = Media.DATA
    lossless = True

    def encode(self, records: Records, settings: EncodeSettings) -> bytes:
        """A complete file; see :func:`laconic.codec.encode`."""
        for option in ("quality", "bpp", "target_bytes", "tile"):
            if getattr(settings, option) is not None:
                raise ParameterError(f"records are coded exactly: {option} has no meaning here")
        job = _EncodeJob(records, settings)
        return job.run()

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Any:
        """An array ``[N, ...]`` or a :class:`Table`, or some of its rows."""
        return _DecodeJob(reader, settings).run()

    def verify(self, reader: ContainerReader, settings: DecodeSettings) -> VerifyReport:
        """Decode everything and compare the checks."""
        job = _DecodeJob(reader, settings)
        job.run()
        return VerifyReport(len(reader), job.symbols, reader.header.numerics)

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """Method, rows of a block, lanes, checksum."""
        return RecordsHeader.unpack(codec_header).to_dict()


class _EncodeJob:
    def __init__(self, records: Records, settings: EncodeSettings) -> None:
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
        stored = self._stored()
        header = self.records.header
        if header.rows < FEW_ROWS or header.columns > MAX_COLUMNS:
            return stored
        own = self._own()
        return own if len(own) < len(stored) else stored

    def _stored(self) -> bytes:
        header = RecordsHeader(Method.STORED, max(1, self.records.header.rows), 1, self.crc)
        check = SymbolCheck()
        check.update(np.frombuffer(self.original, np.uint8))
        return self._file(header, b"", [Segment(squeeze(self.original), check.value32())])

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
        workers = BlockWorkers(named.circuit, fields, str(named.info.path))
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
        schema = squeeze(frame + pack_fields(prepared.fields))
        first = write_blob(write_blob(schema) + packed)
        ranges = list(self._ranges(len(layout.sizes) + 1))
        blocks = [prepared.block(a, b) for a, b in ranges]
        sides = [prepared.side(a, b) for a, b in ranges]
        workers = BlockWorkers(circuit, prepared.fields, packed)
        return self._blocks(Method.OWN, b"", first, workers, blocks, sides)

    def _prepare(self) -> Prepared:
        if self.records.array is not None:
            return prepare_array(self.records.array)
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
        report = _counter(self.settings.progress, self.records.header.rows)
        lanes = 0
        segments: list[Segment] = []
        for start in range(0, len(blocks), workers.processes):
            some = blocks[start : start + workers.processes]
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
            _DecodeJob(ContainerReader(data, self.settings.limits), DecodeSettings()).run()
        return data

    @property
    def crc(self) -> int:
        """CRC-32 of the original."""
        return zlib.crc32(self.original)

    def _file(self, header: RecordsHeader, model: bytes, segments: list[Segment]) -> bytes:
        profile = int(NumericsProfile.INTEGER_TABLES)
        media = self.records.header.pack()
        packed = header.pack()
        whole = Header(Media.DATA, CODEC_ID, CODEC_VERSION, model, profile, media, packed)
        return Container(whole, segments).to_bytes()


@dataclass(frozen=True)
class _Model:
    circuit: IntegerCircuit | SmallNetwork | None
    source: bytes | str  # of the circuit: its bytes in the file, or the path of a model
    fields: list[Field]
    frame: TextFrame | None


class _DecodeJob:
    def __init__(self, reader: ContainerReader, settings: DecodeSettings) -> None:
        self.reader, self.settings = reader, settings
        head = reader.header
        if head.media != Media.DATA or head.codec_version != CODEC_VERSION:
            raise UnsupportedError(
                f"the records are of codec version {head.codec_version}: this is"
                f" {CODEC_VERSION}; install a newer Laconic"
            )
        if head.numerics != NumericsProfile.INTEGER_TABLES:
            raise UnsupportedError(f"the records use numerics profile {head.numerics}: unknown")
        if settings.region is not None:
            raise ParameterError("records have no regions: ask for rows")
        self.data = DataHeader.unpack(head.media_header, settings.limits)
        self.header = RecordsHeader.unpack(head.codec_header)
        self.symbols = 0
        rows = (0, self.data.rows) if settings.rows is None else settings.rows
        self.first, self.end = rows[0], min(rows[1], self.data.rows)
        if rows[0] < 0 or rows[1] < rows[0] or rows[0] > self.data.rows:
            raise ParameterError(
                f"rows {rows[0]}:{rows[1]} of {self.data.rows}: expected a range inside"
            )
        expected = -(-self.data.rows // self.header.block) if self.data.rows else 1
        if self.header.method == Method.STORED:
            expected = 1
        if len(reader) != expected:
            raise FormatError(f"the file has {len(reader)} segments: {expected} were announced")

    def run(self) -> Any:
        """The records asked for."""
        if self.header.method == Method.STORED:
            return self._stored()
        cursor = Cursor(self.reader[0].payload)
        model = self._model(cursor)
        size, rows = self.header.block, self.data.rows
        parts: list[Any] = []
        report = _counter(self.settings.progress, max(1, self.end - self.first))
        workers = BlockWorkers(model.circuit, model.fields, model.source)
        numbers = range(self.first // size, -(-min(max(self.end, self.first + 1), rows) // size))
        for start in range(0, len(numbers), workers.processes):
            some = numbers[start : start + workers.processes]
            coded, beside = [], []
            for n in some:
                cursor = Cursor(self.reader[n].payload) if n else cursor
                count = min(size, rows - n * size)
                side = Cursor(cursor.blob())
                beside.append(read_side(side, model.fields, count))
                side.end()
                until = min(self.end - n * size, count)
                coded.append(Coded(cursor.take(cursor.left), count, until))
            found = workers.decode(coded, self.header.lanes, report(some[0] * size - self.first))
            for n, block, got, side_data in zip(some, coded, found, beside, strict=True):
                if block.until == block.rows:
                    self._check(self.reader[n], got, n)
                skip = max(0, self.first - n * size)
                parts.append(self._values(model, got, side_data, skip))
        return self._join(model, parts)

    def _stored(self) -> Any:
        segment = self.reader[0]
        whole = self.data.dtype == TEXT
        limit = self.settings.limits.segment_bytes
        if not whole:
            limit = self.data.rows * self.data.columns * np.dtype(DTYPES[self.data.dtype]).itemsize
        data = unsqueeze(segment.payload, limit)
        check = SymbolCheck()
        check.update(np.frombuffer(data, np.uint8))
        self.symbols = len(data)
        if not segment.matches(check.value32()) or zlib.crc32(data) != self.header.crc:
            raise DesyncError("the stored records are not those that were encoded")
        if whole:
            return Table(data) if self.settings.rows is None else self._slice(split(data))
        if len(data) != limit:
            raise FormatError("the stored array has a wrong length: the file is damaged")
        array = np.frombuffer(data, DTYPES[self.data.dtype]).copy()
        return array.reshape(self.data.rows, *self.data.shape)[self.first : self.end]

    def _slice(self, table: CsvTable) -> Table:
        return Table(table.slice(self.first, self.end).join())

    def _model(self, cursor: Cursor) -> _Model:
        if self.header.method == Method.NAMED:
            named = load_circuit(self.reader.header.model.hex())
            if named.circuit.variables != self.data.columns:
                raise ModelError(
                    f"the file's records have {self.data.columns} values, but its model"
                    f" {named.info.name} has {named.circuit.variables} variables"
                )
            fields = [Field(column) for column in plain_columns(named.circuit.sizes)]
            return _Model(named.circuit, str(named.info.path), fields, None)
        model = Cursor(cursor.blob())
        schema = Cursor(unsqueeze(model.blob()))
        frame = None
        if self.data.dtype == TEXT:
            frame = TextFrame.read(schema, self.data.columns)
        fields = read_fields(schema, self.data.columns)
        schema.end()
        layout = Layout(tuple(field.column for field in fields))
        circuit, packed = None, b""
        if layout.sizes:
            packed = model.take(model.left)
            circuit = unpack(packed).to_integer()
            if circuit.sizes != layout.sizes:
                raise FormatError("the circuit does not fit the columns: the file is damaged")
        model.end()
        return _Model(circuit, packed, fields, frame)

    def _check(self, segment: Segment, rows: Rows, number: int) -> None:
        check = SymbolCheck()
        for values in check_symbols(rows):
            check.update(values)
            self.symbols += values.size
        if not segment.matches(check.value32()):
            raise DesyncError(
                f"the records of segment {number} are not those that were encoded: damaged file or"
                " wrong model"
            )

    def _values(self, model: _Model, rows: Rows, side: Any, skip: int) -> Any:
        """Cells by column, or an array ``[n, D]``, without the first ``skip`` rows."""
        if self.header.method == Method.NAMED:
            return rows.symbols[skip:].astype(DTYPES[self.data.dtype])
        columns = restore(model.fields, rows, side)
        if model.frame is not None:
            return [cells[skip:] for cells in restore_cells(model.fields, columns)]
        kind = np.dtype(DTYPES[self.data.dtype])
        array = np.empty((len(rows.symbols), self.data.columns), kind)
        low, high = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
        for n, column in enumerate(columns):
            if isinstance(column, list):
                raise FormatError("an array holds texts: the file is damaged")
            values = column[0]
            if values.size and (int(values.min()) < low or int(values.max()) > high):
                raise FormatError(f"a value does not fit {kind}: the file is damaged")
            array[:, n] = values
        return array[skip:]

    def _join(self, model: _Model, parts: list[Any]) -> Any:
        if model.frame is None:
            kind = DTYPES[self.data.dtype]
            array = np.concatenate([np.zeros((0, self.data.columns), kind), *parts])
            self._compare(np.ascontiguousarray(array).tobytes())
            return array.astype(kind).reshape(len(array), *self.data.shape)
        columns: list[list[bytes]] = [[] for _ in range(self.data.columns)]
        for part in parts:
            for column, cells in zip(columns, part, strict=True):
                column += cells
        frame = model.frame
        table = CsvTable(
            frame.delimiter, frame.newline, frame.header, columns, frame.odd, frame.ends
        )
        if self.settings.rows is not None:
            return Table(table.slice(0, self.end - self.first).join())
        text = table.join()
        self._compare(text)
        return Table(text)

    def _compare(self, original: bytes) -> None:
        if self.settings.rows is None and zlib.crc32(original) != self.header.crc:
            raise DesyncError("the decoded records are not those that were encoded: damaged file")


def plain_columns(sizes: tuple[int, ...]) -> list[Column]:
    """Columns whose symbols are their values."""
    return [Column(Kind.PLAIN, size=size) for size in sizes]


def lanes_for(found: Intervals, rows: int) -> int:
    """Lanes, a power of two: more of them decode faster and cost 6 bytes each."""
    lanes = 1
    while lanes < 1024:
        share = 100 if lanes * 2 <= FEW_LANES else 400
        if lanes * 2 * LANE_COST * share > found.bits:
            break
        lanes *= 2
    return max(1, min(lanes, rows))


def _counter(progress: Progress | None, total: int) -> Callable[[int], Callable[[int], None]]:
    """Makes callbacks for blocks that begin at an offset."""

    def at(offset: int) -> Callable[[int], None]:
        def report(done: int) -> None:
            if progress is not None:
                progress(min(total, max(0, offset + done)), total)

        return report

    return at

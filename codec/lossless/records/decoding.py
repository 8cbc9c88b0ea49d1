"""Decoding of records, or of some of their rows."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from laconic.codec.base import DecodeSettings
from laconic.codec.lossless.circuits.compact import unpack
from laconic.codec.lossless.circuits.integer import IntegerCircuit
from laconic.codec.lossless.records.blocks import Layout, Rows
from laconic.codec.lossless.records.columns import plain_columns
from laconic.codec.lossless.records.named import BlockWorkers, Coded, counter, load_circuit
from laconic.codec.lossless.records.prepare import (
    check_symbols,
    read_side,
    restore,
    restore_cells,
)
from laconic.codec.lossless.records.schema import (
    CODEC_VERSION,
    TYPED_VERSION,
    Budget,
    Cursor,
    Field,
    Method,
    RecordsHeader,
    TextFrame,
    read_fields,
    unsqueeze,
    version_of,
)
from laconic.codec.lossless.records.small import SmallNetwork
from laconic.entropy import NumericsProfile, SymbolCheck
from laconic.formats.container import Segment
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import (
    DesyncError,
    FormatError,
    Limits,
    ModelError,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.frame import Frame, Plan, read_head
from laconic.formats.frame import unpack as unpack_frame
from laconic.formats.records import DTYPES, FLOATS, TEXT, DataHeader, DataKind
from laconic.formats.samples import from_whole
from laconic.formats.table import CsvTable, Table, split

MAX_COLUMNS = 1 << 14  # of records with a circuit; more are stored
SCHEMA_LIMITS = Limits(free=1 << 20, expansion=256)


class TypedHead(NamedTuple):
    """What typed tables have beside their cells."""

    schema: bytes
    plans: list[Plan]


@dataclass(frozen=True)
class _Model:
    circuit: IntegerCircuit | SmallNetwork | None
    fields: list[Field]
    frame: TextFrame | TypedHead | None


class DecodeJob:
    """One file, its header checked: :meth:`run` returns the records asked for."""

    def __init__(self, reader: ContainerReader, settings: DecodeSettings) -> None:
        self.reader, self.settings = reader, settings
        head = reader.header
        if not CODEC_VERSION <= head.codec_version <= TYPED_VERSION:
            raise UnsupportedError(
                f"the records are of codec version {head.codec_version}: known are"
                f" {CODEC_VERSION} and {TYPED_VERSION}; install a newer Laconic"
            )
        if head.numerics != NumericsProfile.INTEGER_TABLES:
            raise UnsupportedError(f"the records use numerics profile {head.numerics}: unknown")
        self.data = DataHeader.unpack(head.media_header, settings.limits)
        self.typed = self.data.kind.typed
        if head.codec_version != version_of(self.data):
            raise FormatError("the records' kind and version contradict each other: damaged file")
        self.header = RecordsHeader.unpack(head.codec_header)
        self.budget = Budget(reader.file_bytes, settings.limits)
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
        report = counter(self.settings.progress, max(1, self.end - self.first))
        workers = BlockWorkers(model.circuit, model.fields)
        numbers = range(self.first // size, -(-min(max(self.end, self.first + 1), rows) // size))
        for start in range(0, len(numbers), workers.threads):
            some = numbers[start : start + workers.threads]
            coded, beside = [], []
            for n in some:
                cursor = Cursor(self.reader[n].payload) if n else cursor
                count = min(size, rows - n * size)
                side = Cursor(cursor.blob())
                beside.append(read_side(side, model.fields, count, self.budget))
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
        size = None
        if not whole:
            size = self.data.rows * self.data.columns * np.dtype(DTYPES[self.data.dtype]).itemsize
        data = unsqueeze(segment.payload, self.budget, "the stored records", size)
        check = SymbolCheck()
        check.update(np.frombuffer(data, np.uint8))
        self.symbols = len(data)
        if not segment.matches(check.value32()) or zlib.crc32(data) != self.header.crc:
            raise DesyncError("the stored records are not those that were encoded")
        if self.typed:
            frame = unpack_frame(data, self.data.rows)
            return frame if self.settings.rows is None else frame.slice(self.first, self.end)
        if whole:
            return Table(data) if self.settings.rows is None else self._slice(split(data))
        array = np.frombuffer(data, DTYPES[self.data.dtype]).copy()
        return self._shaped(array)[self.first : self.end]

    def _shaped(self, array: Any) -> Any:
        kind = np.dtype(DTYPES[self.data.dtype])
        if self.data.kind == DataKind.BIG_ENDIAN:
            kind = kind.newbyteorder(">")
        return (
            array.astype(kind).reshape(-1, *self.data.shape)
            if array.size
            else np.zeros(
                (array.shape[0] if array.ndim > 1 else self.data.rows, *self.data.shape), kind
            )
        )

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
            return _Model(named.circuit, fields, None)
        columns = self.data.coded_columns
        if columns > MAX_COLUMNS:
            raise FormatError(f"a circuit of {columns} columns: the file is damaged")
        model = Cursor(cursor.blob())
        budget = Budget(self.reader.file_bytes, SCHEMA_LIMITS)
        schema = Cursor(unsqueeze(model.blob(), budget, "the list of columns"))
        frame: TextFrame | TypedHead | None = None
        if self.typed:
            frame = TypedHead(*read_head(schema.blob()))
            if sum(plan.cells for plan in frame.plans) != self.data.columns:
                raise FormatError("the typed table's columns differ from its header: damaged file")
        elif self.data.dtype == TEXT:
            frame = TextFrame.read(schema, self.data.columns, self.data.rows)
        fields = read_fields(schema, columns)
        schema.end()
        layout = Layout(tuple(field.column for field in fields))
        circuit, packed = None, b""
        if layout.sizes:
            packed = model.take(model.left)
            circuit = unpack(packed, layout.sizes).to_integer()
        model.end()
        return _Model(circuit, fields, frame)

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
        size = FLOATS.get(self.data.dtype)
        kind = np.dtype(DTYPES[self.data.dtype] if size is None else f"<u{min(size, 4)}")
        array = np.empty((len(rows.symbols), self.data.coded_columns), kind)
        low, high = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
        for n, column in enumerate(columns):
            if isinstance(column, list):
                raise FormatError("an array holds texts: the file is damaged")
            values = column[0]
            if values.size and (int(values.min()) < low or int(values.max()) > high):
                raise FormatError(f"a value does not fit {kind}: the file is damaged")
            array[:, n] = values
        if size is not None:
            array = from_whole(array.astype(np.int64), size)
        return array[skip:]

    def _join(self, model: _Model, parts: list[Any]) -> Any:
        if model.frame is None:
            kind = DTYPES[self.data.dtype]
            array = np.concatenate([np.zeros((0, self.data.columns), kind), *parts])
            self._compare(np.ascontiguousarray(array).tobytes())
            return self._shaped(array)
        columns: list[list[bytes]] = [[] for _ in range(self.data.columns)]
        for part in parts:
            for column, cells in zip(columns, part, strict=True):
                column += cells
        frame = model.frame
        if isinstance(frame, TypedHead):
            typed = Frame(frame.schema, frame.plans, columns, self.end - self.first)
            self._compare(typed.pack() if self.settings.rows is None else b"")
            return typed
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

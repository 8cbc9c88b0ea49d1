"""Decoding of records, or of some of their rows."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from laconic.codec.base import DecodeSettings
from laconic.codec.lossless.circuits.compact import unpack
from laconic.codec.lossless.circuits.integer import IntegerCircuit
from laconic.codec.lossless.records.blocks import Layout, Rows
from laconic.codec.lossless.records.columns import plain_columns
from laconic.codec.lossless.records.header import CODEC_VERSION, Method, RecordsHeader
from laconic.codec.lossless.records.named import load_circuit
from laconic.codec.lossless.records.prepare import (
    check_symbols,
    read_side,
    restore,
    restore_cells,
)
from laconic.codec.lossless.records.schema import Field, TextFrame, read_fields
from laconic.codec.lossless.records.small import SmallNetwork
from laconic.codec.lossless.records.wire import Cursor, unsqueeze
from laconic.codec.lossless.records.workers import BlockWorkers, Coded, counter
from laconic.entropy import NumericsProfile, SymbolCheck
from laconic.formats.container import Media, Segment
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
from laconic.formats.table import Table


@dataclass(frozen=True)
class _Model:
    circuit: IntegerCircuit | SmallNetwork | None
    fields: list[Field]
    frame: TextFrame | None


class DecodeJob:
    """One file, its header checked: :meth:`run` returns the records asked for."""

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
            return _Model(named.circuit, fields, None)
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

"""Parquet, Feather and Arrow files as typed tables, with the optional library ``pyarrow``.

The values, types and metadata are kept, not the bytes of the file: row groups, encodings and
statistics are the writer's.
"""

from __future__ import annotations

import io
import re
from decimal import Context, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import (
    DEFAULT_LIMITS,
    FormatError,
    LimitError,
    Limits,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.frame import Code, Frame, Plan
from laconic.formats.samples import halves, joined, ordered, plain, unsigned
from laconic.formats.table import Table

MAX_PLACES = 9
MAX_SCALED = 2**53
_EXACT = Context(prec=80)
_NOT_A_NUMBER = re.compile(rb'"?[+-]?0\d|"?\+')  # digits that are a text: 00037, +49


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.feather
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise UnsupportedError(
            "Parquet, Feather and Arrow files need pyarrow: install laconic[parquet], or convert"
            " them to CSV"
        ) from error
    return pyarrow


def read_parquet(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Frame:
    """The typed table of a Parquet file.

    Raises:
        FormatError: damaged. UnsupportedError: pyarrow is missing, or a column has a type that is
            not coded; it is named. LimitError: too many cells.
    """
    arrow = _arrow()

    def read() -> Any:
        file = arrow.parquet.ParquetFile(io.BytesIO(data))
        limits.check(
            "the number of cells", file.metadata.num_rows * file.metadata.num_columns, limits.cells
        )
        return file.read()

    return _frame_of(_checked(read, "Parquet"), limits)


def read_feather(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Frame:
    """The typed table of a Feather or Arrow file; errors as for :func:`read_parquet`."""
    arrow = _arrow()
    return _frame_of(
        _checked(lambda: arrow.feather.read_table(io.BytesIO(data)), "Feather"), limits
    )


def read_stream(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Frame:
    """The typed table of an Arrow stream; errors as for :func:`read_parquet`."""
    arrow = _arrow()
    return _frame_of(_checked(lambda: arrow.ipc.open_stream(data).read_all(), "Arrow"), limits)


def _checked(read: Any, kind: str) -> Any:
    try:
        table = read()
        table.validate(full=True)
    except LimitError:
        raise
    except (_arrow().ArrowException, OSError, ValueError, NotImplementedError) as error:
        raise FormatError(f"the {kind} file is damaged: {error}") from error
    return table


def write_frame(frame: Frame, kind: str) -> bytes:
    """A file of a typed table: ``parquet``, ``feather``, ``arrow`` (a stream) or ``csv``."""
    arrow, table, stream = _arrow(), to_arrow(frame), io.BytesIO()
    try:
        if kind == "parquet":
            arrow.parquet.write_table(table, stream, store_schema=True)
        elif kind == "feather":
            arrow.feather.write_feather(table, stream)
        elif kind == "arrow":
            with arrow.ipc.new_stream(stream, table.schema) as writer:
                writer.write_table(table)
        elif kind == "csv":
            arrow.csv.write_csv(table, stream)
        else:
            raise ParameterError(
                f"a typed table cannot be written as {kind}: use parquet, feather, arrow or csv"
            )
    except arrow.ArrowException as error:
        raise ParameterError(f"the table cannot be written as {kind}: {error}") from error
    return stream.getvalue()


def write_parquet(table: Table) -> bytes:
    """A Parquet file of a delimited text; the types are those that its cells suggest, but digits
    with leading zeros or a plus are texts."""
    arrow = _arrow()
    texts = {
        name: arrow.string()
        for name, cells in zip(table.names, table.parts.columns, strict=True)
        if any(map(_NOT_A_NUMBER.match, cells))
    }
    options = arrow.csv.ConvertOptions(
        strings_can_be_null=True, quoted_strings_can_be_null=False, column_types=texts
    )
    names = None if table.parts.header is not None else table.names
    parsing = arrow.csv.ParseOptions(delimiter=table.parts.delimiter.decode())
    reading = arrow.csv.ReadOptions(column_names=names)
    stream = io.BytesIO()
    try:
        found = arrow.csv.read_csv(io.BytesIO(table.text), reading, parsing, options)
    except arrow.ArrowException as error:
        raise ParameterError(f"the table cannot be written as parquet: {error}") from error
    arrow.parquet.write_table(found, stream)
    return stream.getvalue()


def _frame_of(table: Any, limits: Limits) -> Frame:
    """An Arrow table in cells."""
    limits.check("the number of cells", table.num_rows * max(1, table.num_columns), limits.cells)
    table = table.unify_dictionaries()
    plans, columns = [], []
    for field, column in zip(table.schema, table.columns, strict=True):
        values = column.combine_chunks()
        if hasattr(values, "chunks"):  # combine_chunks of an empty column in some versions
            values = _arrow().concat_arrays(values.chunks)
        try:
            plan, cells = _cells_of(values)
        except (NotImplementedError, _arrow().ArrowException) as error:
            raise UnsupportedError(
                f"the column {field.name!r} has the type {field.type}, which is not coded: leave it"
                " out, or convert it to numbers or texts"
            ) from error
        plans.append(plan)
        columns += cells
    return Frame(table.schema.serialize().to_pybytes(), plans, columns, table.num_rows)


def _storage(kind: Any) -> Any:
    """The type of the integers behind a type of Arrow; None if there is none."""
    types = _arrow().types
    arrow = _arrow()
    if types.is_integer(kind):
        return kind
    if types.is_date32(kind) or types.is_time32(kind):
        return arrow.int32()
    if types.is_temporal(kind) and not types.is_interval(kind):
        return arrow.int64()
    return None


def _cells_of(values: Any) -> tuple[Plan, list[list[bytes]]]:
    arrow, types, kind = _arrow(), _arrow().types, values.type
    if types.is_null(kind):
        return Plan(Code.NOTHING), []
    if types.is_dictionary(kind):
        batch = arrow.record_batch([values.dictionary], names=["values"])
        sink = io.BytesIO()
        with arrow.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        cells = _digits(values.indices.to_pylist())
        return Plan(Code.DICTIONARY, values=sink.getvalue()), [cells]
    if types.is_boolean(kind):
        return Plan(Code.WHOLE), [_digits(values.cast(arrow.int8()).to_pylist())]
    if types.is_decimal(kind):
        shift = kind.scale
        whole = [None if v is None else int(_EXACT.scaleb(v, shift)) for v in values.to_pylist()]
        return Plan(Code.WHOLE), [_digits(whole)]
    storage = _storage(kind)
    if storage is not None:
        return Plan(Code.WHOLE), [_digits(values.view(storage).to_pylist())]
    if types.is_floating(kind):
        return _float_cells(values)
    if (
        types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind)
        or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    ):  # fmt: skip
        found: list[Any] = [
            None if v is None else v if isinstance(v, bytes) else v.encode()
            for v in values.to_pylist()
        ]
        if None not in found:
            return Plan(Code.BYTES), [found]
        return Plan(Code.NULL_BYTES), [[b"" if v is None else b"\1" + v for v in found]]
    raise NotImplementedError(kind)


def _digits(values: list[int | None]) -> list[bytes]:
    return [b"" if v is None else b"%d" % v for v in values]


def _float_cells(values: Any) -> tuple[Plan, list[list[bytes]]]:
    """Digits of a float times a power of ten if that is exact, else of its bits."""
    valid = np.array(values.is_valid(), bool)
    bits = values.type.bit_width
    raw = np.frombuffer(values.buffers()[1], unsigned(bits // 8))[
        values.offset : values.offset + len(values)
    ]
    numbers = raw.view(f"<f{bits // 8}")
    places = _places(numbers[valid]) if bits > 16 else None
    if places is not None:
        with np.errstate(all="ignore"):
            scaled = np.rint(np.where(valid, numbers, 0).astype(np.float64) * 10**places)
        return Plan(Code.SCALED, places), [_masked(scaled.astype(np.int64), valid)]
    whole = ordered(raw)
    if bits <= 32:
        return Plan(Code.BITS), [_masked(whole.astype(np.int64), valid)]
    return Plan(Code.WIDE_BITS), [_masked(half, valid) for half in halves(whole)]


def _places(numbers: NDArray[Any]) -> int | None:
    """The fewest decimal places that tell these floats to the bit, if that is possible."""
    if not numbers.size or not np.isfinite(numbers).all():
        return None
    if np.abs(numbers).max() * 10.0 > MAX_SCALED:
        return None
    for places in range(MAX_PLACES + 1):
        with np.errstate(all="ignore"):
            scaled = np.rint(numbers.astype(np.float64) * 10**places)
        if np.abs(scaled).max() > MAX_SCALED:
            return None
        if _unscaled(scaled, places, numbers.dtype).tobytes() == numbers.tobytes():
            return places
    return None


def _unscaled(scaled: NDArray[np.float64], places: int, kind: Any) -> NDArray[Any]:
    """One IEEE division of exact numbers: equal on every machine."""
    found: NDArray[Any] = (scaled / 10**places).astype(kind)
    return found


def _masked(values: NDArray[np.int64], valid: NDArray[np.bool_]) -> list[bytes]:
    return [b"%d" % v if ok else b"" for v, ok in zip(values.tolist(), valid.tolist(), strict=True)]


def to_arrow(frame: Frame) -> Any:
    """The Arrow table of a frame. Raises ``FormatError`` if its cells do not fit its types."""
    arrow = _arrow()
    try:
        schema = arrow.ipc.read_schema(arrow.py_buffer(frame.schema))
        arrays, at = [], 0
        for field, plan in zip(schema, frame.plans, strict=True):
            cells = frame.columns[at : at + plan.cells]
            at += plan.cells
            arrays.append(_array_of(field.type, plan, cells, frame.rows))
        return arrow.Table.from_arrays(arrays, schema=schema)
    except FormatError:
        raise
    except (
        arrow.ArrowException, OSError, ValueError, TypeError, ArithmeticError, LookupError,
        NotImplementedError,
    ) as error:  # fmt: skip
        raise FormatError(f"the typed table does not fit its schema: {error}") from error


def _array_of(kind: Any, plan: Plan, cells: list[list[bytes]], rows: int) -> Any:
    arrow, types = _arrow(), _arrow().types
    if plan.code == Code.NOTHING:
        return arrow.nulls(rows, kind)
    if plan.code == Code.BYTES:
        return _from_bytes(cells[0], kind)
    if plan.code == Code.NULL_BYTES:
        return _from_bytes([c[1:] if c else None for c in cells[0]], kind)
    whole = [[int(c) if c else None for c in column] for column in cells]
    if plan.code == Code.DICTIONARY:
        values = arrow.ipc.open_stream(plan.values).read_all().column(0).combine_chunks()
        values = values.chunk(0) if hasattr(values, "chunks") else values
        indices = arrow.array(whole[0], kind.index_type)
        return arrow.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered)
    if plan.code == Code.WHOLE:
        if types.is_boolean(kind):
            return arrow.array([None if v is None else bool(v) for v in whole[0]], kind)
        if types.is_decimal(kind):
            scale = -kind.scale
            exact = [None if v is None else _EXACT.scaleb(Decimal(v), scale) for v in whole[0]]
            return arrow.array(exact, kind)
        storage = _storage(kind)
        if storage is None:
            raise FormatError(f"a column of {kind} holds whole numbers: damaged file")
        return arrow.array(whole[0], storage).view(kind)
    return _floats(kind, plan, whole)


def _floats(kind: Any, plan: Plan, whole: list[list[int | None]]) -> Any:
    bits = kind.bit_width
    mask = np.array([v is None for v in whole[0]], bool)
    filled = [np.array([v or 0 for v in column], np.int64) for column in whole]
    if plan.code == Code.SCALED:
        if plan.places > MAX_PLACES:
            raise FormatError("a column of floats has impossible places: damaged file")
        numbers = _unscaled(filled[0].astype(np.float64), plan.places, f"<f{bits // 8}")
    else:
        whole_bits = joined(*filled) if plan.code == Code.WIDE_BITS else filled[0]
        numbers = plain(whole_bits.astype(unsigned(bits // 8))).view(f"<f{bits // 8}")
    # From the bits: conversions may take NaN for a null.
    present = _arrow().py_buffer(np.packbits(~mask, bitorder="little").tobytes())
    data = _arrow().py_buffer(numbers.tobytes())
    return _arrow().Array.from_buffers(kind, len(numbers), [present, data])


def _from_bytes(values: list[Any], kind: Any) -> Any:
    types = _arrow().types
    if types.is_string(kind) or types.is_large_string(kind):
        values = [None if v is None else v.decode() for v in values]
    return _arrow().array(values, kind)

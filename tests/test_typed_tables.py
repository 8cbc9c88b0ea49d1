"""Typed tables come back with their types, values and metadata."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from laconic import codec
from laconic.formats.container import Container
from laconic.formats.errors import FormatError, LimitError, Limits, UnsupportedError
from laconic.formats.frame import Frame
from laconic.formats.records import looks_like_records, read_records, write_records
from laconic.formats.table import Table

pa = pytest.importorskip("pyarrow")
import pyarrow.feather  # noqa: E402
import pyarrow.parquet  # noqa: E402

ROWS = 60
RNG = np.random.default_rng(4)


def some(values: list[Any], kind: Any) -> Any:
    """A column of these values over and over, with a null now and then."""
    full = [values[k % len(values)] for k in range(ROWS)]
    return pa.array([None if k % 7 == 3 else v for k, v in enumerate(full)], kind)


def whole(values: list[Any], kind: Any) -> Any:
    return pa.array([values[k % len(values)] for k in range(ROWS)], kind)


DAY = dt.date(2024, 2, 29)
NOW = dt.datetime(2024, 2, 29, 12, 30, 1, 123456)
COLUMNS = {
    "int8": some([-128, 127, 0], pa.int8()),
    "uint64": some([2**64 - 1, 0, 2**63], pa.uint64()),
    "int64": some([-(2**63), 2**63 - 1, 5], pa.int64()),
    "uint8": whole([0, 255], pa.uint8()),
    "bool": some([True, False], pa.bool_()),
    "nulls": pa.nulls(ROWS),
    "all null": pa.nulls(ROWS, pa.int32()),
    "float16": whole(list(np.array([0.5, np.nan, -0.0], np.float16)), pa.float16()),
    "float32": some([0.1, float("nan"), float("-inf"), -0.0, 1e-45], pa.float32()),
    "prices": some([1.25, 19.99, 1000.0], pa.float64()),
    "float64": some([0.1, float("nan"), float("inf"), -0.0, 5e-324, 1.7e308], pa.float64()),
    "noise": pa.array(RNG.normal(size=ROWS)),
    "noise32": pa.array(RNG.normal(size=ROWS).astype(np.float32)),
    "text": some(["", "a", 'a,b\n"c"', "00037", "1e3", "2024-01-01", "NA", "é"], pa.string()),
    "large text": whole(["", "null"], pa.large_string()),
    "bytes": some([b"", b"\0\xff\1", b"\1"], pa.binary()),
    "large bytes": whole([b"x" * 300, b""], pa.large_binary()),
    "fixed": some([b"abc", b"\0\0\0"], pa.binary(3)),
    "decimal": some([Decimal("1.10"), Decimal("-99999999999999999999.99")], pa.decimal128(30, 2)),
    "decimal256": some([Decimal(10) ** 60, Decimal(-1)], pa.decimal256(70, 0)),
    "date32": some([DAY], pa.date32()),
    "date64": some([DAY], pa.date64()),
    "time32": some([dt.time(1, 2, 3)], pa.time32("s")),
    "time64": some([dt.time(1, 2, 3, 4)], pa.time64("us")),
    "ns": some([1_700_000_000_123_456_789], pa.timestamp("ns")),
    "zone": some([NOW], pa.timestamp("us", tz="Europe/Berlin")),
    "naive": some([NOW], pa.timestamp("us")),
    "seconds": some([NOW.replace(microsecond=0)], pa.timestamp("s", tz="UTC")),
    "duration": some([dt.timedelta(days=-1)], pa.duration("ms")),
    "dictionary": some(["x", "", "y"], pa.string()).dictionary_encode(),
    "ordered": pa.DictionaryArray.from_arrays(
        pa.array([0, 1] * (ROWS // 2), pa.int8()), pa.array([2.5, float("nan")]), ordered=True
    ),
}


def table_of(columns: dict[str, Any]) -> Any:
    fields = [pa.field(n, c.type, metadata={b"unit": b"m"}) for n, c in columns.items()]
    return pa.table(list(columns.values()), pa.schema(fields, metadata={b"pandas": b'{"a": 1}'}))


def exactly(found: Any, expected: Any) -> None:
    """Equal types, metadata and bits; Arrow's own comparison takes -0 for 0 and no NaN for NaN."""
    assert found.schema.equals(expected.schema, check_metadata=True)
    for a, b in zip(found.columns, expected.columns, strict=True):
        a, b = a.combine_chunks(), b.combine_chunks()
        if pa.types.is_floating(a.type):
            assert a.is_valid().equals(b.is_valid())
            kind = f"<u{a.type.bit_width // 8}"
            bits = [
                np.frombuffer(v.buffers()[1], kind)[v.offset : v.offset + len(v)] for v in (a, b)
            ]
            valid = np.array(a.is_valid(), bool)
            assert (bits[0][valid] == bits[1][valid]).all()
        elif pa.types.is_dictionary(a.type):
            assert a.indices.equals(b.indices)
            assert str(a.dictionary) == str(b.dictionary)
        else:
            assert a.equals(b)


def files(table: Any) -> dict[str, bytes]:
    parquet, feather, stream = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pyarrow.parquet.write_table(table, parquet)
    pyarrow.feather.write_feather(table, feather)
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return {
        "parquet": parquet.getvalue(), "feather": feather.getvalue(), "arrow": stream.getvalue()
    }  # fmt: skip


def read(data: bytes, kind: str) -> Any:
    if kind == "parquet":
        return pyarrow.parquet.ParquetFile(io.BytesIO(data)).read()
    if kind == "feather":
        return pyarrow.feather.read_table(io.BytesIO(data))
    return pa.ipc.open_stream(data).read_all()


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_every_type_comes_back_to_the_bit(name: str) -> None:
    table = table_of({name: COLUMNS[name], "row": pa.array(range(ROWS))})
    source = read_records(files(table)["arrow"])
    decoded = codec.decode(codec.encode(source, codec="records"))
    assert isinstance(decoded, Frame)
    exactly(read(write_records(source.header.kind, decoded, "arrow"), "arrow"), table)


@pytest.mark.parametrize("kind", ["parquet", "feather", "arrow"])
def test_whole_files_come_back_typed(kind: str, tmp_path: Path) -> None:
    kept = {n: c for n, c in COLUMNS.items() if kind != "parquet" or n not in ("float16",)}
    source = files(table_of(kept))[kind]
    path = tmp_path / f"TABLE.{kind.upper()}"  # upper-case extensions are no others
    path.write_bytes(source)

    data = codec.encode(path)
    again = write_records(read_records(source).header.kind, codec.decode(data), kind)

    exactly(read(again, kind), read(source, kind))
    assert len(data) < len(source)
    with codec.open(data) as file:
        part = file.rows(10, 25)
    assert write_records(read_records(source).header.kind, part, "arrow") == write_records(
        read_records(source).header.kind, codec.decode(data).slice(10, 25), "arrow"
    )


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_typed_tables_of_few_rows(rows: int) -> None:
    source = files(table_of(COLUMNS).slice(0, rows))["arrow"]
    records = read_records(source)
    decoded = codec.decode(codec.encode(records, codec="records"))
    exactly(
        read(write_records(records.header.kind, decoded, "arrow"), "arrow"), read(source, "arrow")
    )


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1], [2, 3]]), pa.array([{"a": 1}, {"a": 2}]),
        pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int8())),
    ],
    ids=lambda c: str(c.type),
)  # fmt: skip
def test_a_column_that_cannot_be_coded_is_named(column: Any) -> None:
    table = pa.table({"fine": pa.array([1, 2]), "the odd one": column})
    for kind, data in files(table).items():
        with pytest.raises(UnsupportedError, match="'the odd one'"):
            read_records(data)
        assert kind


def test_content_decides_the_kind_of_a_table(tmp_path: Path) -> None:
    data = files(table_of({"a": COLUMNS["text"]}))["parquet"]
    path = tmp_path / "named.csv"
    path.write_bytes(data)
    assert isinstance(codec.decode(codec.encode(path)), Frame)


@pytest.mark.parametrize("kind", ["parquet", "feather", "arrow"])
def test_typed_tables_without_a_name_are_known_by_their_first_bytes(kind: str) -> None:
    from laconic.codec import media
    from laconic.formats.container import Media

    data = files(table_of({"a": COLUMNS["text"]}))[kind]
    assert isinstance(codec.decode(codec.encode(data)), Frame)
    assert kind in media.of(Media.DATA).formats


@pytest.mark.parametrize("head", [b"", b"\xff" * 4, b"\xff" * 8, b"\xff\xff\xff\xff\1\0\0\0"])
def test_four_bytes_of_ones_alone_are_no_arrow_stream(head: bytes) -> None:
    assert not looks_like_records(head)


def test_csv_to_parquet_keeps_leading_zeros_as_text() -> None:
    from laconic.formats.parquet import write_parquet

    text = b"zip;phone;n;f\n00037;+4930;1;0.5\n12345;+1;2;-0.25\n"
    found = read(write_parquet(Table(text)), "parquet")
    assert found.to_pydict() == {
        "zip": ["00037", "12345"], "phone": ["+4930", "+1"], "n": [1, 2], "f": [0.5, -0.25]
    }  # fmt: skip


def test_damaged_typed_files_are_refused() -> None:
    source = files(table_of(COLUMNS))
    for kind, data in source.items():
        for cut in (9, len(data) // 2, len(data) - 9):
            with pytest.raises((FormatError, UnsupportedError)):
                read_records(data[:cut])
        with pytest.raises(LimitError, match="cells"):
            read_records(data, Limits(cells=100))
        assert kind


def test_a_typed_file_says_version_2_and_one_of_text_still_1() -> None:
    typed = codec.encode(
        read_records(files(table_of({"a": COLUMNS["int8"]}))["arrow"]), codec="records"
    )
    assert Container.from_bytes(typed).header.codec_version == 2
    text = codec.encode(Table(b"a,b\n1,2\n"), codec="records")
    assert Container.from_bytes(text).header.codec_version == 1

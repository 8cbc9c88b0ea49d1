"""Parquet files as tables, with the optional library ``pyarrow``.

The values are kept, not the bytes of the file: row groups, encodings and statistics are the
writer's. Columns of whole numbers, decimals, booleans, dates and texts survive; a file that does
not is refused.
"""

from __future__ import annotations

import io
from typing import Any

from laconic.formats.errors import FormatError, UnsupportedError
from laconic.formats.table import Table


def _arrow() -> tuple[Any, Any, Any]:
    try:
        import pyarrow
        from pyarrow import csv, parquet
    except ImportError as error:
        raise UnsupportedError(
            "Parquet files need pyarrow: install laconic[parquet], or convert them to CSV"
        ) from error
    return pyarrow, csv, parquet


def read_parquet(data: bytes) -> Table:
    """The table of a Parquet file as CSV.

    Raises:
        FormatError: damaged. UnsupportedError: pyarrow is missing, or a column has a type that text
            does not keep.
    """
    arrow, csv, parquet = _arrow()
    try:
        original = parquet.read_table(io.BytesIO(data))
    except (arrow.ArrowException, OSError) as error:
        raise FormatError(f"the Parquet file is damaged: {error}") from error
    stream = io.BytesIO()
    try:
        csv.write_csv(original, stream)
        again = _parse(stream.getvalue())
        kept = again.cast(original.schema.remove_metadata()).equals(
            original.replace_schema_metadata(None)
        )
    except (arrow.ArrowException, ValueError) as error:
        raise UnsupportedError(f"the Parquet file has columns that text lacks: {error}") from error
    if not kept:
        raise UnsupportedError("the Parquet file has values that text does not keep: not encoded")
    return Table(stream.getvalue())


def write_parquet(table: Table) -> bytes:
    """A Parquet file of a table; the types are those that its cells suggest."""
    _, _, parquet = _arrow()
    stream = io.BytesIO()
    parquet.write_table(_parse(table.text), stream)
    return stream.getvalue()


def _parse(text: bytes) -> Any:
    _, csv, _ = _arrow()
    options = csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    return csv.read_csv(io.BytesIO(text), convert_options=options)

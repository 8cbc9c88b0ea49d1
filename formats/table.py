"""Tables as programs use them: named columns of numbers and texts, and the text they came from."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.csv_table import CsvTable, split
from laconic.formats.errors import ParameterError


class Table:
    """A delimited text with a view of its columns.

    >>> table = Table(b"name,age\\nAnn,31\\nBo,\\n")
    >>> len(table), table.names
    (2, ['name', 'age'])
    >>> table["age"].tolist()
    [31.0, nan]

    Args:
        text: CSV or TSV; the bytes are kept as they are.

    Raises:
        FormatError: the text is empty or not a table.
    """

    def __init__(self, text: bytes) -> None:
        self.text = text

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> Table:
        """A table of named columns of equal length; ``None`` becomes an empty cell."""
        lengths = {len(values) for values in columns.values()}
        if len(lengths) != 1:
            raise ParameterError(
                f"the columns have {sorted(lengths)} rows: expected columns of equal length"
            )
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        return cls(buffer.getvalue().encode())

    @cached_property
    def parts(self) -> CsvTable:
        """Cells as written."""
        return split(self.text)

    def __len__(self) -> int:
        """Number of rows."""
        return self.parts.rows

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns: the header's, or numbers from 0."""
        header = self.parts.header
        if header is None:
            return [str(n) for n in range(len(self.parts.columns))]
        return [_text(cell) for cell in header]

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A column: int64 or float64 (NaN where empty) if every cell is a number, else texts."""
        if name not in self.names:
            raise ParameterError(f"there is no column {name!r}: there are {', '.join(self.names)}")
        cells = [_text(cell) for cell in self.parts.columns[self.names.index(name)]]
        try:
            if all(cells):
                return np.array([int(cell) for cell in cells], np.int64)
        except (ValueError, OverflowError):
            pass
        try:
            return np.array([float(cell) if cell else np.nan for cell in cells])
        except ValueError:
            return np.array(cells, dtype=object)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Table({len(self)} rows of {', '.join(self.names)})"


def _text(cell: bytes) -> str:
    text = cell.decode("utf-8", "surrogateescape")
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1].replace('""', '"')
    return text

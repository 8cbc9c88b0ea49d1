"""Tables in memory and as CSV.

Delimited text (CSV, TSV) taken apart so that joining the parts gives back every byte.

Cells are kept as they are written, quotes included; lines that do not have the table's number of
cells are kept aside with their places. Python's ``csv`` module cannot do this: it forgets quoting
and line ends.

Tables as programs use them: named columns of numbers and texts, and the text they came from.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import FormatError, ParameterError

DELIMITERS = (b",", b"\t", b";", b"|")
BATCH = 1 << 12  # lines taken apart at a time
MAX_KNOWN = 1 << 16  # cells of a column that are remembered
MAX_ODD = 0.1  # largest share of lines that do not fit


@dataclass
class CsvTable:
    """Cells of a delimited text.

    Attributes:
        delimiter: one byte; newline: LF or CR LF.
        header: cells of the first line, or None when it looks like data.
        columns: cells of each column from the top, as written.
        odd: (number among the lines after the header, line) of lines that do not fit.
        ends: whether the last line ends with a newline.
    """

    delimiter: bytes
    newline: bytes
    header: list[bytes] | None
    columns: list[list[bytes]]
    odd: list[tuple[int, bytes]] = field(default_factory=list)
    ends: bool = True

    @property
    def rows(self) -> int:
        """Number of rows that fit."""
        return len(self.columns[0]) if self.columns else 0

    def join(self) -> bytes:
        """The text."""
        lines = [] if self.header is None else [self.delimiter.join(self.header)]
        odd = iter([*self.odd, (-1, b"")])
        place, line = next(odd)
        written = 0
        for cells in zip(*self.columns, strict=True):
            while place == written:
                lines.append(line)
                place, line = next(odd)
                written += 1
            lines.append(self.delimiter.join(cells))
            written += 1
        while place >= 0:
            lines.append(line)
            place, line = next(odd)
        return self.newline.join(lines) + (self.newline if self.ends else b"")

    def slice(self, first: int, end: int) -> CsvTable:
        """Rows first..end-1 with the header; lines that do not fit are left out."""
        parts = [column[first:end] for column in self.columns]
        return CsvTable(self.delimiter, self.newline, self.header, parts)


def split(text: bytes) -> CsvTable:
    """Take a delimited text apart; ``split(text).join() == text``.

    Raises:
        FormatError: the text is empty or no table: too many lines differ in their number of cells.
    """
    if not text:
        raise FormatError("the table is empty: expected at least one line")
    newline = b"\r\n" if text.count(b"\r\n") == text.count(b"\n") > 0 else b"\n"
    ends = text.endswith(newline)
    lines = (text[: -len(newline)] if ends else text).split(newline)
    quoted = b'"' in text
    if quoted:
        lines = _merge_lines(lines, newline)
    delimiter = _delimiter(lines[:200], quoted)
    widths = [_width(line, delimiter) for line in lines]
    width = Counter(widths).most_common(1)[0][0]
    header = None
    if widths[0] == width and not any(map(_is_number, first := _cells(lines[0], delimiter))):
        header = first
    start = 0 if header is None else 1
    odd = [(n - start, line) for n, line in enumerate(lines) if widths[n] != width]
    if len(odd) > 1 + MAX_ODD * len(lines):
        raise FormatError(
            f"{len(odd)} of {len(lines)} lines do not have {width} cells: this is not a table"
        )
    columns: list[list[bytes]] = [[] for _ in range(width)]
    seen: list[dict[bytes, bytes]] = [{} for _ in range(width)]
    for first_line in range(start, len(lines), BATCH):
        part = range(first_line, min(first_line + BATCH, len(lines)))
        rows = [_cells(lines[n], delimiter) for n in part if widths[n] == width]
        for column, known, cells in zip(columns, seen, zip(*rows, strict=True), strict=False):
            # Equal cells are one object: most columns of a large table have few different ones.
            column += map(known.setdefault, cells, cells)
            if len(known) > MAX_KNOWN:
                known.clear()
    return CsvTable(delimiter, newline, header, columns, odd, ends)


def _merge_lines(lines: list[bytes], newline: bytes) -> list[bytes]:
    """Join lines that were split inside quotes."""
    merged: list[bytes] = []
    pending: list[bytes] = []
    for line in lines:
        inside = line.count(b'"') % 2 == 1
        if pending:
            pending.append(line)
            if inside:
                merged.append(newline.join(pending))
                pending = []
        elif inside:
            pending = [line]
        else:
            merged.append(line)
    return merged + pending  # an open quote at the end: lines as they are


def _delimiter(lines: list[bytes], quoted: bool) -> bytes:
    """The delimiter by which most lines have the same number of cells, more than one."""
    best, score = DELIMITERS[0], 0
    for candidate in DELIMITERS:
        width, lines_of_width = Counter(len(_cells(line, candidate)) for line in lines).most_common(
            1
        )[0]
        if width > 1 and lines_of_width > score:
            best, score = candidate, lines_of_width
    return best


def _width(line: bytes, delimiter: bytes) -> int:
    if b'"' not in line:
        return line.count(delimiter) + 1
    return len(_cells(line, delimiter))


def _cells(line: bytes, delimiter: bytes) -> list[bytes]:
    parts = line.split(delimiter)
    if b'"' not in line:
        return parts
    cells: list[bytes] = []
    pending: list[bytes] = []
    for part in parts:
        if pending:
            pending.append(part)
            if part.count(b'"') % 2 == 1:
                cells.append(delimiter.join(pending))
                pending = []
        elif part.startswith(b'"') and part.count(b'"') % 2 == 1:
            pending = [part]
        else:
            cells.append(part)
    return cells + pending


def _is_number(cell: bytes) -> bool:
    try:
        float(cell.strip(b'" '))
    except ValueError:
        return False
    return True


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

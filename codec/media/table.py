"""Tables and arrays: ``formats.records.Records`` in, an array or a ``Table`` out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from laconic.codec.base import DecodeSettings
from laconic.codec.media.base import Medium, Saved, Source, Target
from laconic.formats.atomic import atomic_write
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import DEFAULT_LIMITS, FormatError, Limits, ParameterError
from laconic.formats.frame import Frame
from laconic.formats.records import (
    DTYPES,
    SUFFIXES,
    TEXT,
    DataHeader,
    DataKind,
    Records,
    default_format,
    from_array,
    from_frame,
    from_table,
    looks_like_records,
    read_records,
    write_records,
)
from laconic.formats.table import Table

if TYPE_CHECKING:
    from laconic.codec.evaluate.subject import Item


class TableMedium(Medium):
    """Records: the rows of a table, or an array ``[N, ...]``."""

    kind = Media.DATA
    noun, plural = "table", "tables"
    suffixes = frozenset(SUFFIXES)
    part = "rows"
    formats = ("csv", "tsv", "npy", "idx", "parquet", "feather", "arrow")
    encode_columns = (
        ("rows", "rows", ","),
        ("columns", "columns", ","),
        ("bits_per_cell", "bits/cell", ".3f"),
    )
    decode_columns = (("rows", "rows", ","), ("columns", "columns", ","))
    rate, rate_title = "bits_per_cell", "bits per cell (file bytes)"
    rates = ()
    metrics = ()
    second_rate = "ratio"
    visible = False
    baselines = "laconic.codec.evaluate.baselines.tables"

    @property
    def name(self) -> str:
        return "table"

    def is_one(self, value: Any) -> bool:
        return isinstance(value, Table | Frame | Records)

    def looks_like(self, head: bytes) -> bool:
        return looks_like_records(head)

    def claims(self, source: Source) -> bool:
        """By one of its last two extensions: ``digits.idx3-ubyte.gz``."""
        return bool({*source.suffixes[-2:]} & self.suffixes)

    def folder(self, path: Path) -> bool:
        """A folder of gray images of one size."""
        return path.is_dir()

    def read(self, source: Source, limits: Limits = DEFAULT_LIMITS) -> Records:
        value = source.value
        if isinstance(value, Records):
            return value
        if isinstance(value, Table):
            return from_table(value)
        if isinstance(value, Frame):
            return from_frame(value)
        if isinstance(value, np.ndarray):
            return from_array(value)
        if source.is_object:
            raise ParameterError(
                f"{type(value).__name__} is no table: leave the codec out, or choose one for it"
            )
        return read_records(source.file(), limits)

    def facts(self, reader: ContainerReader, limits: Limits) -> dict[str, Any]:
        data = DataHeader.unpack(reader.header.media_header, limits)
        return {
            "rows": data.rows,
            "columns": data.columns,
            "type": "text" if data.dtype == TEXT else np.dtype(DTYPES[data.dtype]).name,
            "bits_per_cell": 8 * reader.file_bytes / max(1, data.columns * data.rows),
        }

    def title(self, facts: dict[str, Any]) -> str:
        return f"{facts['rows']:,} rows of {facts['columns']:,} columns"

    def kind_of(self, header: bytes) -> str:
        return DataHeader.unpack(header).kind.name.lower()

    def suffix(self, header: bytes, format: str | None) -> str:
        name = (format or default_format(DataHeader.unpack(header).kind)).lower()
        return f".{name}" if name else ""

    def check_format(self, target: str, format: str | None) -> None:
        """Depends on the kind: refused when it is written."""

    def save(
        self,
        decoded: Any,
        target: Target,
        format: str | None,
        *,
        header: bytes,
        settings: DecodeSettings,
        overwrite: bool = False,
    ) -> Saved:
        """By the target's extension; a target without one is a folder of images."""
        from laconic.formats.atomic import write_folder

        kind = DataHeader.unpack(header).kind
        named = not hasattr(target, "write")
        suffix = Path(target).suffix.lstrip(".").lower() if named else ""  # type: ignore[arg-type]
        chosen = (format or suffix).lower()
        if named and not chosen and kind == DataKind.IMAGES:
            write_folder(decoded, Path(target), overwrite=overwrite)  # type: ignore[arg-type]
        else:
            data = write_records(kind, decoded, chosen or default_format(kind) or "npy")
            if named:
                with atomic_write(target, overwrite) as file:  # type: ignore[arg-type]
                    file.write(data)
            else:
                target.write(data)  # type: ignore[union-attr]
        columns = decoded[0].size if hasattr(decoded, "dtype") and len(decoded) else 0
        names = getattr(decoded, "names", ())
        return Saved({"rows": len(decoded), "columns": columns or len(names)})

    def sample(self) -> Records:
        return from_array(np.arange(32, dtype=np.uint8).reshape(8, 4) % 3)

    def load(self, item: Item) -> Records:
        return read_records(item.path, item.limits)

    def compare(
        self, item: Item, decode: Callable[[], Any], size: int, metrics: Sequence[Any]
    ) -> dict[str, Any]:
        start = time.perf_counter()
        decoded: bytes = decode()
        row: dict[str, Any] = {"decode_s": time.perf_counter() - start}
        original: Records = item.original
        if decoded != original.original():
            raise FormatError("the codec decoded other records than the original's")
        cells = max(1, original.header.rows * original.header.columns)
        row["bits_per_cell"] = 8 * size / cells
        row["ratio"] = len(original.original()) / size
        row["exact"] = True
        return row

    def for_evaluation(self, decoded: Any) -> bytes:
        """The bytes of the records, as ``Records.original`` gives them."""
        if isinstance(decoded, Table):
            return decoded.text
        array = np.asarray(decoded)
        return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()

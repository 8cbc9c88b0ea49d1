"""What a source is, and the medium it holds: paths, bytes, files and arrays become pictures, films
and records.

Sounds are read while they are encoded, hours of them: :mod:`laconic.codec.audio.sources`.
"""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from laconic.formats.errors import ParameterError
from laconic.formats.frame import Frame
from laconic.formats.image import Image, read_image
from laconic.formats.limits import DEFAULT_LIMITS, Limits
from laconic.formats.records import SUFFIXES as DATA_SUFFIXES
from laconic.formats.records import Records, from_array, from_frame, from_table, read_records
from laconic.formats.table import Table
from laconic.formats.video import SUFFIXES as FILM_SUFFIXES
from laconic.formats.video_reader import Film, FilmArray, FilmFile


def is_data(source: Any) -> bool:
    """Whether a source is a table or an array by its type or the extension of its path."""
    if isinstance(source, str | PathLike):
        return bool({s.lower() for s in Path(fspath(source)).suffixes[-2:]} & DATA_SUFFIXES)
    return isinstance(source, Table | Records | Frame)


def is_film(source: Any) -> bool:
    """Whether a source is a film by its type or the extension of its path."""
    if isinstance(source, str | PathLike):
        return Path(fspath(source)).suffix.lower() in FILM_SUFFIXES
    return isinstance(source, FilmArray | FilmFile) or (
        isinstance(source, np.ndarray) and source.ndim == 4
    )


def as_film(source: Any, limits: Limits = DEFAULT_LIMITS) -> Film:
    """The film of what :func:`laconic.codec.encode` takes."""
    if isinstance(source, np.ndarray):
        return FilmArray(source)
    if isinstance(source, str | PathLike | bytes):
        return FilmFile(source)
    if isinstance(source, Image | Table | Records):
        raise ParameterError("a picture or table is no film: choose another codec")
    if hasattr(source, "scan"):
        return source  # type: ignore[no-any-return]
    return FilmFile(source.read())


def as_records(source: Any, limits: Limits = DEFAULT_LIMITS) -> Records:
    """The records of what :func:`laconic.codec.encode` takes."""
    if isinstance(source, Records):
        return source
    if isinstance(source, Table):
        return from_table(source)
    if isinstance(source, Frame):
        return from_frame(source)
    if isinstance(source, np.ndarray):
        return from_array(source)
    if isinstance(source, Image):
        raise ParameterError("a picture is no table: choose another codec")
    if isinstance(source, bytes | str | PathLike):
        return read_records(source, limits)
    return read_records(source.read(), limits)


def as_image(source: Any, limits: Limits = DEFAULT_LIMITS) -> Image:
    """The picture of what :func:`laconic.codec.encode` takes."""
    if isinstance(source, Image):
        return source
    if isinstance(source, Table | Records):
        raise ParameterError("a table is no picture: leave the codec out, or choose records")
    if not isinstance(source, np.ndarray):
        return read_image(source, limits)
    array = source[..., None] if source.ndim == 2 else source
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise ParameterError(
            f"the array has shape {list(source.shape)}: expected [H, W], [H, W, 1] or [H, W, 3]"
        )
    if array.dtype not in (np.uint8, np.uint16):
        raise ParameterError(f"the array is {array.dtype}: expected uint8 or uint16 samples")
    return Image(pixels=array, bit_depth=8 * array.dtype.itemsize)

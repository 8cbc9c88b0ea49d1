"""What the header of a file says, for people and programs, without decoding and without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from laconic.codec import models, registry
from laconic.codec.audio.sources import sound_facts
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.data_header import DTYPES, TEXT, DataHeader
from laconic.formats.errors import ModelError, UnsupportedError
from laconic.formats.image_header import ImageHeader
from laconic.formats.limits import Limits
from laconic.formats.video_header import VideoHeader


@dataclass(frozen=True)
class Info:
    """What the header of a file says."""

    kind: str
    codec: str
    codec_version: int
    model_id: str
    model: str | None  # name, when the model is installed
    numerics: int
    width: int
    height: int
    channels: int
    bit_depth: int
    alpha: bool
    segments: int
    file_bytes: int
    bpp: float
    chunks: list[tuple[str, int]]
    settings: dict[str, Any]  # the codec's own header: quality, tile side
    sound: dict[str, Any] | None = None  # rate, layout, samples, seconds, kbps, tags

    @property
    def quality(self) -> float | None:
        """Quality of a lossy picture, 0..100."""
        return self.settings.get("quality")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**self.__dict__, "chunks": [list(c) for c in self.chunks]}


def info_of(reader: ContainerReader, limits: Limits) -> Info:
    """Facts of an open file. Raises ``FormatError``, ``LimitError``, ``UnsupportedError``."""
    header = reader.header
    name = registry.name_for(header)
    if header.media == Media.DATA:
        return _data_info(reader, name, limits)
    if header.media == Media.VIDEO:
        return _film_info(reader, name, limits)
    if header.media == Media.AUDIO:
        return _audio_info(reader, name)
    if header.media != Media.IMAGE:
        raise UnsupportedError(f"the file holds {header.media.name.lower()}, not a picture")
    picture = ImageHeader.unpack(header.media_header, limits)
    return Info(
        kind="image",
        width=picture.width,
        height=picture.height,
        channels=picture.channels,
        bit_depth=picture.bit_depth,
        alpha=picture.alpha,
        bpp=8 * reader.file_bytes / (picture.width * picture.height),
        settings=registry.describe(name, header.codec_header),
        **_of_any_medium(reader, name),
    )


def _of_any_medium(reader: ContainerReader, name: str) -> dict[str, Any]:
    """The facts that the container itself tells."""
    header = reader.header
    return {
        "codec": name,
        "codec_version": header.codec_version,
        "model_id": header.model.hex(),
        "model": _model_name(header.model),
        "numerics": header.numerics,
        "segments": len(reader),
        "file_bytes": reader.file_bytes,
        "chunks": [(c.type.decode("ascii"), len(c.data)) for c in reader.chunks],
    }


def _data_info(reader: ContainerReader, name: str, limits: Limits) -> Info:
    """Width is the number of columns, height of rows, bpp the bits per cell."""
    header = reader.header
    data = DataHeader.unpack(header.media_header, limits)
    depth = 0 if data.dtype == TEXT else 8 * np.dtype(DTYPES[data.dtype]).itemsize
    return Info(
        kind=data.kind.name.lower(),
        width=data.columns,
        height=data.rows,
        channels=1,
        bit_depth=depth,
        alpha=False,
        bpp=8 * reader.file_bytes / max(1, data.columns * data.rows),
        settings=registry.describe(name, header.codec_header),
        **_of_any_medium(reader, name),
    )


def _film_info(reader: ContainerReader, name: str, limits: Limits) -> Info:
    """Width and height are those of the upright frames, bpp the bits per pixel of all frames with
    the sound."""
    header = reader.header
    film = VideoHeader.unpack(header.media_header, reader.chunks, limits)
    width, height = film.shown
    return Info(
        kind="video",
        width=width,
        height=height,
        channels=film.channels,
        bit_depth=film.bit_depth,
        alpha=False,
        bpp=8 * reader.file_bytes / (width * height * film.frames),
        settings={
            "frames": film.frames,
            "rate": f"{float(film.timing.rate):g}",
            "time base": str(film.timing.base),
            "seconds": round(film.timing.seconds, 3),
            "audio tracks": film.tracks,
            **registry.describe(name, header.codec_header),
        },
        **_of_any_medium(reader, name),
    )


def _audio_info(reader: ContainerReader, name: str) -> Info:
    """Width and height are 0, bpp the bits per sample of a channel."""
    header = reader.header
    sound = sound_facts(reader)
    samples = sound["samples"]
    channels = sound.pop("channels")
    return Info(
        kind="audio",
        width=0,
        height=0,
        channels=channels,
        bit_depth=0,
        alpha=False,
        bpp=8 * reader.file_bytes / max(1, samples * channels),
        settings=registry.describe(name, header.codec_header),
        sound=sound,
        **_of_any_medium(reader, name),
    )


def _model_name(model: bytes) -> str | None:
    """Name of a model that is installed; "in the file" for none."""
    if not model:
        return "in the file"
    try:
        return models.find(model.hex()).name
    except ModelError:
        return None

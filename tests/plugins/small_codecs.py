"""Small real codecs for images, videos and tables, as packages of others would register them; the
one for recordings is in docs/extend.md."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np

from laconic.codec.base import QUALITY, Codec, DecodeSettings, EncodeSettings, VerifyReport
from laconic.codec.media.video import Frames
from laconic.entropy import SymbolCheck
from laconic.formats.container import Container, Header, Media, Segment
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import DesyncError, FormatError
from laconic.formats.image import Image
from laconic.formats.image_reader import ImageHeader
from laconic.formats.records import DTYPES, TEXT, DataHeader
from laconic.formats.table import Table
from laconic.formats.video import VideoHeader


class Squeezed(Codec):
    """What these codecs share: symbols are bytes, squeezed by zlib."""

    def file(self, media: bytes, private: bytes, symbols: bytes, chunks: Any = ()) -> bytes:
        header = Header(self.media, self.codec_id, 1, b"", 1, media, private)
        return Container(
            header, [Segment(zlib.compress(symbols, 9), check(symbols))], chunks
        ).to_bytes()

    def symbols(self, reader: ContainerReader, limit: int) -> bytes:
        segment = reader[0]
        try:
            found = zlib.decompressobj().decompress(segment.payload, limit)
        except zlib.error as error:
            raise FormatError(f"the {self.name} data is damaged: {error}") from error
        if not segment.matches(check(found)):
            raise DesyncError(f"the {self.name} data is not what was encoded")
        return found

    def verify(self, reader: ContainerReader, settings: DecodeSettings) -> VerifyReport:
        return VerifyReport(len(reader), len(self.symbols(reader, 1 << 24)), 1)

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        return {"step": codec_header[0]} if codec_header else {}


def check(symbols: bytes) -> int:
    counter = SymbolCheck()
    counter.update(np.frombuffer(symbols, np.uint8))
    return counter.value32()


class Coarse(Squeezed):
    """Images with fewer levels."""

    name = "coarse"
    codec_id = 13
    media = Media.IMAGE
    rates = (QUALITY,)
    points = (10, 50, 90)

    def encode(self, media: Image, settings: EncodeSettings) -> bytes:
        quality = 50.0 if settings.quality is None else settings.quality
        step = 1 + round((100 - quality) / 4)
        about = replace(ImageHeader.of(media), alpha=False)
        return self.file(about.pack(), bytes([step]), (media.pixels // step).tobytes())

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Image:
        about = ImageHeader.unpack(reader.header.media_header, settings.limits)
        shape = (about.height, about.width, about.channels)
        symbols = self.symbols(reader, int(np.prod(shape)))
        step = reader.header.codec_header[0]
        pixels = np.frombuffer(symbols, np.uint8).reshape(shape).astype(np.int32) * step + step // 2
        x, y, width, height = settings.region or (0, 0, about.width, about.height)
        return Image(pixels.clip(0, 255).astype(np.uint8)[y : y + height, x : x + width])


class Deltas(Squeezed):
    """Videos as differences of frames, exactly."""

    name = "deltas"
    codec_id = 15
    media = Media.VIDEO
    lossless = True

    def encode(self, media: Any, settings: EncodeSettings) -> bytes:
        found = media.scan(settings.limits)
        frames = np.stack(list(media.frames()))
        media_header, chunks = replace(found.header, tracks=0).pack()
        differences = np.diff(frames, axis=0, prepend=np.zeros_like(frames[:1]))
        return self.file(media_header, b"", differences.tobytes(), chunks)

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Frames:
        about = VideoHeader.unpack(reader.header.media_header, reader.chunks, settings.limits)
        shape = (about.frames, about.height, about.width, about.channels)
        symbols = self.symbols(reader, int(np.prod(shape)))
        frames = np.cumsum(np.frombuffer(symbols, np.uint8).reshape(shape), axis=0, dtype=np.uint8)
        first, end = settings.frames or (0, about.frames)
        return Frames(frames[first:end], about, first)


class Zipped(Squeezed):
    """Tables and arrays, squeezed as they are."""

    name = "zipped"
    codec_id = 2**20
    media = Media.DATA
    lossless = True

    def encode(self, media: Any, settings: EncodeSettings) -> bytes:
        return self.file(media.header.pack(), b"", media.original())

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Any:
        about = DataHeader.unpack(reader.header.media_header, settings.limits)
        data = self.symbols(reader, 1 << 24)
        if about.dtype == TEXT:
            return Table(data)
        array = np.frombuffer(data, DTYPES[about.dtype]).reshape(about.rows, *about.shape)
        first, end = settings.rows or (0, about.rows)
        return array[first:end]

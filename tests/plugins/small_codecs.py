"""One small real codec for each medium, as packages of others would register them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from laconic.codec.base import KBPS, QUALITY, Codec, DecodeSettings, EncodeSettings, VerifyReport
from laconic.codec.media.video import Frames
from laconic.codec.options import option
from laconic.entropy import SymbolCheck
from laconic.formats.audio import Audio
from laconic.formats.audio_header import AudioHeader
from laconic.formats.container import Container, Header, Media, Segment
from laconic.formats.container_reader import ContainerReader
from laconic.formats.data_header import DTYPES, TEXT, DataHeader
from laconic.formats.errors import DesyncError, FormatError, ParameterError
from laconic.formats.image import Image
from laconic.formats.image_header import ImageHeader
from laconic.formats.table import Table
from laconic.formats.video_header import VideoHeader


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
    """Pictures with fewer levels."""

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


@dataclass(frozen=True)
class MuLawOptions(EncodeSettings):
    bits: int = option(8, "Bits of a sample.", low=2, high=8, unit="bits")


class MuLaw(Squeezed):
    """Sounds in mu-law."""

    name = "mulaw"
    codec_id = 14
    media = Media.AUDIO
    rates = (KBPS,)
    options = MuLawOptions

    def encode(self, media: Any, settings: MuLawOptions) -> bytes:
        samples = np.concatenate(list(media), axis=1).clip(-1, 1)
        top = (1 << (settings.bits - 1)) - 1
        levels = np.sign(samples) * np.log1p(255 * np.abs(samples)) / np.log(256) * top
        about = AudioHeader(media.rate, media.channels, media.layout, samples.shape[1])
        data = self.file(
            about.pack(), bytes([settings.bits]), np.rint(levels).astype(np.int8).tobytes()
        )
        if settings.kbps is not None and 8 * len(data) > 1000 * settings.kbps * (
            samples.shape[1] / media.rate
        ):
            if settings.bits == 2:
                raise ParameterError(f"{settings.kbps} kbit/s cannot be reached")
            return self.encode_again(media, samples, settings)
        return data

    def encode_again(self, media: Any, samples: Any, settings: MuLawOptions) -> bytes:
        from laconic.formats.audio_stream import AudioSource

        sound = AudioSource(Audio(samples, media.rate))
        return self.encode(sound, replace(settings, bits=settings.bits - 1))

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Audio:
        about = AudioHeader.unpack(reader.header.media_header)
        symbols = self.symbols(reader, about.samples * about.channels)
        levels = np.frombuffer(symbols, np.int8).reshape(about.channels, -1).astype(np.float64)
        levels /= (1 << (reader.header.codec_header[0] - 1)) - 1
        samples = np.sign(levels) * (256 ** np.abs(levels) - 1) / 255
        start, end = settings.seconds or (0, about.samples / about.rate)
        part = samples[:, round(start * about.rate) : round(end * about.rate)]
        return Audio(part.astype(np.float32), about.rate)


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
    codec_id = 1024
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

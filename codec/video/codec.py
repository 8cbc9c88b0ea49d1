"""The film codec: files FFmpeg reads <-> ``.lac`` files that hold one fitted network a chunk.

HNeRV (arXiv 2304.02633), HNeRV-Boost (arXiv 2402.18152) and the toolkit's own networks are kinds of
one codec; the header names the kind. Choose ``mlic`` for single pictures. This module imports no
torch until something is fitted or decoded.
"""

from __future__ import annotations

import io
from typing import Any

from laconic.codec.base import DecodeSettings, EncodeSettings, VerifyReport
from laconic.codec.video.header import CODEC_ID, HnervHeader
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader


class HnervCodec:
    """Implements ``laconic.codec.base.Codec`` for films."""

    name = "hnerv"
    codec_id = CODEC_ID
    media = Media.VIDEO
    default_quality = None  # the preset's own, unless one is asked for

    def encode(self, image: Any, settings: EncodeSettings) -> bytes:
        """A complete file of a ``formats.video_reader.Film``."""
        from laconic.codec.video.stream.encoder import StreamEncoder

        buffer = io.BytesIO()
        encoder = StreamEncoder(image, settings)
        encoder.fit()
        encoder.write(buffer)
        encoder.finish()
        return buffer.getvalue()

    def decode(self, reader: ContainerReader, settings: DecodeSettings) -> Any:
        """A lazy :class:`Video`; the reader's file must stay open as long as it is used."""
        from laconic.codec.video.stream.movie import Video

        return Video.of(reader, settings)

    def verify(self, reader: ContainerReader, settings: DecodeSettings) -> VerifyReport:
        """Decode the symbols of all chunks and check the sound; no frame is evaluated."""
        from laconic.codec.video.stream.movie import MovieFile

        return MovieFile(reader, settings).verify()

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """Network and chunks."""
        return HnervHeader.unpack(codec_header).to_dict()

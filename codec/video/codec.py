"""The film codec: files FFmpeg reads <-> ``.lac`` files that hold one fitted network a chunk.

HNeRV (arXiv 2304.02633), HNeRV-Boost (arXiv 2402.18152) and the toolkit's own networks are kinds of
one codec; the header names the kind. Choose ``mlic`` for single pictures. This module imports no
torch until something is fitted or decoded.
"""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import Any, BinaryIO, ClassVar

from laconic.codec.base import BPP, QUALITY, TARGET, Codec, Encoded, VerifyReport
from laconic.codec.video.header import CODEC_ID, HnervHeader
from laconic.codec.video.options import VideoDecodeOptions, VideoOptions
from laconic.codec.video.plan import ENCODED
from laconic.codec.video.settings import PRESETS
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import ParameterError
from laconic.formats.video_reader import Film


class HnervCodec(Codec):
    """Implements ``laconic.codec.base.Codec`` for films."""

    name = "hnerv"
    codec_id = CODEC_ID
    media = Media.VIDEO
    rates = (QUALITY, BPP, TARGET)
    options = VideoOptions
    decode_options = VideoDecodeOptions
    networks = ENCODED
    carries_model = True
    points = (10, 30, 50, 70)
    measured: ClassVar[dict[str, Any]] = {
        "preset": "fast",
        "audio": False,
    }  # every point is a fit of its own

    def encode(self, media: Film, settings: VideoOptions) -> bytes:
        """A complete file of a ``formats.video_reader.Film``."""
        buffer = io.BytesIO()
        self.encode_file(media, buffer, settings).finish()
        return buffer.getvalue()

    def encode_file(self, media: Film, fp: BinaryIO, settings: VideoOptions) -> Encoded:
        """Fit everything, then write it; ``finish`` deletes the work file."""
        from laconic.codec.video.stream.encoder import StreamEncoder

        encoder = StreamEncoder(media, settings)
        encoder.fit()
        report = encoder.write(fp)
        facts = {k: v for k, v in asdict(report).items() if k != "bytes"}
        return Encoded(report.bytes, facts, encoder.finish)

    def variant(self, text: str) -> dict[str, Any]:
        """A preset, a network, or both joined by "+"."""
        presets = tuple(PRESETS)
        found: dict[str, Any] = {}
        for part in text.split("+"):
            if part not in (*presets, *ENCODED):
                known = ", ".join((*presets, *ENCODED))
                raise ParameterError(f"{self.name} has no variant {part!r}: expected among {known}")
            found["preset" if part in presets else "network"] = part
        return found

    def decode(self, reader: ContainerReader, settings: VideoDecodeOptions) -> Any:
        """A lazy :class:`Video`; the reader's file must stay open as long as it is used."""
        from laconic.codec.video.stream.movie import Video

        return Video.of(reader, settings)

    def verify(self, reader: ContainerReader, settings: VideoDecodeOptions) -> VerifyReport:
        """Decode the symbols of all chunks and check the sound; no frame is evaluated."""
        from laconic.codec.video.stream.movie import MovieFile

        return MovieFile(reader, settings).verify()

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """Network and chunks."""
        return HnervHeader.unpack(codec_header).to_dict()

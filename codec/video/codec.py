"""The video codecs: files FFmpeg reads <-> ``.lac`` files of chunks of frames.

``motion`` predicts blocks from decoded frames and is the one to use; ``hnerv`` fits a network to
each chunk, HNeRV (arXiv 2304.02633) or HNeRV-Boost (arXiv 2402.18152), and decodes any frame by
itself. Choose ``mlic`` for single images. No torch is imported before a network is needed.
"""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import Any, BinaryIO, ClassVar

from laconic.codec import devices
from laconic.codec.base import BPP, QUALITY, TARGET, Codec, Encoded, VerifyReport
from laconic.codec.video.plan import CODEC_ID, FITTED, MOTION_ID, HnervHeader
from laconic.codec.video.settings import (
    PRESETS,
    HnervDecodeOptions,
    HnervOptions,
    VideoDecodeOptions,
    VideoOptions,
)
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import ParameterError
from laconic.formats.video_reader import Film


class MotionCodec(Codec):
    """Implements ``laconic.codec.base.Codec`` for videos."""

    name = "motion"
    codec_id = MOTION_ID
    media = Media.VIDEO
    rates = (QUALITY, BPP, TARGET)
    options: ClassVar[type[VideoOptions]] = VideoOptions
    decode_options = VideoDecodeOptions
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

        encoder = StreamEncoder(media, settings, self.codec_id, self._network(settings))
        encoder.fit()
        report = encoder.write(fp)
        facts = {k: v for k, v in asdict(report).items() if k != "bytes"}
        return Encoded(report.bytes, facts, encoder.finish)

    def _network(self, settings: VideoOptions) -> str:
        if settings.model is not None:
            raise ParameterError(
                f"{self.name} has no model {settings.model!r}: leave it out; networks that are"
                " fitted to a video belong to the codec hnerv"
            )
        return self.name

    def variant(self, text: str) -> dict[str, Any]:
        """A preset or, where there are several, a network, or both joined by "+"."""
        presets = tuple(PRESETS)
        found: dict[str, Any] = {}
        for part in text.split("+"):
            if part not in (*presets, *self.networks):
                known = ", ".join((*presets, *self.networks))
                raise ParameterError(f"{self.name} has no variant {part!r}: expected among {known}")
            found["preset" if part in presets else "network"] = part
        return found

    def decode(self, reader: ContainerReader, settings: VideoDecodeOptions) -> Any:
        """A lazy :class:`Video`; the reader's file must stay open as long as it is used."""
        from laconic.codec.video.stream.movie import Video

        return Video.of(reader, settings)

    def verify(self, reader: ContainerReader, settings: VideoDecodeOptions) -> VerifyReport:
        """Decode the symbols of all chunks and check the audio; no frame is evaluated."""
        from laconic.codec.video.stream.movie import MovieFile

        return MovieFile(reader, settings).verify()

    def describe(self, codec_header: bytes) -> dict[str, Any]:
        """Network and chunks."""
        return HnervHeader.unpack(codec_header).to_dict()


class HnervCodec(MotionCodec):
    """Networks fitted to a video; also decodes what ``motion`` wrote under this codec's number."""

    name = "hnerv"
    codec_id = CODEC_ID
    options = HnervOptions
    decode_options = HnervDecodeOptions
    networks = FITTED

    def encode_file(self, media: Film, fp: BinaryIO, settings: VideoOptions) -> Encoded:
        if isinstance(settings, HnervOptions) and settings.device is not None:
            devices.device(settings.device)
        return super().encode_file(media, fp, settings)

    def decode(self, reader: ContainerReader, settings: VideoDecodeOptions) -> Any:
        if isinstance(settings, HnervDecodeOptions) and settings.device is not None:
            network = HnervHeader.unpack(reader.header.codec_header, settings.limits).network
            if network not in FITTED:
                raise ParameterError(
                    f"the file is of the network {network}, which runs on the processor: leave"
                    " device out"
                )
            devices.device(settings.device)
        return super().decode(reader, settings)

    def _network(self, settings: VideoOptions) -> str:
        named = settings.network if isinstance(settings, HnervOptions) else None
        return named or settings.model or FITTED[0]

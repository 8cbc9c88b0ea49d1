"""Audio through FFmpeg (PyAV): Opus, AAC, MP3 and FLAC, written as files in memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from laconic.codec.evaluate.subject import Item
from laconic.formats.audio import Audio, fit_length, read_audio, resample
from laconic.formats.container import Media
from laconic.formats.errors import ParameterError, UnsupportedError

media = Media.AUDIO


@dataclass(frozen=True)
class Row:
    """An encoder and the file format its bytes are counted in."""

    encoder: str
    container: str
    suffix: str
    format: str
    qualities: Sequence[float | None]
    rates: Sequence[int]  # sampling rates it takes; the next larger one is chosen
    options: dict[str, str]


OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
MPEG_RATES = (16000, 22050, 24000, 32000, 44100, 48000)
TABLE: dict[str, Row] = {
    "opus": Row("libopus", "ogg", ".opus", "flt", (6, 9, 12, 16, 24, 32, 48), OPUS_RATES,
                {"vbr": "on", "compression_level": "10", "frame_duration": "20"}),
    "aac": Row("aac", "mp4", ".m4a", "fltp", (16, 24, 32, 48, 64, 96), MPEG_RATES, {}),
    "mp3": Row("libmp3lame", "mp3", ".mp3", "fltp", (32, 48, 64, 96, 128), MPEG_RATES, {}),
    "flac": Row("flac", "flac", ".flac", "s16", (None,), (), {"compression_level": "8"}),
}  # fmt: skip


def names() -> list[str]:
    """Names of the rows."""
    return list(TABLE)


def make(name: str, variant: str | None) -> FfmpegAudio:
    """The baseline of that name; there are no variants."""
    if variant is not None:
        raise ParameterError(f"{name} has no variant {variant!r}: expected none")
    return FfmpegAudio(name)


class FfmpegAudio:
    """One encoder at a bit rate. FLAC codes 16 bits a sample and is lossless for 16-bit sources."""

    media = Media.AUDIO

    def __init__(self, name: str) -> None:
        import av

        self.label = name
        self.row = row = TABLE[name]
        try:
            av.Codec(row.encoder, "w")
        except av.codec.codec.UnknownCodecError as error:
            raise UnsupportedError(
                f"this FFmpeg has no {row.encoder}: install another build of PyAV to measure {name}"
            ) from error
        self.suffix, self.qualities = row.suffix, row.qualities
        self.range = None if row.qualities == (None,) else (1.0, 512.0)
        self.scale = "lossless" if row.qualities == (None,) else "nominal kbit/s"

    def prepare(self) -> None:
        """Nothing to load."""

    def describe(self) -> dict[str, Any]:
        import av

        row = self.row
        return {"encoder": row.encoder, "container": row.container, "pyav": av.__version__,
                "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
                "options": row.options, "scale": self.scale}  # fmt: skip

    def encode(self, item: Item, quality: float | None) -> bytes:
        import av

        row = self.row
        audio = item.original
        if audio.channels > 2:
            raise UnsupportedError(f"{self.label} is measured on mono and stereo only")
        rate = audio.rate
        if row.rates:
            rate = next((r for r in row.rates if r >= audio.rate), row.rates[-1])
        audio = resample(audio, rate)
        layout = "mono" if audio.channels == 1 else "stereo"
        buffer = io.BytesIO()
        try:
            with av.open(buffer, "w", format=row.container) as container:
                stream: Any = container.add_stream(row.encoder, rate=rate, options=row.options)
                stream.layout, stream.format = layout, row.format
                if quality is not None:
                    stream.bit_rate = round(1000 * quality)
                for frame in _frames(audio, layout):
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
        except av.error.FFmpegError as error:
            raise UnsupportedError(
                f"{self.label} cannot encode {layout} of {rate} Hz at {quality} kbit/s:"
                f" {error.strerror}"
            ) from error
        return buffer.getvalue()

    def decode(self, data: bytes, item: Item) -> Audio:
        original: Audio = item.original
        decoded = resample(read_audio(data, item.limits), original.rate, original.channels)
        return Audio(fit_length(decoded.samples, original.samples.shape[1]), original.rate)


def _frames(audio: Audio, layout: str, size: int = 1 << 14) -> Any:
    """The audio as frames of 16-bit samples, rounded to nearest."""
    import av

    whole = np.clip(np.rint(audio.samples * 32768), -32768, 32767).astype(np.int16)
    for start in range(0, whole.shape[1], size):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(whole[:, start : start + size]), format="s16p", layout=layout
        )
        frame.sample_rate, frame.pts = audio.rate, start
        yield frame

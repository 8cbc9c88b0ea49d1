"""Writing recordings through FFmpeg (PyAV): WAV, FLAC, Opus, MP3, AAC; whole or block by block."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from laconic.formats.atomic import atomic_write
from laconic.formats.audio import Audio
from laconic.formats.audio_stream import BLOCK, StreamResampler
from laconic.formats.errors import OutputError, ParameterError, UnsupportedError


@dataclass(frozen=True)
class Format:
    """A file format: FFmpeg's container and encoder, format of the samples, rates it takes."""

    container: str
    encoder: str
    samples: str
    suffix: str
    rates: tuple[int, ...] = ()  # any, if empty
    bit_rate: int | None = None  # per channel, bits per second
    bits: int | None = None  # that the samples stand for, where FFmpeg has to be told


MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
AAC_RATES = (*MP3_RATES, 64000, 88200, 96000)
FORMATS: dict[str, Format] = {
    "wav": Format("wav", "pcm_s16le", "s16", ".wav"),
    "wav24": Format("wav", "pcm_s24le", "s32", ".wav"),
    "wav32f": Format("wav", "pcm_f32le", "flt", ".wav"),
    "flac": Format("flac", "flac", "s16", ".flac"),
    "flac24": Format("flac", "flac", "s32", ".flac", bits=24),
    "opus": Format("ogg", "libopus", "flt", ".opus", (8000, 12000, 16000, 24000, 48000), 64_000),
    "mp3": Format("mp3", "libmp3lame", "fltp", ".mp3", MP3_RATES, 96_000),
    "s16le": Format("s16le", "pcm_s16le", "s16", ".raw"),  # without a header, for pipes
    "f32le": Format("f32le", "pcm_f32le", "flt", ".raw"),
    "m4a": Format("mp4", "aac", "fltp", ".m4a", AAC_RATES, 96_000),
}
BY_SUFFIX = {".wav": "wav", ".flac": "flac", ".opus": "opus", ".ogg": "opus", ".mp3": "mp3",
             ".m4a": "m4a"}  # fmt: skip


def format_of(path: str | os.PathLike[str], name: str | None = None) -> Format:
    """The format of a name such as "flac", else the one that the path's extension stands for.

    Raises ``ParameterError`` for what cannot be written.
    """
    key = name.lower().lstrip(".") if name else BY_SUFFIX.get(Path(path).suffix.lower(), "")
    if key == "ogg":
        key = "opus"
    if key not in FORMATS:
        asked = name or Path(path).suffix or str(path)
        raise ParameterError(
            f"audio cannot be written as {asked!r}: choose one of {', '.join(FORMATS)}"
        )
    return FORMATS[key]


class AudioWriter:
    """Writes blocks of audio to a binary stream, which need not be seekable.

    Values beyond -1..1 are clipped where the format has whole numbers.

    Args:
        fp: where to.
        format: see :func:`format_of`.
        rate: of the blocks; a format that does not take it gets the next one it takes.
        channels: of the blocks.
        layout: FFmpeg's name of the arrangement of the channels, "" for the usual one.
        tags: title, artist and so on.
    """

    def __init__(
        self,
        fp: BinaryIO,
        format: Format,
        rate: int,
        channels: int,
        layout: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        import av

        self._fp, self._format = fp, format
        self._rate = rate
        if format.rates and rate not in format.rates:
            self._rate = next((r for r in format.rates if r > rate), format.rates[-1])
        self._resampler = StreamResampler(channels, rate, self._rate)
        self._layout = layout or {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")
        # The index of an MP4 file is written last and stands before what it points to.
        self._whole = io.BytesIO() if format.container == "mp4" else None
        target: Any = _Pipe(fp) if self._whole is None else self._whole
        if self._whole is None and fp.seekable():
            target = fp
        options = {"rf64": "auto"} if format.container == "wav" else {}
        try:
            self._container: Any = av.open(target, "w", format=format.container, options=options)
            self._stream: Any = self._container.add_stream(format.encoder, rate=self._rate)
            self._stream.layout, self._stream.format = self._layout, format.samples
            if format.bits is not None:
                self._stream.options = {"bits_per_raw_sample": str(format.bits)}
            if format.bit_rate is not None:
                self._stream.bit_rate = format.bit_rate * channels
            self._container.metadata.update(tags or {})
            self._stream.codec_context.open()
        except (av.error.FFmpegError, ValueError) as error:
            raise UnsupportedError(
                f"{format.suffix} cannot hold {channels} channels ({self._layout}) at {rate} Hz:"
                f" {error}; choose another format"
            ) from error
        # Conversion and the frame size that the encoder wants.
        self._converter = av.AudioResampler(
            format=format.samples,
            layout=self._stream.layout,
            rate=self._rate,
            frame_size=self._stream.codec_context.frame_size or 0,
        )
        self._at = 0

    def write(self, block: NDArray[np.float32]) -> None:
        """Append ``[C, n]``."""
        for start in range(0, block.shape[1], BLOCK):
            self._put(self._resampler.push(block[:, start : start + BLOCK]))

    def finish(self) -> None:
        """Write the end of the file; the stream stays open."""
        if self._resampler.source != self._resampler.target:
            self._put(self._resampler.finish())
        self._encode(self._converter.resample(None))
        self._encode([None])
        self._container.close()
        if self._whole is not None:
            self._fp.write(self._whole.getbuffer())

    def _put(self, samples: NDArray[np.float32]) -> None:
        import av

        if samples.shape[1] == 0:
            return
        interleaved = np.ascontiguousarray(samples.T, np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=self._stream.layout)
        frame.sample_rate, frame.pts = self._rate, self._at
        self._at += samples.shape[1]
        self._encode(self._converter.resample(frame))

    def _encode(self, frames: Any) -> None:
        import av

        try:
            for frame in frames:
                self._container.mux(self._stream.encode(frame))
        except av.error.FFmpegError as error:
            raise OutputError(f"the audio cannot be written: {error.strerror}") from error


class _Pipe:
    """A stream with ``write`` alone, so that FFmpeg does not try to go back in it."""

    def __init__(self, fp: BinaryIO) -> None:
        self.write = fp.write


def write_audio(
    audio: Audio,
    target: str | os.PathLike[str] | BinaryIO,
    format: str | None = None,
    *,
    layout: str = "",
    overwrite: bool = False,
) -> None:
    """Write a recording to a path, atomically, or to a binary stream.

    Args:
        format: "wav" (16 bits), "wav24", "wav32f", "flac", "flac24", "opus", "mp3", "m4a"; None
            takes what the path's extension stands for.
        layout: FFmpeg's name of the arrangement of the channels.

    Raises:
        ParameterError: an unknown format. UnsupportedError: channels that it cannot hold.
        OutputError: the file exists or cannot be written.
    """
    if not isinstance(target, str | os.PathLike):
        writer = AudioWriter(
            target, format_of("", format or "wav"), audio.rate, audio.channels, layout, audio.tags
        )
        writer.write(audio.samples)
        writer.finish()
        return
    chosen = format_of(target, format)
    with atomic_write(target, overwrite) as file:
        writer = AudioWriter(file, chosen, audio.rate, audio.channels, layout, audio.tags)
        writer.write(audio.samples)
        writer.finish()

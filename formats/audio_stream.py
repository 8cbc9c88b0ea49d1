"""Audio in blocks: files of any length in bounded memory.

:class:`AudioSource` reads, :class:`StreamResampler` changes the rate; both go through FFmpeg
(PyAV). For whole recordings in memory choose :mod:`laconic.formats.audio`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from laconic.formats.audio import MAX_CHANNELS, MAX_RATE, PLACES, Audio
from laconic.formats.errors import FormatError, UnsupportedError

Block = NDArray[np.float32]  # [C, n]
BLOCK = 1 << 16  # samples of a block of a recording that is in memory
TRUNCATED = "the audio is truncated: it announces {:.2f} s but ends after {:.2f} s; fetch it again"
# What may be missing of the announced length: the encoder's delay and padding, at most.
TOLERANCE = 0.25  # seconds


# Samples without a header, by FFmpeg's names.
RAW_FORMATS = ("u8", "s16le", "s16be", "s24le", "s32le", "f32le")
# What a container says of itself and not of the audio in it.
TECHNICAL = {
    "encoder", "major_brand", "minor_version", "compatible_brands", "handler_name", "vendor_id",
    "language", "duration", "creation_time",
}  # fmt: skip


def useful(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags without technical ones, names in lower case, no zero characters, in the order given."""
    cleaned = {}
    for name, value in tags.items():
        name, value = name.strip().lower().replace("\0", " "), value.replace("\0", " ")
        if name and value and name not in TECHNICAL:
            cleaned[name] = value
    return cleaned


@dataclass(frozen=True)
class Raw:
    """What a header would say of samples without one."""

    format: str  # one of RAW_FORMATS
    rate: int  # Hz
    channels: int = 1

    def options(self) -> dict[str, str]:
        """For FFmpeg."""
        layout = {1: "mono", 2: "stereo"}.get(self.channels, f"{self.channels}C")
        return {"sample_rate": str(self.rate), "ch_layout": layout}


class AudioSource:
    """The first audio track of a file, path, bytes, pipe or :class:`Audio`, block by block; with
    ``raw``, samples without a header.

    Encoder delay and padding that the file declares are removed, as players do.

    Attributes:
        rate: in Hz.
        channels: their number.
        layout: FFmpeg's name of their arrangement, "" for an unknown one.
        tags: title, artist and so on.

    Raises:
        UnsupportedError: no audio that FFmpeg knows.
        FormatError: damaged.
    """

    def __init__(
        self, source: str | os.PathLike[str] | bytes | BinaryIO | Audio, raw: Raw | None = None
    ) -> None:
        self._container: Any = None
        self._memory: Audio | None = None
        self._blocks: Iterator[Block] | None = None
        self._peeked: list[Block] = []
        self.tags: dict[str, str] = {}
        if isinstance(source, Audio):
            self._memory = source
            self.rate, self.channels = source.rate, source.channels
            self.layout = {1: "mono", 2: "stereo"}.get(self.channels, "")
            self.tags = dict(source.tags)
        else:
            self._open(source, raw)
        if self.channels > MAX_CHANNELS or not 1 <= self.rate <= MAX_RATE:
            self.close()
            raise UnsupportedError(
                f"the audio has {self.channels} channels at {self.rate} Hz: at most"
                f" {MAX_CHANNELS} channels at {MAX_RATE} Hz are read"
            )

    def _open(
        self, source: str | os.PathLike[str] | bytes | BinaryIO, raw: Raw | None = None
    ) -> None:
        import av

        handle: Any = io.BytesIO(source) if isinstance(source, bytes) else source
        if isinstance(handle, os.PathLike):
            handle = os.fspath(handle)
        if raw is None:
            _check_riff(handle)
        try:
            if raw is None:
                self._container = av.open(handle)
            else:
                self._container = av.open(handle, format=raw.format, options=raw.options())
        except av.error.InvalidDataError as error:
            raise UnsupportedError(
                "the input is no audio that FFmpeg reads, or it is damaged at its beginning"
            ) from error
        except av.error.FFmpegError as error:
            if isinstance(error, OSError) and error.errno in (2, 13, 21):
                raise
            raise FormatError(f"the audio cannot be read: {error.strerror}") from error
        if not self._container.streams.audio:
            self.close()
            raise UnsupportedError("the input holds no audio track: expected a recording file")
        self._stream = self._container.streams.audio[0]
        self.rate, self.channels = int(self._stream.rate), int(self._stream.layout.nb_channels)
        name = self._stream.layout.name
        self.layout = name if name in PLACES else {1: "mono", 2: "stereo"}.get(self.channels, "")
        self.tags = useful({**self._stream.metadata, **self._container.metadata})

    def __iter__(self) -> Iterator[Block]:
        """Blocks ``[C, n]``, nominally in -1..1. Raises ``FormatError`` for damage, a truncated
        end, values that are no numbers, or a file without samples."""
        yield from self._peeked
        yield from self._begun()

    def peek(self, seconds: float) -> Block:
        """The first seconds ``[C, n]``, fewer at the end; a later iteration gives them again."""
        wanted = round(seconds * self.rate)
        while sum(block.shape[1] for block in self._peeked) < wanted:
            block = next(self._begun(), None)
            if block is None:
                break
            self._peeked.append(block)
        return np.concatenate(self._peeked, axis=1)[:, :wanted]

    def _begun(self) -> Iterator[Block]:
        if self._blocks is None:
            self._blocks = self._checked()
        return self._blocks

    def _checked(self) -> Iterator[Block]:
        total = 0
        for block in self._in_memory() if self._memory is not None else self._decoded():
            if not np.isfinite(block).all():
                where = total + int(np.flatnonzero(~np.isfinite(block).all(0))[0])
                raise FormatError(
                    f"sample {where} of the audio ({where / self.rate:.3f} s) is no finite number:"
                    " repair the file"
                )
            total += block.shape[1]
            yield block
        if total == 0:
            raise FormatError("the audio track holds no samples: the file is empty or truncated")
        announced = self._announced()
        if announced is not None and total / self.rate < announced - TOLERANCE:
            raise FormatError(TRUNCATED.format(announced, total / self.rate))

    def _in_memory(self) -> Iterator[Block]:
        assert self._memory is not None
        samples = self._memory.samples
        for start in range(0, samples.shape[1], BLOCK):
            yield samples[:, start : start + BLOCK]

    def _decoded(self) -> Iterator[Block]:
        import av

        stream = self._stream
        # Interleaved: PyAV fails at planes beyond the seventh.
        resampler = av.AudioResampler(format="flt", layout=stream.layout, rate=self.rate)
        try:
            for frame in self._container.decode(stream):
                for piece in resampler.resample(frame):
                    block = piece.to_ndarray().reshape(-1, self.channels).T
                    if block.shape[1]:
                        yield block
        except av.error.FFmpegError as error:
            raise FormatError(
                f"the audio is damaged or truncated: {error.strerror}; fetch it again"
            ) from error
        except ValueError as error:
            raise FormatError(
                f"the audio changes its rate or channels on the way: {error}"
            ) from error

    @property
    def seconds(self) -> float | None:
        """Duration where it is known beforehand."""
        if self._memory is not None:
            return self._memory.seconds
        announced = self._announced()
        if announced is None and self._container.duration:
            return float(self._container.duration / 1e6)
        return announced

    def _announced(self) -> float | None:
        """Seconds that the file says it has; None where it does not, or only guesses."""
        if self._memory is not None or self._container.format.name in ("aac", "mp3"):
            return None
        duration, base = self._stream.duration, self._stream.time_base
        return None if duration is None or base is None else float(duration * base)

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def __enter__(self) -> AudioSource:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _check_riff(handle: Any) -> None:
    """Raise ``FormatError`` for a WAV file that is shorter than it says; FFmpeg does not mind."""
    if isinstance(handle, str):
        if not os.path.isfile(handle):
            return
        with open(handle, "rb") as file:
            _check_riff(file)
        return
    if not (hasattr(handle, "seekable") and handle.seekable()):
        return
    at = handle.tell()
    head = handle.read(12)
    size = handle.seek(0, io.SEEK_END) - at
    handle.seek(at)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        announced = int.from_bytes(head[4:8], "little")
        # Writers that cannot seek leave 0 or all ones; some forget the odd byte of padding.
        if 0 < announced < 0x7FFFFFFF and size + 1 < announced + 8:
            raise FormatError(
                f"the audio is truncated: it announces {announced + 8} bytes but has {size};"
                " fetch it again"
            )


class StreamResampler:
    """Blocks at one sampling rate to blocks at another, channel by channel.

    The resampler's delay is compensated; :meth:`finish` gives what is left in it.
    """

    def __init__(self, channels: int, source: int, target: int) -> None:
        import av

        self.source, self.target = source, target
        self._resamplers = [
            av.AudioResampler(format="fltp", layout="mono", rate=target)
            for _ in range(channels if source != target else 0)
        ]

    def push(self, block: Block) -> Block:
        """``[C, n]`` at the source's rate -> ``[C, m]`` at the target's, m >= 0."""
        if not self._resamplers or not block.shape[1]:  # FFmpeg calls no samples no memory
            return block
        return self._run([self._frame(row) for row in block])

    def finish(self) -> Block:
        """The last samples ``[C, m]``; the resampler takes no more."""
        if not self._resamplers:
            return np.zeros((0, 0), np.float32)
        return self._run([None] * len(self._resamplers))

    def _frame(self, row: NDArray[np.float32]) -> Any:
        import av

        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(row[None], np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = self.source
        return frame

    def _run(self, frames: list[Any]) -> Block:
        rows = [
            [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
            for resampler, frame in zip(self._resamplers, frames, strict=True)
        ]
        return np.stack([np.concatenate([*row, np.zeros(0, np.float32)]) for row in rows])


def resampled(blocks: Iterator[Block], channels: int, source: int, target: int) -> Iterator[Block]:
    """Blocks at another rate: ``round(N * target / source)`` samples in all."""
    resampler = StreamResampler(channels, source, target)
    taken = given = 0
    for block in blocks:
        taken += block.shape[1]
        out = resampler.push(block)
        given += out.shape[1]
        if out.shape[1]:
            yield out
    wanted = (2 * taken * target + source) // (2 * source)
    rest = resampler.finish() if source != target else np.zeros((channels, 0), np.float32)
    if given < wanted:
        missing = wanted - given - rest.shape[1]
        yield np.pad(rest, ((0, 0), (0, max(0, missing))))[:, : wanted - given]

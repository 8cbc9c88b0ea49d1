"""Audio in memory, and its header in a container.

Audio as arrays, and the files that hold it, read through FFmpeg (PyAV).

Choose :mod:`laconic.formats.video` for images that move; the audio track of a video is read here.
torchaudio's own readers need a package of their own, so they are not used.

Media header of recordings: what is needed to give back the same number of samples and channels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import (
    DEFAULT_LIMITS,
    FormatError,
    Limits,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.frame import read_varint, write_varint

SUFFIXES = {
    ".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aiff", ".aif", ".wma", ".oga",
}  # fmt: skip
MAX_RATE = 768_000
_BEGINNINGS = (
    b"fLaC",
    b"OggS",
    b"ID3",
    b"\xff\xfb",
    b"\xff\xf3",
    b"\xff\xf2",
    b"\xff\xf1",
    b"\xff\xf9",
)


def looks_like_audio(head: bytes) -> bool:
    """Whether a file that begins so (12 bytes) is one of the usual ones for audio alone."""
    if head[:4] in (b"RIFF", b"RF64", b"FORM"):
        return head[8:12] in (b"WAVE", b"AIFF", b"AIFC")
    return head.startswith(_BEGINNINGS) or head[4:11] == b"ftypM4A"


@dataclass
class Audio:
    """Audio.

    Attributes:
        samples: float32 ``[C, N]``, nominally -1..1, C channels of N samples.
        rate: samples per second and channel, in Hz.
        tags: title, artist and so on.
        notices: what a decoder has to say.
    """

    samples: NDArray[np.float32]
    rate: int
    tags: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or 0 in self.samples.shape:
            raise ParameterError(f"samples have shape {list(self.samples.shape)}: expected [C, N]")
        if self.samples.dtype != np.float32:
            raise ParameterError(f"samples are {self.samples.dtype}: expected float32")
        if not 0 < self.rate <= MAX_RATE:
            raise ParameterError(f"the sampling rate is {self.rate} Hz: expected 1 to {MAX_RATE}")

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.samples.shape[0])

    @property
    def seconds(self) -> float:
        """Duration."""
        return float(self.samples.shape[1] / self.rate)


def read_audio(
    source: str | os.PathLike[str] | bytes | BinaryIO, limits: Limits = DEFAULT_LIMITS
) -> Audio:
    """Read the first audio track of a file, path or bytes, whole. Choose
    :class:`~laconic.formats.audio_stream.AudioSource` for recordings that do not fit into memory.

    Encoder delay and padding that the file declares are removed, as players do.

    Raises:
        UnsupportedError: no audio that FFmpeg knows.
        FormatError: damaged, truncated or empty.
        LimitError: more samples than the limits allow.
    """
    from laconic.formats.audio_stream import AudioSource

    parts: list[NDArray[np.float32]] = []
    total = 0
    with AudioSource(source) as audio:
        for block in audio:
            total += block.size
            limits.check("the number of audio samples", total, limits.samples)
            parts.append(block)
        return Audio(np.concatenate(parts, axis=1), audio.rate, audio.tags)


def resample(audio: Audio, rate: int, channels: int | None = None) -> Audio:
    """The audio at another sampling rate and number of channels (1 or 2), by FFmpeg's resampler.

    The length is that of the input, ``round(N * rate / audio.rate)`` samples.
    """
    import av

    channels = audio.channels if channels is None else channels
    if rate == audio.rate and channels == audio.channels:
        return audio
    if not {audio.channels, channels} <= {1, 2}:
        raise ParameterError(
            f"{audio.channels} channels cannot be mixed to {channels}: expected 1 or 2"
        )
    names = {1: "mono", 2: "stereo"}
    resampler = av.AudioResampler(format="fltp", layout=names[channels], rate=rate)
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(audio.samples), format="fltp", layout=names[audio.channels]
    )
    frame.sample_rate = audio.rate
    pieces = [p.to_ndarray() for f in (frame, None) for p in resampler.resample(f)]
    joined = np.concatenate(pieces, axis=1)
    return Audio(fit_length(joined, round(audio.samples.shape[1] * rate / audio.rate)), rate)


def fit_length(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Cut or zero-pad ``[C, n]`` at its end to ``[C, length]``."""
    missing = length - samples.shape[1]
    return np.pad(samples, ((0, 0), (0, missing))) if missing > 0 else samples[:, :length]


# FFmpeg's names and numbers of channels; the place in this tuple is stored, so it only ever grows.
LAYOUTS: tuple[tuple[str, int], ...] = (
    ("", 0), ("mono", 1), ("stereo", 2), ("2.1", 3), ("3.0", 3), ("3.0(back)", 3), ("4.0", 4),
    ("quad", 4), ("quad(side)", 4), ("3.1", 4), ("5.0", 5), ("5.0(side)", 5), ("4.1", 5),
    ("5.1", 6), ("5.1(side)", 6), ("6.0", 6), ("6.0(front)", 6), ("hexagonal", 6), ("6.1", 7),
    ("6.1(back)", 7), ("6.1(front)", 7), ("7.0", 7), ("7.0(front)", 7), ("7.1", 8),
    ("7.1(wide)", 8), ("7.1(wide-side)", 8), ("octagonal", 8),
)  # fmt: skip
PLACES = {name: place for place, (name, _) in enumerate(LAYOUTS) if name}
MAX_CHANNELS = 64


@dataclass(frozen=True)
class AudioHeader:
    """A recording of ``samples`` samples in each of ``channels`` channels at ``rate`` Hz.

    ``samples`` 0 means that the length was not known when the file was begun; its last segment
    then tells. ``layout`` is FFmpeg's name of the arrangement of the speakers, "" for none.
    """

    rate: int
    channels: int
    layout: str = ""
    samples: int = 0

    def pack(self) -> bytes:
        """Bytes as in SPEC.md, section 5."""
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise ParameterError(
                f"a recording of {self.channels} channels cannot be stored: at most {MAX_CHANNELS}"
            )
        place = PLACES.get(self.layout, 0)
        if place and LAYOUTS[place][1] != self.channels:
            raise ParameterError(f"the layout {self.layout} has not {self.channels} channels")
        arrangement = bytes([place] if place else [0, self.channels])
        return arrangement + write_varint(self.rate) + write_varint(self.samples)

    @classmethod
    def unpack(cls, data: bytes) -> AudioHeader:
        """Inverse of :meth:`pack`."""
        if len(data) < 2:
            raise FormatError("the audio's header is truncated")
        if data[0] >= len(LAYOUTS):
            raise UnsupportedError("the audio's speakers are arranged in a way unknown here")
        layout, channels = LAYOUTS[data[0]]
        offset = 1
        if data[0] == 0:
            channels, offset = data[1], 2
        rate, offset = read_varint(data, offset)
        samples, offset = read_varint(data, offset)
        if offset != len(data):
            raise FormatError("the audio's header has a wrong length: the file is damaged")
        if not 1 <= rate <= MAX_RATE or not 1 <= channels <= MAX_CHANNELS:
            raise FormatError(
                f"the audio's header says {channels} channels at {rate} Hz: damaged file"
            )
        return cls(rate, channels, layout, samples)

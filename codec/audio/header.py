"""What an audio file says about itself: codec header, geometry, options of the encoder.

The private header of audio streams.

Where segments, columns and samples of a file lie. Whole numbers only: every reader agrees.

What the audio codecs can be told. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from laconic.codec.base import DecodeSettings, EncodeSettings
from laconic.codec.devices import PROCESSOR, chosen
from laconic.codec.options import option
from laconic.formats.errors import FormatError, ParameterError, UnsupportedError
from laconic.formats.frame import read_varint, write_varint

CODEC_ID = 7
CODEC_VERSION = 2  # 1 has neither pitch nor columns that lack the last stream
MAX_SEGMENT = 1 << 16  # columns
MAX_STREAMS = 64
MAX_STEPS = 63
MAX_EFFORT = 9
MAX_SEED = (1 << 32) - 1


@dataclass(frozen=True)
class AudioCodecHeader:
    """How a recording was coded.

    ``streams`` tokens stand at each place, ``segment`` columns make a segment. A decoder that is
    not told otherwise evaluates its refiner ``steps`` times, from noise drawn with ``seed``.
    """

    streams: int
    segment: int
    steps: int = 0
    seed: int = 0

    def pack(self) -> bytes:
        """Bytes as in SPEC.md, section 7."""
        for name, value, low, high in (
            ("the number of streams", self.streams, 1, MAX_STREAMS),
            ("the length of segments", self.segment, 1, MAX_SEGMENT),
            ("the number of steps", self.steps, 0, MAX_STEPS),
            ("the seed", self.seed, 0, MAX_SEED),
        ):
            if not low <= value <= high:
                raise ParameterError(f"{name} is {value}: expected {low} to {high}")
        head = bytes([self.streams, self.steps])
        return head + write_varint(self.segment) + write_varint(self.seed)

    @classmethod
    def unpack(cls, data: bytes) -> AudioCodecHeader:
        """Inverse of :meth:`pack`."""
        if len(data) < 4:
            raise FormatError("the audio codec's header is truncated")
        streams, steps = data[:2]
        segment, end = read_varint(data, 2)
        seed, end = read_varint(data, end)
        if end != len(data) or not 0 < segment <= MAX_SEGMENT or not streams or seed > MAX_SEED:
            raise FormatError("the audio codec's header holds impossible values: damaged file")
        if streams > MAX_STREAMS or steps > MAX_STEPS:
            raise UnsupportedError("the audio codec's header uses features of a newer version")
        return cls(streams, segment, steps, seed)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Geometry:
    """A recording of ``samples`` samples (None while unknown) at ``rate`` Hz, coded at
    ``model_rate`` in columns of ``hop`` samples, ``segment`` columns a segment, by windows of up to
    ``window``."""

    rate: int
    model_rate: int
    hop: int
    segment: int
    window: int
    samples: int | None = None

    @property
    def margin(self) -> int:
        """Columns of its neighbours that a segment is encoded and decoded with, on each side."""
        return (self.window - self.segment) // 2

    def to_model(self, samples: int) -> int:
        """Samples at the model's rate, rounded half up, at least 1."""
        return max(1, (2 * samples * self.model_rate + self.rate) // (2 * self.rate))

    def columns(self, samples: int) -> int:
        """Columns of a recording."""
        return -(-self.to_model(samples) // self.hop)

    @property
    def total(self) -> int | None:
        """Columns of the whole audio."""
        return None if self.samples is None else self.columns(self.samples)

    @property
    def count(self) -> int | None:
        """Segments of the whole audio."""
        return None if self.total is None else -(-self.total // self.segment)

    def start(self, number: int) -> int:
        """First sample of a segment at the audio's own rate."""
        return number * self.segment * self.hop * self.rate // self.model_rate

    def ending(self, number: int, samples: int) -> Geometry:
        """The geometry once the last segment says that the audio has ``samples``."""
        known = replace(self, samples=samples)
        if samples < 1 or known.count != number + 1 or self.samples not in (None, samples):
            raise FormatError(f"segment {number} ends in an impossible place: the file is damaged")
        return known

    def own(self, number: int) -> tuple[int, int]:
        """First column of a segment and the one after its last."""
        first = number * self.segment
        end = first + self.segment
        return first, end if self.total is None else min(end, self.total)

    def around(self, number: int) -> tuple[int, int]:
        """The window of columns that a segment is encoded with: its own and a margin on both
        sides, at the end of the audio as much before it as is needed to fill the window."""
        first = max(0, number * self.segment - self.margin)
        end = first + self.window
        if self.total is not None and end > self.total:
            end = self.total
            first = max(0, end - self.window)
        return first, end


STEREO = ("joint", "dual")


@dataclass(frozen=True)
class AudioOptions(EncodeSettings):
    """Options of the encoder."""

    steps: int | None = option(
        None, "Steps of the refiner that the decoder should make; 0 is fast and without noise.",
        low=0, high=MAX_STEPS, shown="what the model advises",
    )  # fmt: skip
    seed: int | None = option(
        None, "Of the noise that the decoder draws.", low=0, high=MAX_SEED, shown="0"
    )
    stereo: str | None = option(
        None, "One set of tokens for both channels, or one for each.", choices=STEREO, shown="joint"
    )
    strip: bool = option(False, "Leave out the tags.")
    effort: int | None = option(
        None, "More time for a better sound of equal size.", low=0, high=MAX_EFFORT,
        shown="1, where the model can use it",
    )  # fmt: skip
    device: str | None = chosen(PROCESSOR)


@dataclass(frozen=True)
class AudioDecodeOptions(DecodeSettings):
    """Options of the decoder."""

    steps: int | None = option(
        None, "Steps of the refiner; 0 is fast.", low=0, high=MAX_STEPS, shown="the file's"
    )
    seed: int | None = option(
        None, "Of the noise that is drawn.", low=0, high=MAX_SEED, shown="the file's"
    )
    device: str | None = chosen(PROCESSOR)

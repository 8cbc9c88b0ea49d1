"""The private header of audio streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from laconic.formats.errors import FormatError, ParameterError, UnsupportedError
from laconic.formats.varint import read_varint, write_varint

CODEC_ID = 7
CODEC_VERSION = 2  # 1 has neither pitch nor columns that lack the last stream
MAX_SEGMENT = 1 << 16  # columns
MAX_STREAMS = 64
MAX_STEPS = 63
MAX_SEED = (1 << 32) - 1


@dataclass(frozen=True)
class AudioCodecHeader:
    """How a sound was coded.

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

"""Media header of sounds: what is needed to give back the same number of samples and channels."""

from __future__ import annotations

from dataclasses import dataclass

from laconic.formats.audio import MAX_RATE
from laconic.formats.errors import FormatError, ParameterError, UnsupportedError
from laconic.formats.varint import read_varint, write_varint

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
    """A sound of ``samples`` samples in each of ``channels`` channels at ``rate`` Hz.

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
                f"a sound of {self.channels} channels cannot be stored: at most {MAX_CHANNELS}"
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
            raise FormatError("the sound's header is truncated")
        if data[0] >= len(LAYOUTS):
            raise UnsupportedError("the sound's speakers are arranged in a way unknown here")
        layout, channels = LAYOUTS[data[0]]
        offset = 1
        if data[0] == 0:
            channels, offset = data[1], 2
        rate, offset = read_varint(data, offset)
        samples, offset = read_varint(data, offset)
        if offset != len(data):
            raise FormatError("the sound's header has a wrong length: the file is damaged")
        if not 1 <= rate <= MAX_RATE or not 1 <= channels <= MAX_CHANNELS:
            raise FormatError(
                f"the sound's header says {channels} channels at {rate} Hz: damaged file"
            )
        return cls(rate, channels, layout, samples)

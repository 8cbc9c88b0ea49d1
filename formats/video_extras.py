"""What a video says beside its frames: chapters, and what HDR10 tells a display.

Both are ancillary chunks (SPEC.md, section 4), which readers that do not know them skip. Audio is
in :mod:`laconic.formats.audio_track`, colours are in the header (:mod:`laconic.formats.video`).
HDR10 is the static metadata of SMPTE ST 2086 and CTA-861.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from laconic.formats.container import Chunk
from laconic.formats.errors import FormatError
from laconic.formats.frame import MAX_BYTES, read_varint, write_varint

CHAPTERS, LIGHT = b"cHAp", b"hDRt"
MOST_CHAPTERS = 100_000
LATEST = 1 << 7 * MAX_BYTES  # milliseconds that a varint holds


@dataclass(frozen=True)
class Chapter:
    """A part of a video: milliseconds on its clock, and a title."""

    start: int
    end: int
    title: str = ""


@dataclass(frozen=True)
class Light:
    """What HDR10 tells a display; zeros where the source does not say.

    Attributes:
        primaries: x and y of red, green, blue and white, in 1/50000.
        highest, lowest: luminance of the display it was mastered on, in 1/10000 cd/m2.
        content, average: of the brightest pixel and the brightest frame, in cd/m2.
    """

    primaries: tuple[int, ...] = (0,) * 8
    highest: int = 0
    lowest: int = 0
    content: int = 0
    average: int = 0

    def for_x264(self) -> str:
        """The same as parameters of x264 and x265."""
        parts = []
        if any(self.primaries) or self.highest:
            r, g, b, w = (self.primaries[k : k + 2] for k in range(0, 8, 2))
            points = (("G", g), ("B", b), ("R", r), ("WP", w))
            shown = "".join(f"{name}({x},{y})" for name, (x, y) in points)
            parts.append(f"mastering-display={shown}L({self.highest},{self.lowest})")
        if self.content or self.average:
            parts.append(f"cll={self.content},{self.average}")
        return ":".join(parts)


def pack_extras(chapters: Sequence[Chapter], light: Light | None) -> list[Chunk]:
    """The chunks of what is known; raises ``FormatError`` for too many chapters."""
    chunks = []
    if len(chapters) > MOST_CHAPTERS:
        raise FormatError(
            f"the video has {len(chapters):,} chapters: a file holds at most {MOST_CHAPTERS:,},"
            " remove them from the source first"
        )
    if chapters:
        parts = [
            write_varint(c.start)
            + write_varint(c.end - c.start)
            + c.title.encode(errors="replace")
            + b"\0"
            for c in chapters
        ]
        chunks.append(Chunk(CHAPTERS, b"".join(parts)))
    if light is not None:
        numbers = (*light.primaries, light.highest, light.lowest, light.content, light.average)
        chunks.append(Chunk(LIGHT, struct.pack(">8H2I2H", *numbers)))
    return chunks


def unpack_extras(chunks: Iterable[Chunk]) -> tuple[tuple[Chapter, ...], Light | None]:
    """Inverse of :func:`pack_extras`; raises ``FormatError``."""
    chapters: list[Chapter] = []
    light = None
    for chunk in chunks:
        if chunk.type == LIGHT:
            if len(chunk.data) != 28:
                raise FormatError("what a display is told of HDR has a wrong length: damaged file")
            *primaries, highest, lowest, content, average = struct.unpack(">8H2I2H", chunk.data)
            light = Light(tuple(primaries), highest, lowest, content, average)
        if chunk.type != CHAPTERS:
            continue
        at = 0
        while at < len(chunk.data):
            if len(chapters) == MOST_CHAPTERS:
                raise FormatError(f"there are more than {MOST_CHAPTERS:,} chapters: damaged file")
            start, at = read_varint(chunk.data, at)
            lasting, at = read_varint(chunk.data, at)
            end = chunk.data.find(b"\0", at)
            try:
                if end < 0:
                    raise FormatError("the list of chapters ends early: the file is damaged")
                title = chunk.data[at:end].decode()
            except UnicodeDecodeError as error:
                raise FormatError("the title of a chapter is no text: damaged file") from error
            chapters.append(Chapter(start, start + lasting, title))
            at = end + 1
    return tuple(chapters), light


def chapters_of(container: Any) -> tuple[Chapter, ...]:
    """The chapters of an open file of FFmpeg's; those that begin before its clock begin with it."""
    found = []
    for entry in container.chapters():
        base = 1000 * Fraction(entry["time_base"])
        start, end = (max(0, round(entry[key] * base)) for key in ("start", "end"))
        if start < LATEST and 0 <= end - start < LATEST:
            title = entry["metadata"].get("title", "").replace("\0", "")
            found.append(Chapter(start, end, title))
    return tuple(found)


def for_ffmpeg(chapters: Sequence[Chapter], start: Fraction, end: Fraction) -> list[dict[str, Any]]:
    """The chapters of a part of a video, whose clock then begins at 0; times in seconds."""
    low, high = round(1000 * start), round(1000 * end)
    return [
        {
            "id": number, "start": max(c.start, low) - low, "end": min(c.end, high) - low,
            "time_base": Fraction(1, 1000), "metadata": {"title": c.title} if c.title else {},
        }
        for number, c in enumerate(chapters, 1)
        if c.start < high and c.end > low
    ]  # fmt: skip


def light_of(frame: Any) -> Light | None:
    """What the first frame of an HDR10 video carries, as FFmpeg's structures have it."""
    # PyAV's mapping has the data as its keys.
    found = {str(data.type.name): bytes(data) for data in [*frame.side_data.keys()]}
    display = found.get("MASTERING_DISPLAY_METADATA", b"")
    level = found.get("CONTENT_LIGHT_LEVEL", b"")
    if len(display) < 88 and len(level) < 8:
        return None
    light = Light()
    if len(display) >= 88:  # ten fractions (red, green, blue, white, lowest, highest), two flags
        terms = struct.unpack("=20i2i", display[:88])
        values = [Fraction(n, d) if d else Fraction(0) for n, d in zip(terms[:20:2], terms[1:20:2],
                                                                       strict=True)]  # fmt: skip
        points = tuple(_bounded(50000 * v, 16) for v in values[:8]) if terms[20] else (0,) * 8
        lowest, highest = (_bounded(10000 * v, 32) for v in values[8:]) if terms[21] else (0, 0)
        light = Light(points, highest, lowest)
    if len(level) >= 8:
        content, average = struct.unpack("=2I", level[:8])
        light = Light(light.primaries, light.highest, light.lowest, _bounded(content, 16),
                      _bounded(average, 16))  # fmt: skip
    return light


def _bounded(value: Fraction | int, bits: int) -> int:
    return min(max(round(value), 0), (1 << bits) - 1)

"""What is a sound, and what the file of one says of itself: no torch, no network."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import Any

from laconic.codec.audio.segments import length_in
from laconic.formats.audio import SUFFIXES, Audio, looks_like_sound
from laconic.formats.audio_header import AudioHeader
from laconic.formats.container import TAGS
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import FormatError
from laconic.formats.tags import read_tags


def is_sound(source: Any) -> bool:
    """Whether a source is a sound by its type, the extension of its path or its first bytes."""
    if isinstance(source, str | PathLike):
        return Path(fspath(source)).suffix.lower() in SUFFIXES
    if isinstance(source, bytes):
        return looks_like_sound(source[:12])
    if hasattr(source, "read"):
        return looks_like_sound(head_of(source, 12))
    return isinstance(source, Audio)


def head_of(stream: Any, count: int) -> bytes:
    """The next bytes of a binary stream, which stay in it; b"" where that cannot be done."""
    if hasattr(stream, "peek"):
        head: bytes = stream.peek(count)[:count]
        return head
    if not (hasattr(stream, "seekable") and stream.seekable()):
        return b""
    at = stream.tell()
    head = stream.read(count)
    stream.seek(at)
    return head


def sound_facts(reader: ContainerReader) -> dict[str, Any]:
    """Channels, rate, layout, samples, seconds, kbps and tags of a file."""
    header = AudioHeader.unpack(reader.header.media_header)
    samples = header.samples
    if samples == 0 and len(reader):
        try:
            samples = length_in(reader[len(reader) - 1].payload) or 0
        except FormatError:
            samples = 0  # the end is lost
    seconds = samples / header.rate
    tags = next((read_tags(c.data) for c in reader.chunks if c.type == TAGS), {})
    return {
        "channels": header.channels,
        "rate": header.rate,
        "layout": header.layout,
        "samples": samples,
        "seconds": seconds,
        "kbps": 8 * reader.file_bytes / seconds / 1000 if seconds else None,
        "tags": tags,
    }

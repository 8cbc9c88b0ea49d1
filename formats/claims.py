"""What the header of a file claims against what its bytes can hold.

A few hundred bytes can name an image or a table of gigabytes and be intact. Each byte of a file
may stand for so much and no more (``Limits.free`` and ``Limits.expansion``); :func:`padded` lets
an encoder keep the rule for blank images and constant tables, whose files are smaller than that.
"""

from __future__ import annotations

from dataclasses import replace

from laconic.formats.container import Chunk, Container, Header, Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import DEFAULT_LIMITS, Limits
from laconic.formats.image_reader import ImageHeader
from laconic.formats.records import DataHeader
from laconic.formats.video import VideoHeader

PADDING = b"pADd"
_CELL = 8  # bytes of a decoded cell: a pointer or a wide integer
_FRAME = 2  # a video's frames need their predecessors beside them


def claim_of(
    header: Header, chunks: list[Chunk], limits: Limits = DEFAULT_LIMITS
) -> tuple[str, int]:
    """What a header announces, in words and in units of about one byte of memory; audio is read
    segment by segment and claims nothing.

    Raises ``FormatError``, ``LimitError``, ``UnsupportedError`` for an impossible header.
    """
    if header.media == Media.IMAGE:
        image = ImageHeader.unpack(header.media_header, limits)
        return f"an image of {image.width} x {image.height}", image.width * image.height
    if header.media == Media.DATA:
        data = DataHeader.unpack(header.media_header, limits)
        cells = data.rows * max(1, data.columns)
        return f"records of {data.rows} x {data.columns}", _CELL * cells
    if header.media == Media.VIDEO:
        video = VideoHeader.unpack(header.media_header, chunks, limits)
        return f"frames of {video.width} x {video.height}", _FRAME * video.width * video.height
    return "a recording", 0


def check_claims(reader: ContainerReader) -> None:
    """Raise ``LimitError`` if a file is too small for what its header announces, unless what is
    intact of a truncated one is asked for."""
    if reader.partial:
        return
    what, size = claim_of(reader.header, reader.chunks, reader.limits)
    reader.limits.check_expansion(what, size, reader.file_bytes)


def padded(data: bytes, limits: Limits = DEFAULT_LIMITS, *, unpacked: int = 0) -> bytes:
    """A file that readers with the default limits accept: ``data``, or where it claims more than
    its size allows, the same file with a chunk of zeros. ``unpacked`` is the size of what it holds
    where the header does not tell."""
    if len(data) > 1 << 20:
        return data
    reader = ContainerReader(data, limits)
    default = DEFAULT_LIMITS
    _, size = claim_of(reader.header, reader.chunks, limits)
    size = max(size, unpacked)
    missing = -(-(size - default.free) // default.expansion) - len(data)
    if missing <= 0:
        return data
    whole = Container.from_bytes(data, limits)
    return replace(whole, chunks=[*whole.chunks, Chunk(PADDING, bytes(missing))]).to_bytes()

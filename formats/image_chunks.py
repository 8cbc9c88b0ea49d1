"""A picture's metadata <-> chunks of a container: colour profile, EXIF, XMP, IPTC, texts,
density."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

from laconic.formats.container import DENSITY, EXIF, ICC, IPTC, TAGS, XMP, Chunk
from laconic.formats.errors import FormatError
from laconic.formats.image import Image
from laconic.formats.tags import pack_tags, read_tags

_UNIT = 1000  # of dots per inch


def chunks_of(image: Image, *, strip: bool = False) -> list[Chunk]:
    """The chunks to store; ``strip`` leaves all but the colour profile out."""
    blobs = [(ICC, image.icc)]
    if not strip:
        blobs += [
            (EXIF, image.exif),
            (XMP, image.xmp),
            (IPTC, image.iptc),
            (TAGS, pack_tags(image.texts)),
            (DENSITY, _pack_density(image.density)),
        ]
    return [Chunk(kind, data) for kind, data in blobs if data]


def with_chunks(image: Image, chunks: Sequence[Chunk]) -> Image:
    """``image`` with the metadata of a file's chunks; damaged ones leave a notice."""
    blobs = {chunk.type: chunk.data for chunk in chunks}
    notices = list(image.notices)
    texts: dict[str, str] = {}
    try:
        texts = read_tags(blobs.get(TAGS, b""))
    except FormatError:
        notices.append("the texts beside the picture are damaged and were left out")
    return replace(
        image,
        icc=blobs.get(ICC),
        exif=blobs.get(EXIF),
        xmp=blobs.get(XMP),
        iptc=blobs.get(IPTC),
        texts=texts,
        density=_read_density(blobs.get(DENSITY, b"")),
        notices=notices,
    )


def _pack_density(density: tuple[float, float] | None) -> bytes:
    if density is None:
        return b""
    return struct.pack(">II", *(min(round(d * _UNIT), 2**32 - 1) for d in density))


def _read_density(data: bytes) -> tuple[float, float] | None:
    if len(data) != 8:
        return None
    across, down = struct.unpack(">II", data)
    return (across / _UNIT, down / _UNIT) if across and down else None

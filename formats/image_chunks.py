"""A picture's metadata <-> chunks of a container: colour profile, EXIF, XMP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from laconic.formats.container import EXIF, ICC, XMP, Chunk
from laconic.formats.image import Image


def chunks_of(image: Image, *, strip: bool = False) -> list[Chunk]:
    """The chunks to store; ``strip`` leaves EXIF and XMP out."""
    blobs = [(ICC, image.icc)]
    if not strip:
        blobs += [(EXIF, image.exif), (XMP, image.xmp)]
    return [Chunk(kind, data) for kind, data in blobs if data]


def with_chunks(image: Image, chunks: Sequence[Chunk]) -> Image:
    """``image`` with the metadata of a file's chunks."""
    blobs = {chunk.type: chunk.data for chunk in chunks}
    return replace(image, icc=blobs.get(ICC), exif=blobs.get(EXIF), xmp=blobs.get(XMP))

"""File formats: the ``.lac`` container and the media files people have. No torch, no codecs."""

from laconic.formats.container import Chunk, Container, ContainerWriter, Header, Media, Segment
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import DEFAULT_LIMITS, Limits

__all__ = [
    "DEFAULT_LIMITS",
    "Chunk",
    "Container",
    "ContainerReader",
    "ContainerWriter",
    "Header",
    "Limits",
    "Media",
    "Segment",
]

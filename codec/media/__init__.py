"""The media that Laconic codes: one object each, and which of them a source is.

>>> from laconic.codec import media
>>> [m.name for m in media.MEDIA]
['image', 'audio', 'video', 'table']
>>> media.sniff(media.Source("talk.flac")).plural
'recordings'
"""

from __future__ import annotations

from laconic.codec.media.audio import AudioMedium
from laconic.codec.media.base import Medium, Saved, Source
from laconic.codec.media.image import ImageMedium
from laconic.codec.media.table import TableMedium
from laconic.codec.media.video import VideoMedium
from laconic.formats.container import Media
from laconic.formats.errors import ParameterError

__all__ = ["MEDIA", "Medium", "Saved", "Source", "named", "of", "sniff"]

MEDIA: tuple[Medium, ...] = (ImageMedium(), AudioMedium(), VideoMedium(), TableMedium())


def of(kind: Media) -> Medium:
    """The medium with that number in files."""
    return next(m for m in MEDIA if m.kind == kind)


def named(name: str) -> Medium:
    """The medium of that name; raises ``ParameterError``."""
    for medium in MEDIA:
        if medium.name == name:
            return medium
    raise ParameterError(
        f"the medium is {name!r}: expected one of {', '.join(m.name for m in MEDIA)}"
    )


def sniff(source: Source) -> Medium:
    """What a source is: by its type, else its extension, else its first bytes; an image where
    none of them says."""
    if source.is_object:
        return next((m for m in MEDIA if m.is_one(source.value)), MEDIA[0])
    for says in (
        lambda m: m.claims(source),
        lambda m: bool(source.head) and m.looks_like(source.head),
    ):
        for medium in MEDIA:
            if says(medium):
                return medium
    return MEDIA[0]

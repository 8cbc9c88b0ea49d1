"""What a coded input holds, from its first bytes, which stay in it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from laconic.cli.batch import STD

if TYPE_CHECKING:
    from laconic.formats.container import Media


def media_of(source: str) -> Media | None:
    """The kind of media in an input of ``decode``; None where that cannot be said, which is
    reported when it is decoded."""
    from laconic.codec.audio.sources import head_of
    from laconic.formats.container import SIGNATURE, Media

    length = len(SIGNATURE) + 1
    try:
        if source == STD:
            head = head_of(sys.stdin.buffer, length)
        else:
            with open(source, "rb") as file:
                head = file.read(length)
    except OSError:
        return None
    if len(head) < length or not head.startswith(SIGNATURE):
        return None
    kind = head[-1] & 15
    return Media(kind) if kind in Media._value2member_map_ else None

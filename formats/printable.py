"""Text for people: escaped names, and tags of media.

Names and tags from files, safe to print.

Tags of recordings (title, artist, ...) as a chunk: texts in UTF-8, names and values in turn, each
ended by a zero byte.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from laconic.formats.errors import FormatError

# Control characters, surrogates, private use, and everything that changes the order or the place
# of what stands around it.
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def printable(text: str, limit: int | None = None) -> str:
    """``text`` with terminal escapes, newlines, marks of direction and other characters without a
    glyph shown as escapes, cut to ``limit`` characters.

    >>> printable("a\\x1b[31mred\\n\\u202etxt.exe")
    'a\\\\x1b[31mred\\\\n\\\\u202etxt.exe'
    """
    shown = "".join(_escaped(c) if unicodedata.category(c) in _HIDDEN else c for c in text)
    if limit is not None and len(shown) > limit:
        return shown[: max(0, limit - 1)] + "…"
    return shown


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


# What a container says of itself and not of the audio in it.
TECHNICAL = {
    "encoder", "major_brand", "minor_version", "compatible_brands", "handler_name", "vendor_id",
    "language", "duration", "creation_time",
}  # fmt: skip
MAX_BYTES = 1 << 16


def useful(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags without technical ones, names in lower case, no zero characters, in the order given."""
    cleaned = {}
    for name, value in tags.items():
        name, value = name.strip().lower().replace("\0", " "), value.replace("\0", " ")
        if name and value and name not in TECHNICAL:
            cleaned[name] = value
    return cleaned


def pack_tags(tags: Mapping[str, str]) -> bytes:
    """The chunk; b"" for no tags. Of more than 64 KiB the last ones are left out."""
    data = b""
    for name, value in tags.items():
        pair = name.encode("utf-8", "replace") + b"\0" + value.encode("utf-8", "replace") + b"\0"
        if len(data) + len(pair) <= MAX_BYTES:
            data += pair
    return data


def read_tags(data: bytes) -> dict[str, str]:
    """Inverse of :func:`pack_tags`.

    >>> read_tags(pack_tags({"title": "Wind", "artist": "Élise"}))
    {'title': 'Wind', 'artist': 'Élise'}
    """
    parts = data.split(b"\0")
    if parts.pop() != b"" or len(parts) % 2:
        raise FormatError("the audio's tags are damaged")
    try:
        texts = [part.decode("utf-8") for part in parts]
    except UnicodeDecodeError as error:
        raise FormatError("the audio's tags are no UTF-8: the file is damaged") from error
    return dict(zip(texts[::2], texts[1::2], strict=True))

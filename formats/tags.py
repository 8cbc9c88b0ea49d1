"""Tags of sounds (title, artist, ...) as a chunk: texts in UTF-8, names and values in turn, each
ended by a zero byte."""

from __future__ import annotations

from collections.abc import Mapping

from laconic.formats.errors import FormatError

# What a container says of itself and not of the sound in it.
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
        raise FormatError("the sound's tags are damaged")
    try:
        texts = [part.decode("utf-8") for part in parts]
    except UnicodeDecodeError as error:
        raise FormatError("the sound's tags are no UTF-8: the file is damaged") from error
    return dict(zip(texts[::2], texts[1::2], strict=True))

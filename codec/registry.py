"""Which codecs exist: the built-in ones and those of installed packages.

A third party registers a class under the entry-point group ``laconic.codecs``; it is imported when
a stream or a call names it, and one that cannot be imported disturbs nobody else. Built-in codecs
are listed here with the number that streams carry and the class of their private header, so that
``laconic info`` imports no network.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from laconic.codec.base import Codec
from laconic.formats.container import Header, Media
from laconic.formats.errors import FormatError, ParameterError, UnsupportedError

GROUP = "laconic.codecs"


class BuiltIn(NamedTuple):
    """A codec that ships: its number in streams, its class, the class of its private header, and
    what its files hold."""

    number: int
    codec: str
    header: str
    media: Media = Media.IMAGE


BUILT_IN = {
    "mlic": BuiltIn(
        1, "laconic.codec.image.codec:MlicCodec", "laconic.codec.image.header:MlicHeader"
    ),
    "photo": BuiltIn(
        2,
        "laconic.codec.lossless.photo.codec:PhotoCodec",
        "laconic.codec.lossless.photo.header:PhotoHeader",
    ),
    "records": BuiltIn(
        3,
        "laconic.codec.lossless.records.codec:RecordsCodec",
        "laconic.codec.lossless.records.header:RecordsHeader",
        Media.DATA,
    ),
    "mlic++": BuiltIn(
        4,
        "laconic.codec.image.reference.codec:MlicPlusPlusCodec",
        "laconic.codec.image.header:TileHeader",
    ),
    "compressai": BuiltIn(
        5,
        "laconic.codec.image.zoo.codec:CompressAICodec",
        "laconic.codec.image.header:ZooHeader",
    ),
    "hnerv": BuiltIn(
        6,
        "laconic.codec.video.codec:HnervCodec",
        "laconic.codec.video.header:HnervHeader",
        Media.VIDEO,
    ),
    "semanticodec": BuiltIn(
        7,
        "laconic.codec.audio.codec:SemantiCodec",
        "laconic.codec.audio.header:AudioCodecHeader",
        Media.AUDIO,
    ),
    "pscodec": BuiltIn(
        8,
        "laconic.codec.audio.prompt.codec:PromptCodec",
        "laconic.codec.audio.header:AudioCodecHeader",
        Media.AUDIO,
    ),
}


def _imported(path: str) -> Any:
    module, attribute = path.split(":")
    return getattr(import_module(module), attribute)


@lru_cache(maxsize=1)
def _plugins() -> dict[str, EntryPoint]:
    return {e.name: e for e in entry_points(group=GROUP) if e.name not in BUILT_IN}


def names() -> list[str]:
    """Names of all codecs, built-in first."""
    return [*BUILT_IN, *sorted(_plugins())]


@cache
def get(name: str) -> Codec:
    """The codec of that name. Raises ``ParameterError`` if there is none, ``UnsupportedError`` if
    the package that offers it cannot be imported."""
    if name in BUILT_IN:
        codec: Codec = _imported(BUILT_IN[name].codec)()
        return codec
    if name not in _plugins():
        raise ParameterError(f"there is no codec {name!r}: choose one of {', '.join(names())}")
    try:
        plugin: Codec = _plugins()[name].load()()
    except Exception as error:
        raise UnsupportedError(
            f"the codec {name!r} of the package {_plugins()[name].value!r} cannot be loaded:"
            f" {type(error).__name__}: {error}"
        ) from error
    return plugin


def name_of(codec_id: int) -> str:
    """Name of the codec with a stream's number; raises ``UnsupportedError`` for unknown ones."""
    for name, row in BUILT_IN.items():
        if row.number == codec_id:
            return name
    for name in _plugins():
        try:
            if get(name).codec_id == codec_id:
                return name
        except UnsupportedError:
            continue
    raise UnsupportedError(
        f"the stream was made by codec number {codec_id}, which is not installed: known are"
        f" {', '.join(names())}; install the package that offers it or a newer Laconic"
    )


def name_for(header: Header) -> str:
    """Name of the codec that a header asks for.

    Raises ``FormatError`` if its files do not hold what the header says, ``UnsupportedError`` for
    an unknown codec.
    """
    name = name_of(header.codec)
    media = BUILT_IN[name].media if name in BUILT_IN else getattr(get(name), "media", Media.IMAGE)
    if media != header.media:
        raise FormatError(
            f"the header says {header.media.name.lower()}, but the codec {name} codes"
            f" {media.name.lower()}: the file is damaged"
        )
    return name


def describe(name: str, codec_header: bytes) -> dict[str, Any]:
    """Facts of a stream's private header for people; built-in codecs are not imported for it.

    Raises ``FormatError`` for impossible values.
    """
    if name not in BUILT_IN:
        return get(name).describe(codec_header)
    facts: dict[str, Any] = _imported(BUILT_IN[name].header).unpack(codec_header).to_dict()
    return facts

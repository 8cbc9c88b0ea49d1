"""Which codecs exist: the built-in ones and those of installed packages.

A third party registers a class under the entry-point group ``laconic.codecs``; it is imported when
it is needed, and one that cannot be imported disturbs nobody else. Everything else that is to be
known of a codec, its number in files included, stands in its class (``codec.base.Codec``).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from laconic.codec.base import Codec, DecodeSettings, EncodeSettings
from laconic.codec.media import of
from laconic.codec.options import Option, declared
from laconic.formats.container import Header, Media
from laconic.formats.errors import FormatError, ParameterError, UnsupportedError

GROUP = "laconic.codecs"
# The first of a medium is its default, the first lossless one that of ``lossless``.
BUILT_IN = {
    "mlic": "laconic.codec.image.codecs:MlicCodec",
    "photo": "laconic.codec.lossless.photo.codec:PhotoCodec",
    "records": "laconic.codec.lossless.records.codec:RecordsCodec",
    "mlic++": "laconic.codec.image.codecs:MlicPlusPlusCodec",
    "compressai": "laconic.codec.image.codecs:CompressAICodec",
    "motion": "laconic.codec.video.codec:MotionCodec",
    "hnerv": "laconic.codec.video.codec:HnervCodec",
    "semanticodec": "laconic.codec.audio.codec:SemantiCodec",
    "pscodec": "laconic.codec.audio.pscodec.codec:PromptCodec",
}


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
        module, attribute = BUILT_IN[name].split(":")
        codec: Codec = getattr(import_module(module), attribute)()
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
    if not isinstance(plugin, Codec):
        raise UnsupportedError(
            f"the codec {name!r} of {_plugins()[name].value!r} is no laconic.codec.base.Codec:"
            " derive its class from that"
        )
    return plugin


def codecs() -> Iterator[Codec]:
    """All codecs that can be loaded, built-in first."""
    for name in names():
        try:
            yield get(name)
        except UnsupportedError:
            continue


def name_of(codec_id: int) -> str:
    """Name of the codec with a stream's number; raises ``UnsupportedError`` for unknown ones."""
    for codec in codecs():
        if codec.codec_id == codec_id:
            return codec.name
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
    if get(name).media != header.media:
        raise FormatError(
            f"the header says {of(header.media).plural}, but the codec {name} codes"
            f" {of(get(name).media).plural}: the file is damaged"
        )
    return name


def default(media: Media, *, lossless: bool = False) -> Codec:
    """The codec that is taken for a medium when none is named; ``ParameterError`` without one."""
    for codec in codecs():
        if codec.media == media and (codec.lossless or not lossless):
            return codec
    how = " losslessly: leave lossless out" if lossless else ": install one"
    raise ParameterError(f"no codec here codes {of(media).plural}{how}")


def owners(option: str, *, decoding: bool = False) -> list[str]:
    """Names of the codecs that have an option."""
    shared = declared(EncodeSettings if not decoding else DecodeSettings)
    return [
        c.name
        for c in codecs()
        if option not in shared and option in declared(c.decode_options if decoding else c.options)
    ]


def options(*, decoding: bool = False) -> dict[str, tuple[Option, list[Codec]]]:
    """Every option that some codec adds to the shared ones, and the codecs that have it."""
    shared = declared(EncodeSettings if not decoding else DecodeSettings)
    found: dict[str, tuple[Option, list[Codec]]] = {}
    for codec in codecs():
        for name, option in declared(codec.decode_options if decoding else codec.options).items():
            if name not in shared:
                found.setdefault(name, (option, []))[1].append(codec)
    return found

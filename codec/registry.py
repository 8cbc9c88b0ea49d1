"""Which codecs exist: the built-in ones and those of installed packages.

A third party registers a class under the entry-point group ``laconic.codecs``; it is imported when
a stream or a call names it, and one that cannot be imported disturbs nobody else. Built-in codecs
are listed here with the number that streams carry, so that ``laconic info`` needs no import at all.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from laconic.codec.base import Codec
from laconic.formats.errors import ParameterError, UnsupportedError

GROUP = "laconic.codecs"
BUILT_IN = {
    "mlic": (1, "laconic.codec.image.codec:MlicCodec"),
    "photo": (2, "laconic.codec.lossless.photo.codec:PhotoCodec"),
    "records": (3, "laconic.codec.lossless.records.codec:RecordsCodec"),
    "mlic++": (4, "laconic.codec.image.reference.codec:MlicPlusPlusCodec"),
    "compressai": (5, "laconic.codec.image.zoo.codec:CompressAICodec"),
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
        module, attribute = BUILT_IN[name][1].split(":")
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
    return plugin


def name_of(codec_id: int) -> str:
    """Name of the codec with a stream's number; raises ``UnsupportedError`` for unknown ones."""
    for name, (number, _) in BUILT_IN.items():
        if number == codec_id:
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

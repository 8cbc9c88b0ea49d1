"""The functions programs call: encode, decode, open, probe, verify.

Which keywords they take follows from what the codecs declare (``codec.options``). Nothing here
imports torch; the codec that a call needs does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from difflib import get_close_matches
from errno import ENOENT
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from laconic.codec import media, models, registry
from laconic.codec.base import (
    RATES,
    Codec,
    DecodeSettings,
    EncodeSettings,
    Progress,
    Status,
    VerifyReport,
)
from laconic.codec.info import Info, info_of
from laconic.codec.media.base import Medium
from laconic.codec.media.base import Source as Input
from laconic.codec.media.base import opened as _reader
from laconic.codec.options import declared
from laconic.formats.audio import Audio
from laconic.formats.claims import check_claims
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import DEFAULT_LIMITS, Limits, ModelError, ParameterError
from laconic.formats.image import Image
from laconic.formats.records import Records
from laconic.formats.table import Table
from laconic.formats.video_reader import Film

Source = str | PathLike[str] | bytes | BinaryIO


@dataclass(frozen=True)
class Work:
    """An encoding that can begin: what :func:`prepare` found out."""

    codec: Codec
    medium: Medium
    media: Any
    settings: EncodeSettings

    def encode(self) -> bytes:
        """The file."""
        data = self.codec.encode(self.media, self.settings)
        return self.medium.sealed(data, self.settings.limits)


def encode(
    source: Source | Image | NDArray[Any] | Table | Records | Audio | Film,
    *,
    codec: str | None = None,
    quality: float | None = None,
    bpp: float | None = None,
    kbps: float | None = None,
    target_bytes: int | None = None,
    lossless: bool = False,
    model: str | None = None,
    verify: bool = True,
    progress: Progress | None = None,
    status: Status | None = None,
    note: Status | None = None,
    limits: Limits = DEFAULT_LIMITS,
    **options: Any,
) -> bytes:
    """Encode an image, a recording, a video, a table or an array into the bytes of a ``.lac`` file.

    Args:
        source: path, bytes or binary file of anything that is read here, recognised by its
            extension or its first bytes; an :class:`Image`, an :class:`Audio`, a :class:`Table`; an
            array ``[H, W]``, ``[H, W, 1]`` or ``[H, W, 3]`` of uint8 or uint16 is an image, frames
            ``[N, H, W, 1 or 3]`` of uint8 a video, and with the codec "records" an array
            ``[N, ...]`` of whole numbers a table.
        codec: name of the codec, with a colon and a model if wanted, such as
            ``compressai:mbt2018-mean:4``; None takes the one that ``model`` is made for, or
            chooses by the kind of input.
        quality: 0 (smallest) to 100 (best); the codec's own choice when no rate is given.
        bpp: largest number of bits per pixel that the file may take, headers included.
        kbps: largest number of kbit/s that the file of a recording may take, headers included.
        target_bytes: largest size of the file in bytes, headers included.
        lossless: ask for exact reconstruction.
        model: name, id or path of a model; None is the codec's default.
        verify: decode the symbols once and compare before returning.
        progress: called with (done, total).
        status: called with a few words on how the work stands.
        note: called with sentences on what is lost, left out or resumed.
        limits: refuse images beyond these.
        options: the codec's own, such as ``effort``, ``tile``, ``strip`` or ``preset``:
            :func:`laconic.codec.registry.options` lists them, ``laconic encode --help`` explains.

    Raises:
        ParameterError: contradictory or out-of-range arguments, an option of another codec, or an
            unreachable target size.
        TypeError: an option that no codec has.
        FormatError, UnsupportedError, LimitError: the source cannot be read.
        ModelError: the model is missing or damaged.
    """
    given = Input(source)
    with prepare(
        given,
        codec=codec,
        lossless=lossless,
        quality=quality,
        bpp=bpp,
        kbps=kbps,
        target_bytes=target_bytes,
        model=model,
        verify=verify,
        progress=progress,
        status=status,
        note=note,
        limits=limits,
        **options,
    ) as work:
        return work.encode()


@contextmanager
def prepare(
    source: Input,
    *,
    codec: str | None = None,
    lossless: bool = False,
    model: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    offered: Mapping[str, Any] | None = None,
    **given: Any,
) -> Iterator[Work]:
    """The first half of :func:`encode`: choose a codec, check its options, open the source.

    Options that are None count as not given; those ``offered`` are left out where the codec has
    none of that name. What was opened is closed with the block.
    """
    rates = [name for name in RATES if given.get(name) is not None]
    if len(rates) > 1:
        raise ParameterError(f"{' and '.join(rates)} exclude each other: give one of them")
    chosen, model = _chosen(source, codec, lossless, model)
    if lossless and not chosen.lossless:
        better = registry.default(chosen.media, lossless=True).name
        raise ParameterError(f"the codec {chosen.name} is not lossless: choose {better}")
    for rate in rates:
        if rate not in chosen.rates:
            raise ParameterError(_no_rate(chosen, rate, given[rate]))
    has = {f.name for f in fields(chosen.options)}
    extra = {name: value for name, value in (offered or {}).items() if name in has}
    values = {"model": model, "limits": limits, **extra, **given}
    settings: EncodeSettings = build(chosen, chosen.options, values)
    medium = media.of(chosen.media)
    if isinstance(source.value, Path) and not source.value.exists():
        raise FileNotFoundError(ENOENT, "No such file or folder", str(source.value))
    read = medium.read(source, limits)
    try:
        medium.check(read, settings, lossless=chosen.lossless)
        for sentence in getattr(read, "notices", ()):
            settings.say(sentence)
        yield Work(chosen, medium, read, settings)
    finally:
        if hasattr(read, "close") and read is not source.value:
            read.close()


def _chosen(
    source: Input, codec: str | None, lossless: bool, model: str | None
) -> tuple[Codec, str | None]:
    """The codec of a call, and the model it names."""
    if codec is not None:
        name, _, variant = codec.partition(":")
        return registry.get(name), model or variant or None
    usual = registry.default(media.sniff(source).kind, lossless=lossless)
    if model is None or model in usual.networks:
        return usual, model
    try:
        return registry.get(models.find(model).codec), model
    except ModelError as error:
        if not usual.networks:
            raise
        known = ", ".join(usual.networks)
        raise ParameterError(
            f"the codec {usual.name} has no model {model!r}: expected one of {known}"
        ) from error


def _no_rate(codec: Codec, rate: str, value: Any) -> str:
    if codec.lossless:
        return (
            f"{rate} is {value}: the codec {codec.name} is lossless and has one size; leave it out,"
            " or choose a lossy codec"
        )
    others = [c.name for c in registry.codecs() if rate in c.rates]
    known = " or ".join(codec.rates) or "nothing"
    return (
        f"the codec {codec.name} is not asked for {rate}, as {', '.join(others)} can be: give"
        f" {known}"
    )


def build(
    codec: Codec, kind: type[Any], given: Mapping[str, Any], *, decoding: bool = False
) -> Any:
    """Settings of a codec from keywords; those that are None count as not given.

    Raises ``ParameterError`` for a value out of range and for an option of other codecs, which it
    names, and ``TypeError`` for one that no codec has.
    """
    known, allowed = declared(kind), {f.name for f in fields(kind)}
    values = {}
    for name, value in given.items():
        if value is None:
            continue
        if name not in allowed:
            raise _not_here(codec, name, allowed, decoding)
        values[name] = known[name].checked(value) if name in known else value
    return kind(**values)


def _not_here(codec: Codec, name: str, allowed: set[str], decoding: bool) -> Exception:
    owners = registry.owners(name, decoding=decoding)
    if owners:
        has = (
            f"{', '.join(owners[:-1])} and {owners[-1]} have" if owners[1:] else f"{owners[0]} has"
        )
        return ParameterError(f"the codec {codec.name} has no option {name}: {has} it")
    close = get_close_matches(name, [*allowed, *registry.options(decoding=decoding)], 1)
    what = f": did you mean {close[0]!r}?" if close else ""
    return TypeError(f"no codec has an option {name!r}{what}")


def decode(
    data: Source,
    *,
    region: tuple[int, int, int, int] | None = None,
    rows: tuple[int, int] | None = None,
    frames: tuple[int, int] | None = None,
    seconds: tuple[float, float] | None = None,
    partial: bool = False,
    progress: Progress | None = None,
    limits: Limits = DEFAULT_LIMITS,
    **options: Any,
) -> Any:
    """Decode a ``.lac`` file: an :class:`Image`, an :class:`Audio`, a :class:`Table`, an array of
    records, or the frames of a video, which keep the file open (``codec.media.video``).

    Args:
        data: bytes, path or binary file.
        region: ``(x, y, width, height)`` of an image in pixels; only the tiles it needs are read.
        rows: ``(first, end)`` of a table or array; only the blocks they need are read.
        frames: ``(first, end)`` of a video; only the chunks they need are read.
        seconds: ``(start, end)`` of a recording; only the segments they need are read.
        partial: decode what is intact of a damaged file; missing tiles are mid-gray, missing
            frames left out, missing seconds of a recording silent, and a notice in the result names
            them.
        progress: called with (done, total).
        limits: refuse files that claim more.
        options: the codec's own, such as ``steps`` and ``seed`` of a recording.

    Raises:
        FormatError: damaged or truncated. DesyncError: decoded symbols are wrong.
        ModelError: the model that the file names is not installed.
        LimitError, UnsupportedError: too large, too new or of another kind.
        ParameterError: a part that the medium does not have, an option of another codec.
    """
    given = {
        "region": region, "rows": rows, "frames": frames, "seconds": seconds, "partial": partial,
        "progress": progress, "limits": limits, **options,
    }  # fmt: skip
    with ExitStack() as stack:
        reader = stack.enter_context(_reader(data, limits, partial=partial))
        codec, settings = decoding(reader, given)
        decoded = codec.decode(reader, settings)
        if hasattr(decoded, "keep"):
            decoded.keep(stack.pop_all().close)
        return decoded


def decoding(file: Any, given: Mapping[str, Any]) -> tuple[Codec, DecodeSettings]:
    """The codec of an open file and its settings; ``ParameterError`` for what does not apply."""
    codec = registry.get(registry.name_for(file.header))
    if isinstance(file, ContainerReader):
        check_claims(file)
    own = media.of(file.header.media)
    for medium in media.MEDIA:
        if medium.part != own.part and given.get(medium.part) is not None:
            raise ParameterError(
                f"only {medium.plural} have {medium.part}: the file holds {own.one}, ask for"
                f" {own.part}"
            )
    return codec, build(codec, codec.decode_options, given, decoding=True)


def preview(
    data: Source, *, progress: Progress | None = None, limits: Limits = DEFAULT_LIMITS
) -> Image:
    """The lossy image that a lossless file begins with, without decoding the rest.

    Raises ``ParameterError`` for files without one, else the same errors as :func:`decode`.
    """
    image: Image = decode(data, preview=True, progress=progress, limits=limits)
    return image


def verify(
    data: Source, *, progress: Progress | None = None, limits: Limits = DEFAULT_LIMITS
) -> VerifyReport:
    """Decode every symbol of a file and compare the checks, without synthesis.

    Raises the same errors as :func:`decode`.
    """
    with _reader(data, limits) as reader:
        codec, settings = decoding(reader, {"progress": progress, "limits": limits})
        return codec.verify(reader, settings)


def probe(data: Source, *, limits: Limits = DEFAULT_LIMITS) -> Info:
    """Facts of a file from its header, without decoding and without importing torch."""
    with _reader(data, limits) as reader:
        return info_of(reader, limits)


class Reader:
    """Random access to a ``.lac`` file: ``with codec.open("x.lac") as f: f.region(0, 0, 64,
    64)``."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self._limits = limits
        self._context = _reader(source, limits)
        self._reader: ContainerReader = self._context.__enter__()
        self.info = info_of(self._reader, limits)

    def __len__(self) -> int:
        """Number of tiles, blocks or segments."""
        return len(self._reader)

    def region(self, x: int, y: int, width: int, height: int) -> Any:
        """Decode a rectangle; only the tiles it needs are read."""
        return self.decode(region=(x, y, width, height))

    def rows(self, first: int, end: int) -> Any:
        """Decode rows of a table or array; only the blocks they need are read."""
        return self.decode(rows=(first, end))

    def seconds(self, start: float, end: float) -> Any:
        """Decode a part of a recording; only the segments it needs are read."""
        return self.decode(seconds=(start, end))

    def decode(self, **options: Any) -> Any:
        """Decode everything, or what the options of :func:`decode` name."""
        codec, settings = decoding(self._reader, {"limits": self._limits, **options})
        return codec.decode(self._reader, settings)

    def preview(self) -> Image:
        """The lossy image that a lossless file begins with; see :func:`preview`."""
        image: Image = self.decode(preview=True)
        return image

    def close(self) -> None:
        """Close the file."""
        self._context.__exit__(None, None, None)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open(source: Source, *, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Open a file for random access: a :class:`Reader`, or what a video decodes to, a sequence of
    frames that reads and evaluates those that are asked for."""
    reader = Reader(source, limits)
    if not media.named(reader.info.media).is_lazy:
        return reader
    reader.close()
    return decode(source, limits=limits)

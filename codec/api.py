"""The functions programs call: encode, decode, open, probe, verify.

Nothing here imports torch; the codec that a call needs does.
"""

from __future__ import annotations

import builtins
import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from os import PathLike, fspath
from types import TracebackType
from typing import Any, BinaryIO

from numpy.typing import NDArray

from laconic.codec import models, registry
from laconic.codec.audio.sources import is_sound
from laconic.codec.base import (
    DEFAULT_QUALITY,
    Codec,
    DecodeSettings,
    EncodeSettings,
    FilmSettings,
    Progress,
    Status,
    VerifyReport,
)
from laconic.codec.info import Info, info_of
from laconic.codec.sources import as_film, as_image, as_records, is_data, is_film
from laconic.formats.audio import Audio
from laconic.formats.claims import check_claims, padded
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import ParameterError
from laconic.formats.image import Image, check_whole
from laconic.formats.limits import DEFAULT_LIMITS, Limits
from laconic.formats.records import Records
from laconic.formats.samples import as_samples
from laconic.formats.table import Table
from laconic.formats.video_reader import Film

Source = str | PathLike[str] | bytes | BinaryIO
LOSSY_CODEC, LOSSLESS_CODEC, FILM_CODEC = "mlic", "photo", "hnerv"
SOUND_CODEC = "semanticodec"


def encode(
    source: Source | Image | NDArray[Any] | Table | Records | Audio | Film,
    *,
    codec: str | None = None,
    quality: float | None = None,
    bpp: float | None = None,
    target_bytes: int | None = None,
    lossless: bool = False,
    effort: int = 0,
    model: str | None = None,
    strip: bool = False,
    verify: bool = True,
    tile: int | None = None,
    preview: bool = False,
    allow_conversion: bool = False,
    states: int | None = None,
    block: int | None = None,
    film: FilmSettings | None = None,
    preset: str | None = None,
    kbps: float | None = None,
    steps: int | None = None,
    seed: int | None = None,
    stereo: str | None = None,
    progress: Progress | None = None,
    status: Status | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> bytes:
    """Encode a picture, a film, a sound, a table or an array into the bytes of a ``.lac`` file.

    Args:
        source: path, bytes or binary file of a picture; an :class:`Image`; or an array
            ``[H, W]``, ``[H, W, 1]`` or ``[H, W, 3]`` of uint8 or uint16. With the codec
            "records": a :class:`Table`, an array ``[N, ...]`` of whole numbers, or a CSV, TSV,
            .npy, IDX or Parquet file, or a folder of gray pictures of one size. With the codec
            "hnerv": a film that FFmpeg reads, or frames ``[N, H, W, 1 or 3]`` of uint8. With the
            codec "semanticodec", chosen for the usual sound files: whatever FFmpeg plays, or an
            :class:`Audio`.
        codec: name of the codec, with a colon and a model if wanted, such as
            ``compressai:mbt2018-mean:4``; None takes the one that ``model`` is made for, or
            chooses by the kind of input.
        quality: 0 (smallest) to 100 (best); 50 when nothing else is given. Lossy codecs only, as
            are bpp and target_bytes.
        bpp: largest number of bits per pixel that the file may take, headers included.
        target_bytes: largest size of the file in bytes, headers included.
        lossless: ask for exact reconstruction.
        effort: 0 (fastest) to 9; above 0 the latents or the model are optimised for the picture,
            and Ctrl-C ends the search with the best found so far.
        model: name, id or path of a model; None is the codec's default.
        strip: leave out EXIF and XMP (colour profiles always stay).
        verify: decode the symbols once and compare before returning.
        tile: side of the tiles in pixels, a multiple of 64.
        preview: begin a lossless file with a lossy picture of ``quality`` (10 if not given) that
            can be decoded alone; costs a few percent.
        allow_conversion: encode the first frame of an animation or page of a document, and
            without loss a picture whose samples had to be converted; such are refused otherwise.
        states: latent states of the circuit that is learned for records; None chooses.
        block: rows of records that are decoded independently; None chooses.
        film: what only films have: length of chunks, sound, work file.
        preset: how long a film is fitted: "fast", "medium" (default) or "slow".
        kbps: largest number of kbit/s that the file of a sound may take, headers included.
        steps: evaluations of the refiner that a decoder of the sound should make; 0 is the fast
            deterministic mode.
        seed: of the noise that the refiner starts from.
        stereo: "joint" (one set of tokens and the levels of both channels) or "dual" (both
            channels on their own).
        progress: called with (done, total).
        status: called with a few words on how the search stands.
        limits: refuse pictures beyond these.

    Raises:
        ParameterError: contradictory or out-of-range arguments, or an unreachable target size.
        FormatError, UnsupportedError, LimitError: the source cannot be read.
        ModelError: the model is missing or damaged.
    """
    _check_rate(quality, bpp, target_bytes, lossless and not preview, kbps)
    if codec != "records":
        source = as_samples(source)
    if codec is None and is_data(source):
        codec = "records"
    if codec is None and is_film(source):
        codec = FILM_CODEC
    if codec is None and model is None and not lossless and is_sound(source):
        codec = SOUND_CODEC
    if codec is None and model is not None:
        codec = models.find(model).codec
    name, _, variant = (codec or (LOSSLESS_CODEC if lossless else LOSSY_CODEC)).partition(":")
    model = model or variant or None
    chosen = registry.get(name)
    exact = getattr(chosen, "lossless", False)
    if lossless and not exact:
        raise ParameterError(f"the codec {name} is not lossless: choose {LOSSLESS_CODEC}")
    if preview and not hasattr(chosen, "preview"):
        raise ParameterError(
            f"files of the codec {name} hold no preview: leave it out, or add lossless"
        )
    kind = getattr(chosen, "media", Media.IMAGE)
    of_sounds = {"kbps": kbps, "steps": steps, "seed": seed, "stereo": stereo}
    for option, value in of_sounds.items():
        if value is not None and kind != Media.AUDIO:
            raise ParameterError(f"{option} is for sounds: the codec {name} codes none")
    media: Any = source  # codecs of sounds read it as they go
    if kind == Media.DATA:
        media = as_records(source, limits)
    elif kind == Media.VIDEO:
        media = as_film(source, limits)
    elif kind == Media.IMAGE:
        media = as_image(source, limits)
        if not allow_conversion:
            check_whole(media, lossless=exact)
    film = film or FilmSettings()
    if quality is None and bpp is None and target_bytes is None and not exact:
        quality = getattr(chosen, "default_quality", DEFAULT_QUALITY)
    settings = EncodeSettings(
        quality=quality,
        bpp=bpp,
        target_bytes=target_bytes,
        effort=effort,
        model=model,
        strip=strip,
        verify=verify,
        tile=tile,
        preview=preview,
        states=states,
        block=block,
        film=film if preset is None else replace(film, preset=preset),
        kbps=kbps,
        steps=steps,
        seed=seed,
        stereo=stereo,
        progress=progress,
        status=status,
        limits=limits,
    )
    data = chosen.encode(media, settings)
    return padded(data, limits) if kind == Media.IMAGE else data


def decode(
    data: Source,
    *,
    region: tuple[int, int, int, int] | None = None,
    rows: tuple[int, int] | None = None,
    frames: tuple[int, int] | None = None,
    partial: bool = False,
    seconds: tuple[float, float] | None = None,
    steps: int | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Any:
    """Decode a ``.lac`` file: an :class:`Image`, an :class:`Audio`, a :class:`Table`, an array of
    records, or a lazy ``Video`` (``codec/video/stream/movie.py``), which keeps the file open.

    Args:
        data: bytes, path or binary file.
        region: ``(x, y, width, height)`` in pixels; only the tiles it needs are read.
        rows: ``(first, end)`` of a table or array; only the blocks they need are read.
        frames: ``(first, end)`` of a film; only the chunks they need are read.
        partial: decode what is intact of a damaged file; missing tiles are mid-gray, missing
            frames left out, missing seconds of a sound silent, and a notice in the result names
            them.
        seconds: ``(start, end)`` of a sound; only the segments they need are read.
        steps: evaluations of a sound's refiner, instead of the number that the file advises.
        seed: of its noise, instead of the file's.
        progress: called with (done, total).
        limits: refuse files that claim more.

    Raises:
        FormatError: damaged or truncated. DesyncError: decoded symbols are wrong.
        ModelError: the model that the file names is not installed.
        LimitError, UnsupportedError: too large, too new or of another kind.
    """
    settings = DecodeSettings(
        region=region,
        rows=rows,
        frames=frames,
        partial=partial,
        seconds=seconds,
        steps=steps,
        seed=seed,
        progress=progress,
        limits=limits,
    )
    with ExitStack() as stack:
        reader = stack.enter_context(_reader(data, limits, partial=partial))
        if reader.header.media != Media.VIDEO and frames is not None:
            raise ParameterError("the file holds no film: it has no frames to choose from")
        for option, value in (("seconds", seconds), ("steps", steps), ("seed", seed)):
            if value is not None and reader.header.media != Media.AUDIO:
                raise ParameterError(f"{option} is for sounds: the file holds none")
        decoded = _codec_of(reader).decode(reader, settings)
        if reader.header.media == Media.VIDEO:
            decoded.keep(stack.pop_all().close)
        return decoded


def preview(
    data: Source, *, progress: Progress | None = None, limits: Limits = DEFAULT_LIMITS
) -> Image:
    """The lossy picture that a lossless file begins with, without decoding the rest.

    Raises ``ParameterError`` for files without one, else the same errors as :func:`decode`.
    """
    with _reader(data, limits) as reader:
        return _preview_of(reader, DecodeSettings(progress=progress, limits=limits))


def verify(
    data: Source, *, progress: Progress | None = None, limits: Limits = DEFAULT_LIMITS
) -> VerifyReport:
    """Decode every symbol of a file and compare the checks, without synthesis.

    Raises the same errors as :func:`decode`.
    """
    with _reader(data, limits) as reader:
        settings = DecodeSettings(progress=progress, limits=limits)
        return _codec_of(reader).verify(reader, settings)


def probe(data: Source, *, limits: Limits = DEFAULT_LIMITS) -> Info:
    """Facts of a file from its header, without decoding and without importing torch."""
    with _reader(data, limits) as reader:
        return info_of(reader, limits)


class Reader:
    """Random access to a ``.lac`` picture: ``with codec.open("x.lac") as f: f.region(0, 0, 64,
    64)``."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self._limits = limits
        self._context = _reader(source, limits)
        self._reader = self._context.__enter__()
        self.info = info_of(self._reader, limits)

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self._reader)

    def region(self, x: int, y: int, width: int, height: int) -> Any:
        """Decode a rectangle; only the tiles it needs are read."""
        settings = DecodeSettings(region=(x, y, width, height), limits=self._limits)
        return _codec_of(self._reader).decode(self._reader, settings)

    def rows(self, first: int, end: int) -> Any:
        """Decode rows of a table or array; only the blocks they need are read."""
        settings = DecodeSettings(rows=(first, end), limits=self._limits)
        return _codec_of(self._reader).decode(self._reader, settings)

    def seconds(self, start: float, end: float) -> Any:
        """Decode a part of a sound; only the segments it needs are read."""
        settings = DecodeSettings(seconds=(start, end), limits=self._limits)
        return _codec_of(self._reader).decode(self._reader, settings)

    def decode(self) -> Any:
        """Decode everything."""
        return _codec_of(self._reader).decode(self._reader, DecodeSettings(limits=self._limits))

    def preview(self) -> Image:
        """The lossy picture that a lossless file begins with; see :func:`preview`."""
        return _preview_of(self._reader, DecodeSettings(limits=self._limits))

    def close(self) -> None:
        """Close the file."""
        self._context.__exit__(None, None, None)

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open(source: Source, *, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Open a file for random access: a :class:`Reader`, or for films a ``Video``, a sequence of
    frames."""
    reader = Reader(source, limits)
    if reader.info.kind != Media.VIDEO.name.lower():
        return reader
    reader.close()
    return decode(source, limits=limits)


def _check_rate(
    quality: float | None,
    bpp: float | None,
    target_bytes: int | None,
    lossless: bool,
    kbps: float | None = None,
) -> None:
    given = [
        name
        for name, value in (
            ("quality", quality),
            ("bpp", bpp),
            ("target_bytes", target_bytes),
            ("kbps", kbps),
        )
        if value is not None
    ] + (["lossless"] if lossless else [])
    if len(given) > 1:
        raise ParameterError(f"{' and '.join(given)} exclude each other: give one of them")
    if quality is not None and not 0 <= quality <= 100:
        raise ParameterError(f"quality is {quality}: expected a number from 0 to 100")
    if bpp is not None and not 0 < bpp < float("inf"):
        raise ParameterError(f"bpp is {bpp}: expected a positive number of bits per pixel")
    if target_bytes is not None and target_bytes <= 0:
        raise ParameterError(f"the target size is {target_bytes} bytes: expected more than 0")


@contextmanager
def _reader(source: Source, limits: Limits, *, partial: bool = False) -> Iterator[ContainerReader]:
    if isinstance(source, bytes | bytearray | memoryview):
        yield ContainerReader(bytes(source), limits, partial=partial)
    elif isinstance(source, str | PathLike):
        if "\0" in fspath(source):
            raise ParameterError("the path holds a zero byte: no file can have that name")
        with builtins.open(fspath(source), "rb") as file:
            yield ContainerReader(file, limits, partial=partial)
    elif source.seekable():
        yield ContainerReader(source, limits, partial=partial)
    else:
        yield ContainerReader(io.BytesIO(source.read()), limits, partial=partial)


def _preview_of(reader: ContainerReader, settings: DecodeSettings) -> Image:
    codec = _codec_of(reader)
    if not hasattr(codec, "preview"):
        raise ParameterError(f"files of the codec {codec.name} hold no preview: decode the file")
    image: Image = codec.preview(reader, settings)
    return image


def _codec_of(reader: ContainerReader) -> Codec:
    name = registry.name_for(reader.header)
    check_claims(reader)
    return registry.get(name)

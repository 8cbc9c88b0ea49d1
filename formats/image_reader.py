"""Images from files of any kind: samples, header and what else they hold.

Media header of images: all that is needed to show the samples correctly.

An image's metadata <-> chunks of a container: colour profile, EXIF, XMP, IPTC, texts,
density.

Reading images: Pillow for nearly everything, FFmpeg (PyAV) for 16-bit colour, which Pillow
truncates.

What comes out is upright RGB or gray with straight alpha. Conversions that change samples leave a
notice.
"""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from laconic.formats.atomic import read_file
from laconic.formats.container import DENSITY, EXIF, ICC, IPTC, TAGS, XMP, Chunk
from laconic.formats.errors import (
    DEFAULT_LIMITS,
    FormatError,
    LimitError,
    Limits,
    ParameterError,
    UnsupportedError,
)
from laconic.formats.frame import pack_tags, read_tags, read_varint, write_varint
from laconic.formats.image import Image
from laconic.formats.image_metadata import Metadata, metadata_of, orientation_of

MAX_SIDE = 2**24


@dataclass(frozen=True)
class ImageHeader:
    """Size in pixels, 1 or 3 colour channels, 8 or 16 bits, alpha, colour space.

    ``color`` is a CICP triple (primaries, transfer, matrix; ITU-T H.273) or None; ``icc`` tells
    that an ICC chunk describes the colours. Neither means sRGB. Orientation has been applied
    already.
    """

    width: int
    height: int
    channels: int = 3
    bit_depth: int = 8
    alpha: bool = False
    color: tuple[int, int, int] | None = None
    icc: bool = False

    @classmethod
    def of(cls, image: Image) -> ImageHeader:
        """The header of an image."""
        return cls(
            image.width,
            image.height,
            image.channels,
            image.bit_depth,
            alpha=image.alpha is not None,
            color=image.color,
            icc=image.icc is not None,
        )

    def pack(self) -> bytes:
        """Bytes as in SPEC.md, section 5."""
        sides = (self.width, self.height)
        if min(sides) < 1 or max(sides) > MAX_SIDE:
            raise ParameterError(f"an image of {self.width} x {self.height} cannot be stored")
        if self.channels not in (1, 3) or self.bit_depth not in (8, 16):
            raise ParameterError(
                f"an image of {self.channels} channels of {self.bit_depth} bits cannot be stored:"
                " expected 1 or 3 channels of 8 or 16 bits"
            )
        flags = (
            (self.channels == 1)
            | self.alpha << 1
            | self.icc << 2
            | (self.color is not None) << 3
            | (self.bit_depth == 16) << 4
        )
        return (
            write_varint(self.width)
            + write_varint(self.height)
            + bytes([flags])
            + bytes(self.color or ())
        )

    @classmethod
    def unpack(cls, data: bytes, limits: Limits = DEFAULT_LIMITS) -> ImageHeader:
        """Inverse of :meth:`pack`; raises ``LimitError`` for images beyond the limits."""
        width, offset = read_varint(data, 0)
        height, offset = read_varint(data, offset)
        if offset >= len(data):
            raise FormatError("the image's header is truncated")
        flags = data[offset]
        color = data[offset + 1 :]
        if flags >> 5:
            raise UnsupportedError("the image's header uses features of a newer version")
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
            raise FormatError(f"the image's header says {width} x {height} pixels: damaged file")
        if len(color) != (3 if flags & 8 else 0):
            raise FormatError("the image's header has a wrong length: the file is damaged")
        limits.check_pixels(width, height)
        return cls(
            width,
            height,
            channels=1 if flags & 1 else 3,
            bit_depth=16 if flags & 16 else 8,
            alpha=bool(flags & 2),
            color=(color[0], color[1], color[2]) if color else None,
            icc=bool(flags & 4),
        )


_UNIT = 1000  # of dots per inch


def chunks_of(image: Image, *, strip: bool = False) -> list[Chunk]:
    """The chunks to store; ``strip`` leaves all but the colour profile out."""
    blobs = [(ICC, image.icc)]
    if not strip:
        blobs += [
            (EXIF, image.exif),
            (XMP, image.xmp),
            (IPTC, image.iptc),
            (TAGS, pack_tags(image.texts)),
            (DENSITY, _pack_density(image.density)),
        ]
    return [Chunk(kind, data) for kind, data in blobs if data]


def said_by(chunks: Sequence[Chunk]) -> Metadata:
    """The metadata of a file's chunks; damaged ones leave a notice."""
    blobs = {chunk.type: chunk.data for chunk in chunks}
    about = Metadata(blobs.get(ICC), blobs.get(EXIF), blobs.get(XMP), blobs.get(IPTC))
    about.density = _read_density(blobs.get(DENSITY, b""))
    try:
        about.texts = read_tags(blobs.get(TAGS, b""))
    except FormatError:
        about.notices.append("the texts beside the image are damaged and were left out")
    return about


def with_chunks(image: Image, chunks: Sequence[Chunk]) -> Image:
    """``image`` with the metadata of a file's chunks."""
    about = vars(said_by(chunks))
    return replace(image, **{**about, "notices": image.notices + about["notices"]})


def _pack_density(density: tuple[float, float] | None) -> bytes:
    if density is None:
        return b""
    return struct.pack(">II", *(min(round(d * _UNIT), 2**32 - 1) for d in density))


def _read_density(data: bytes) -> tuple[float, float] | None:
    if len(data) != 8:
        return None
    across, down = struct.unpack(">II", data)
    return (across / _UNIT, down / _UNIT) if across and down else None


_LOCK = threading.Lock()  # Pillow's limit is a global
DIRECT = {"L", "RGB", "LA", "RGBA"}
MAGICS = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WebP",
}


def _opened(data: bytes) -> Pillow.Image:
    """The image, whose size the caller's limits decide about and not Pillow's own."""
    with _LOCK:
        before, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
        try:
            return Pillow.open(io.BytesIO(data))
        finally:
            Pillow.MAX_IMAGE_PIXELS = before


def read(source: str | os.PathLike[str] | bytes | BinaryIO, limits: Limits) -> Image:
    """Read the first frame of an image.

    Raises ``UnsupportedError`` if it is no image that Pillow or FFmpeg know, ``FormatError`` if
    it is damaged or truncated, ``LimitError`` if it is too large (before its samples are decoded).
    """
    data = _bytes_of(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _opened(data) as opened:
                limits.check_pixels(*opened.size)
                return _convert(opened, data)
    except UnidentifiedImageError as error:
        for magic, name in MAGICS.items():
            if data.startswith(magic):
                raise FormatError(
                    f"the input begins like {name} but cannot be read: it is damaged, or of a"
                    " variant that Pillow does not know"
                ) from error
        raise UnsupportedError(
            "the input is not an image in a format that Pillow reads: expected PNG, JPEG, WebP,"
            " AVIF, TIFF, GIF, PPM or BMP"
        ) from error
    except (LimitError, UnsupportedError):
        raise
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError) as error:
        raise FormatError(f"the image is damaged or truncated: {error}") from error


def _bytes_of(source: str | os.PathLike[str] | bytes | BinaryIO) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str | os.PathLike):
        return read_file(source)
    return source.read()


def _convert(opened: Pillow.Image, data: bytes) -> Image:
    notices: list[str] = []
    changes: list[str] = []
    frames = int(getattr(opened, "n_frames", 1))
    if frames > 1:
        notices.append(f"the image has {frames} frames: only the first was read")
    if opened.format == "MPO":  # a photograph with its smaller copies or depth
        frames = 1
    orientation, keeps_profile = orientation_of(opened), True
    deep = _deep_samples(opened, data)
    if deep is not None:
        samples = _turn(deep, orientation)
    else:
        opened.load()
        mode = opened.mode
        # TIFF files are turned by Pillow as they are loaded.
        upright = opened if orientation == 1 else ImageOps.exif_transpose(opened)
        samples, changed, keeps_profile = _samples(upright)
        changes += [f"{mode} samples were converted: {changed}"] if changed else []
        notices += changes
    about = metadata_of(opened)
    notices += about.notices
    alpha = None
    if samples.shape[2] in (2, 4):
        alpha = np.ascontiguousarray(samples[..., -1])
        samples = samples[..., :-1]
        if (alpha == np.iinfo(alpha.dtype).max).all():
            alpha = None
    return Image(
        pixels=np.ascontiguousarray(samples),
        alpha=alpha,
        bit_depth=8 * samples.dtype.itemsize,
        icc=about.icc if keeps_profile else None,
        exif=about.exif,
        xmp=about.xmp,
        iptc=about.iptc,
        texts=about.texts,
        density=about.density,
        notices=notices,
        changes=changes,
        frames=frames,
    )


def _samples(opened: Pillow.Image) -> tuple[NDArray[Any], str, bool]:
    """``[H, W, 1..4]`` samples, what was changed, and whether the colour profile still holds."""
    mode = opened.mode
    if "transparency" in opened.info and mode in ("P", "L", "RGB", "1"):
        target = "RGBA" if mode != "L" else "LA"
        return _array(opened.convert(target)), "", True
    if mode in DIRECT:
        return _array(opened), "", True
    if mode == "1":
        return _array(opened.convert("L")), "", True  # 0 and 255: nothing is lost
    if mode == "P":
        has_alpha = bool(opened.palette and opened.palette.mode == "RGBA")
        return _array(opened.convert("RGBA" if has_alpha else "RGB")), "", True
    if mode.startswith("I;16"):
        return np.asarray(opened).astype(np.uint16)[..., None], "", True
    if mode == "I":
        values = np.asarray(opened).astype(np.int64)
        if values.min() >= 0 and values.max() <= 65535:
            return values.astype(np.uint16)[..., None], "", True
        clipped = np.clip(values, 0, 65535).astype(np.uint16)[..., None]
        return clipped, "32-bit integers were clipped to 0..65535", False
    if mode == "F":
        real, change = _unit_range(np.asarray(opened, dtype=np.float64))
        return np.rint(real * 65535).astype(np.uint16)[..., None], change, False
    if mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        return _array(opened.convert("RGB")), f"{mode} became RGB without its profile", False
    if mode in ("PA", "La", "RGBa"):
        return _array(opened.convert("RGBA")), "", True
    return _array(opened.convert("RGB")), f"{mode} became RGB", False


def _unit_range(real: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """Floats in 0..1, and what was done: a robust range, so that a marker of missing data or an
    infinite sample does not make everything else one level."""
    finite = np.isfinite(real)
    odd = int(real.size - finite.sum())
    values = real[finite]
    if not values.size:
        return np.zeros(real.shape), f"all {odd} samples are not finite and became 0"
    low, high = float(values.min()), float(values.max())
    change = f"floating point from {low:g} to {high:g} became 16-bit gray"
    if low < 0 or high > 1:
        low, high = _robust(values, low, high)
        outside = int(((values < low) | (values > high)).sum())
        if outside:
            change += f" from {low:g} to {high:g}, {outside} samples outside were clipped"
        real = (real - low) / ((high - low) or 1.0)
    if odd:
        change += f", {odd} samples that are not finite became the nearest end or 0"
    return np.clip(np.nan_to_num(real, nan=0.0, posinf=1.0, neginf=0.0), 0, 1), change


def _robust(values: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    """The range without an end that lies far from all other samples, however many share it."""
    for _ in range(2):
        inner = values[(values > low) & (values < high)]
        if not inner.size:
            break
        first, last = (float(v) for v in np.percentile(inner, (0.1, 99.9)))
        reach = 3 * (last - first)
        if low >= first - reach and high <= last + reach:
            break
        low = low if low >= first - reach else float(inner.min())
        high = high if high <= last + reach else float(inner.max())
    return low, high


def _array(opened: Pillow.Image) -> NDArray[Any]:
    array = np.asarray(opened)
    return array[..., None] if array.ndim == 2 else array


def _deep_samples(opened: Pillow.Image, data: bytes) -> NDArray[np.uint16] | None:
    """16-bit colour samples through FFmpeg, where Pillow would keep 8 bits; None otherwise."""
    if not _is_deep_colour(opened, data):
        return None
    import av

    try:
        with av.open(io.BytesIO(_bare(data))) as container:
            frame = next(container.decode(video=0))
    except (av.error.FFmpegError, StopIteration) as error:
        raise FormatError(f"the 16-bit image is damaged or truncated: {error}") from error
    name = frame.format.name
    has_alpha = "a" in name.replace("gray", "").replace("gbrap", "a")
    gray = name.startswith(("gray", "ya"))
    if gray and not has_alpha:
        target = "gray16le"
    elif has_alpha:
        target = "rgba64le"
    else:
        target = "rgb48le"
    if (frame.width, frame.height) != opened.size:
        raise FormatError("the 16-bit image is damaged: its sizes contradict each other")
    array = frame.to_ndarray(format=target) if name != target else frame.to_ndarray()
    array = array.astype(np.uint16)
    if array.ndim == 2:
        return array[..., None]
    return array[..., [0, 3]] if gray and array.shape[2] == 4 else array


def _bare(data: bytes) -> bytes:
    """A PNG with nothing but what its samples need: FFmpeg refuses images for damaged
    metadata."""
    if not data.startswith(b"\x89PNG"):
        return data
    parts, at = [data[:8]], 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            parts.append(data[at : at + length + 12])
        at += length + 12
    return b"".join(parts)


def _is_deep_colour(opened: Pillow.Image, data: bytes) -> bool:
    if opened.format == "PNG":
        return len(data) > 25 and data[24] == 16 and data[25] in (2, 4, 6)
    if opened.format == "PPM":
        header = data[:64].split()
        return (
            header[:1] == [b"P6"]
            and len(header) > 3
            and header[3].isdigit()
            and int(header[3]) > 255
        )
    if opened.format == "TIFF":
        bits = getattr(opened, "tag_v2", {}).get(258, (8,))
        bits = bits if isinstance(bits, tuple) else (bits,)
        return max(bits) == 16 and len(bits) >= 3
    return False


def _turn(samples: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply an EXIF orientation 1..8 to ``[H, W, C]``."""
    turns = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: a.transpose(1, 0, 2)[::-1],
    }
    return np.ascontiguousarray(turns.get(orientation, lambda a: a)(samples))

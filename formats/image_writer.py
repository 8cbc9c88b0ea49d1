"""Writing images by extension: Pillow, and a PNG writer of our own for 16-bit colour."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from laconic.formats.atomic import atomic_write
from laconic.formats.errors import ParameterError
from laconic.formats.image import Image
from laconic.formats.image_metadata import Metadata, descriptive, save_options

FORMATS = {
    "png": "PNG",
    "jpg": "JPEG",
    "jpeg": "JPEG",
    "webp": "WEBP",
    "avif": "AVIF",
    "tif": "TIFF",
    "tiff": "TIFF",
    "bmp": "BMP",
    "ppm": "PPM",
    "pgm": "PPM",
    "pnm": "PPM",
}
WITH_ALPHA = {"PNG", "WEBP", "AVIF", "TIFF"}
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}


def format_of(target: str | os.PathLike[str], format: str | None = None) -> str:
    """Pillow's name of the format; raises ``ParameterError`` for one that cannot be written."""
    name = (format or Path(target).suffix.lstrip(".")).lower()
    if name not in FORMATS:
        raise ParameterError(
            f"images cannot be written as {name or 'a file without extension'!r}: choose one of"
            f" {', '.join(sorted(FORMATS))}"
        )
    return FORMATS[name]


def write(
    image: Image, target: str | os.PathLike[str] | BinaryIO, format: str | None, overwrite: bool
) -> list[str]:
    """Write ``image``; returns sentences about what the format could not keep."""
    if isinstance(target, str | os.PathLike):
        kind = format_of(target, format)
        data, notices = to_bytes(image, kind)
        with atomic_write(target, overwrite) as file:
            file.write(data)
    else:
        data, notices = to_bytes(image, format_of("", format or "png"))
        target.write(data)
    return notices


def to_bytes(image: Image, kind: str) -> tuple[bytes, list[str]]:
    """An image file of a format of :data:`FORMATS`' values, and notices."""
    notices: list[str] = []
    pixels, alpha = image.pixels, image.alpha
    if alpha is not None and kind not in WITH_ALPHA:
        notices.append(f"{kind} has no alpha channel: the image was laid on white")
        pixels, alpha = _on_white(pixels, alpha), None
    if image.bit_depth == 16:
        if kind == "PNG":
            return png16(image), notices + (["PNG keeps no IPTC: left out"] if image.iptc else [])
        if kind not in ("TIFF", "PPM") or pixels.shape[2] == 3 or alpha is not None:
            notices.append(f"16-bit samples were rounded to 8 bits for {kind}")
            pixels = _to_8(pixels)
            alpha = None if alpha is None else _to_8(alpha)
    samples = pixels if alpha is None else np.concatenate((pixels, alpha[..., None]), -1)
    if samples.shape[2] == 1:
        samples = samples[..., 0]
    pil = Pillow.fromarray(np.ascontiguousarray(samples))
    kept, lost = save_options(_metadata(image), kind)
    options = {**OPTIONS.get(kind, {}), **kept}
    if lost:
        notices.append(f"{kind} keeps no {', '.join(lost)}: left out")
    return _saved(pil, kind, options), notices


def _saved(pil: Pillow.Image, kind: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    try:
        pil.save(buffer, kind, **options)
    except RuntimeError:  # libtiff, which compresses, takes no EXIF with groups such as GPS
        buffer = io.BytesIO()
        pil.save(buffer, kind, **{**options, "compression": None})
    return buffer.getvalue()


def _metadata(image: Image) -> Metadata:
    return Metadata(image.icc, image.exif, image.xmp, image.iptc, image.texts, image.density)


def _to_8(samples: NDArray[Any]) -> NDArray[np.uint8]:
    return ((samples.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _on_white(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    top = np.iinfo(pixels.dtype).max
    share = alpha[..., None].astype(np.float64) / top
    return np.rint(pixels * share + top * (1 - share)).astype(pixels.dtype)


def png16(image: Image, level: int = 6) -> bytes:
    """A 16-bit PNG: gray or RGB, with or without alpha (ISO/IEC 15948), each row with the filter of
    the smallest differences; ``level`` 0..9 is zlib's."""
    samples = image.pixels
    if image.alpha is not None:
        samples = np.concatenate((samples, image.alpha[..., None]), -1)
    height, width, channels = samples.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = samples.astype(">u2").tobytes()
    raw = np.frombuffer(rows, dtype=np.uint8).reshape(height, width * channels * 2)
    parts = [b"\x89PNG\r\n\x1a\n"]

    def chunk(kind: bytes, data: bytes) -> None:
        crc = zlib.crc32(kind + data)
        parts.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc))

    chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    if image.icc:
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(image.icc))
    if exif := descriptive(image.exif):
        chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    if image.density:
        across, down = (round(d / 0.0254) for d in image.density)
        chunk(b"pHYs", struct.pack(">IIB", across, down, 1))
    texts = {**image.texts, **({"XML:com.adobe.xmp": _utf8(image.xmp)} if image.xmp else {})}
    for name, value in texts.items():
        key = name.encode("latin-1", "replace")[:79].strip() or b"Comment"
        chunk(b"iTXt", key + b"\0\0\0\0\0" + value.replace("\0", " ").encode())
    chunk(b"IDAT", zlib.compress(_filtered(raw, channels * 2), level))
    chunk(b"IEND", b"")
    return b"".join(parts)


def _filtered(raw: NDArray[np.uint8], step: int) -> bytes:
    """Rows ``[H, bytes]`` of pixels of ``step`` bytes, each behind the number of its filter."""
    parts = []
    for first in range(0, len(raw), 64):  # few rows at a time: little memory
        rows = raw[first : first + 64]
        up = np.concatenate([raw[first - 1 : first] if first else 0 * raw[:1], rows[:-1]])
        left, corner = np.zeros_like(rows), np.zeros_like(rows)
        left[:, step:], corner[:, step:] = rows[:, :-step], up[:, :-step]
        a, b, c = (part.astype(np.int16) for part in (left, up, corner))
        far_a, far_b, far_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
        paeth = np.where(far_b <= far_c, up, corner)
        paeth = np.where((far_a <= far_b) & (far_a <= far_c), left, paeth)
        average = ((a + b) >> 1).astype(np.uint8)
        found = np.stack([rows, rows - left, rows - up, rows - average, rows - paeth])
        sizes = np.minimum(found, 0 - found).sum(axis=2, dtype=np.int64)  # [5, rows]
        best = sizes.argmin(axis=0)
        block = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
        block[:, 0], block[:, 1:] = best, found[best, np.arange(len(rows))]
        parts.append(block.tobytes())
    return b"".join(parts)

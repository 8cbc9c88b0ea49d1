"""Images: ``formats.image.Image`` in and out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from laconic.codec.base import BPP, QUALITY, TARGET, DecodeSettings, EncodeSettings
from laconic.codec.media.base import Medium, Saved, Source, Target
from laconic.formats.claims import padded
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import DEFAULT_LIMITS, FormatError, Limits, ParameterError
from laconic.formats.image import SUFFIXES, Image, check_whole, read_image, write_image
from laconic.formats.image_reader import ImageHeader

if TYPE_CHECKING:
    from laconic.codec.evaluate.subject import Item

BEGINNINGS = (
    b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6", b"\xff\x0a",
    b"\0\0\0\x0cJXL", b"\0\0\0\x0cjP",
)  # fmt: skip


class ImageMedium(Medium):
    """Photographs, drawings, screenshots: one image a file."""

    kind = Media.IMAGE
    noun, plural = "image", "images"
    suffixes = frozenset(SUFFIXES)
    part = "region"
    formats = ("png", "jpg", "webp", "avif", "tiff", "ppm", "bmp")
    encode_columns = (
        ("bpp", "bpp", ".4f"),
        ("quality", "quality", ".1f"),
    )
    decode_columns = (("width", "width", ""), ("height", "height", ""))
    rates = (QUALITY, BPP, TARGET)
    metrics = ("psnr", "psnr-y", "ms-ssim")
    baselines = "laconic.codec.evaluate.baselines.images"

    def is_one(self, value: Any) -> bool:
        return isinstance(value, Image) or (isinstance(value, np.ndarray) and value.ndim in (2, 3))

    def looks_like(self, head: bytes) -> bool:
        webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
        return head.startswith(BEGINNINGS) or webp or head[4:12] in (b"ftypavif", b"ftypavis")

    def read(self, source: Source, limits: Limits = DEFAULT_LIMITS) -> Image:
        if not source.is_object:
            return read_image(source.file(), limits)
        value = source.value
        if isinstance(value, Image):
            return value
        if not isinstance(value, np.ndarray):
            raise ParameterError(
                f"{type(value).__name__} is no image: leave the codec out, or choose one for it"
            )
        array = value[..., None] if value.ndim == 2 else value
        if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
            raise ParameterError(
                f"the array has shape {list(value.shape)}: expected [H, W], [H, W, 1] or [H, W, 3]"
            )
        if array.dtype not in (np.uint8, np.uint16):
            raise ParameterError(f"the array is {array.dtype}: expected uint8 or uint16 samples")
        return Image(pixels=array, bit_depth=8 * array.dtype.itemsize)

    def check(self, read: Image, settings: EncodeSettings, *, lossless: bool) -> None:
        if not getattr(settings, "allow_conversion", False):
            check_whole(read, lossless=lossless)

    def sealed(self, data: bytes, limits: Limits) -> bytes:
        return padded(data, limits)

    def facts(self, reader: ContainerReader, limits: Limits) -> dict[str, Any]:
        image = ImageHeader.unpack(reader.header.media_header, limits)
        return {
            "width": image.width,
            "height": image.height,
            "channels": image.channels,
            "bit_depth": image.bit_depth,
            "alpha": image.alpha,
            "bpp": 8 * reader.file_bytes / (image.width * image.height),
        }

    def title(self, facts: dict[str, Any]) -> str:
        return f"{facts['width']} x {facts['height']}"

    def suffix(self, header: bytes, format: str | None) -> str:
        return f".{(format or 'png').lower()}"

    def check_format(self, target: str, format: str | None) -> None:
        from laconic.formats.image_writer import format_of

        format_of(target or ".png", format or (None if target else "png"))

    def save(
        self,
        decoded: Any,
        target: Target,
        format: str | None,
        *,
        header: bytes,
        settings: DecodeSettings,
        overwrite: bool = False,
    ) -> Saved:
        notes = write_image(decoded, target, format, overwrite=overwrite)
        facts = {
            "width": decoded.width,
            "height": decoded.height,
            "bit_depth": decoded.bit_depth,
        }
        return Saved(facts, notes, decoded.notices)

    def sample(self) -> Image:
        rows, columns = np.mgrid[:64, :64]
        waves = 128 + 60 * np.sin(rows / 5) * np.cos(columns / 7)  # no screen, which needs no model
        return Image(np.repeat(waves.astype(np.uint8)[..., None], 3, 2))

    def load(self, item: Item) -> Image:
        """The image; alpha is left out, since no metric looks at it."""
        image = read_image(item.path, item.limits)
        return Image(image.pixels, bit_depth=image.bit_depth, icc=image.icc)

    def shown(self, decoded: Any, row: Mapping[str, Any]) -> Any:
        return decoded.pixels

    def compare(
        self, item: Item, decode: Callable[[], Any], size: int, metrics: Sequence[Any]
    ) -> dict[str, Any]:
        start = time.perf_counter()
        decoded = decode()
        row: dict[str, Any] = {"decode_s": time.perf_counter() - start}
        original: Image = item.original
        if decoded.bit_depth != original.bit_depth or decoded.pixels.shape != original.pixels.shape:
            raise FormatError(
                f"the codec decoded {list(decoded.pixels.shape)} of {decoded.bit_depth} bits"
                f" from {list(original.pixels.shape)} of {original.bit_depth} bits"
            )
        row["bpp"] = 8 * size / (original.width * original.height)
        row["bits_per_sample"] = 8 * size / original.pixels.size
        row["exact"] = bool(np.array_equal(original.pixels, decoded.pixels))
        for metric in metrics:
            row[metric.name] = metric.of(original.pixels, decoded.pixels, original.bit_depth)
        return row

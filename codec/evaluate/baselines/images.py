"""Still images through Pillow: JPEG, WebP, AVIF, JPEG 2000, PNG, and JPEG XL with its plug-in."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import features

from laconic.codec.evaluate.subject import Item
from laconic.formats.container import Media
from laconic.formats.errors import ParameterError, UnsupportedError
from laconic.formats.image import Image

media = Media.IMAGE


@dataclass(frozen=True)
class Row:
    """One way of saving. ``key`` names the option that carries the quality."""

    format: str
    suffix: str
    library: str | None  # Pillow's name of the feature
    options: dict[str, Any]
    key: str | None = None
    qualities: Sequence[float | None] = (None,)
    scale: str = "lossless"
    variants: dict[str, dict[str, Any]] | None = None
    needs: str | None = None  # a package that teaches Pillow the format
    range: tuple[float, float] | None = None  # of the qualities


QUALITY = (10, 25, 40, 55, 70, 80, 90, 95)
TABLE: dict[str, Row] = {
    "jpeg": Row("JPEG", ".jpg", "libjpeg_turbo", {"optimize": True, "progressive": True,
                "subsampling": 2}, "quality", QUALITY, "libjpeg quality 1..95",
                {"420": {"subsampling": 2}, "444": {"subsampling": 0}}, range=(1, 95)),
    "webp": Row("WEBP", ".webp", "webp", {"method": 6}, "quality", QUALITY,
                "libwebp quality 0..100", range=(0, 100)),
    "avif": Row("AVIF", ".avif", "avif", {"speed": 6, "subsampling": "4:4:4", "max_threads": 2},
                "quality", (20, 35, 50, 60, 70, 80, 90), "libavif quality 0..100",
                {"420": {"subsampling": "4:2:0"}, "444": {"subsampling": "4:4:4"},
                 "slow": {"speed": 0}, "slow420": {"speed": 0, "subsampling": "4:2:0"}},
                range=(0, 100)),
    "jpeg2000": Row("JPEG2000", ".jp2", "jpg_2000", {"irreversible": True, "mct": 1,
                    "quality_mode": "dB"},
                    "quality_layers", (28, 31, 34, 37, 40, 43), "target PSNR in dB", None,
                    None, (1, 100)),
    "jxl": Row("JXL", ".jxl", None, {"effort": 7}, "quality", QUALITY, "libjxl quality 0..100",
               None, "pillow_jxl", (0, 100)),
    "png": Row("PNG", ".png", "zlib", {"optimize": True}),
    "webp-lossless": Row("WEBP", ".webp", "webp", {"lossless": True, "method": 6, "quality": 100,
                         "exact": True}),
    "jpeg2000-lossless": Row("JPEG2000", ".jp2", "jpg_2000", {"irreversible": False, "mct": 1}),
    "jxl-lossless": Row("JXL", ".jxl", None, {"lossless": True, "effort": 7}, needs="pillow_jxl"),
}  # fmt: skip


def names() -> list[str]:
    """Names of the rows."""
    return list(TABLE)


def make(name: str, variant: str | None) -> PillowCodec:
    """The baseline of that name; raises ``ParameterError``, ``UnsupportedError``."""
    return PillowCodec(name, variant)


class PillowCodec:
    """Saves with Pillow into memory and opens again. 8-bit gray and RGB."""

    media = Media.IMAGE

    def __init__(self, name: str, variant: str | None) -> None:
        self.row = row = TABLE[name]
        self.label = name if variant is None else f"{name}@{variant}"
        self.suffix, self.qualities, self.scale = row.suffix, row.qualities, row.scale
        self.range = row.range
        variants = row.variants or {}
        if variant is not None and variant not in variants:
            raise ParameterError(
                f"{name} has no variant {variant!r}: expected {' or '.join(variants) or 'none'}"
            )
        self.options = {**row.options, **variants.get(variant or "", {})}
        if row.needs is not None:
            try:
                importlib.import_module(row.needs)
            except ImportError as error:
                raise UnsupportedError(
                    f"{name} needs the package pillow-jxl-plugin: pip install pillow-jxl-plugin"
                ) from error

    def prepare(self) -> None:
        """Nothing to load."""

    def describe(self) -> dict[str, Any]:
        row = self.row
        if row.library is not None:
            library = f"{row.library} {features.version(row.library)}"
        else:
            library = "pillow-jxl-plugin " + _version("pillow-jxl-plugin")
        return {"format": row.format, "library": library, "pillow": Pillow.__version__,
                "options": self.options, "scale": row.scale}  # fmt: skip

    def encode(self, item: Item, quality: float | None) -> bytes:
        if item.original.bit_depth != 8:
            raise UnsupportedError(f"{self.label} is measured on 8-bit images only")
        options = dict(self.options)
        if self.row.key == "quality_layers":
            options["quality_layers"] = [quality]
        elif self.row.key is not None:
            if quality is None or quality != int(quality):
                raise ParameterError(
                    f"the quality of {self.label} is {quality}: expected {self.scale}"
                )
            options[self.row.key] = int(quality)
        pixels = item.original.pixels
        pil = Pillow.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        buffer = io.BytesIO()
        try:
            pil.save(buffer, self.row.format, **options)
        except (OSError, ValueError, RuntimeError) as error:
            raise UnsupportedError(f"{self.label} cannot encode this picture: {error}") from error
        return buffer.getvalue()

    def decode(self, data: bytes, item: Item) -> Image:
        with Pillow.open(io.BytesIO(data)) as pil:
            decoded = pil.convert("L" if item.original.channels == 1 else "RGB")
        array = np.asarray(decoded)
        return Image(array[..., None] if array.ndim == 2 else array)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"

"""Writes golden streams of the codec photo into ``tests/golden/photo-1``; existing ones are kept.

    python benchmarks/golden_photo.py

Previews are made by a tiny model of the default model's kind whose weights follow from a public
rule (``tests/rule_models.py``).
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from laconic import codec
from laconic.codec import models
from laconic.formats.container import Container
from laconic.formats.image import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from pictures import picture, textured  # noqa: E402
from rule_models import TEST_BASE, install  # noqa: E402


def cases() -> dict[str, tuple[Image, dict[str, Any]]]:
    """Every feature that is visible in the format."""
    with_chunks = dataclasses.replace(
        picture(40, 40, bits=16), icc=b"profile", exif=b"Exif\0\0data", xmp=b"<x/>"
    )
    twelve = picture(48, 70, bits=16)
    twelve.pixels >>= np.uint16(4)
    repeated = picture(30, 50, 1, 16)
    repeated.pixels[:] = (repeated.pixels >> 6) << 6 | repeated.pixels >> 10
    gray = textured(60, 100, 1)
    checks = Image(np.kron(np.eye(8), np.ones((8, 8)))[..., None].astype(np.uint8) * 255)
    return {
        "photo-dot": (picture(1, 1), {}),
        "photo-gray16-33x70": (picture(33, 70, 1, 16), {}),
        "photo-rgb-96x120": (textured(96, 120), {}),
        "photo-tiles-150x200": (textured(150, 200), {"tile": 64}),
        "photo-file-96x120": (picture(96, 120, alpha=True), {}),
        "photo-rgb16-alpha-tiles-90x80": (picture(90, 80, bits=16, alpha=True), {"tile": 64}),
        "photo-12-bit-48x70": (twelve, {}),
        "photo-10-bit-repeated-30x50": (repeated, {}),
        "photo-gray-as-rgb-60x100": (Image(np.repeat(gray.pixels, 3, axis=2)), {}),
        "photo-adapted-rgb16-200x200": (picture(200, 200, bits=16), {"effort": 1}),
        "photo-metadata-40x40": (with_chunks, {}),
        "photo-preview-tiles-90x150": (textured(90, 150), {"preview": True, "tile": 64}),
        "photo-preview-gray16-alpha-40x50": (
            picture(40, 50, 1, 16, alpha=True), {"preview": True, "quality": 30}
        ),
        "photo-preview-drawing-64x64": (checks, {"preview": True}),
        "photo-drawing-64x64": (checks, {}),
    }  # fmt: skip


def main() -> None:
    """Encode every case that has no file yet."""
    with tempfile.TemporaryDirectory() as store:
        os.environ["LACONIC_MODELS"] = store
        install(Path(store))
        models.DEFAULT_MODEL = TEST_BASE
        write(ROOT / "tests" / "golden" / "photo-1")


def write(folder: Path) -> None:
    """Encode into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (image, options) in cases().items():
        path = folder / f"{name}.lac"
        if path.exists():
            continue
        data = codec.encode(image, lossless=True, **options)
        container = Container.from_bytes(data)
        about = {
            "checks": [s.check for s in container.segments],
            "shape": list(image.pixels.shape),
            "bit_depth": image.bit_depth,
            "model": container.header.model.hex(),
            "mean": float(np.mean(image.pixels.astype(np.float64))),
            "alpha_mean": None if image.alpha is None else float(image.alpha.mean()),
            "lossless": True,
        }
        path.write_bytes(data)
        path.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
        np.savez_compressed(path.with_suffix(".npz"), pixels=image.pixels)
        print(path.relative_to(ROOT), len(data), "bytes", codec.probe(data).settings)


if __name__ == "__main__":
    main()

"""Writes golden streams of the current codec versions into ``tests/golden``; existing ones are
kept.

    python benchmarks/golden.py [FOLDER ...]

A golden stream is added with each visible feature and decodes in every later version. Folders are
named ``<codec>-<version>``; without any all are written. Streams of imported models use the tiny
models of ``tests/rule_models.py``, whose weights follow from a public rule.
"""

from __future__ import annotations

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

from pictures import picture  # noqa: E402
from rule_models import ORDERED, RULE_MODELS, install  # noqa: E402

Cases = dict[str, tuple[Image, dict[str, Any]]]


def layered_cases() -> Cases:
    """Screens, screens beside the model, and photographs."""
    random = np.random.default_rng(6)
    page = np.full((96, 128, 3), (250, 250, 255), np.uint8)
    letters = random.integers(0, 3, (7, 9, 6)).astype(np.uint8) * 90
    for n in range(60):
        y, x = 6 + n // 12 * 17, 4 + n % 12 * 10
        page[y : y + 9, x : x + 6] -= letters[n * 5 % 7][..., None]
    photo = picture(96, 128).pixels
    both = np.concatenate((page, photo), 1)
    alpha = picture(96, 256, alpha=True).alpha
    return {
        "screen-96x128": (Image(page), {"quality": 60}),
        "screen-gray16-96x128": (
            Image(page[..., :1].astype(np.uint16) * 257, bit_depth=16),
            {"quality": 90},
        ),
        "mixed-tiles-96x256": (Image(both, alpha), {"quality": 40, "tile": 64}),
        "mixed-96x256": (Image(both), {"quality": 70}),
        "neutral-80x100": (Image(picture(80, 100, 1).pixels.repeat(3, 2)), {"quality": 35}),
        "photo-100x130": (picture(100, 130), {"quality": 45.5}),
    }


def shipped_cases() -> Cases:
    """An image of every model that has a name now, by its id, with and without the detail layer."""
    return {
        f"model-{model.id}-q{quality}": (picture(96, 128), {"model": model.id, "quality": quality})
        for model in models.list_models()
        if model.codec == "mlic"
        for quality in (30, 93)
    }


def imported_cases(codec_name: str) -> Cases:
    """An image in two tiles for every test model of a codec."""
    return {
        name.removeprefix("test-"): (picture(50, 100, alpha=True), {"model": name, "tile": 64})
        for name in (*RULE_MODELS, *ORDERED)
        if models.find(name).codec == codec_name
    }


def write(folder: Path, cases: Cases) -> None:
    """Encode the cases that have no file yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (image, options) in cases.items():
        path = folder / f"{name}.lac"
        if path.exists():
            continue
        data = codec.encode(image, **options)
        container = Container.from_bytes(data)
        if not folder.name.endswith(f"-{container.header.codec_version}"):
            continue  # it needs nothing that is new
        decoded = codec.decode(data)
        about = {
            "checks": [s.check for s in container.segments],
            "shape": list(decoded.pixels.shape),
            "bit_depth": decoded.bit_depth,
            "model": container.header.model.hex(),
            "mean": float(np.mean(decoded.pixels.astype(np.float64))),
            "alpha_mean": None if decoded.alpha is None else float(decoded.alpha.mean()),
        }
        path.write_bytes(data)
        path.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
        np.savez_compressed(path.with_suffix(".npz"), pixels=decoded.pixels)
        print(path.relative_to(ROOT), len(data), "bytes")


def main() -> None:
    """Write what is missing."""
    wanted = sys.argv[1:] or ["mlic-4", "mlic++-1", "compressai-1"]
    with tempfile.TemporaryDirectory() as store:
        os.environ["LACONIC_MODELS"] = store
        if any(not folder.startswith("mlic-") for folder in wanted):
            install(Path(store))
        for folder in wanted:
            name = folder.rsplit("-", 1)[0]
            cases = layered_cases() | shipped_cases() if name == "mlic" else imported_cases(name)
            write(ROOT / "tests" / "golden" / folder, cases)


if __name__ == "__main__":
    main()

"""Writes golden streams of the current codec versions into ``tests/golden``; existing ones are
kept.

    python benchmarks/golden.py [FOLDER ...]

A golden stream is added with each visible feature and decodes in every later version. Folders are
named ``<codec>-<version>``; without any all are written. Streams of imported models use the tiny
models of ``tests/rule_models.py``, whose weights follow from a public rule.
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
from laconic.formats.container import Container
from laconic.formats.image import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from pictures import picture  # noqa: E402
from rule_models import ORDERED, RULE_MODELS, install  # noqa: E402

Cases = dict[str, tuple[Image, dict[str, Any]]]


def default_cases() -> Cases:
    """Every feature of the default model's files."""
    with_chunks = dataclasses.replace(
        picture(40, 40), icc=b"profile", exif=b"Exif\0\0data", xmp=b"<x/>"
    )
    return {
        "1x1": (picture(1, 1), {"quality": 50}),
        "gray-33x70": (picture(33, 70, 1), {"quality": 30}),
        "rgb-64x96-q0": (picture(64, 96), {"quality": 0}),
        "rgb-64x96-q100": (picture(64, 96), {"quality": 100}),
        "rgb16-alpha-50x80": (picture(50, 80, bits=16, alpha=True), {"quality": 70}),
        "rgb-tiles-150x200": (picture(150, 200), {"quality": 45.5, "tile": 64}),
        "rgba-tiles-100x130": (picture(100, 130, alpha=True), {"quality": 20, "tile": 64}),
        "metadata-40x40": (with_chunks, {"quality": 50}),
    }


def imported_cases(codec_name: str) -> Cases:
    """A picture in two tiles for every test model of a codec."""
    from laconic.codec import models

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
        decoded = codec.decode(data)
        container = Container.from_bytes(data)
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
    wanted = sys.argv[1:] or ["mlic-1", "mlic++-1", "compressai-1"]
    with tempfile.TemporaryDirectory() as store:
        os.environ["LACONIC_MODELS"] = store
        install(Path(store))
        for folder in wanted:
            name = folder.rsplit("-", 1)[0]
            cases = default_cases() if name == "mlic" else imported_cases(name)
            write(ROOT / "tests" / "golden" / folder, cases)


if __name__ == "__main__":
    main()

"""Lossless coding of photographs: bits per sub-pixel from file bytes, and speed, of several coders.

    python benchmarks/lossless_photo.py --data DIR --out benchmarks/results/kodak-lossless
    python benchmarks/lossless_photo.py --data DIR --held-out --out benchmarks/results/held-out

Writes OUT.json (per image and mean) and OUT.md (table). Every file is decoded and compared. With
``--held-out`` only the images that `laconic train photo` leaves out are measured. Rows that
OUT.jsonl holds already are not measured again, so that a run can be continued or shared by
processes. JPEG XL needs the package imagecodecs. MB/s are 10^6 sub-pixels (bytes of the 8-bit
image) per second of one core's time, which other work on the machine hardly changes. Laconic
uses all cores by default: with several tiles expect as many times the speed.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from kept import Journal, keep, table
from numpy.typing import NDArray
from PIL import Image as Pillow

from laconic import codec
from laconic.formats.image import SUFFIXES, read_image

Pixels = NDArray[np.uint8]
Coder = tuple[Callable[[Pixels], bytes], Callable[[bytes], Pixels]]


def pillow(kind: str, **options: Any) -> Coder:
    """A format that Pillow writes."""

    def encode(pixels: Pixels) -> bytes:
        buffer = io.BytesIO()
        Pillow.fromarray(pixels).save(buffer, kind, **options)
        return buffer.getvalue()

    def decode(data: bytes) -> Pixels:
        with Pillow.open(io.BytesIO(data)) as picture:
            return np.asarray(picture)

    return encode, decode


def jpeg_xl(effort: int) -> Coder:
    """libjxl through imagecodecs, one thread."""
    import imagecodecs

    def encode(pixels: Pixels) -> bytes:
        data: bytes = imagecodecs.jpegxl_encode(pixels, lossless=True, effort=effort, numthreads=1)
        return data

    return encode, imagecodecs.jpegxl_decode


def laconic(effort: int) -> Coder:
    """The codec photo without the second decoding that --verify adds."""
    return (
        lambda pixels: codec.encode(pixels, lossless=True, effort=effort, verify=False),
        lambda data: codec.decode(data).pixels,
    )


def coders(names: list[str]) -> dict[str, Coder]:
    """Coders by name; those whose library is missing are left out."""
    found: dict[str, Coder] = {}
    for name in names:
        family, _, effort = name.partition("-e")
        try:
            if family == "png":
                found[name] = pillow("PNG", optimize=True)
            elif family == "webp":
                found[name] = pillow("WEBP", lossless=True, method=4, quality=75, exact=True)
            elif family == "jpeg2000":
                found[name] = pillow("JPEG2000", irreversible=False, mct=1)
            elif family == "jxl":
                found[name] = jpeg_xl(int(effort))
            elif family == "laconic":
                found[name] = laconic(int(effort))
            else:
                raise SystemExit(f"there is no coder {name!r}")
        except ImportError:
            print(f"{name}: imagecodecs is not installed")
    return found


def files_of(folder: Path, held_out: bool) -> list[Path]:
    """Images of a folder in order; of a training folder those held out."""
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)
    if held_out:
        from laconic.codec.train.photo import HELD_OUT_EVERY, HELD_OUT_FIRST

        files = files[HELD_OUT_FIRST::HELD_OUT_EVERY]
    if not files:
        raise SystemExit(f"{folder} holds no images")
    return files


def measure(file: Path, name: str, coder: Coder) -> dict[str, Any]:
    """One row; fails unless the image comes back as it was."""
    pixels = read_image(file).pixels
    start = time.process_time()
    data = coder[0](pixels)
    middle = time.process_time()
    decoded = coder[1](data)
    end = time.process_time()
    assert np.array_equal(decoded, pixels), f"{name} is not lossless on {file.name}"
    return {
        "picture": file.stem,
        "coder": name,
        "bytes": len(data),
        "samples": pixels.size,
        "bpsp": 8 * len(data) / pixels.size,
        "encode_cpu_s": middle - start,
        "decode_cpu_s": end - middle,
    }


def summary(rows: list[dict[str, Any]], names: list[str], pictures: int) -> list[dict[str, Any]]:
    """Mean bits per sub-pixel (of images) and speed (of all samples) of complete coders."""
    result = []
    for name in names:
        mine = [r for r in rows if r["coder"] == name]
        if len(mine) < pictures:
            continue
        timed = [r for r in mine if "encode_cpu_s" in r]
        samples = sum(r["samples"] for r in timed)
        result.append(
            {
                "coder": name,
                "pictures": len(mine),
                "bpsp": float(np.mean([r["bpsp"] for r in mine])),
                "encode_mb_s": samples / 1e6 / sum(r["encode_cpu_s"] for r in timed),
                "decode_mb_s": samples / 1e6 / sum(r["decode_cpu_s"] for r in timed),
            }
        )
    return result


def means_table(means: list[dict[str, Any]]) -> str:
    """Markdown."""
    return table(
        "coder | bits per sub-pixel | encode MB/s | decode MB/s",
        [
            f"{m['coder']} | {m['bpsp']:.4f} | {m['encode_mb_s']:.2f} | {m['decode_mb_s']:.2f}"
            for m in means
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--coders", default="png,webp,jpeg2000,jxl-e7,jxl-e9,laconic-e0,laconic-e9")
    parser.add_argument("--backwards", action="store_true", help="begin with the last image")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # no helpers: their time would not be counted
    names = arguments.coders.split(",")
    files = files_of(arguments.data, arguments.held_out)
    journal = Journal(arguments.out)
    codec.decode(codec.encode(np.zeros((300, 300, 3), np.uint8), codec="photo"))

    for name, coder in coders(names).items():
        for file in reversed(files) if arguments.backwards else files:
            if any((r["coder"], r["picture"]) == (name, file.stem) for r in journal.rows):
                continue
            row = measure(file, name, coder)
            journal.add(row)
            print(f"{file.stem:24} {name:12} {row['bpsp']:.4f}", flush=True)
    unique = {(r["coder"], r["picture"]): r for r in journal.rows}
    means = summary(list(unique.values()), names, len(files))
    about = {"machine": platform.machine(), "cores": os.cpu_count(), "numpy": np.__version__}
    result = {"about": about, "means": means, "rows": list(unique.values())}
    keep(arguments.out, result, means_table(means))


if __name__ == "__main__":
    main()

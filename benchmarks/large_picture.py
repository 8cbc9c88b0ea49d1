"""Peak memory and time of large images, each in a fresh process.

    python benchmarks/large_picture.py [--megapixels 6 12 24] [--json FILE]

The image is a mosaic of the samples. Time should grow linearly with pixels and memory stay
bounded.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parents[1] / "samples"


def measure(megapixels: float) -> dict[str, Any]:
    """Encode, decode and take a region of a 3:2 image in this process."""
    import numpy as np

    from laconic import codec
    from laconic.formats.image import Image, read_image

    height = round(math.sqrt(megapixels * 1e6 / 1.5))
    width = round(height * 1.5)
    block = np.concatenate(
        [read_image(SAMPLES / f"{n}.png").pixels for n in ("still-life", "mountains")], 1
    )
    repeats = (-(-height // block.shape[0]), -(-width // block.shape[1]), 1)
    picture = Image(pixels=np.tile(block, repeats)[:height, :width].copy())
    codec.decode(codec.encode(np.zeros((64, 64, 3), np.uint8)))
    start = time.perf_counter()
    data = codec.encode(picture, quality=50, verify=False)
    encoded = time.perf_counter()
    codec.decode(data)
    decoded = time.perf_counter()
    with codec.open(data) as file:
        file.region(width // 2, height // 2, 256, 256)
    region = time.perf_counter()
    return {
        "width": width,
        "height": height,
        "bytes": len(data),
        "encode_s": encoded - start,
        "decode_s": decoded - encoded,
        "region_256_s": region - decoded,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def main() -> None:
    """Start one process per size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, nargs="+", default=[6, 12, 24])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    rows = []
    for size in arguments.megapixels:
        command = [sys.executable, __file__, "--one", str(size)]
        row = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        rows.append(row)
        print(
            f"{size:5.0f} MP  encode {row['encode_s']:6.1f} s  decode {row['decode_s']:6.1f} s"
            f"  region {row['region_256_s']:5.2f} s  peak {row['peak_gib']:.2f} GiB",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

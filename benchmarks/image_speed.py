"""Encode and decode time of the default image model against CompressAI's mbt2018_mean, in one run.

    python benchmarks/image_speed.py [PICTURE] [--json FILE]

Both work from memory with their models loaded, on the same image and number of threads,
alternating, best of several rounds. CompressAI's model has random weights (its time does not
depend on them beyond the number of bits, which a quality-4 model at 0.5 bpp resembles). Peak memory
is that of a process which encodes and decodes once with one of them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import HERE, alone

from laconic import codec
from laconic.formats.image import Image, read_image

ROUNDS = 7


def timed(task: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call and its result."""
    start = time.perf_counter()
    result = task()
    return time.perf_counter() - start, result


def peer_of(picture: Image) -> tuple[Any, torch.Tensor]:
    """CompressAI's model and the picture as it takes it."""
    from compressai.zoo import mbt2018_mean

    torch.manual_seed(0)
    peer = mbt2018_mean(4, pretrained=False).eval()
    peer.update(force=True)
    return peer, torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1)[None].float() / 255


def peak_of(name: str, picture: Path) -> float:
    """MiB of a process that encodes and decodes a picture once."""
    task = f"import runpy, sys; sys.path.insert(0, {str(HERE)!r}); sys.argv[0] = 'image_speed'\n"
    task += f"runpy.run_path({__file__!r}, run_name='__main__')"
    return alone(str(picture), "--alone", name, task=task)["peak_mib"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parents[1] / "samples" / "mountains.png"
    parser.add_argument("picture", type=Path, nargs="?", default=default)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--alone", choices=("laconic", "mbt2018_mean"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    picture = read_image(arguments.picture)
    if arguments.alone == "laconic":
        codec.decode(codec.encode(picture, quality=50, verify=False))
        return
    peer, x = peer_of(picture)
    if arguments.alone:
        with torch.no_grad():
            stream = peer.compress(x)
            peer.decompress(stream["strings"], stream["shape"])
        return
    best: dict[str, float] = {}

    def note(name: str, seconds: float) -> None:
        best[name] = min(seconds, best.get(name, np.inf))

    with torch.no_grad():
        for _ in range(ROUNDS):
            seconds, stream = timed(lambda: peer.compress(x))
            note("mbt2018_mean compress", seconds)
            seconds, _ = timed(lambda s=stream: peer.decompress(s["strings"], s["shape"]))
            note("mbt2018_mean decompress", seconds)
            seconds, data = timed(lambda: codec.encode(picture, quality=50, verify=False))
            note("laconic encode", seconds)
            seconds, _ = timed(lambda: codec.encode(picture, quality=50))
            note("laconic encode and verify", seconds)
            seconds, _ = timed(lambda d=data: codec.decode(d))
            note("laconic decode", seconds)
    for name, seconds in best.items():
        print(f"{name:28} {seconds * 1000:8.1f} ms")
    ratios = {
        "encode": best["laconic encode"] / best["mbt2018_mean compress"],
        "encode and verify": best["laconic encode and verify"] / best["mbt2018_mean compress"],
        "decode": best["laconic decode"] / best["mbt2018_mean decompress"],
    }
    for name, ratio in ratios.items():
        print(f"{name:18} {ratio:.2f} of mbt2018_mean's time")
    peaks = {name: peak_of(name, arguments.picture) for name in ("mbt2018_mean", "laconic")}
    share = peaks["laconic"] / peaks["mbt2018_mean"]
    print(f"peak memory        {share:.2f} of mbt2018_mean's ({peaks['laconic']:.0f} MiB)")
    figures = {"seconds": best, "ratios": ratios, "peak_mib": peaks}
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()

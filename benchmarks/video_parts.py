"""What each part of the coder of a video chunk saves: one fit, its integers coded with parts off.

    python benchmarks/video_parts.py --clips DIR [--clip bunny-16] [--bytes 14000] [--steps 300]
        [--json FILE]

Every size is that of real coded bytes of the same integers, so images are equal in all rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import av
import numpy as np
import torch
import torch.nn.functional as F
from kept import HERE, keep, table
from numpy.typing import NDArray

from laconic.codec.video import channels, symbols
from laconic.codec.video.chunk import Fit, FitSettings
from laconic.codec.video.settings import PRESETS

CLIPS = {
    "bunny-16": ("bunny_1280x640_rgb.mkv", 16, 160, 320),
    "bunny-32-small": ("bunny_1280x640_rgb.mkv", 32, 80, 160),
    "cars-32": ("cars_384x216.mkv", 32, 180, 320),
    "bedroom-32": ("bedroom_480x270.mkv", 32, 180, 320),
}


def frames_of(folder: Path, name: str) -> NDArray[np.uint8]:
    """The frames ``[N, H, W, 3]`` of a clip, reduced by area."""
    source, count, rows, columns = CLIPS[name]
    found = []
    with av.open(str(folder / source)) as container:
        for frame in container.decode(video=0):
            x = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)[None].float()
            y = F.interpolate(x, size=(rows, columns), mode="area").round().byte()
            found.append(y[0].permute(1, 2, 0).numpy())
            if len(found) == count:
                break
    return np.stack(found)


@contextmanager
def without(part: str) -> Iterator[None]:
    """The coder with one part off."""
    changes: dict[str, dict[str, Any]] = {
        "nothing": {},
        "prediction from the frame before": {"choose_predictor": lambda maps: 0},
        "classes by surroundings": {"is_clustered": lambda shape: False},
        "class by the frame before": {"BEFORE_BOUNDS": (1 << 30,)},
        "class by the coarser level": {"PARENT_BOUNDS": (1 << 30,)},
    }
    with ExitStack() as stack:
        for name, value in changes[part].items():
            stack.enter_context(mock.patch.object(channels, name, value))
        yield


def main() -> None:
    """Fit once, code often."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--clip", default="bunny-16")
    parser.add_argument("--bytes", type=int, default=14000)
    parser.add_argument("--steps", type=int, default=300, help="of the fit")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "video_parts.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    PRESETS["fast"] = arguments.steps
    frames = frames_of(arguments.clips, arguments.clip)
    fit = Fit(frames, FitSettings("grids", "fast", target_bytes=arguments.bytes))
    fit.run(status=lambda text: print(f"\r{fit.step} {text}   ", end="", flush=True))
    coded = fit.coded()
    rows = []
    for part in (
        "nothing",
        "prediction from the frame before",
        "classes by surroundings",
        "class by the frame before",
        "class by the coarser level",
    ):
        with without(part):
            rows.append({"without": part, "bytes": len(symbols.encode_symbols(coded)[0])})
    whole = rows[0]["bytes"]
    lines = [f"{r['without']} | {r['bytes']:,} | {r['bytes'] / whole - 1:+.1%}" for r in rows]
    keep(arguments.json, rows, table("coder without | bytes | ", lines))


if __name__ == "__main__":
    main()

"""What each part of the coder of a film chunk saves: one fit, its integers coded with parts off.

    python benchmarks/video_parts.py --clips DIR [--clip bunny-16] [--bytes 14000] [--steps 300]
        [--json FILE]

Every size is that of real coded bytes of the same integers, so pictures are equal in all rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from kept import HERE, keep, table
from video_rd import frames_of

from laconic.codec.video import channels, symbols
from laconic.codec.video.chunk import Fit, FitSettings
from laconic.codec.video.settings import PRESETS


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

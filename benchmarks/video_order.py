"""HNeRV and HNeRV-Boost as published, at equal bytes and equal steps: which is better, by how much.

    python benchmarks/video_order.py --clips DIR [--clip NAME] [--bytes 28000] [--steps 3200]

Each network is as wide as the bytes allow and fitted from its published loss, optimiser and
schedule; a step sees one frame. Rows that were measured before are kept.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from kept import RESULTS, Journal, keep, load, table
from numpy.typing import NDArray
from video_parts import frames_of

from laconic.codec.evaluate.metrics import psnr
from laconic.codec.video import chunk, fit
from laconic.codec.video.settings import FitSettings

NETWORKS = ("hnerv", "hnerv-boost")


def measure(frames: NDArray[np.uint8], network: str, size: int, steps: int) -> dict[str, Any]:
    """A fit, coded, decoded afresh."""
    settings = FitSettings(network=network, preset="fast", target_bytes=size)
    begun = time.process_time()
    with mock.patch.dict(fit.PRESETS, {"fast": steps}):
        fitting = fit.Fit(frames, settings)
    fitting.run(status=print)
    data = fitting.payload()
    minutes = (time.process_time() - begun) / 60
    count, rows, columns = frames.shape[:3]
    decoded = chunk.decode(data, count, columns, rows).batch(0, count)
    return {
        "net": network, "steps": steps, "target": size, "bytes": len(data),
        "psnr": float(np.mean([psnr(a, b) for a, b in zip(frames, decoded, strict=True)])),
        "width": fitting.plan.width, "sent": fitting.sent, "minutes": minutes,
    }  # fmt: skip


def rows_of(found: list[dict[str, Any]]) -> str:
    """All fits as Markdown."""
    lines = [
        f"{r['clip']} | {r['net']} | {r['width']} | {r['sent']:,} | {r['steps']:,} |"
        f" {r['bytes']:,} | {r['psnr']:.2f} | {r['minutes']:.1f}"
        for r in sorted(found, key=lambda r: (r["clip"], r["target"], r["steps"], r["net"]))
    ]
    head = "clip | network | width | weights and latents | steps | bytes | PSNR dB | CPU min"
    return table(head, lines, texts=2)


def main() -> None:
    """Measure what is missing, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--clip", default="bunny-32-small")
    parser.add_argument("--bytes", type=int, default=28000)
    parser.add_argument("--steps", type=int, default=3200)
    arguments = parser.parse_args()
    out = RESULTS / "video_order"
    journal = Journal(out)
    if not journal.rows and out.with_suffix(".json").exists():
        journal.rows = load("video_order")
    frames = frames_of(arguments.clips, arguments.clip)
    for network in NETWORKS:
        key = (arguments.clip, network, arguments.bytes, arguments.steps)
        if all((r["clip"], r["net"], r["target"], r["steps"]) != key for r in journal.rows):
            found = measure(frames, network, arguments.bytes, arguments.steps)
            journal.add({"clip": arguments.clip, **found})
    keep(out, journal.rows, rows_of(journal.rows))


if __name__ == "__main__":
    main()

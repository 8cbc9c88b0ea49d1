"""Writes golden videos of the current codec versions into ``tests/golden``; existing ones are kept.

    python benchmarks/golden_video.py

Tiny videos with every visible feature, for ``motion`` and each kind of network of ``hnerv``; fits
are cut short, since what they look like does not matter. ``hnerv-1`` also keeps what earlier
versions wrote.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from laconic import codec
from laconic.codec.video import settings
from laconic.formats.container import Container

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
STEPS = 150
sys.path.insert(0, str(ROOT / "tests"))

import films  # noqa: E402


def cases(folder: Path) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Sources and options by name; a model makes it a file of ``hnerv``."""
    times = [0, 40, 80, 200, 233, 266, 1000, 1001, 1040]
    return {
        "grids-chunks-48x64": (
            films.moving(10, 48, 64),
            {"model": "grids", "chunk": 4},
        ),
        "grids-vfr-gray-37x51": (
            films.write(folder / "v.mkv", films.moving(9, 37, 51, 1), layout="gray", stamps=times),
            {"model": "grids", "quality": 20},
        ),
        "grids-sound-turned-32x48": (
            films.write(
                folder / "s.mp4", films.moving(6, 32, 48), codec="libx264", layout="yuv420p",
                base=Fraction(1, 12800), audio=("aac", "libopus"), tags=(1, 1, 1, 1),
                aspect=Fraction(4, 3), rotation=90,
            ),
            {"model": "grids"},
        ),
        "hnerv-40x64": (films.moving(6, 40, 64), {"model": "hnerv", "quality": 30}),
        "hnerv-boost-40x64": (films.moving(6, 40, 64), {"model": "hnerv-boost", "quality": 30}),
        "grids-1x1": (films.moving(1, 1, 1), {"model": "grids"}),
        "chunks-48x64": (films.moving(24, 48, 64), {"chunk": 19}),
        "vfr-gray-37x51": (
            films.write(folder / "g.mkv", films.moving(9, 37, 51, 1), layout="gray", stamps=times),
            {"quality": 30},
        ),
        "420-70x90": (
            films.write(
                folder / "y.mkv", films.moving(5, 70, 90), layout="yuv420p", tags=(1, 1, 1, 1)
            ),
            {"quality": 60},
        ),
        "422-10-34x40": (
            films.write(folder / "t.mkv", films.moving(3, 34, 40), layout="yuv422p10le"), {}
        ),
        "screen-72x96": (
            films.write(folder / "d.mkv", films.drawn(6, 72, 96, 21), layout="yuv420p"),
            {"quality": 70},
        ),
        "1x1": (films.moving(1, 1, 1), {}),
    }  # fmt: skip


def sound_digest(video: Any) -> str | None:
    """Of all packets with their track and times, None without audio."""
    if video.audio is None:
        return None
    digest = hashlib.sha256()
    for packet in video.audio:
        track = video.audio.tracks[packet.track]
        start = track.starts[packet.index] * track.base
        digest.update(f"{packet.track} {start} {len(packet.data)}".encode() + packet.data)
    return digest.hexdigest()


def main() -> None:
    """Write what is missing."""
    presets: dict[str, int] = settings.PRESETS
    presets["fast"] = STEPS
    with tempfile.TemporaryDirectory() as folder:
        for name, (source, options) in cases(Path(folder)).items():
            kind = "hnerv" if "model" in options else "motion"
            path = GOLDEN / f"{kind}-1" / f"{name}.lac"
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            data = codec.encode(source, codec=kind, preset="fast", **options)
            video = codec.decode(data)
            about = {
                "checks": [s.check for s in Container.from_bytes(data).segments],
                "base": str(video.timing.base),
                "stamps": video.timing.stamps,
                "durations": video.timing.durations,
                "color": video.header.color,
                "aspect": video.header.aspect,
                "sound": sound_digest(video),
            }
            path.write_bytes(data)
            path.with_suffix(".json").write_text(json.dumps(about) + "\n")
            np.savez_compressed(path.with_suffix(".npz"), frames=np.asarray(video))
            print(path.relative_to(ROOT), len(data), "bytes")


if __name__ == "__main__":
    main()

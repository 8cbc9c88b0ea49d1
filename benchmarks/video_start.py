"""Counts what the contexts of network ``motion`` begin with: ``codec/video/motion/start.npz``.

    python benchmarks/video_start.py CLIP .. [--frames 17] [--rounds 2]

Clips are lossless 4:2:0 files that no table of results is measured on. They are encoded one after
the other at several quantisers, with contexts and weights carried on; what these hold at the end,
with fewer visits so that they still follow a video quickly, is where every chunk begins. A changed
file changes the bitstream: it needs a new version in ``codec/video/motion/decode.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from video_rd import read_clip

from laconic.codec.video.motion import frames
from laconic.codec.video.motion.fit import ChunkEncoder
from laconic.codec.video.motion.frames import Layout
from laconic.codec.video.motion.mix import writer

BASES = (184, 224, 264, 304)  # quantisers in eighths
VISITS = 20  # a context's visits at most when a chunk begins
OUT = Path(frames.__file__).resolve().parent / "start.npz"


def main() -> None:
    """Encode, carry on, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    clips = [read_clip(path)[0][: arguments.frames] for path in arguments.clips]
    chance, weight = frames.blank_tables()
    for _ in range(arguments.rounds):
        for base in BASES:
            for clip in clips:
                rows, columns = clip[0][0].shape
                encoder = ChunkEncoder(Layout(columns, rows), len(clip), base)
                encoder.coder = writer(chance, weight, encoder.coder.data.size)
                for place in encoder.places:
                    encoder.advance([p.astype(np.uint16) for p in clip[place.index]])
                print(base, columns, rows, len(encoder.data()), flush=True)
    visits = np.minimum(chance[1::2], VISITS).astype(np.uint8)
    np.savez_compressed(
        arguments.out,
        chance=np.where(visits > 0, chance[0::2] >> 6, 1 << 15).astype(np.uint16),
        visits=visits,
        weight=np.clip(weight >> 4, -(1 << 15), (1 << 15) - 1).astype(np.int16),
    )


if __name__ == "__main__":
    main()

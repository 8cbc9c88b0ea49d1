"""What the contexts of the network ``motion`` know before the first frame: made from other films.

    python benchmarks/video_start.py --pictures SHARD.tar .. --clips DIR

Clips: park joy at three sizes, and pictures from the shards that pan, zoom and turn with parts of
other pictures moving over them. None of the films that `video_rd` measures is among them. Each is
encoded once; then the decisions are coded over and over, counting what every context saw, and the
weights of the mixers go on from clip to clip. The result is part of the format: written once,
``codec/video/motion/start.npz`` must not change.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from laconic.codec.video.motion import blocks, loop, mixing, smoothing
from laconic.codec.video.motion.order import coding_order
from laconic.codec.video.motion.picture import Scale
from laconic.codec.video.motion.syntax import FrameSyntax
from laconic.codec.video.motion.warp import Reference

TARGET = Path(__file__).parents[1] / "codec" / "video" / "motion" / "start.npz"
ROWS, COLUMNS, FRAMES = 180, 320, 10
OFFSETS = {8: (5, 11, 15, 17), 4: (5, 10, 14, 16)}  # by frames between key frames
TRUST = 24  # observations that what is counted here is worth at most
ROUNDS = 3


def park_joy(folder: Path) -> Iterator[NDArray[np.uint8]]:
    """Its ten frames at three sizes."""
    with av.open(str(folder / "parkjoy_480x270.mkv")) as container:
        frames = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    x = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    for rows, columns in ((270, 480), (180, 320), (135, 240)):
        y = F.interpolate(x, size=(rows, columns), mode="area").round().byte()
        yield y.permute(0, 2, 3, 1).contiguous().numpy()


def pictures(shards: list[Path]) -> Iterator[torch.Tensor]:
    """Pictures ``[1, 3, H, W]`` in 0..255 of the shards."""
    for shard in shards:
        with tarfile.open(shard) as archive:
            for member in archive:
                if member.isfile() and member.name.endswith((".avif", ".png", ".jpg")):
                    file = archive.extractfile(member)
                    assert file is not None
                    array = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))
                    yield torch.from_numpy(array.copy()).permute(2, 0, 1)[None].float()


def moving(first: torch.Tensor, second: torch.Tensor, seed: int) -> NDArray[np.uint8]:
    """Frames of a picture that pans with pieces of another moving over it."""
    random = np.random.default_rng(seed)
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, ROWS), torch.linspace(-1, 1, COLUMNS), indexing="ij"
    )
    found = []
    speed, still = random.normal(0, 0.02, 2), random.random() < 0.4
    zoom, turn = random.normal(0, 0.006), random.normal(0, 0.004)
    parts = [
        (random.uniform(-0.8, 0.8, 2), random.normal(0, 0.04, 2), random.uniform(0.1, 0.4, 2))
        for _ in range(random.integers(1, 4))
    ]
    noise = random.uniform(0, 1.5)
    for t in range(FRAMES):
        moved = 0.0 if still else float(t)
        frame = _seen(first, y, x, speed * moved, 0.7 * (1 + zoom * moved), turn * moved)
        other = _seen(second, y, x, np.zeros(2), 0.7, 0.0)
        for centre, way, size in parts:
            cy, cx = centre + way * t
            distance = ((y - cy) / size[0]) ** 2 + ((x - cx) / size[1]) ** 2
            mask = torch.sigmoid((1 - distance) * 12)
            shifted = torch.roll(
                other, (round(way[0] * t * ROWS / 2), round(way[1] * t * COLUMNS / 2)), (2, 3)
            )
            frame = frame * (1 - mask) + shifted * mask
        frame = frame + torch.from_numpy(random.normal(0, noise, (1, 1, ROWS, COLUMNS))).float()
        found.append(frame.round().clamp(0, 255).byte()[0].permute(1, 2, 0).numpy())
    return np.stack(found)


def _seen(
    picture: torch.Tensor, y: torch.Tensor, x: torch.Tensor, shift: Any, size: float, turn: float
) -> torch.Tensor:
    rows, columns = picture.shape[2:]
    factor = max(1, round(0.7 * min(rows / ROWS, columns / COLUMNS)))
    small = F.avg_pool2d(picture, factor)
    cos, sin = np.cos(turn), np.sin(turn)
    grid = torch.stack(
        [size * (cos * x - sin * y) + shift[1], size * (sin * x + cos * y) + shift[0]], -1
    )
    return F.grid_sample(small, grid[None].float(), padding_mode="reflection", align_corners=False)


def codes_of(frames: NDArray[np.uint8], step: int, gap: int) -> list[tuple[Any, Any]]:
    """Places and numbers of the frames of a clip."""
    grid = blocks.block_grid(*frames.shape[1:3])
    axes = blocks.colour_axes(blocks.principal_units(frames))
    scale = Scale(step, OFFSETS[gap], (1, 1, 1, 1))
    syntax, writer = FrameSyntax(*grid, blank=True), mixing.Writer()
    shares = np.zeros(smoothing.SHAPE, np.int64)
    refs: dict[int, Reference] = {}
    found = []
    for place in coding_order(len(frames), gap):
        target = blocks.planes_of(torch.from_numpy(frames[place.index]), axes, grid)
        given = [refs[r] for r in place.refs]
        coded = loop.encode_frame(syntax, writer, place, target, given, scale, shares)
        refs[place.index] = Reference(coded.planes)
        found.append((place, coded.code))
    return found


class Counting(mixing.Model):
    """A model that counts what each context saw."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__(sizes)
        self.count, self.ones = np.zeros_like(self.chance), np.zeros_like(self.chance)

    def learn(self, bits: Any, made: Any) -> None:
        places = made.places
        self.count += np.bincount(places.reshape(-1), minlength=self.count.size)
        self.ones += np.bincount(places[:, bits != 0].reshape(-1), minlength=self.count.size)
        super().learn(bits, made)


def learn(clips: list[list[tuple[Any, Any]]]) -> dict[str, NDArray[Any]]:
    """Chances, trust and weights of all models, one after the other."""
    state: list[tuple[Any, ...]] | None = None
    weights: list[Any] = []
    for turn in range(ROUNDS):
        counts: list[tuple[Any, Any]] = []
        bits = 0.0
        for clip in clips:
            h, w = clip[0][1].modes.shape
            syntax, writer = FrameSyntax(h, w, blank=True), mixing.Writer()
            models = list(syntax.models())
            for number, model in enumerate(models):
                model.__class__ = Counting  # it counts, and is the same otherwise
                model.count = np.zeros_like(model.chance)  # type: ignore[attr-defined]
                model.ones = np.zeros_like(model.chance)  # type: ignore[attr-defined]
                if state is not None:
                    model.chance, model.seen = (a.copy() for a in state[number])
                    model.weights, model.evidence = (a.copy() for a in weights[number])
            for place, code in clip:
                syntax.code(writer, place, code)
            bits += writer.bits
            if not counts:
                counts = [(np.zeros_like(m.chance), np.zeros_like(m.chance)) for m in models]
            for (count, ones), model in zip(counts, models, strict=True):
                count += model.count  # type: ignore[attr-defined]
                ones += model.ones  # type: ignore[attr-defined]
            weights = [(m.weights, m.evidence) for m in models]
        print(f"round {turn}: {bits / 8:.0f} bytes", flush=True)
        state = []
        for count, ones in counts:
            chance = ((2 * ones + 1) << mixing.FINE) // (2 * count + 2)
            state.append((chance, np.minimum(count // 4, TRUST)))
    assert state is not None
    return {
        "chance": np.concatenate([c for c, _ in state]) >> (mixing.FINE - 16),
        "seen": np.concatenate([s for _, s in state]),
        "weights": np.concatenate([w for w, _ in weights]),
    }


def main() -> None:
    """Encode the clips, learn, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, nargs="+", required=True)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--count", type=int, default=24, help="moving pictures")
    parser.add_argument("--out", type=Path, default=TARGET)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    source = pictures(arguments.pictures)
    random = np.random.default_rng(5)
    clips: list[list[tuple[Any, Any]]] = []
    for number in range(arguments.count):
        frames = moving(next(source), next(source), number)
        if number % 3 == 2:
            frames = frames[:1]
        clips.append(codes_of(frames, int(random.integers(-112, -56)), 4 + 4 * (number % 2)))
        print(number, flush=True)
    for step, gap in ((-100, 4), (-72, 8)):
        clips += [codes_of(frames, step, gap) for frames in park_joy(arguments.clips)]
    order = random.permutation(len(clips))
    found = learn([clips[k] for k in order])
    np.savez_compressed(
        arguments.out,
        chance=found["chance"].astype(np.uint16),
        seen=found["seen"].astype(np.uint8),
        weights=found["weights"].astype(np.int32),
    )


if __name__ == "__main__":
    main()

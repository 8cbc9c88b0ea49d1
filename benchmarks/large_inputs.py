"""Processor time and peak memory of large inputs: images, lossless images, video, recordings.

    python benchmarks/large_inputs.py [--media image lossless video audio] [--small]
                                      [--pictures PATH] [--film FILE] [--sounds PATH] [--out OUT]

Every row is whole commands, ``laconic encode --no-verify`` and ``laconic decode``, each in a cold
process with one thread, which reads and writes files without compression (PPM, Y4M, WAV) and is
asked for the memory of its own. Each medium is measured at two or three sizes: time should grow as
they do, and memory no faster. What an ordinary encode adds is the verification, one more decode.

* Images are mosaics of tiles of 500 x 500 pixels, cut from the middle of different pictures.
* The video is a clip enlarged to a height of 1080 lines (Lanczos), over which a window of 1920
  columns pans by four columns a frame; a clip that ends too soon runs backwards and again.
* The recording is recordings one after the other, 16 kHz, mono.

PATH are folders or tar files. Without them the inputs are made of the samples, over and over.
``--small`` takes the smallest size of each alone. With ``--out`` rows are kept at once, and the
same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import io
import itertools
import subprocess
import sys
import tarfile
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from kept import Journal, alone, keep, table
from numpy.typing import NDArray
from PIL import Image as Pillow

SAMPLES = Path(__file__).parents[1] / "samples"
TILE = 500  # pixels
WINDOW = 1920, 1080
FRAME_RATE = Fraction(25)
PAN = 4  # columns a frame
RATE = 16000


@dataclass(frozen=True)
class Medium:
    """What is measured: sizes in a unit, files, and how a part in the middle is asked for."""

    sizes: tuple[float, ...]
    tiny: float  # coded first, so that the loops are compiled
    unit: str
    suffixes: tuple[str, str]  # of input and output
    options: tuple[str, ...] = ()


MEDIA = {
    "image": Medium((6, 24, 100), 0.5, "megapixels", (".ppm", ".ppm")),
    "lossless": Medium((6, 24, 100), 0.5, "megapixels", (".ppm", ".ppm"), ("--lossless",)),
    "video": Medium((12, 60), 2, "frames of 1080p", (".mkv", ".y4m")),
    "audio": Medium((6, 60), 0.2, "minutes", (".wav", ".wav")),
}


def files_of(path: Path, *suffixes: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file of these kinds in a folder or tar file, by name."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix in suffixes:
                yield file.name, file.read_bytes()
        return
    with tarfile.open(path) as archive:
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            content = archive.extractfile(member)
            if content is not None and Path(member.name).suffix in suffixes:
                yield member.name, content.read()


def write_mosaic(path: Path, megapixels: float, sources: list[Path]) -> str:
    """A square image of tiles of different pictures; returns its size in words."""
    side = round((megapixels * 1e6) ** 0.5)
    count = -(-side // TILE)
    found: list[NDArray[np.uint8]] = []
    for source in sources:
        for _, data in files_of(source, ".png", ".avif", ".jpg", ".webp"):
            if len(found) < count**2:
                picture = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))
                height, width = picture.shape[:2]
                if min(height, width) >= TILE or source == SAMPLES:
                    y, x = max(0, height - TILE) // 2, max(0, width - TILE) // 2
                    grown = np.pad(picture, ((0, TILE), (0, TILE), (0, 0)), mode="symmetric")
                    found.append(grown[y : y + TILE, x : x + TILE])
    tiles = itertools.cycle(found)
    rows = [np.concatenate([next(tiles) for _ in range(count)], 1) for _ in range(count)]
    Pillow.fromarray(np.concatenate(rows)[:side, :side]).save(path)
    return f"{side} x {side}"


def write_film(path: Path, frames: int, source: Path) -> str:
    """A clip of 1080 lines without loss; returns its size in words."""
    import av

    with av.open(str(source)) as container:
        shown = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)][:frames]
    there_and_back = itertools.cycle([*shown, *shown[-2:0:-1]])
    width, height = WINDOW
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=FRAME_RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n, pixels in zip(range(frames), there_and_back, strict=False):
            wide = max(width + 2, -(-pixels.shape[1] * height // pixels.shape[0]))
            large = Pillow.fromarray(pixels).resize((wide, height), Pillow.Resampling.LANCZOS)
            room = wide - width
            x = abs((n * PAN + room) % (2 * room) - room)
            crop = np.ascontiguousarray(np.asarray(large)[:, x : x + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(crop, format="rgb24")))
        container.mux(stream.encode())
    return f"{width} x {height}, {frames} frames"


def write_sound(path: Path, minutes: float, sources: list[Path]) -> str:
    """Recordings one after the other; returns the length in words."""
    from laconic.formats.audio import read_audio, resample

    left = round(minutes * 60 * RATE)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        while left > 0:
            for source in sources:
                for _, data in files_of(source, ".opus", ".flac", ".wav"):
                    if left > 0:
                        mono = resample(read_audio(data), RATE, 1).samples[0, :left]
                        whole = (mono * 32767).clip(-32768, 32767).astype("<i2")
                        file.writeframes(whole.tobytes())
                        left -= whole.size
    return f"{minutes:g} minutes"


def write(medium: str, size: float, path: Path, arguments: argparse.Namespace) -> str:
    """Make an input; returns what it is in words."""
    if medium == "video":
        return write_film(path, int(size), arguments.film)
    if medium == "audio":
        return write_sound(path, size, arguments.sounds)
    return write_mosaic(path, size, arguments.pictures)


def made(medium: str, size: float, path: Path, arguments: argparse.Namespace) -> str:
    """As `write`, in a process of its own: the peak of a process counts that of its parent."""
    command = [sys.executable, __file__, "--write", medium, str(size), str(path)]
    command += ["--film", str(arguments.film)]
    command += ["--pictures", *map(str, arguments.pictures)]
    command += ["--sounds", *map(str, arguments.sounds)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def spent(arguments: list[str]) -> dict[str, float]:
    """Processor seconds, seconds and peak memory of a command in a process of its own."""
    found = alone(*arguments, "--quiet", "--threads", "1")
    return {"cpu_s": found["cpu_s"], "s": found["s"], "peak_gib": found["peak_mib"] / 1024}


def measure(medium: str, size: float, arguments: argparse.Namespace) -> dict[str, Any]:
    """One row."""
    how = MEDIA[medium]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source, coded = folder / f"in{how.suffixes[0]}", folder / "coded.lac"
        target, part = (folder / f"{name}{how.suffixes[1]}" for name in ("out", "part"))
        shown = made(medium, size, source, arguments)
        if medium == "video":
            middle = ["--frames", f"{int(size) // 2}:{int(size) // 2 + 1}"]
        elif medium == "audio":
            middle = ["--seconds", f"{size * 30:g}:{size * 30 + 1:g}"]
        else:
            centre = str(round((size * 1e6) ** 0.5) // 2)
            middle = ["--region", f"{centre},{centre},256,256"]
        encode = spent(["encode", str(source), "-o", str(coded), "--no-verify", *how.options])
        decode = spent(["decode", str(coded), "-o", str(target)])
        return {
            "medium": medium,
            "size": size,
            "shown": shown,
            "bytes": coded.stat().st_size,
            "encode": encode,
            "decode": decode,
            "part": spent(["decode", str(coded), "-o", str(part), *middle]),
        }


def shown(rows: list[dict[str, Any]]) -> str:
    """The table of all rows."""
    lines = []
    for row in rows:
        unit = MEDIA[row["medium"]].unit
        cells = [f"{row['medium']}, {row['shown']}", f"{row['bytes']:,}"]
        for way in ("encode", "decode"):
            cells += [f"{row[way]['cpu_s']:.0f}", f"{row[way]['cpu_s'] / row['size']:.2f}"]
            cells += [f"{row[way]['peak_gib']:.2f}"]
        lines.append(" | ".join([*cells, f"{row['part']['cpu_s']:.1f}", unit]))
    head = (
        "input | bytes | encode, CPU s | a unit | peak, GiB | decode, CPU s |"
        " a unit | peak, GiB | a part, CPU s | unit"
    )
    return table(head, lines)


def main() -> None:
    """Measure what is missing, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", nargs="+", choices=list(MEDIA), default=list(MEDIA))
    parser.add_argument("--small", action="store_true", help="the smallest of each")
    parser.add_argument("--pictures", type=Path, nargs="+", default=[SAMPLES])
    parser.add_argument("--film", type=Path, default=SAMPLES / "clip.mkv")
    parser.add_argument("--sounds", type=Path, nargs="+", default=[SAMPLES])
    parser.add_argument("--out", type=Path, help="keep results as OUT.json, OUT.md and OUT.jsonl")
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        medium, size, path = arguments.write
        print(write(medium, float(size), Path(path), arguments))
        return
    with tempfile.TemporaryDirectory() as temporary:
        measure_all(arguments, arguments.out or Path(temporary) / "large")


def measure_all(arguments: argparse.Namespace, out: Path) -> None:
    """Every row that is not in the journal yet, and the table of all."""
    journal = Journal(out)
    for medium in arguments.media:
        sizes = MEDIA[medium].sizes[: 1 if arguments.small else None]
        done = {row["size"] for row in journal.rows if row["medium"] == medium}
        if left := [size for size in sizes if size not in done]:
            measure(medium, MEDIA[medium].tiny, arguments)
        for size in left:
            journal.add(measure(medium, size, arguments))
            print(shown(journal.rows[-1:]).splitlines()[-1], flush=True)
    order = list(MEDIA)
    rows = sorted(journal.rows, key=lambda r: (order.index(r["medium"]), r["size"]))
    keep(out, rows, shown(rows))


if __name__ == "__main__":
    main()

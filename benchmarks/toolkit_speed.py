"""Speed and memory of every codec here beside the codecs people use, medium by medium, in one run.

    python benchmarks/toolkit_speed.py [--json FILE] [--media image lossless video audio table]
                                       [--starts]

Every codec runs alone in a process of its own (``laconic eval``), so that peak memory is its own
and that of what it imports; the measures of audio import torch in every such process. The codecs of
the registry are found by themselves; ratios refer to the reference of each medium: WebP, PNG, x264,
Opus, xz. Images are the samples; the video pans over one of them, audio and table are made, so
that the benchmark needs no other data. Codecs that fit a network to each input for minutes are left
out: ``video_rd.py`` measures those.

Last, or alone with ``--starts``, come whole commands from a cold process, best of several, against
a Python that reads a PNG file with Pillow, and once folders with one job and with two: processor
seconds, of all their processes, and seconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import wave
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from kept import LACONIC, alone
from PIL import Image as Pillow

from laconic.codec import registry
from laconic.codec.evaluate.subject import find_subject, parse_spec
from laconic.formats.errors import LaconicError
from laconic.formats.image import read_image

SAMPLES = Path(__file__).parents[1] / "samples"


@dataclass(frozen=True)
class Medium:
    """What a medium is measured with. ``reference`` is what the ratios refer to."""

    kind: str
    metric: str  # "" where decoding is exact or wrong
    reference: str
    codecs: tuple[str, ...]
    ours: str  # qualities of the registry's codecs, "" for lossless ones


PICTURES = ("jpeg:75", "avif:60", "jpeg2000:35", "jxl:75")
LOSSLESS = ("webp-lossless", "jpeg2000-lossless", "jxl-lossless")
MEDIA = {
    "image": Medium("image", "psnr", "webp:75", PICTURES, ":50"),
    "lossless": Medium("image", "psnr", "png", LOSSLESS, ""),
    "video": Medium("video", "psnr", "x264:28", ("x265:28", "svt-av1:35", "vp9:35"), ":50"),
    "audio": Medium("audio", "mel", "opus:32", ("aac:48", "mp3:48", "flac"), ":50"),
    "table": Medium("data", "", "xz", ("gzip", "bzip2", "openzl"), ""),
}
ROUNDS = 3  # of a command on one file
FOLDER = 16  # files
FITTED = {"hnerv"}


def ours(medium: str) -> list[str]:
    """Specifications of the registry's codecs of a medium, lossy and lossless ones apart."""
    found = []
    for name in [name for name in registry.names() if name not in FITTED]:
        try:
            subject = find_subject(parse_spec(name))
        except LaconicError:
            continue
        lossless = list(subject.qualities) == [None]
        exact = medium in ("lossless", "table")
        if subject.media.name.lower() == MEDIA[medium].kind and lossless == exact:
            found.append(name + MEDIA[medium].ours)
    return found


def make_items(folder: Path, medium: str) -> tuple[list[Path], int]:
    """Files to measure with and the bytes of their samples."""
    if MEDIA[medium].kind == "image":
        files = sorted(SAMPLES.glob("*.png"))
        return files, sum(read_image(f).pixels.nbytes for f in files)
    name, write = {"video": ("pan.mkv", write_film), "audio": ("chord.wav", write_sound),
                   "table": ("people.csv", write_table)}[medium]  # fmt: skip
    return [folder / name], write(folder / name)


def write_table(path: Path, rows: int = 10_000) -> int:
    """Records whose columns depend on one another."""
    rng = np.random.default_rng(1)
    age = rng.integers(17, 90, rows)
    work = np.minimum(age // 20 + rng.integers(0, 2, rows), 5)
    school = (work * 2 + rng.integers(0, 3, rows)) % 7
    hours = np.where(age > 65, 0, 8 * work + rng.integers(0, 8, rows))
    income = 100 * (hours * (3 + school) + rng.integers(0, 50, rows))
    lines = ["age,work,school,hours,income"]
    lines += [
        f"{a},{'ABCDEF'[w]}-work,school-{s},{h},{i}"
        for a, w, s, h, i in zip(age, work, school, hours, income, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path.stat().st_size


def write_film(path: Path, frames: int = 48, size: tuple[int, int] = (320, 180)) -> int:
    """A lossless video that pans over a sample image."""
    import av

    source = read_image(SAMPLES / "mountains.png").pixels
    width, height = size
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n in range(frames):
            x, y = 2 * n, n
            crop = np.ascontiguousarray(source[y : y + height, x : x + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(crop, format="rgb24")))
        container.mux(stream.encode())
    return frames * width * height * 3


def write_sound(path: Path, seconds: int = 20, rate: int = 48000) -> int:
    """Decaying harmonic tones in stereo with a little noise."""
    rng = np.random.default_rng(1)
    t = np.arange(seconds * rate) / rate
    beat = t % 0.5
    notes = 220 * 2 ** (rng.integers(0, 13, 2 * seconds) / 12)
    pitch = notes[(t / 0.5).astype(int)]
    tone = sum(np.sin(2 * np.pi * k * pitch * beat) / k for k in range(1, 8)) * np.exp(-5 * beat)
    stereo = np.stack([tone, np.roll(tone, 300)]) + 0.01 * rng.normal(size=(2, t.size))
    samples = (stereo * 0.25 * 32767).clip(-32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.T.tobytes())
    return samples.nbytes


def measure(files: list[Path], spec: str, medium: Medium, folder: Path) -> list[dict[str, Any]]:
    """Rows of one codec from a process of its own; empty where its library is missing."""
    out = folder / spec.replace(":", "-")
    laconic = [sys.executable, "-m", "laconic.cli", "eval", "--out", str(out)]
    options = ["-c", spec, "--gallery", "0", "--quiet", "--no-progress"]
    options += ["-m", medium.metric] if medium.metric else []
    done = subprocess.run([*laconic, *options, *map(str, files)], capture_output=True, text=True)
    if done.returncode:
        print(f"{spec}: {done.stderr.strip()}", file=sys.stderr)
        return []
    rows: list[dict[str, Any]] = json.loads((out / "results.json").read_text())["measurements"]
    return rows


def main() -> None:
    """Measure every medium, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", nargs="+", choices=list(MEDIA), default=list(MEDIA))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--starts", action="store_true", help="only commands and folders")
    arguments = parser.parse_args()
    figures: dict[str, list[dict[str, Any]]] = {}
    for name in [] if arguments.starts else arguments.media:
        medium = MEDIA[name]
        with tempfile.TemporaryDirectory() as temporary:
            files, size = make_items(Path(temporary), name)
            table = []
            for spec in (medium.reference, *medium.codecs, *ours(name)):
                rows = measure(files, spec, medium, Path(temporary))
                if rows:
                    table.append(
                        {
                            "codec": spec,
                            "percent": 100 * sum(r["bytes"] for r in rows) / size,
                            "encode_mbps": size / 1e6 / sum(r["encode_s"] for r in rows),
                            "decode_mbps": size / 1e6 / sum(r["decode_s"] for r in rows),
                            "peak_mib": max(r["peak_mib"] for r in rows),
                            **_quality(medium, rows),
                        }
                    )
        base = table[0]
        for row in table:
            for way in ("encode", "decode"):
                row[f"{way}_ratio"] = row[f"{way}_mbps"] / base[f"{way}_mbps"]
        figures[name] = table
        print(f"\n{name}: MB/s of samples, in brackets times that of {base['codec']}")
        for row in table:
            value = row.get(medium.metric)
            print(
                f"{row['codec']:20} {row['percent']:6.2f} % of the samples  {medium.metric}"
                f" {'exact' if value is None else format(value, '.2f'):>6}  encode"
                f" {row['encode_mbps']:7.2f} ({row['encode_ratio']:.3g})  decode"
                f" {row['decode_mbps']:7.2f} ({row['decode_ratio']:.3g})"
                f"  peak {row['peak_mib']:5.0f} MiB",
                flush=True,
            )
    with tempfile.TemporaryDirectory() as temporary:
        figures["starts"] = measure_starts(Path(temporary))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def measure_starts(folder: Path) -> list[dict[str, Any]]:
    """Times and peak memory of whole commands; prints them as they come."""
    pictures, small, table = folder / "pictures", folder / "small.png", folder / "people.csv"
    pictures.mkdir()
    pixels = read_image(SAMPLES / "mountains.png").pixels
    Pillow.fromarray(pixels[:64, :64]).save(small)
    write_table(table, 500)
    for n in range(FOLDER):
        Pillow.fromarray(pixels[n : n + 256, n : n + 256]).save(pictures / f"{n:02}.png")
    read = f"import numpy, PIL.Image; numpy.asarray(PIL.Image.open({str(small)!r}))"
    many = f"encode {pictures} -f --output-dir {folder / 'coded'}"
    commands = {
        "Python reads a PNG": read,
        "laconic --version": "--version",
        "encode a small image": f"encode {small} -f",
        "decode it": f"decode {small.with_suffix('.lac')} -f -o {folder / 'back.png'}",
        "encode it losslessly": f"encode {small} -f --lossless",
        "decode that": f"decode {small.with_suffix('.lac')} -f -o {folder / 'back.png'}",
        "encode a small table": f"encode {table} -f",
        "decode it again": f"decode {table.with_suffix('.lac')} -f -o {folder / 'back.csv'}",
        f"encode {FOLDER} images": f"{many} --jobs 1",
        f"encode {FOLDER} images, 2 jobs": f"{many} --jobs 2",
    }
    rows: list[dict[str, Any]] = []
    print("\ncommands from a cold process, in brackets times that of the first")
    for name, command in commands.items():
        rounds = 1 if str(FOLDER) in name else ROUNDS
        task, words = (read, []) if command == read else (LACONIC, command.split())
        words += ["--quiet"] if len(words) > 1 else []
        found = [alone(*words, task=task) for _ in range(rounds)]
        best = min(found, key=lambda f: f["cpu_s"])
        ratio = best["cpu_s"] / (rows[0]["cpu_s"] if rows else best["cpu_s"])
        rows.append({"command": name, **best, "ratio": ratio})
        print(f"{name:28} {best['cpu_s']:6.2f} CPU s ({ratio:.3g})  {best['s']:6.2f} s"
              f"  peak {best['peak_mib']:5.0f} MiB", flush=True)  # fmt: skip
    return rows


def _quality(medium: Medium, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of the medium's measure, if it has one."""
    return {medium.metric: _mean(r[medium.metric] for r in rows)} if medium.metric else {}


def _mean(values: Any) -> float | None:
    """Mean, or None where any is missing or infinite (exact)."""
    known = list(values)
    return None if any(v is None for v in known) else float(np.mean(known))


if __name__ == "__main__":
    main()

"""Speed and memory of every codec here beside the codecs people use, medium by medium, in one run.

    python benchmarks/toolkit_speed.py [--json FILE] [--media image lossless video audio]

Every codec runs alone in a process of its own (``laconic eval``), so that peak memory is its own
and that of what it imports; the measures of sound import torch in every such process. The codecs of
the registry are found by themselves; ratios refer to the reference of each medium: WebP, PNG, x264,
Opus. Pictures are the samples; the film pans over one of them and the sound is synthesised, so that
the benchmark needs no other data.
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

from laconic.codec import registry
from laconic.codec.evaluate.subject import find_subject, parse_spec
from laconic.formats.errors import LaconicError
from laconic.formats.image import read_image

SAMPLES = Path(__file__).parents[1] / "samples"


@dataclass(frozen=True)
class Medium:
    """What a medium is measured with. ``reference`` is what the ratios refer to."""

    kind: str
    metric: str
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
}


def ours(medium: str) -> list[str]:
    """Specifications of the registry's codecs of a medium, lossy and lossless ones apart."""
    found = []
    for name in registry.names():
        try:
            subject = find_subject(parse_spec(name))
        except LaconicError:
            continue
        lossless = list(subject.qualities) == [None]
        if subject.media.name.lower() == MEDIA[medium].kind and lossless == (medium == "lossless"):
            found.append(name + MEDIA[medium].ours)
    return found


def make_items(folder: Path, medium: str) -> tuple[list[Path], int]:
    """Files to measure with and the bytes of their samples."""
    if MEDIA[medium].kind == "image":
        files = sorted(SAMPLES.glob("*.png"))
        return files, sum(read_image(f).pixels.nbytes for f in files)
    path = folder / ("pan.mkv" if medium == "video" else "chord.wav")
    return [path], write_film(path) if medium == "video" else write_sound(path)


def write_film(path: Path, frames: int = 96, size: tuple[int, int] = (320, 180)) -> int:
    """A lossless film that pans over a sample picture."""
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
    options = ["-c", spec, "-m", medium.metric, "--gallery", "0", "--quiet", "--no-progress"]
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
    arguments = parser.parse_args()
    figures: dict[str, list[dict[str, Any]]] = {}
    for name in arguments.media:
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
                            medium.metric: _mean(r[medium.metric] for r in rows),
                        }
                    )
        base = table[0]
        for row in table:
            for way in ("encode", "decode"):
                row[f"{way}_ratio"] = row[f"{way}_mbps"] / base[f"{way}_mbps"]
        figures[name] = table
        print(f"\n{name}: MB/s of samples, in brackets times that of {base['codec']}")
        for row in table:
            value = row[medium.metric]
            print(
                f"{row['codec']:20} {row['percent']:6.2f} % of the samples  {medium.metric}"
                f" {'exact' if value is None else format(value, '.2f'):>6}  encode"
                f" {row['encode_mbps']:7.2f} ({row['encode_ratio']:.3g})  decode"
                f" {row['decode_mbps']:7.2f} ({row['decode_ratio']:.3g})"
                f"  peak {row['peak_mib']:5.0f} MiB",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def _mean(values: Any) -> float | None:
    """Mean, or None where any is missing or infinite (exact)."""
    known = list(values)
    return None if any(v is None for v in known) else float(np.mean(known))


if __name__ == "__main__":
    main()

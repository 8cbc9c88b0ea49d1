"""Our video networks against x264 and x265 (medium) on the same small frames.

    python benchmarks/video_rd.py --clips DIR [--only NAME ..] [--codecs NAME ..] [--json FILE]

Clips are made from the films in DIR (see CLIPS): reduced to a size that a processor fits in
minutes and kept as lossless FFV1. Every point is a file: encoded, decoded afresh, compared with the
frames; bytes are those of the file. Points that are in the JSON already are kept, so that a run
which was cut goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
import torch.nn.functional as F
from kept import HERE, keep, table
from numpy.typing import NDArray

from laconic import codec
from laconic.codec.evaluate.baselines import videos
from laconic.codec.evaluate.bd_rate import bd_rate
from laconic.codec.evaluate.distortion import decibels, psnr, psnr_y
from laconic.codec.evaluate.items import Item
from laconic.codec.video.chunk import decode
from laconic.codec.video.losses import ms_ssim
from laconic.codec.video.motion.fit import PASSES
from laconic.codec.video.motion.recode import ideal_bits
from laconic.codec.video.settings import PRESETS
from laconic.codec.video.symbols import encode_symbols
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import ParameterError
from laconic.formats.video_reader import FilmArray

CLIPS = {
    "bunny-16": ("bunny_1280x640_rgb.mkv", 16, 160, 320),
    "bunny-64": ("bunny_1280x640_rgb.mkv", 64, 160, 320),
    "bunny-132": ("bunny_1280x640_rgb.mkv", 132, 160, 320),
    "cars-32": ("cars_384x216.mkv", 32, 180, 320),
    "bedroom-32": ("bedroom_480x270.mkv", 32, 180, 320),
}
QUALITIES = (22.0, 27.0, 32.0, 37.0)
PLAN: list[tuple[str, str, str, int]] = [  # (clip, network, preset, bytes)
    *(("bunny-16", "motion", "fast", size) for size in (6500, 12000)),
    *(("cars-32", "motion", "fast", size) for size in (11000, 18000)),
    *(("bunny-64", "motion", "fast", size) for size in (15000, 30000)),
    ("bunny-16", "motion", "fast", 20000),
    ("bunny-132", "motion", "fast", 33000),
    *(("bedroom-32", "motion", "fast", size) for size in (9000, 18000)),
    ("bunny-132", "motion", "fast", 65000),
    ("bunny-16", "motion", "fast", 4500),
    ("cars-32", "motion", "fast", 7000),
    *(("bunny-16", "motion", "medium", size) for size in (6500, 12000)),
    ("bunny-16", "grids", "fast", 14000),
    ("bunny-16", "grids", "fast", 7000),
    ("bunny-16", "grids", "fast", 4000),
    ("bunny-16", "hnerv", "fast", 28000),
    ("bunny-16", "hnerv", "fast", 14000),
    ("bunny-16", "hnerv-boost", "fast", 20000),
    ("cars-32", "grids", "fast", 14000),
    ("bedroom-32", "grids", "fast", 14000),
    ("cars-32", "hnerv", "fast", 28000),
    ("bunny-64", "grids", "fast", 40000),
    ("bunny-132", "grids", "fast", 70000),
    ("bunny-16", "grids", "medium", 14000),
    ("bunny-16", "grids", "medium", 7000),
    ("bunny-16", "hnerv", "medium", 28000),
    ("bunny-16", "hnerv", "medium", 14000),
    ("cars-32", "grids", "fast", 7000),
    ("bedroom-32", "grids", "fast", 7000),
    ("cars-32", "grids", "medium", 14000),
    ("bedroom-32", "grids", "medium", 14000),
    ("bunny-132", "grids", "medium", 70000),
    ("bunny-16", "hnerv-boost", "medium", 20000),
    ("bunny-64", "hnerv", "fast", 40000),
    ("bunny-64", "hnerv", "medium", 40000),
    ("bedroom-32", "hnerv", "fast", 28000),
    ("bunny-64", "grids", "fast", 20000),
    ("bunny-132", "hnerv", "fast", 70000),
]


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


def lossless(frames: NDArray[np.uint8], path: Path) -> Item:
    """The frames as a file for the other encoders."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=24)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for index, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, "rgb24").reformat(format="bgr0")
            frame.pts, frame.time_base = index, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Item(path, path.name, Media.VIDEO)


def quality(frames: NDArray[np.uint8], decoded: Iterable[NDArray[np.uint8]]) -> dict[str, float]:
    """Means over frames of PSNR, PSNR of luma and MS-SSIM."""
    values, lumas, similar = [], [], []
    for a, b in zip(frames, decoded, strict=True):
        values.append(psnr(a, b))
        lumas.append(psnr_y(a, b))
        x, y = (torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() / 255 for p in (a, b))
        similar.append(float(ms_ssim(x, y)))
    means = {"psnr": values, "psnr_y": lumas, "ms_ssim": similar}
    return {name: float(np.mean(found)) for name, found in means.items()}


def measure_ours(
    frames: NDArray[np.uint8], network: str, preset: str, target: int
) -> dict[str, Any]:
    """Encode into a file, decode the file, compare."""
    begun, worked = time.monotonic(), time.process_time()
    data = codec.encode(
        FilmArray(frames, 24),
        codec=f"hnerv:{network}",
        target_bytes=target,
        preset=preset,
        chunk=len(frames),
        verify=False,
        status=lambda text: print(f"\r{text}   ", end="", flush=True),
    )
    encode_s, encode_cpu_s = time.monotonic() - begun, time.process_time() - worked
    count, rows, columns = frames.shape[:3]
    worked = time.process_time()
    decoded = list(codec.decode(data))
    decode_cpu_s = time.process_time() - worked
    payload = ContainerReader(data)[0].payload
    decoder = decode(payload, count, columns, rows)
    coded = getattr(decoder, "coded", None)
    ideal = encode_symbols(coded)[1] if coded is not None else ideal_bits(decoder)
    return {
        "bytes": len(data),
        "bpp": len(data) * 8 / (count * rows * columns),
        **quality(frames, decoded),
        "encode_s": encode_s,
        "encode_cpu_s": encode_cpu_s,
        "decode_fps": count / decode_cpu_s,
        "steps": PASSES[preset] * count if network == "motion" else PRESETS[preset],
        "over_ideal": len(payload) * 8 / ideal,
    }


def measure_theirs(frames: NDArray[np.uint8], name: str, crf: float) -> dict[str, Any]:
    """One point of x264 or x265."""
    baseline = videos.make(name, "medium")
    with tempfile.TemporaryDirectory() as folder:
        item = lossless(frames, Path(folder) / "clip.mkv")
        begun = time.monotonic()
        data = baseline.encode(item, crf)
        encode_s, begun = time.monotonic() - begun, time.monotonic()
        decoded = list(baseline.decode(data, item))
        decode_s = time.monotonic() - begun
    pixels = frames.shape[0] * frames.shape[1] * frames.shape[2]
    return {
        "bytes": len(data),
        "bpp": len(data) * 8 / pixels,
        **quality(frames, decoded),
        "encode_s": encode_s,
        "decode_fps": len(frames) / decode_s,
    }


def points_table(points: list[dict[str, Any]]) -> str:
    """All points as Markdown."""
    rows = []
    order = list(CLIPS)
    for p in sorted(points, key=lambda p: (order.index(p["clip"]), p["codec"], p["bytes"])):
        minutes = p.get("encode_cpu_s", p["encode_s"]) / 60
        luma = f"{p['psnr_y']:.2f}" if "psnr_y" in p else "-"
        rows.append(
            f"{p['clip']} | {p['codec']} | {p.get('steps', '')} | {p['bytes']:,} | {p['bpp']:.4f}"
            f" | {p['psnr']:.2f} | {luma} | {decibels(p['ms_ssim']):.2f} | {minutes:.2f}"
            f" | {p['decode_fps']:.0f}"
        )
    return table(
        "clip | codec | steps | bytes | bpp | PSNR dB | of luma | MS-SSIM dB | CPU min"
        " | decode fps",
        rows,
        texts=2,
    )


def saved(known: list[dict[str, Any]], points: list[dict[str, Any]], measure: str) -> str | None:
    """BD-rate of ``points`` against ``known``, None where curves do not overlap."""
    curves = [[(p["bpp"], p[measure]) for p in c if measure in p] for c in (known, points)]
    if min(map(len, curves)) < 2:
        return None
    try:
        return f"{bd_rate(*curves).value:+.0f} %"
    except ParameterError:
        return None


def deltas_table(points: list[dict[str, Any]]) -> str:
    """BD-rates between curves of one preset that overlap, as Markdown."""
    rows = []
    curves: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for p in points:
        curves.setdefault((p["clip"], p["codec"]), []).append(p)
    for (clip, name), curve in sorted(curves.items(), key=lambda c: list(CLIPS).index(c[0][0])):
        network, preset = name.split(" ")
        for anchor in (f"hnerv {preset}", "x264 medium", "x265 medium"):
            known = curves.get((clip, anchor), [])
            value = saved(known, curve, "psnr")
            if network in ("x264", "x265") or name == anchor or value is None:
                continue
            low, high = (
                choose(end(p["psnr"] for p in c) for c in (curve, known))
                for choose, end in ((max, min), (min, max))
            )
            luma = saved(known, curve, "psnr_y") or "-"
            rows.append(f"{clip} | {name} | {anchor} | {low:.2f} | {high:.2f} | {value} | {luma}")
    return table(
        "clip | codec | against | from dB | to dB | bits at equal PSNR | at equal PSNR of luma",
        rows,
        texts=3,
    )


def main() -> None:
    """Measure what is missing, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, help="folder of the films; none only prints")
    parser.add_argument("--only", nargs="*", help="names of clips")
    parser.add_argument("--codecs", nargs="*", help="x264, x265 or names of networks")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "video_rd.json")
    arguments = parser.parse_args()
    points = json.loads(arguments.json.read_text()) if arguments.json.exists() else []
    torch.set_num_threads(1)
    jobs = [
        (clip, f"{name} medium", crf)
        for clip in CLIPS
        for name in ("x264", "x265")
        for crf in QUALITIES
    ]
    jobs += [(clip, f"{network} {preset}", size) for clip, network, preset, size in PLAN]
    for clip, subject, setting in jobs if arguments.clips else ():
        if arguments.only and clip not in arguments.only:
            continue
        if arguments.codecs and subject.split(" ")[0] not in arguments.codecs:
            continue
        if any((p["clip"], p["codec"], p["setting"]) == (clip, subject, setting) for p in points):
            continue
        frames = frames_of(arguments.clips, clip)
        name, preset = subject.split(" ")
        if name in videos.names():
            found = measure_theirs(frames, name, setting)
        else:
            found = measure_ours(frames, name, preset, int(setting))
        points = json.loads(arguments.json.read_text()) if arguments.json.exists() else []
        points.append({"clip": clip, "codec": subject, "setting": setting, **found})
        print("\r", points[-1], flush=True)
        arguments.json.write_text(json.dumps(points, indent=1) + "\n")
    keep(arguments.json, points, points_table(points), deltas_table(points))


if __name__ == "__main__":
    main()

"""Video codecs at equal quality of the source's own samples, from one command.

    python benchmarks/video_rd.py --clips DIR [--only NAME ..] [--codecs NAME ..] [--out FILE]

DIR gets the test clips of `video_clips`, as far as it lacks them, which no constant was chosen on;
it may hold other clips, lossless 4:2:0 in Matroska, for ``--only``. Every point is a stream:
encoded, decoded afresh, compared with the source's planes as they are; no image is converted on the
way. All encoders are tuned for PSNR and run as one thread. ``bytes`` are those of the raw stream
without the encoder's own notes (SEI), ``file`` those of an MP4 or ``.lac`` file. Points that were
measured before are kept, so that a run which was cut goes on; without ``OUT.json`` all are new.

PSNR-Y is the mean over frames; PSNR-YUV weighs Y, U and V by 6 : 1 : 1, the practice of JVET.
MS-SSIM is of Y, VMAF that of libvmaf (``pip install laconic[eval]``).
"""

from __future__ import annotations

import argparse
import io
import json
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from kept import RESULTS, Journal, keep, table
from numpy.typing import NDArray
from video_clips import build

from laconic.codec.evaluate.metrics import Vmaf, bd_rate, decibels, ms_ssim_y, psnr
from laconic.formats.errors import ParameterError

Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
OURS = ["motion fast"]


@dataclass(frozen=True)
class Rival:
    """An encoder of FFmpeg's, its options, and the option and values of its quality."""

    library: str
    options: dict[str, str]
    quality: str
    values: tuple[int, ...]


def _x264(preset: str) -> Rival:
    options = {"preset": preset, "tune": "psnr", "x264-params": "keyint=infinite:threads=1"}
    return Rival("libx264", options, "crf", (20, 25, 30, 35))


def _x265(preset: str) -> Rival:
    parameters = "keyint=-1:pools=none:frame-threads=1:info=0:log-level=none"
    options = {"preset": preset, "tune": "psnr", "x265-params": parameters}
    return Rival("libx265", options, "crf", (20, 25, 30, 35))


def _svt(preset: int) -> Rival:
    options = {"preset": str(preset), "svtav1-params": "tune=1:keyint=-1:lp=1"}
    return Rival("libsvtav1", options, "crf", (25, 35, 45, 55))


def _vp9(speed: int) -> Rival:
    options = {"deadline": "good", "cpu-used": str(speed), "b": "0", "auto-alt-ref": "1",
               "lag-in-frames": "25", "g": "9999", "row-mt": "0"}  # fmt: skip
    return Rival("libvpx-vp9", options, "crf", (20, 30, 40, 50))


def _as_is(rival: Rival) -> Rival:
    """The encoder with the tuning it has by default, which is for the eye."""
    options = {k: v.replace("tune=1:", "") for k, v in rival.options.items() if k != "tune"}
    return replace(rival, options=options)


RIVALS = {
    "x264 medium": _x264("medium"),
    "x264 veryslow": _x264("veryslow"),
    "x265 medium": _x265("medium"),
    "x265 slow": _x265("slow"),
    "VP9 1": _vp9(1),
    "SVT-AV1 8": _svt(8),
    "SVT-AV1 4": _svt(4),
    "x264 medium, default tuning": _as_is(_x264("medium")),
    "x265 medium, default tuning": _as_is(_x265("medium")),
}


def planes_of(frame: Any) -> Planes:
    """The planes of a decoded 4:2:0 frame."""
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        raise SystemExit(f"a frame is {frame.format.name}: expected a clip of yuv420p")
    found = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        found.append(rows[: plane.height, : plane.width].copy())
    return found[0], found[1], found[2]


def read_clip(path: Path) -> tuple[list[Planes], Fraction]:
    """All frames of a clip, and its frames per second."""
    with av.open(str(path)) as container:
        rate = Fraction(container.streams.video[0].average_rate or 25)
        return [planes_of(frame) for frame in container.decode(video=0)], rate


def frame_of(planes: Planes, index: int, rate: Fraction) -> Any:
    """A frame for FFmpeg."""
    frame = av.VideoFrame(planes[0].shape[1], planes[0].shape[0], "yuv420p")
    for target, source in zip(frame.planes, planes, strict=True):
        rows = np.zeros((target.height, target.line_size), np.uint8)
        rows[:, : target.width] = source
        target.update(rows.tobytes())
    frame.pts, frame.time_base = index, 1 / rate
    return frame


def quality(source: list[Planes], decoded: Iterator[Planes]) -> dict[str, float | None]:
    """Means over frames, on the planes of the source: PSNR of Y, and of Y, U and V as 6 : 1 : 1;
    MS-SSIM of Y in dB, None below 161 rows or columns; VMAF."""
    luma, all_planes, structure = [], [], []
    large = min(source[0][0].shape) > 160
    with Vmaf() as vmaf:
        for a, b in zip(source, decoded, strict=True):
            shown = [y.astype(np.uint8) for y in b]
            found = []
            for x, y in zip(a, shown, strict=True):
                value = psnr(x, y)
                found.append(value if math.isfinite(value) else 99.0)
            luma.append(found[0])
            all_planes.append((6 * found[0] + found[1] + found[2]) / 8)
            structure += [ms_ssim_y(a[0], shown[0])] if large else []
            vmaf.add(a[0], shown[0])
        return {
            "psnr_y": float(np.mean(luma)), "psnr_yuv": float(np.mean(all_planes)),
            "ms_ssim_y": decibels(float(np.mean(structure))) if large else None,
            "vmaf": vmaf.score(),
        }  # fmt: skip


def without_notes(packet: bytes, library: str) -> bytes:
    """A packet of an Annex B stream without its SEI units; any other packet as it is."""
    if library not in ("libx264", "libx265"):
        return packet
    kept = []
    for unit in re.split(rb"\x00\x00\x00?\x01", packet)[1:]:
        kind = unit[0] & 31 if library == "libx264" else unit[0] >> 1 & 63
        if kind not in ((6,) if library == "libx264" else (39, 40)):
            kept.append(b"\0\0\1" + unit)
    return b"".join(kept)


def measure_rival(source: list[Planes], rate: Fraction, name: str, value: int) -> dict[str, Any]:
    """One point of another encoder."""
    rival = RIVALS[name]
    rows, columns = source[0][0].shape
    buffer, size, luma = io.BytesIO(), 0, rows * columns
    begun = time.process_time()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream(rival.library, rate=rate)
        stream.width, stream.height, stream.pix_fmt = columns, rows, "yuv420p"
        stream.options = {**rival.options, rival.quality: str(value)}
        stream.thread_count = 1
        for index, planes in enumerate(source):
            container.mux(stream.encode(frame_of(planes, index, rate)))
        container.mux(stream.encode(None))
    encode_s = time.process_time() - begun
    raw: Any = av.CodecContext.create(rival.library, "w")
    raw.width, raw.height, raw.pix_fmt = columns, rows, "yuv420p"
    raw.time_base, raw.framerate, raw.thread_count = 1 / rate, rate, 1
    raw.options = {**rival.options, rival.quality: str(value)}
    for index, planes in [*enumerate(source), (0, None)]:
        frame = None if planes is None else frame_of(planes, index, rate)
        for packet in raw.encode(frame):
            size += len(without_notes(bytes(packet), rival.library))
    buffer.seek(0)
    begun = time.process_time()
    with av.open(buffer) as container:
        container.streams.video[0].thread_type = "NONE"
        decoded = [planes_of(frame) for frame in container.decode(video=0)]
    seconds = time.process_time() - begun
    return {
        "bytes": size, "file": len(buffer.getvalue()), "bpp": 8 * size / luma / len(source),
        **quality(source, iter(decoded)), "encode_fps": len(source) / max(encode_s, 1e-3),
        "decode_fps": len(source) / max(seconds, 1e-3),
    }  # fmt: skip


def measure_ours(path: Path, source: list[Planes], name: str, value: int) -> dict[str, Any]:
    """One point of a network of ours, as a file."""
    from laconic import codec
    from laconic.formats.container_reader import ContainerReader
    from laconic.formats.video_reader import VideoFile

    network, preset = name.split()
    begun = time.process_time()
    data = codec.encode(
        VideoFile(path),
        codec="motion" if network == "motion" else f"hnerv:{network}",
        quality=value,
        preset=preset,
        chunk=len(source),
        verify=False,
    )
    encode_s, begun = time.process_time() - begun, time.process_time()
    decoded = list(codec.decode(data).planes())
    decode_s = time.process_time() - begun
    size = len(ContainerReader(data)[0].payload)
    return {
        "bytes": size, "file": len(data),
        "bpp": 8 * size / source[0][0].size / len(source), **quality(source, iter(decoded)),
        "encode_fps": len(source) / encode_s, "decode_fps": len(source) / decode_s,
    }  # fmt: skip


def _number(point: dict[str, Any], measure: str) -> str:
    return f"{point[measure]:.2f}" if point.get(measure) is not None else "-"


def points_table(points: list[dict[str, Any]]) -> str:
    """All points as Markdown."""
    rows = [
        f"{p['clip']} | {p['codec']} | {p['setting']} | {p['bytes']:,} | {p['file']:,}"
        f" | {p['psnr_y']:.2f} | {p['psnr_yuv']:.2f} | {_number(p, 'ms_ssim_y')}"
        f" | {_number(p, 'vmaf')} | {p['encode_fps']:.1f} | {p['decode_fps']:.0f}"
        for p in sorted(points, key=lambda p: (p["clip"], p["codec"], p["bytes"]))
    ]
    head = "clip | codec | setting | bytes | of the file | PSNR-Y | PSNR-YUV | MS-SSIM-Y dB | VMAF"
    return table(head + " | encode fps | decode fps", rows, texts=2)


def delta(points: list[dict[str, Any]], clip: str, ours: str, theirs: str, measure: str,
          size: str = "bytes") -> float | None:  # fmt: skip
    """BD-rate of a codec against another on a clip; None where a curve is missing."""
    curves = [
        [
            (p[size], p[measure]) for p in points
            if p["clip"] == clip and p["codec"] == name and p.get(measure) is not None
        ]
        for name in (theirs, ours)
    ]  # fmt: skip
    try:
        return bd_rate(curves[0], curves[1]).value if min(map(len, curves)) > 1 else None
    except ParameterError:
        return None


def deltas_table(points: list[dict[str, Any]]) -> str:
    """BD-rates of ours against the others: at equal PSNR-Y, by clips and in the mean, and at other
    measures and as files in the mean."""
    rows = []
    clips = sorted({p["clip"] for p in points})
    for ours in (name for name in OURS if any(p["codec"] == name for p in points)):
        for theirs in (*RIVALS, *(name for name in OURS if name != ours)):
            cells = []
            for measure, size in (
                ("psnr_y", "bytes"), ("psnr_yuv", "bytes"), ("ms_ssim_y", "bytes"),
                ("vmaf", "bytes"), ("psnr_y", "file"),
            ):  # fmt: skip
                found = [delta(points, clip, ours, theirs, measure, size) for clip in clips]
                known = [value for value in found if value is not None]
                if size == "bytes" and measure == "psnr_y":
                    cells += ["-" if value is None else f"{value:+.1f}" for value in found]
                cells.append(f"{np.mean(known):+.1f}" if known else "-")
            if set(cells) != {"-"}:
                rows.append(f"{ours} | {theirs} | " + " | ".join(cells))
    head = (
        "codec | against | "
        + " | ".join(clips)
        + " | mean, PSNR-Y | PSNR-YUV | MS-SSIM-Y | VMAF | files"
    )
    return table(head, rows, texts=2)


def main() -> None:
    """Measure what is missing, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, help="folder of clips; none only prints")
    parser.add_argument("--only", nargs="*", help="names of clips")
    parser.add_argument("--codecs", nargs="*", help="names, with the preset")
    parser.add_argument("--out", type=Path, default=RESULTS / "video_rd")
    arguments = parser.parse_args()
    journal = Journal(arguments.out)
    known = arguments.out.with_suffix(".json")
    if not journal.rows and known.exists():
        journal.rows = json.loads(known.read_text())
    if arguments.clips and not arguments.only:
        build(arguments.clips)
    wanted = arguments.codecs or [*RIVALS, "motion fast"]
    for path in sorted(arguments.clips.glob("*.mkv")) if arguments.clips else ():
        if arguments.only and path.stem not in arguments.only:
            continue
        source, rate = read_clip(path)
        for name in wanted:
            values = RIVALS[name].values if name in RIVALS else (25, 40, 55, 70)
            for value in values:
                key = (path.stem, name, value)
                if any((p["clip"], p["codec"], p["setting"]) == key for p in journal.rows):
                    continue
                found = (
                    measure_rival(source, rate, name, value)
                    if name in RIVALS
                    else measure_ours(path, source, name, value)
                )
                journal.add({"clip": path.stem, "codec": name, "setting": value, **found})
                print(journal.rows[-1], flush=True)
    points = journal.rows
    keep(arguments.out, points, deltas_table(points), points_table(points))


if __name__ == "__main__":
    main()

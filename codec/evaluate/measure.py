"""One measurement: one item through one subject at one quality.

Rates count the bytes of the file. Times are wall-clock seconds of the call, models loaded; for
films decoding is timed frame by frame, without the metrics. Peak memory is the largest resident
size of the process while it encoded and decoded (Linux), everything it had loaded included.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.evaluate.items import Item
from laconic.codec.evaluate.metrics import Metric
from laconic.codec.evaluate.subject import Subject
from laconic.formats import video
from laconic.formats.container import Media
from laconic.formats.errors import FormatError, ParameterError

Row = dict[str, Any]


def measure(
    subject: Subject,
    item: Item,
    quality: float | None,
    metrics: Sequence[Metric],
    stream: Path | None = None,
) -> Row:
    """Encode, write to ``stream`` if given, decode, compare.

    Returns:
        {"codec", "item", "quality", "bytes", rates, metrics (None where not defined),
        "encode_s", "decode_s", "peak_mib"}.
    """
    _ = getattr(item, {Media.IMAGE: "image", Media.AUDIO: "audio", Media.VIDEO: "clip"}[item.media])
    _reset_peak()
    start = time.perf_counter()
    data = subject.encode(item, quality)
    encode_s = time.perf_counter() - start
    if stream is not None:
        stream.parent.mkdir(parents=True, exist_ok=True)
        stream.write_bytes(data)
    row: Row = {
        "codec": subject.label,
        "item": item.name,
        "quality": quality,
        "bytes": len(data) if stream is None else stream.stat().st_size,
        "encode_s": encode_s,
    }
    compare = _compare_frames if item.media == Media.VIDEO else _compare_whole
    return {**row, **compare(subject, item, data, metrics), "peak_mib": _peak_mib()}


def _compare_whole(subject: Subject, item: Item, data: bytes, metrics: Sequence[Metric]) -> Row:
    start = time.perf_counter()
    decoded: Any = subject.decode(data, item)
    row: Row = {"decode_s": time.perf_counter() - start}
    bits = 8 * len(data)
    arguments: tuple[Any, ...]
    if item.media == Media.IMAGE:
        original = item.image
        if decoded.bit_depth != original.bit_depth or decoded.pixels.shape != original.pixels.shape:
            raise FormatError(
                f"{subject.label} decoded {list(decoded.pixels.shape)} of {decoded.bit_depth} bits"
                f" from {list(original.pixels.shape)} of {original.bit_depth} bits"
            )
        row["bpp"] = bits / (original.width * original.height)
        row["bits_per_sample"] = bits / original.pixels.size
        arguments = (original.pixels, decoded.pixels, original.bit_depth)
        row["exact"] = bool(np.array_equal(original.pixels, decoded.pixels))
    else:
        sound = item.audio
        row["kbps"] = bits / sound.seconds / 1000
        row["bits_per_sample"] = bits / sound.samples.size
        arguments = (sound, decoded)
    for metric in metrics:
        row[metric.name] = _defined(metric, *arguments)
    return row


def _compare_frames(subject: Subject, item: Item, data: bytes, metrics: Sequence[Metric]) -> Row:
    """Means over frames of each metric, as papers on video codecs report them."""
    clip = item.clip
    decoded: Iterator[NDArray[np.uint8]] = iter(subject.decode(data, item))  # type: ignore[arg-type]
    originals = video.read_frames(item.path, item.limits)
    values: dict[str, list[float | None]] = {m.name: [] for m in metrics}
    decode_s, count = 0.0, 0
    for original in originals:
        start = time.perf_counter()
        frame = next(decoded, None)
        decode_s += time.perf_counter() - start
        if frame is None:
            raise FormatError(f"{subject.label} decoded {count} frames; the source has more")
        count += 1
        reference = video.frame_to_rgb(original, clip)
        for metric in metrics:
            values[metric.name].append(_defined(metric, reference, frame, 8))
    if next(decoded, None) is not None:
        raise FormatError(f"{subject.label} decoded more than the {count} frames of the source")
    if count == 0:
        raise FormatError("the video has no frames")
    bits = 8 * len(data)
    means = {
        name: None if any(v is None for v in per_frame) else float(np.mean(per_frame))  # type: ignore[arg-type]
        for name, per_frame in values.items()
    }
    return {
        "decode_s": decode_s,
        "frames": count,
        "bpp": bits / (clip.width * clip.height * count),
        "kbps": bits / float(count / clip.rate) / 1000,
        "bits_per_sample": bits / (3 * clip.width * clip.height * count),
        **means,
    }


def _defined(metric: Metric, *arguments: Any) -> float | None:
    try:
        return metric.compute(*arguments)
    except ParameterError:
        return None


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_mib() -> float | None:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    line = next((x for x in status.splitlines() if x.startswith("VmHWM:")), None)
    return None if line is None else int(line.split()[1]) / 1024

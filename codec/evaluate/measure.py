"""One measurement: one item through one subject at one quality.

Rates count the bytes of the file. Times are wall-clock seconds of the call, models loaded; for
videos decoding is timed frame by frame, without the metrics. Memory (Linux) is how far the resident
size of the process rose above what it was before; the peak is that size, everything that the
process had loaded for whatever codec included.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from laconic.codec.evaluate.items import Item
from laconic.codec.evaluate.metrics import Metric
from laconic.codec.evaluate.subject import Subject
from laconic.codec.media import of
from laconic.formats.errors import FormatError

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
        "encode_s", "decode_s", "memory_mib", "peak_mib"}.
    """
    _ = item.original  # is not timed
    _reset_peak()
    before = _peak_mib()
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
    try:
        compared = of(item.media).compare(
            item, lambda: subject.decode(data, item), len(data), metrics
        )
    except FormatError as error:
        raise FormatError(f"{subject.label}: {error}") from error
    peak = _peak_mib()
    added = None if peak is None or before is None else peak - before
    return {**row, **compared, "memory_mib": added, "peak_mib": peak}


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

"""Golden streams of every version decode for ever: the same symbols, the same image.

Streams of imported models name tiny models that are made by a public rule (``rule_models.py``)."""

import json
from pathlib import Path

import numpy as np
import pytest

from laconic import codec
from laconic.formats.errors import FormatError

pytestmark = pytest.mark.usefixtures("rule_models")
GOLDEN = sorted(
    path
    for path in (Path(__file__).parent / "golden").rglob("*.lac")
    if path.parent.name.rpartition("-")[0]
    not in ("records", "hnerv", "motion", "semanticodec", "pscodec")
)


def test_there_are_golden_streams() -> None:
    assert len(GOLDEN) >= 8


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_golden_streams_decode(path: Path) -> None:
    about = json.loads(path.with_suffix(".json").read_text())
    expected = np.load(path.with_suffix(".npz"))["pixels"]

    report = codec.verify(path)
    decoded = codec.decode(path)

    assert report.segments == len(about["checks"])
    assert list(decoded.pixels.shape) == about["shape"]
    # Synthesis runs in float32: machines may round a sample to its neighbour, never further.
    step = 0 if about.get("lossless") else 1 if about["bit_depth"] == 8 else 4
    assert np.abs(decoded.pixels.astype(int) - expected.astype(int)).max() <= step
    if about["alpha_mean"] is not None:
        assert decoded.alpha is not None
        assert decoded.alpha.mean() == pytest.approx(about["alpha_mean"])


@pytest.mark.parametrize(
    "name", ["1x1", "rgb-tiles-150x200", "photo-12-bit-48x70", "photo-preview-drawing-64x64"]
)
def test_every_prefix_of_a_golden_file_is_refused(name: str) -> None:
    data = next(p for p in GOLDEN if p.stem == name).read_bytes()
    for length in range(0, len(data), 1 if len(data) < 400 else 7):
        with pytest.raises(FormatError):
            codec.verify(data[:length])

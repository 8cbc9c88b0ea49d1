"""Golden films of every version decode for ever: the same symbols, times, sound, and frames."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from independent_reader import read as independent_read

from laconic import codec
from laconic.formats.errors import FormatError

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
GOLDEN = sorted((ROOT / "tests" / "golden").glob("hnerv-*/*.lac"))


def test_there_are_golden_films() -> None:
    assert len(GOLDEN) >= 6


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_golden_films_decode(path: Path) -> None:
    from golden_video import sound_digest

    about = json.loads(path.with_suffix(".json").read_text())
    expected = np.load(path.with_suffix(".npz"))["frames"]

    report = codec.verify(path)  # compares the check of every chunk
    with codec.open(path) as video:
        frames = np.asarray(video)
        assert report.segments == len(about["checks"])
        assert frames.shape == expected.shape
        # Synthesis runs in float32: machines may round a sample to its neighbour, never further.
        assert np.abs(frames.astype(int) - expected.astype(int)).max() <= 1
        assert str(video.timing.base) == about["base"]
        assert list(video.timing.stamps) == about["stamps"]
        assert list(video.timing.durations) == about["durations"]
        assert [list(video.header.color), list(video.header.aspect)] == [
            about["color"],
            about["aspect"],
        ]
        assert sound_digest(video) == about["sound"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_the_independent_reader_agrees(path: Path) -> None:
    _, segments, _ = independent_read(path.read_bytes())

    checks = json.loads(path.with_suffix(".json").read_text())["checks"]
    assert [check for check, _ in segments] == checks


def test_prefixes_of_golden_films_are_refused() -> None:
    data = next(p for p in GOLDEN if p.stem.startswith("grids-vfr")).read_bytes()

    for length in range(0, len(data), 13):
        with pytest.raises(FormatError):
            codec.verify(data[:length])

"""Golden videos of every version decode for ever: the same symbols, times, audio, and frames."""

import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from laconic import codec
from laconic.formats.container import Container, Segment
from laconic.formats.errors import FormatError, LaconicError

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
GOLDEN = sorted(
    p
    for p in (ROOT / "tests" / "golden").glob("*/*.lac")
    if p.parent.name.startswith(("hnerv-", "motion-"))
)


def test_there_are_golden_films() -> None:
    assert len(GOLDEN) >= 9


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


@pytest.mark.parametrize(
    "name", ["grids-vfr-gray-37x51", "motion-vfr-gray-37x51", "hybrid-420-70x90"]
)
def test_prefixes_of_golden_films_are_refused(name: str) -> None:
    data = next(p for p in GOLDEN if p.stem == name).read_bytes()

    for length in range(0, len(data), 13):
        with pytest.raises(FormatError):
            codec.verify(data[:length])


@pytest.mark.parametrize(
    "name", ["grids-1x1", "grids-vfr-gray-37x51", "motion-vfr-gray-37x51", "hybrid-420-70x90"]
)
def test_damage_that_checksums_cannot_see_is_noticed(name: str) -> None:
    """Payloads changed and given a new CRC: a documented error, or the same symbols."""
    container = Container.from_bytes(next(p for p in GOLDEN if p.stem == name).read_bytes())
    rng = random.Random(7)
    noticed = 0
    for _ in range(25):
        payload = bytearray(container.segments[0].payload)
        payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
        changed = [Segment(bytes(payload), container.segments[0].check)]
        data = Container(container.header, changed, container.chunks).to_bytes()
        try:
            codec.verify(data)
        except LaconicError:
            noticed += 1
    assert noticed >= 20

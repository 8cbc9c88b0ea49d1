"""Golden streams of recordings decode for ever: the same tokens, the same audio."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_audio import install

from laconic import codec
from laconic.formats.errors import FormatError

GOLDEN = sorted((Path(__file__).parent / "golden").glob("semanticodec-*/*.lac"))


@pytest.fixture(autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.getbasetemp() / "golden-tones"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("LACONIC_MODELS", str(folder))
    install(folder, monkeypatch)
    install(folder, monkeypatch, prior=False)


def test_there_are_golden_streams() -> None:
    assert len(GOLDEN) >= 15


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_golden_streams_decode(path: Path) -> None:
    about = json.loads(path.with_suffix(".json").read_text())

    report = codec.verify(path)
    decoded = codec.decode(path)

    assert report.segments == len(about["checks"])
    assert list(decoded.samples.shape) == about["shape"]
    assert decoded.rate == about["rate"]
    assert decoded.tags == about["tags"]
    parts = np.array_split(decoded.samples, len(about["envelope"][0]), axis=1)
    levels = np.array([np.sqrt((p**2).mean(1)) for p in parts]).T
    # Synthesis runs in float32: machines may differ by rounding, never more.
    assert np.abs(levels - np.array(about["envelope"])).max() < 2e-4


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_prefixes_of_golden_files_are_refused(path: Path) -> None:
    data = path.read_bytes()
    for length in range(0, len(data), max(1, len(data) // 20)):
        with pytest.raises(FormatError):
            codec.decode(data[:length])

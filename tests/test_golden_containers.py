"""Golden files of every codec, read by a second reader of the container that shares no code."""

import json
from pathlib import Path

import pytest
from independent_reader import read

GOLDEN = sorted((Path(__file__).parent / "golden").rglob("*.lac"))


def test_every_codec_has_golden_files() -> None:
    assert len({path.parent.name for path in GOLDEN}) >= 8


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_the_independent_reader_finds_the_same_checks_and_model(path: Path) -> None:
    header, segments, _ = read(path.read_bytes())

    about = json.loads(path.with_suffix(".json").read_text())
    assert [check for check, _ in segments] == about["checks"]
    assert header["model"].hex() == about.get("model", "")

"""Golden streams of tables and arrays decode for ever, to the byte."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from laconic import codec
from laconic.formats.errors import FormatError
from laconic.formats.frame import Frame
from laconic.formats.table import Table

GOLDEN = sorted((Path(__file__).parent / "golden").glob("records-*/*.lac"))


def digest(decoded: Any) -> str:
    if isinstance(decoded, Table):
        return hashlib.sha256(decoded.text).hexdigest()
    if isinstance(decoded, Frame):
        return hashlib.sha256(decoded.pack()).hexdigest()
    head = f"{decoded.dtype.str}{list(decoded.shape)}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(decoded).tobytes()).hexdigest()


def test_there_are_golden_streams() -> None:
    assert len(GOLDEN) >= 7


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_golden_streams_decode(path: Path) -> None:
    about = json.loads(path.with_suffix(".json").read_text())

    assert digest(codec.decode(path)) == about["sha256"]
    assert codec.verify(path).segments == len(about["checks"])


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_prefixes_of_golden_files_are_refused(path: Path) -> None:
    data = path.read_bytes()
    for length in range(0, len(data), max(1, len(data) // 40)):
        with pytest.raises(FormatError):
            codec.decode(data[:length])

"""The examples of docs/records.md run as they stand."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "records.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)

    for block in blocks:
        exec(compile(block, "records.md", "exec"), {})

    assert len(blocks) == 2
    assert (tmp_path / "circuit.safetensors").exists()

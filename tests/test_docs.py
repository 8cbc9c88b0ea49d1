"""What the documentation shows runs as shown."""

import doctest
import importlib
import os
import re
from pathlib import Path

import pytest
from pictures import scene
from PIL import Image as Pillow

ROOT = Path(__file__).parents[1]
MODULES = [
    "laconic.formats.limits",
    "laconic.formats.varint",
    "laconic.formats.pillow",
    "laconic.codec.evaluate.bd_rate",
    "laconic.codec.evaluate.distortion",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module(name)

    result = doctest.testmod(module, extraglobs={"np": importlib.import_module("numpy")})

    assert result.attempted > 0
    assert result.failed == 0


def test_the_python_example_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    Pillow.fromarray(scene(128, 192)).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)

    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})

    assert blocks
    assert {"photo.lac", "photo.png"} <= set(os.listdir(tmp_path))

"""What the documentation shows runs as shown."""

import ast
import builtins
import doctest
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import scene
from PIL import Image as Pillow

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
MODULES = [
    "laconic.formats.limits",
    "laconic.formats.varint",
    "laconic.formats.pillow",
    "laconic.codec.evaluate.bd_rate",
    "laconic.codec.evaluate.distortion",
    "laconic.codec.options",
    "laconic.codec.media",
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


def test_no_python_block_needs_the_one_before() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in re.findall(r"```python[^\n]*\n(.*?)```", page.read_text(), re.DOTALL):
            known, used = set(dir(builtins)), set()
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.Name):
                    (used if isinstance(node.ctx, ast.Load) else known).add(node.id)
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    known |= {(a.asname or a.name).split(".")[0] for a in node.names}
                elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler):
                    known.add(str(node.name))
                elif isinstance(node, ast.arg):
                    known.add(node.arg)
            assert used <= known, f"{page.name}: {used - known} in\n{block}"


def test_the_figures_in_the_pages_are_those_that_were_measured() -> None:
    from figure_blocks import PAGES, filled

    for page in PAGES:
        text = page.read_text()
        assert not re.search(r"-->\s*<!-- end", text), page  # every block was measured
        assert filled(text) == text, page
    assert "<!-- figures: " in PAGES[0].read_text()


def test_the_page_on_evaluation_runs_from_a_folder_to_a_report(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "evaluate.md").read_text()
    for name, text in re.findall(r"```\w+ (\S+)\n(.*?)```", page, re.DOTALL):
        (tmp_path / name).write_text(text)
    (tmp_path / "photos").mkdir()
    for seed in (1, 2):
        Pillow.fromarray(scene(192, 176, seed=seed)).save(tmp_path / "photos" / f"{seed}.png")
    site = tmp_path / "site"  # instead of the environment that runs the tests
    pip = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site)]
    replaced = {"pip": [sys.executable, *pip], "laconic": [sys.executable, "-m", "laconic.cli"]}
    environment = {**os.environ, "PYTHONPATH": str(site)}
    output = ""

    for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL):
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            rest = arguments[1:] if program == "pip" else arguments
            done = subprocess.run([*replaced[program], *rest], cwd=tmp_path, env=environment,
                                  capture_output=True, text=True)  # fmt: skip
            assert done.returncode == 0, f"{line}: {done.stderr}"
            output += done.stdout

    assert re.search(r"codecs: .*\bcoarse\b", output)
    assert re.search(r"\| psnr \| coarse \| webp \| [+-][\d.]+ \|", output)
    for name in re.findall(r"^\| `([a-z.]+)`", page, re.MULTILINE):
        assert (tmp_path / "run" / name).exists()
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {d["codec"] for d in results["deltas"]} >= {"coarse", "jpeg"}
    assert len(results["complete_items"]) == 2

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
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from films import moving
from films import write as write_film
from pictures import scene, textured
from PIL import Image as Pillow

from laconic import codec
from laconic.cli.main import cli
from laconic.codec import models, registry
from laconic.formats.audio import Audio
from laconic.formats.audio_writer import write_audio

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL_PAGES = ("README.md", "images.md", "lossless.md", "tables.md", "format.md")
PREVIEW: dict[str, dict[str, Any]] = {"photo": {"preview": True}}
sys.path.insert(0, str(ROOT / "benchmarks"))
MODULES = [
    "laconic.formats.errors",
    "laconic.formats.frame",
    "laconic.formats.pillow",
    "laconic.codec.evaluate.metrics",
    "laconic.codec.evaluate.metrics",
    "laconic.codec.options",
    "laconic.codec.media",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module(name)

    result = doctest.testmod(module, extraglobs={"np": importlib.import_module("numpy")})

    assert result.attempted > 0
    assert result.failed == 0


@cache
def coded(name: str) -> bytes:
    """A sample as a ``.lac`` file."""
    with TemporaryDirectory() as folder:
        write_samples(Path(folder))
        source = next(p for p in Path(folder).iterdir() if p.stem == name)
        options = (
            {"preset": "fast"} if name == "clip" else {"states": 2} if name == "digits" else {}
        )
        return codec.encode(source, lossless=name == "photo", **PREVIEW.get(name, options))


def write_samples(folder: Path) -> None:
    """The files that the pages name, as small as they can be."""
    (folder / "album").mkdir()
    (folder / "icons").mkdir()
    for number in range(6):
        icon = scene(8, 8, 1, seed=number)[..., 0]
        Pillow.fromarray(icon // 64).save(folder / "icons" / f"{number}.png")
    for name in ("photo.png", "photo.jpg", "album/a.png", "album/b.png"):
        Pillow.fromarray(textured(72, 96).pixels).save(folder / name)
    rows = "".join(f"{n},{n % 3},{n % 3 * 2}\n" for n in range(60))
    (folder / "table.csv").write_text("id,kind,size\n" + rows)
    np.save(folder / "digits.npy", np.indices((60, 4)).sum(0).astype(np.uint8) % 5)
    sound = np.sin(np.arange(16000) / 9) * np.hanning(16000) / 3
    write_audio(Audio(sound[None].astype(np.float32), 16000), folder / "speech.wav")
    film = moving(40, 16, 24)
    write_film(
        folder / "clip.mp4", film, codec="libx264", layout="yuv420p", audio=("aac",),
        base=Fraction(1, 12800),
    )  # fmt: skip


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with the files that the pages name."""
    write_samples(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "_named", [])
    return tmp_path


def blocks(language: str) -> list[Any]:
    """Every code block of every page, as a case of a test."""
    pattern = rf"```{language}\n(.*?)```"
    return [
        pytest.param(page, block, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, block in enumerate(re.findall(pattern, page.read_text(), re.DOTALL), 1)
    ]


def bring(block: str, folder: Path) -> None:
    """The coded samples that a block reads."""
    for name in re.findall(r"\b(photo|speech|table|digits|clip)\.lac\b", block):
        (folder / f"{name}.lac").write_bytes(coded(name))


@pytest.mark.parametrize(("page", "block"), blocks("python"))
def test_python_blocks_run(page: Path, block: str, samples: Path) -> None:
    for module in re.findall(r"^import (zarr|numcodecs)$", block, re.MULTILINE):
        pytest.importorskip(module, reason=f"needs {module}: laconic[zarr]")
    if page.name == "extend.md":
        pytest.skip("runs in test_codecs.py, where its codec is installed")
    bring(block, samples)

    exec(compile(block, page.name, "exec"), {})


def lines(block: str) -> Iterator[list[str]]:
    """The commands of a shell block, without comments, each cut at its pipes."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def command_of(words: list[str]) -> click.Command:
    """The command of ``laconic`` that a line calls."""
    command: click.Command = cli
    for word in words[1:]:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(click.Context(command), word)
        assert found is not None, f"there is no command {word}"
        command = found
    return command


@pytest.mark.parametrize(("page", "block"), blocks("sh"))
def test_commands_and_options_of_shell_blocks_exist(page: Path, block: str) -> None:
    for words in lines(block):
        flags = {w.partition("=")[0] for w in words if re.match(r"--?[A-Za-z]", w)}
        program = next(w for w in words if not re.match(r"\w+=", w))
        words = words[words.index(program) :]
        if program == "laconic" and "|" not in words:
            has = {o for p in command_of(words).params for o in (*p.opts, *p.secondary_opts)}
            has |= {"--bits"} if page.name == "extend.md" else {"--version"}  # of its own codec
            assert flags <= has, f"{page.name}: {words}"
        elif program == "make":
            targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(words[1:]) <= {*targets}, f"{page.name}: {words}"
        elif program == "python" and words[1].endswith(".py"):
            text = "".join(
                p.read_text() for p in (ROOT / words[1], ROOT / "benchmarks" / "kept.py")
            )
            assert all(f'"{flag}"' in text for flag in flags), f"{page.name}: {words}"
        elif program == "python":
            assert all((ROOT / w).exists() for w in words if w.startswith("tests/")), words


RUN = ("encode", "decode", "info", "verify")  # cheap on small samples


@pytest.mark.parametrize(
    ("page", "block"), [b for b in blocks("sh") if b.values[0].name in SHELL_PAGES]
)
def test_shell_blocks_run(page: Path, block: str, samples: Path) -> None:
    ran = 0
    bring(block, samples)
    for words in lines(block):
        pieces = " ".join(words).split(" | ")
        cheap = all(p.split()[0] == "cat" or p.split()[1:2][0] in RUN for p in pieces[:9])
        if not cheap or any(w.isupper() and len(w) > 2 for w in words):
            continue
        data = None
        for piece in pieces:
            program, *rest = piece.split()
            if program == "cat":
                data = Path(rest[0]).read_bytes()
                continue
            force = ["-f"] if rest[0] in ("encode", "decode") and rest[1] != "-" else []
            result = CliRunner().invoke(cli, [*rest, *force], input=data, standalone_mode=False)
            assert result.exception is None, f"{piece}: {result.exception!r} {result.output}"
            assert not result.return_value, f"{piece}: {result.output}"
            data = result.stdout_bytes
        ran += 1
    if not ran:
        pytest.skip("nothing that is cheap and needs no files of the reader's own")


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text()
        for target in re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            assert path.exists(), f"{page.name}: {target}"
            heads = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE) if anchor else []
            plain = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads]
            assert not anchor or anchor in plain, f"{page.name}: {target}"


def test_the_readme_is_short_and_names_every_codec() -> None:
    text = (ROOT / "README.md").read_text()

    assert len(text.splitlines()) <= 150
    built_in = registry.BUILT_IN
    assert set(built_in) <= set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^):]+)\)", page.read_text())
    }

    assert {p.resolve() for p in PAGES[1:]} <= linked


def test_no_python_block_needs_the_one_before() -> None:
    for page in PAGES:
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
    from figure_blocks import filled

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
    assert re.search(r"\| PSNR \(dB\) \| coarse \| webp \| [+-][\d.]+ \|", output)
    for name in re.findall(r"^\| `([a-z.]+)`", page, re.MULTILINE):
        assert (tmp_path / "run" / name).exists()
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {d["codec"] for d in results["deltas"]} >= {"coarse", "jpeg"}
    assert len(results["complete_items"]) == 2

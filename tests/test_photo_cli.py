"""Lossless images in programs: command line, Pillow, evaluation, and what needs no torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from pictures import picture, scene, textured
from PIL import Image as Pillow

from laconic import codec
from laconic.cli.main import cli


def test_probing_needs_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "x.lac"
    path.write_bytes(codec.encode(picture(40, 30), lossless=True))
    code = (
        "import sys; from laconic import codec; codec.probe(sys.argv[1]);"
        "codec.decode(sys.argv[1]); sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0


def test_the_command_line_goes_there_and_back(tmp_path: Path) -> None:
    source, coded, back = tmp_path / "a.png", tmp_path / "a.lac", tmp_path / "b.png"
    Pillow.fromarray(scene(50, 60)).save(source)

    for arguments in (
        ["encode", "--lossless", str(source)],
        ["verify", str(coded)],
        ["info", str(coded)],
        ["decode", str(coded), "-o", str(back)],
    ):
        result = CliRunner().invoke(cli, arguments, standalone_mode=False)
        assert result.exit_code == 0, result.output
    assert np.array_equal(np.asarray(Pillow.open(back)), scene(50, 60))


def test_pillow_saves_and_opens_losslessly(tmp_path: Path) -> None:
    import laconic.formats.pillow  # noqa: F401

    for pixels in (textured(30, 40).pixels, scene(20, 30)[..., 0]):
        Pillow.fromarray(pixels).save(tmp_path / "x.lac", lossless=True)
        with Pillow.open(tmp_path / "x.lac") as opened:
            assert np.array_equal(np.asarray(opened), pixels)


def test_evaluation_lists_one_exact_point(tmp_path: Path) -> None:
    Pillow.fromarray(scene(64, 80)).save(tmp_path / "a.png")
    arguments = ["eval", str(tmp_path), "-c", "photo", "-c", "png", "--out", str(tmp_path / "r")]

    result = CliRunner().invoke(cli, arguments, standalone_mode=False)

    assert result.exit_code == 0, result.output
    assert "exact" in result.output

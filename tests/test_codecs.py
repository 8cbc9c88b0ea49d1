"""Every codec keeps the promises of ``laconic.codec.testing``: the built-in ones, and those of
other packages, one for each medium, as a stranger installs them."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import rule_models
import tiny_audio
from click.testing import CliRunner

from laconic.cli.main import cli
from laconic.codec import registry
from laconic.codec.audio.codec import SemantiCodec
from laconic.codec.testing import check_codec, check_imports
from laconic.formats.audio import read_audio
from laconic.formats.audio_writer import write_audio

ROOT = Path(__file__).parents[1]
ENTRIES = {
    "coarse": "small_codecs:Coarse",
    "deltas": "small_codecs:Deltas",
    "zipped": "small_codecs:Zipped",
    "mulaw": "mulaw:MuLaw",  # the one that docs/extend.md adds
}


def in_process(arguments: Sequence[str]) -> str:
    """``laconic`` in this process, which has the test models."""
    result = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
    assert result.exception is None, f"{arguments}: {result.exception!r}"
    assert not result.return_value, f"{arguments}: {result.output}"
    return result.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installed package that registers a codec for each medium."""
    folder = tmp_path_factory.mktemp("site")
    page = (ROOT / "docs" / "extend.md").read_text()
    blocks = dict(re.findall(r"```\w+ (\S+)\n(.*?)```", page, re.DOTALL))
    assert f'mulaw = "{ENTRIES["mulaw"]}"' in blocks["pyproject.toml"]
    (folder / "mulaw.py").write_text(blocks["mulaw.py"])
    plugins = ROOT / "tests" / "plugins" / "small_codecs.py"
    (folder / plugins.name).write_text(plugins.read_text())
    about = folder / "small_codecs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: small-codecs\nVersion: 1.0\n")
    lines = [f"{name} = {place}" for name, place in ENTRIES.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{registry.GROUP}]", *lines]) + "\n")
    return folder


@pytest.mark.parametrize("name", ENTRIES)
def test_a_codec_of_another_package_works_everywhere(site: Path, name: str) -> None:
    code = f"from laconic.codec.testing import check_codec; check_codec({name!r})"
    environment = {**os.environ, "PYTHONPATH": str(site)}

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["mlic", "photo", "records"])
def test_the_codecs_that_ship_keep_their_promises(name: str) -> None:
    check_codec(name, sizes=2, prefixes=12, damages=12, run=in_process)


@pytest.mark.parametrize("name", ["mlic++:test-mlicpp", "compressai:test-hyperprior"])
def test_imported_picture_models_keep_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    rule_models.install(tmp_path, name.partition(":")[2])

    check_codec(name, sizes=1, prefixes=4, damages=4, run=in_process)


@pytest.mark.usefixtures("kept_frames")
def test_the_video_codec_keeps_them() -> None:
    check_codec("motion", sizes=2, prefixes=12, damages=12, run=in_process)


def test_the_audio_codec_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    tiny_audio.install(tmp_path, monkeypatch, prior=False)
    monkeypatch.setattr(SemantiCodec, "default_model", tiny_audio.NAME + "-plain")

    check_codec("semanticodec", sizes=2, prefixes=12, damages=12, run=in_process)


def test_the_page_on_codecs_runs(site: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "extend.md").read_text()
    write_audio(tiny_audio.melody(2, 16000, 1), tmp_path / "talk.wav")
    environment = {**os.environ, "PYTHONPATH": str(site)}
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)

    for line in block.splitlines()[1:]:  # the first installs what ``site`` has
        arguments = [sys.executable, "-m", "laconic.cli", *shlex.split(line)[1:]]
        done = subprocess.run(
            arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"

    assert len(read_audio(tmp_path / "back.wav").samples[0]) == 16000
    assert (tmp_path / "run" / "report.html").exists()


def test_no_class_of_a_codec_imports_torch() -> None:
    check_imports(", ".join(path.partition(":")[0] for path in registry.BUILT_IN.values()))


def test_the_kit_finds_a_codec_that_breaks_a_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    photo: Any = registry.get("photo")
    decode = type(photo).decode

    def wrong(self: Any, reader: Any, settings: Any) -> Any:
        image = decode(self, reader, settings)
        image.pixels = image.pixels ^ 1
        return image

    monkeypatch.setattr(type(photo), "decode", wrong)
    with pytest.raises(AssertionError, match="lossless but decoded other samples"):
        check_codec("photo", sizes=1, command_line=False, evaluate=False)

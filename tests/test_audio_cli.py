"""Recordings on the command line: files, pipes, rates, parts, tags, damage."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image as Pillow
from tiny_audio import NAME, install, melody

from laconic.cli.main import cli
from laconic.cli.tables import describe
from laconic.codec.audio.codec import SemantiCodec
from laconic.formats.audio import read_audio
from laconic.formats.audio_writer import write_audio


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    install(tmp_path / "models", monkeypatch, prior=False)
    monkeypatch.setattr(SemantiCodec, "default_model", NAME + "-plain")
    monkeypatch.chdir(tmp_path)
    sound = melody(21, 22050, 2)
    sound.tags = {"title": "Wind"}
    write_audio(sound, tmp_path / "a.wav")
    return tmp_path


@dataclass
class Outcome:
    """What a command left behind."""

    code: int
    output: str
    stdout: bytes


def laconic(*arguments: str, data: bytes | None = None) -> Outcome:
    result = CliRunner().invoke(cli, list(arguments), input=data, standalone_mode=False)
    code, output = result.return_value or 0, result.output
    if isinstance(result.exception, click.ClickException):
        code, output = result.exception.exit_code, result.exception.format_message()
    elif result.exception is not None:
        output, code = describe(result.exception)
    return Outcome(code, output, result.stdout_bytes)


def rows(result: Outcome) -> list[dict[str, Any]]:
    assert result.code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_sound_goes_to_a_file_and_back(work: Path) -> None:
    (coded,) = rows(laconic("encode", "a.wav", "--json", "--steps", "0"))
    assert coded["output"] == "a.lac"
    assert coded["audio_seconds"] == 21.0
    assert coded["kbps"] == pytest.approx(8 * (work / "a.lac").stat().st_size / 21 / 1000)

    facts = laconic("info", "a.lac").output
    assert "audio 21.00 s at 22050 Hz" in facts
    assert "Wind" in facts
    assert rows(laconic("verify", "a.lac", "--json"))[0]["result"] == "ok"

    for name, format_ in (("b.flac", None), ("c.wav", None), ("d.wav", "wav32f"), ("e.mp3", "mp3")):
        options = ["--format", format_] if format_ else []
        rows(laconic("decode", "a.lac", "-o", name, "--json", *options))
    flac = read_audio(work / "b.flac")
    assert flac.samples.shape == (2, 21 * 22050)
    assert np.array_equal(flac.samples, read_audio(work / "c.wav").samples)
    assert np.abs(flac.samples - read_audio(work / "d.wav").samples).max() < 2e-5


def test_the_default_output_is_a_wav_and_nothing_is_overwritten(work: Path) -> None:
    rows(laconic("encode", "a.wav", "--json"))
    assert laconic("decode", "a.lac").code == 1
    assert laconic("decode", "a.lac", "-f").code == 0
    assert laconic("encode", "a.wav").code == 1


def test_a_part_of_a_sound(work: Path) -> None:
    rows(laconic("encode", "a.wav", "--json", "--steps", "0"))
    (row,) = rows(laconic("decode", "a.lac", "-o", "p.wav", "--seconds", "9.5:12", "--json"))

    assert row["samples"] == round(2.5 * 22050)
    assert read_audio(work / "p.wav").samples.shape == (2, round(2.5 * 22050))
    assert laconic("decode", "a.lac", "-o", "q.wav", "--seconds", "30:40").code == 2
    assert laconic("decode", "a.lac", "-o", "q.wav", "--seconds", "5").code == 2


def test_rates_on_the_command_line(work: Path) -> None:
    (row,) = rows(laconic("encode", "a.wav", "--kbps", "0.2", "--json"))
    assert row["kbps"] <= 0.2
    (row,) = rows(laconic("encode", "a.wav", "--target-size", "600", "--json", "-f"))
    assert row["bytes"] <= 600
    assert laconic("encode", "a.wav", "--kbps", "0.001", "-f").code == 2
    assert laconic("encode", "a.wav", "--kbps", "1", "-q", "5", "-f").code == 2
    assert laconic("encode", "a.wav", "--bpp", "1", "-f").code == 2


def test_effort_is_refused_where_a_model_has_no_search(work: Path) -> None:
    refused = laconic("encode", "a.wav", "--effort", "2")
    assert refused.code
    assert "has no search for better tokens" in refused.output
    assert not Path("a.lac").exists()
    assert laconic("encode", "a.wav", "--effort", "0", "--quiet").code == 0


def test_pipes(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (work / "a.wav").read_bytes()

    coded = laconic("encode", "-", "-o", "-", "-f", "--steps", "0", "--quiet", data=data)
    assert coded.code == 0, coded.output
    decoded = laconic("decode", "-", "-o", "-", "-f", "--quiet", data=coded.stdout)

    assert decoded.code == 0, decoded.output
    assert read_audio(io.BytesIO(decoded.stdout)).samples.shape == (2, 21 * 22050)
    part = laconic("decode", "-", "-o", "-", "-f", "--quiet", "--seconds", "1:2",
                   data=coded.stdout)  # fmt: skip
    assert read_audio(io.BytesIO(part.stdout)).samples.shape == (2, 22050)


def test_what_is_left_of_a_damaged_sound_is_written_and_reported(work: Path) -> None:
    rows(laconic("encode", "a.wav", "--json"))
    (work / "t.lac").write_bytes((work / "a.lac").read_bytes()[:300])

    assert laconic("decode", "t.lac", "-o", "t.wav").code == 3
    assert not (work / "t.wav").exists()
    result = laconic("decode", "t.lac", "-o", "t.wav", "--partial")

    assert result.code == 3
    assert "silence from" in result.output
    assert read_audio(work / "t.wav").samples.shape == (2, 21 * 22050)


def test_bad_sounds_leave_nothing_behind(work: Path) -> None:
    (work / "bad.wav").write_bytes((work / "a.wav").read_bytes()[:5000])
    (work / "none.wav").write_bytes(b"nothing")

    for name in ("bad", "none"):
        result = laconic("encode", f"{name}.wav")
        assert result.code in (3, 6)
        assert "Traceback" not in result.output
        assert not (work / f"{name}.lac").exists()


def test_folders_mix_sounds_and_other_media(work: Path) -> None:
    (work / "in").mkdir()
    (work / "in" / "a.wav").write_bytes((work / "a.wav").read_bytes())
    (work / "in" / "t.csv").write_text("a,b\n1,2\n")

    result = laconic("encode", "in", "--output-dir", "out")

    assert result.code == 0, result.output
    assert sorted(p.name for p in (work / "out").iterdir()) == ["a.lac", "t.lac"]


def test_help_is_quick() -> None:
    assert "--kbps" in laconic("encode", "--help").output
    assert "--seconds" in laconic("decode", "--help").output


def test_the_demonstration_draws_spectrograms(work: Path) -> None:
    (work / "sounds").mkdir()
    write_audio(melody(3, 44100, 2), work / "sounds" / "tones.flac")

    found = rows(laconic("demo", "--audio", "--samples", "sounds", "--out", "out", "--json"))

    assert [row["lac_bytes"] for row in found] == sorted(row["lac_bytes"] for row in found)
    for row in found:
        stem = work / "out" / f"tones-{row['streams']}"
        assert stem.with_suffix(".lac").stat().st_size == row["lac_bytes"]
        assert read_audio(stem.with_suffix(".wav")).samples.shape == (2, 3 * 44100)
    picture = np.asarray(Pillow.open(work / "out" / "tones.png").convert("L"))
    original, decoded = picture[30:200, 40:], picture[30 + 214 : 200 + 214, 40:]
    assert original.std() > 10
    assert np.corrcoef(original.ravel(), decoded.ravel())[0, 1] > 0.7


def test_the_codec_is_evaluated_beside_others(work: Path) -> None:
    result = laconic(
        "eval", "a.wav", "-c", f"semanticodec@{NAME}-plain:0,100", "-c", "opus:12", "--metric",
        "mel", "--out", "run", "--gallery", "0",
    )  # fmt: skip

    assert result.code == 0, result.output
    curve = json.loads(next((work / "run" / "curves").glob("semanticodec*.json")).read_text())
    kbps = curve["results"]["kbps"]
    assert 0 < kbps[0] < kbps[1] < 1

"""Samples without a header go in and out; where they make no sense they are refused."""

import io
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_audio import NAME, install

from laconic.cli.main import cli
from laconic.formats.audio import Audio
from laconic.formats.audio_stream import AudioSource, Raw
from laconic.formats.audio_writer import AudioWriter, format_of

SAMPLES = (8000 * np.sin(np.arange(32_000) / 20)).astype("<i2")


def read(data: bytes, raw: Raw) -> np.ndarray:
    with AudioSource(io.BytesIO(data), raw) as source:
        assert (source.rate, source.channels) == (raw.rate, raw.channels)
        return np.concatenate(list(source), axis=1)


@pytest.mark.parametrize("kind", ["<i2", ">i2", "<f4", "u1", "<i4"])
def test_samples_are_read_as_they_are_said_to_be(kind: str) -> None:
    name = {"<i2": "s16le", ">i2": "s16be", "<f4": "f32le", "u1": "u8", "<i4": "s32le"}[kind]
    wave = SAMPLES / 32768
    stored = {
        "u1": lambda: np.rint(wave * 128 + 128),
        "<f4": lambda: wave,
        "<i4": lambda: wave * 2.0**31,
    }.get(kind, lambda: SAMPLES)()

    found = read(stored.astype(kind).tobytes(), Raw(name, 8000, 2))

    expected = wave.reshape(-1, 2).T
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < (0.01 if kind == "u1" else 1e-4)


def test_samples_are_written_without_a_header() -> None:
    out = io.BytesIO()
    writer = AudioWriter(out, format_of("", "s16le"), 8000, 2)
    writer.write((SAMPLES / 32768).astype(np.float32).reshape(-1, 2).T)
    writer.finish()

    assert np.abs(np.frombuffer(out.getvalue(), "<i2") - SAMPLES).max() <= 1


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    install(tmp_path, monkeypatch)
    return tmp_path


def test_a_file_of_samples_is_encoded_and_decoded(store: Path) -> None:
    source, coded, back = (store / n for n in ("a.raw", "a.lac", "b.raw"))
    source.write_bytes(SAMPLES.tobytes())
    said = ["--format", "s16le", "--rate", "16000", "--channels", "2"]

    run = CliRunner().invoke(cli, ["encode", str(source), *said, "--model", NAME, "-o", str(coded)])
    assert run.exit_code == 0, run.output
    run = CliRunner().invoke(cli, ["decode", str(coded), "--format", "s16le", "-o", str(back)])
    assert run.exit_code == 0, run.output

    assert back.stat().st_size == source.stat().st_size


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (["--rate", "8000"], "--format"),
        (["--channels", "2"], "--format"),
        (["--format", "s16le"], "--rate"),
        (["--format", "s16le", "--rate", "8000"], "header"),
        (["--format", "s16le", "--rate", "8000", "--codec", "mlic"], "recording"),
    ],
)
def test_what_does_not_apply_is_refused(store: Path, said: list[str], words: str) -> None:
    from laconic.formats.audio_writer import write_audio

    source = store / "a.wav"
    if "--codec" in said:
        source.write_bytes(SAMPLES.tobytes())
    else:
        write_audio(Audio((SAMPLES / 32768).astype(np.float32)[None], 16000), source)

    asked = ["encode", str(source), *said, "-o", str(store / "x.lac")]
    run = CliRunner().invoke(cli, asked, standalone_mode=False)

    assert run.exception is not None or run.return_value != 0
    assert words in run.output + str(run.exception)
    assert not (store / "x.lac").exists()

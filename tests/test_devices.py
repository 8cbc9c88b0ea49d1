"""Where networks run: every codec that has some, on every device that is here."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import prompt_models
import pytest
from click.testing import CliRunner, Result
from pictures import picture, scene
from PIL import Image as Pillow
from weight_rule import rule_sound

from laconic import codec
from laconic.cli.main import cli
from laconic.codec import devices, registry
from laconic.codec.options import declared
from laconic.codec.video.settings import PRESETS
from laconic.formats.audio import Audio
from laconic.formats.errors import ParameterError

HERE = devices.available()
ABSENT = [name for name in devices.NAMES if name not in ("auto", *HERE)]
NETWORKS = ("mlic", "mlic++", "compressai", "semanticodec", "pscodec", "hnerv")
SOUND = Audio(rule_sound(24_000, 1).numpy(), 12_000)
FRAMES = np.stack([scene(24, 32, seed=n) for n in range(2)])
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "mlic": (picture(64, 80), {"quality": 60}),
    "mlic with its detail layer": (picture(64, 80), {"quality": 99}),
    "mlic with effort": (picture(64, 80), {"quality": 30, "effort": 1}),
    "mlic++": (picture(64, 80), {"model": "test-mlicpp"}),
    "mlicv2": (picture(64, 80), {"model": "test-mlicv2"}),
    "compressai": (picture(64, 80), {"model": "test-hyperprior"}),
    "compressai in groups": (picture(64, 80), {"model": "test-elic"}),
    "compressai at all rates": (
        picture(64, 80),
        {"model": "test-joint-vbr", "quality": 40, "effort": 1},
    ),
    "semanticodec": (SOUND, {"kbps": 2.0}),
    "pscodec": (SOUND, {"codec": "pscodec"}),
    "hnerv": (FRAMES, {"codec": "hnerv", "preset": "fast"}),
}


@pytest.fixture(scope="module")
def store(rule_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models of all the codecs whose own do not ship."""
    folder = tmp_path_factory.mktemp("store") / "models"
    shutil.copytree(rule_store, folder)
    prompt_models.install(folder)
    return folder


@pytest.fixture(autouse=True)
def _tiny(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACONIC_MODELS", str(store))
    monkeypatch.setitem(PRESETS, "fast", 20)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments], standalone_mode=False)


@cache
def made(case: str) -> bytes:
    """The file of a case, where its codec runs by itself."""
    media, options = CASES[case]
    return codec.encode(media, **options)


def samples(decoded: Any) -> np.ndarray[Any, Any]:
    found = getattr(decoded, "pixels", getattr(decoded, "samples", None))
    return np.asarray(list(decoded) if found is None else found)


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("case", CASES)
def test_a_file_made_on_any_device_decodes_on_any_other(case: str, device: str) -> None:
    media, options = CASES[case]

    data = codec.encode(media, device=device, **options)

    codec.verify(data)
    here, there = (samples(codec.decode(data, device=d)) for d in ("cpu", device))
    assert here.shape == there.shape
    if here.dtype == np.uint8:
        assert np.abs(here.astype(int) - there).max() <= 1
    else:
        assert np.abs(here - there).max() < 0.05
    if device == "cpu":
        assert data == made(case)
        assert np.array_equal(here, samples(codec.decode(data)))


def test_what_needs_a_network_has_a_device_and_nothing_else_has() -> None:
    having = [c.name for c in registry.codecs() if "device" in declared(c.options)]
    assert sorted(having) == sorted(NETWORKS)
    assert having == [c.name for c in registry.codecs() if "device" in declared(c.decode_options)]

    for name in ("motion", "photo", "records"):
        with pytest.raises(ParameterError, match=f"the codec {name} has no option device"):
            codec.encode(FRAMES if name == "motion" else np.zeros((8, 8, 3), np.uint8),
                         codec=name, device="cpu")  # fmt: skip


def test_a_file_of_a_codec_without_networks_is_not_decoded_on_a_device() -> None:
    data = codec.encode(picture(16, 16), lossless=True)
    with pytest.raises(ParameterError, match="the codec photo has no option device"):
        codec.decode(data, device="cpu")

    fitted = codec.encode(FRAMES, codec="hnerv", preset="fast", device="cpu")
    assert len(codec.decode(fitted, device="cpu")) == 2
    old = Path(__file__).parent / "golden" / "hnerv-1" / "motion-1x1.lac"
    with pytest.raises(ParameterError, match="which runs on the processor: leave device out"):
        codec.decode(old, device="cpu")


@pytest.mark.parametrize("name", ABSENT)
@pytest.mark.parametrize("case", CASES)
def test_a_device_that_is_not_here_is_refused(case: str, name: str) -> None:
    media, options = CASES[case]
    with pytest.raises(ParameterError, match=f"there is no device {name} here: choose auto or"):
        codec.encode(media, device=name, **options)
    with pytest.raises(ParameterError, match=f"there is no device {name} here: choose auto or"):
        codec.decode(made(case), device=name)


def test_screens_without_a_latent_refuse_an_absent_device_too() -> None:
    data = codec.encode(np.full((64, 64, 3), 200, np.uint8))
    for name in ABSENT:
        with pytest.raises(ParameterError, match=f"there is no device {name} here"):
            codec.decode(data, device=name)


@pytest.mark.parametrize("name", devices.NAMES)
def test_commands_take_a_device_or_refuse_it_in_a_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Pillow.fromarray(scene(64, 64)).save(tmp_path / "in" / "a.png")
    source, coded = tmp_path / "in" / "a.png", tmp_path / "a.lac"
    commands = {
        "encode": ("encode", source, "-o", tmp_path / "b.lac", "--device", name),
        "decode": ("decode", coded, "-o", tmp_path / "b.png", "--device", name),
        "eval": ("eval", tmp_path / "in", "-c", "mlic:50", "-c", "png", "--out", tmp_path / "run",
                 "--gallery", 0, "--device", name),
    }  # fmt: skip
    run("encode", source, "-o", coded)
    for command, arguments in commands.items():
        result = run(*arguments)
        if name in ABSENT:
            error = result.stderr + str(result.exception or "")
            assert f"there is no device {name} here: choose auto or cpu" in error, command
            assert 2 in (result.return_value, getattr(result.exception, "exit_code", None))
        else:
            assert result.return_value == 0, result.stderr
    assert (tmp_path / "b.png").exists() == (name not in ABSENT)


def test_an_evaluation_without_networks_has_no_device(tmp_path: Path) -> None:
    Pillow.fromarray(scene(16, 16)).save(tmp_path / "a.png")
    result = run("eval", tmp_path, "-c", "png", "--out", tmp_path / "run", "--device", "cpu")
    assert "the device cpu is for codecs with networks, and none of png has one" in str(
        result.exception
    )


def test_work_on_a_video_goes_on_on_another_device(tmp_path: Path) -> None:
    """Its key tells one encoding from another, and where it runs is no part of it."""
    from laconic.codec.media import Source
    from laconic.codec.media import of as medium_of
    from laconic.codec.video.settings import HnervOptions
    from laconic.codec.video.stream.encoder import StreamEncoder

    chosen = registry.get("hnerv")
    keys = set()
    for device in (None, "cpu"):
        film = medium_of(chosen.media).read(Source(FRAMES), HnervOptions().limits)
        encoder = StreamEncoder(film, HnervOptions(preset="fast", device=device), 3, "hnerv")
        encoder.fit()
        keys.add(encoder.work.key)
    assert len(keys) == 1

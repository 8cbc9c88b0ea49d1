"""Imported models on the command line: bad checkpoints, missing models, an interrupted search."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from pictures import scene
from PIL import Image as Pillow
from rule_models import checkpoint, network
from test_cli import LACONIC, code_of, message_of, run

from laconic import codec
from laconic.codec import models


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "store"
    monkeypatch.setenv("LACONIC_MODELS", str(folder))
    return folder


def spoilt(folder: Path, change: str) -> Path:
    """A checkpoint of a hyperprior model with something wrong."""
    state = {k: v.clone() for k, v in network("test-mean").state_dict().items()}
    if change == "NaN":
        state["h_s.2.weight"][0, 0, 0, 0] = float("nan")
    elif change == "missing":
        del state["h_a.2.weight"], state["h_a.2.bias"]
    path = folder / "x.pth.tar"
    torch.save({"state_dict": state}, path)
    return path


@pytest.mark.parametrize(
    ("change", "arch", "sentence"),
    [
        ("NaN", None, "h_s.2.weight has values that are not finite"),
        ("missing", None, "lacks h_a.2.bias and 1 more tensors"),
        ("none", "cheng2020-attn", "no cheng2020-attn: g_a.0.conv1.weight is missing"),
        ("none", "mbt2018", "no mbt2018: it lacks context_prediction.bias"),
        ("none", "mbt2018-mean-vbr", "no mbt2018-mean-vbr: it lacks Gain"),
        ("none", "elic2022-official", "no elic2022-official: "),
        ("none", "mlic++", "no MLIC++: g_a.analysis_transform.6.weight is missing"),
    ],
)
def test_wrong_checkpoints_get_one_sentence_and_exit_code_4(
    change: str, arch: str | None, sentence: str, store: Path, tmp_path: Path
) -> None:
    options = () if arch is None else ("--arch", arch)

    result = run("models", "import", spoilt(tmp_path, change), *options)

    assert code_of(result) == 4
    assert sentence in message_of(result)
    assert "\n" not in message_of(result).strip()
    assert not list(store.glob("*"))


def test_a_stream_whose_model_is_not_installed_says_which_one_and_where_it_belongs(
    rule_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "x.lac"
    source.write_bytes(codec.encode(scene(64, 64), model="test-elic"))
    identity = models.find("test-elic").id
    target = tmp_path / "x.png"
    target.write_bytes(b"precious")
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path / "empty"))

    for arguments in (("decode", source, "-o", target, "-f"), ("verify", source)):
        result = run(*arguments)

        assert code_of(result) == 4
        assert identity in message_of(result)
        assert str(tmp_path / "empty") in message_of(result)
    assert target.read_bytes() == b"precious"
    assert code_of(run("info", source)) == 0  # headers need no model


@pytest.mark.parametrize("piped", [False, True])
def test_files_of_a_model_outside_the_store_are_read_with_its_file(
    rule_store: Path, store: Path, tmp_path: Path, piped: bool
) -> None:
    model = tmp_path / "mine.safetensors"
    shutil.copy(rule_store / "test-mean.safetensors", model)
    source, coded, back = (tmp_path / f"a.{kind}" for kind in ("png", "lac", "tiff"))
    Pillow.fromarray(scene(40, 50)).save(source)

    def called(*words: object, exit_code: int = 0) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run([*LACONIC, *map(str, words)], capture_output=True, check=False)
        assert done.returncode == exit_code, done.stderr
        return done

    made = called("encode", source, "--model", model, *(("-o", "-") if piped else ()))
    if piped:
        coded.write_bytes(made.stdout)

    assert f"decoding needs --model {model}, or the model in {store}" in made.stderr.decode()
    for command in (("decode", coded, "-o", back), ("verify", coded)):
        assert b"was not found" in called(*command, exit_code=4).stderr
        called(*command, "--model", model)
    assert Pillow.open(back).size == (50, 40)
    store.mkdir()
    shutil.copy(model, store)
    assert not called("encode", source, "--model", model, "-f").stderr
    called("decode", coded, "-o", back, "-f")


def test_ctrl_c_during_a_search_writes_the_best_so_far(store: Path, tmp_path: Path) -> None:
    run("models", "import", checkpoint("test-mean", tmp_path), "--lambda", "0.02", "--name", "m")
    source, errors = tmp_path / "a.png", tmp_path / "err"
    Pillow.fromarray(scene(128, 128)).save(source)
    command = [*LACONIC, "encode", str(source), "--model", "m", "--effort", "9", "--progress"]
    with errors.open("w") as file:
        process = subprocess.Popen(
            command,
            stderr=file,
            env={**os.environ, "LACONIC_MODELS": str(store)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        while "loss" not in errors.read_text() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        code = process.wait()

    said = errors.read_text()
    assert code == 0, said
    assert "interrupted: the best so far is kept" in said
    assert "Traceback" not in said
    assert codec.decode(tmp_path / "a.lac").pixels.shape == (128, 128, 3)

"""Training: a run makes progress, resumes where it stopped, and becomes a model that codes
files."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import picture, scene
from PIL import Image as Pillow

from laconic import codec
from laconic.codec import models
from laconic.codec.evaluate import psnr
from laconic.codec.train.image import Recipe, Trainer, run
from laconic.codec.train.running import orthogonalise
from laconic.formats.errors import ModelError, ParameterError

RECIPE = Recipe(config="test", crop=64, batch=4, minutes=0.05, warmup=5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for n in range(6):
        Pillow.fromarray(scene(96, 128, seed=n)).save(folder / f"{n}.png")
    return folder


def test_training_reduces_the_loss(data: Path, tmp_path: Path) -> None:
    trainer = Trainer(replace(RECIPE, minutes=5), [data], tmp_path)
    before = trainer.validate()["loss"]
    for _ in range(60):
        trainer.train_step()

    assert np.mean(trainer.validate()["loss"]) < 0.98 * np.mean(before)


def test_a_run_resumes_exactly_where_it_stopped(data: Path, tmp_path: Path) -> None:
    first = Trainer(replace(RECIPE, minutes=5), [data], tmp_path)
    for _ in range(3):
        first.train_step()
    first.seconds = 12.5
    first.save()

    second = Trainer(replace(RECIPE, minutes=5), [data], tmp_path)
    second.load()

    assert (second.step, second.seconds) == (3, 12.5)
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(first.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_finished_run_exports_a_model_that_codes_files(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = run(RECIPE, [data], tmp_path / "run")
    info = models.export(checkpoint, tmp_path / "models" / "mine.safetensors", name="mine")
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path / "models"))
    original = picture(80, 100)

    coded = codec.encode(original, model="mine", quality=80)

    assert codec.probe(coded).model == "mine"
    assert psnr(original.pixels, codec.decode(coded).pixels) > 15
    assert json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])["step"] > 0
    assert models.find(info.id).training["recipe"]["config"] == "test"


def test_a_run_can_start_from_a_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Trainer(RECIPE, [data], tmp_path)
    for _ in range(3):
        first.train_step()
    first.save()
    models.export(tmp_path / "checkpoint.pt", tmp_path / "a.safetensors", name="start")
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))

    second = Trainer(RECIPE, [data], tmp_path / "more", init="start")

    for a, b in zip(first.average.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a.half(), b.half())
    (tmp_path / "more").mkdir()
    second.save()
    made = models.export(tmp_path / "more" / "checkpoint.pt", tmp_path / "b.safetensors", name="b")
    assert made.training["started_from"]["steps"] == 3
    with pytest.raises(ParameterError, match="configuration"):
        Trainer(RECIPE, [data], tmp_path / "more", init=models.DEFAULT_MODEL)


def test_an_existing_run_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"precious")
    with pytest.raises(ParameterError, match="--resume"):
        run(RECIPE, [data], tmp_path)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="0 images"):
        run(RECIPE, [tmp_path], tmp_path / "run")


def test_a_damaged_model_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = models.find(models.DEFAULT_MODEL).path.read_bytes()
    damaged = bytearray(shipped)
    damaged[-1000] ^= 1
    (tmp_path / "x.safetensors").write_bytes(damaged)
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))

    with pytest.raises(ModelError, match="damaged"):
        codec.encode(picture(64, 64), model=str(tmp_path / "x.safetensors"))
    with pytest.raises(ModelError, match="not a Laconic model"):
        models.read_info(tmp_path / "junk.safetensors")


def test_the_name_of_a_model_follows_its_contents_and_not_its_file(tmp_path: Path) -> None:
    info = models.find(models.DEFAULT_MODEL)
    tensors = models.read_tensors(info)
    again = models.write_model(
        tmp_path / "again.safetensors", name="other", codec=info.codec, config=info.config,
        numerics=info.numerics, tensors=dict(reversed(tensors.items())), training={},
    )  # fmt: skip
    changed = {k: v.copy() for k, v in tensors.items()}
    next(iter(changed.values())).reshape(-1)[0] += 1
    identity, _ = models.manifest_id(info.codec, info.config, info.numerics, changed)

    assert again.id == info.id
    assert identity != info.id


def test_orthogonalised_updates_have_singular_values_near_one() -> None:
    x = torch.randn(3, 20, 50, generator=torch.Generator().manual_seed(0))

    for matrix in (orthogonalise(x), orthogonalise(x.transpose(1, 2))):
        values = torch.linalg.svdvals(matrix)
        assert values.min() > 0.5
        assert values.max() < 1.5


def test_two_processes_train_together_agree_and_end_together(data: Path, tmp_path: Path) -> None:
    code = (
        "import sys, torch; from pathlib import Path;"
        "from laconic.codec.train.image import Recipe, Trainer;"
        "recipe = Recipe(config='test', crop=64, batch=2, minutes=0.02, warmup=2);"
        "t = Trainer(recipe, [Path(sys.argv[1])], Path(sys.argv[2]));"
        "t.run();"
        "total = sum(p.double().abs().sum() for p in t.model.parameters()).item();"
        "print('end', t.world, t.step, total)"
    )
    base = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29581", "WORLD_SIZE": "2",
            "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(data), str(tmp_path)],
            env={**base, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    ends = [worker.communicate(timeout=120)[0].strip().splitlines()[-1] for worker in workers]

    assert ends[0].startswith("end 2 ")
    assert ends[0] == ends[1]

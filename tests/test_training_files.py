"""Training data: what cannot be read is named and left out, ``.tar`` files are opened."""

import io
import tarfile
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from laconic.codec.train.images import load_images
from laconic.codec.train.photo import load_photos
from laconic.codec.train.recordings import load_recordings, load_speech


def picture(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def recording(path: Path, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-9000, 9000, 32_000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())


LOADERS: dict[str, tuple[str, Callable[[Path, int], None], Callable[[list[Path]], Any]]] = {
    "mlic": (".png", picture, lambda folders: load_images(folders, 32)),
    "photo": (".png", picture, load_photos),
    "audio stages": (".wav", recording, load_recordings),
    "pscodec": (".wav", recording, lambda folders: load_speech(folders, 16_000)),
}


@pytest.mark.parametrize("recipe", list(LOADERS))
@pytest.mark.parametrize("kept", [0.0, 0.4])
def test_an_unreadable_file_does_not_end_a_training(
    recipe: str, kept: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suffix, write, load = LOADERS[recipe]
    (tmp_path / "validation").mkdir()
    names = ["0", "1", "2", "validation/v"]
    places = [tmp_path / f"{name}{suffix}" for name in names]
    for seed, path in enumerate(places):
        write(path, seed)
    damaged = tmp_path / f"9-damaged{suffix}"
    write(damaged, 9)
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: int(kept * len(whole))])

    train, held_out = load([tmp_path])

    said = capsys.readouterr().out
    assert ("left out 9-damaged" in said) == (len(train) + len(held_out) == 4)
    assert kept or "left out 9-damaged" in said


@pytest.mark.parametrize("recipe", list(LOADERS))
def test_training_data_in_tar_files_is_the_same_data(recipe: str, tmp_path: Path) -> None:
    suffix, write, load = LOADERS[recipe]
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    (plain / "validation").mkdir(parents=True)
    packed.mkdir()
    for seed in range(4):
        write(plain / ("validation" if seed == 3 else ".") / f"{seed}{suffix}", seed)
    with tarfile.open(packed / "shard.tar", "w") as tar:
        for path in sorted(plain.rglob(f"*{suffix}")):
            data = path.read_bytes()
            member = tarfile.TarInfo(str(path.relative_to(plain)))
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))

    counts = [[len(part) for part in load([folder])] for folder in (plain, packed)]

    assert counts[0] == counts[1]


@pytest.mark.parametrize("recipe", ["audio stages", "pscodec"])
def test_recordings_in_a_folder_validation_are_never_trained_on(
    recipe: str, tmp_path: Path
) -> None:
    _, write, load = LOADERS[recipe]
    (tmp_path / "validation").mkdir()
    for seed in range(3):
        write(tmp_path / "validation" / f"{seed}.wav", seed)
        write(tmp_path / f"{seed}.wav", 10 + seed)

    train, held_out = load([tmp_path])

    assert (len(train), len(held_out)) == (3, 3)

"""Training of the lossless model: it learns, resumes, exports, and the export codes images."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import photo_arrays as arrays
import pytest
import torch
from pictures import textured
from PIL import Image as Pillow

from laconic import codec
from laconic.codec import models
from laconic.codec.lossless.photo.features import INPUTS
from laconic.codec.lossless.photo.header import CONFIGS
from laconic.codec.lossless.photo.learn import PhotoNetwork, Samples, write_photo
from laconic.codec.lossless.photo.wave import CHANNEL, planes_of
from laconic.codec.train.photo import PhotoRecipe, PhotoTrainer, load_photos, loss_of, run
from laconic.formats.errors import ModelError, ParameterError

SHORT = replace(PhotoRecipe(), minutes=0.02, batch=256, warmup=5)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        Pillow.fromarray(np.roll(textured(70, 80).pixels, 9 * number, 1)).save(
            folder / f"{number}.png"
        )
    return folder


def test_training_lowers_the_code_length(photos: Path, tmp_path: Path) -> None:
    trainer = PhotoTrainer(SHORT, [photos], tmp_path)
    first = trainer.train_step()["mean"]

    for _ in range(40):
        last = trainer.train_step()["mean"]

    assert last < first - 0.5 / 3


def test_a_run_ends_resumes_and_exports(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = run(SHORT, [photos], tmp_path / "run", threads=1)
    before = torch.load(checkpoint, weights_only=True)["step"]
    with pytest.raises(ParameterError, match="--resume"):
        run(SHORT, [photos], tmp_path / "run")
    longer = replace(SHORT, minutes=0.04)
    run(longer, [photos], tmp_path / "run", resume=True, threads=1)

    assert torch.load(checkpoint, weights_only=True)["step"] > before
    log = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] > before
    target = tmp_path / "models" / "mine.safetensors"
    info = models.export(checkpoint, target, name="mine")
    assert info.codec == "photo"
    assert info.parameters == sum(p.numel() for p in PhotoNetwork(CONFIGS["photo"]).parameters())
    monkeypatch.setenv("LACONIC_MODELS", str(target.parent))
    image = textured(66, 50)
    data = codec.encode(image, lossless=True, model="mine")
    assert codec.probe(data).model == "mine"
    assert np.array_equal(codec.decode(data).pixels, image.pixels)


def test_a_file_of_another_model_is_refused_by_name(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "other.safetensors"
    torch.manual_seed(0)
    write_photo(target, PhotoNetwork(CONFIGS["photo"]), name="other", training={}, overwrite=False)
    data = codec.encode(textured(60, 60), lossless=True, model=str(target))

    with pytest.raises(ModelError, match="not found"):
        codec.decode(data)


def test_weights_that_could_round_are_not_exported(tmp_path: Path) -> None:
    network = PhotoNetwork(CONFIGS["photo"])
    with torch.no_grad():
        network.networks()[0].w2.fill_(1.9)

    with pytest.raises(ModelError, match="not exact"):
        write_photo(tmp_path / "x.safetensors", network, name="x", training={}, overwrite=False)
    assert not (tmp_path / "x.safetensors").exists()


def test_every_ninth_picture_is_held_out(tmp_path: Path) -> None:
    for number in range(20):
        Pillow.fromarray(np.full((4, 4, 3), number, np.uint8)).save(tmp_path / f"{number:02}.png")

    train, held_out = load_photos([tmp_path])

    assert [int(p[0, 0, 0]) for p in held_out] == [4, 13]
    assert len(train) == 18


@pytest.mark.parametrize("based", [False, True])
def test_samples_see_what_the_coder_sees(based: bool) -> None:
    """Contexts drawn at random are those of the coder's places, borders included."""
    image = textured(9, 7).pixels
    lossy = image // 9 * 9
    picture = np.concatenate((image, lossy), axis=2) if based else image
    y, x = (a.reshape(-1) for a in np.indices((9, 7)))
    side = planes_of(lossy) if based else None
    batches = Samples([picture], based=based).draw(np.random.default_rng(0), 200)

    for plane, (inputs, base, scale, value) in enumerate(batches):
        f = arrays.seen(planes_of(image), plane, y, x, 8, side)
        places = zip(f.inputs.T, f.base, f.scale, image[y, x, CHANNEL[plane]], strict=True)
        known = {(i.tobytes(), float(b), int(s), int(v)) for i, b, s, v in places}
        rows = zip((inputs * 32).numpy(), base, scale, value, strict=True)
        assert {(i.tobytes(), float(b), int(s), int(v)) for i, b, s, v in rows} <= known


def test_training_with_a_preview_starts_where_the_plain_model_ended(
    photos: Path, tmp_path: Path
) -> None:
    recipe = replace(SHORT, config="photo-preview", qualities=(30.0,))
    trainer = PhotoTrainer(recipe, [photos], tmp_path, init="photo")
    random = np.random.default_rng(0)
    plain = PhotoNetwork(CONFIGS["photo"])
    plain.load_integers(codec_model().tensors)
    pictures = [p[..., :3] for p in trainer.images]

    with_base = loss_of(trainer.network, Samples(
        [p[..., :6] for p in trainer.images], based=True).draw(random, 500))  # fmt: skip
    without = loss_of(plain, Samples(pictures).draw(np.random.default_rng(0), 500))
    assert torch.allclose(with_base, without, atol=1e-3)
    trainer.train_step()
    trainer.save()

    info = models.export(trainer.checkpoint, tmp_path / "p.safetensors", name="p")
    assert info.config["based"]
    assert info.training["started_from"]["name"] == "photo"
    with pytest.raises(ParameterError, match="widths"):
        PhotoTrainer(SHORT, [photos], tmp_path, init="photo-preview")


def codec_model():  # type: ignore[no-untyped-def]
    from laconic.codec.lossless.photo.network import load_model

    return load_model("photo")


def test_the_loss_is_the_length_of_the_file() -> None:
    """What training minimises is what files take, within a percent."""
    image = textured(120, 120)
    network = PhotoNetwork(CONFIGS["photo"])
    network.load_integers(codec_model().tensors)
    network.quantise(True)
    with torch.no_grad():
        bits = loss_of(network, Samples([image.pixels]).draw(np.random.default_rng(0), 20_000))

    size = 8 * len(codec.encode(image, lossless=True)) / image.pixels.size

    assert float(bits.mean()) == pytest.approx(size, rel=0.015)


def test_balancing_changes_the_numbers_and_not_the_function() -> None:
    torch.manual_seed(1)
    plane = PhotoNetwork(CONFIGS["photo"]).networks()[1]
    with torch.no_grad():
        plane.w2[0] = -0.9
        plane.w3.mul_(0.5)
    x = torch.randn(200, INPUTS[1])
    with torch.no_grad():
        before = plane(x)
        plane.balance()
        after = plane(x)

    assert plane.w2[0].min() > -0.9
    assert torch.allclose(before, after, atol=1e-4)

"""The detail layer above the latents' best quality, and models grown out of smaller ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import scene

from laconic import codec
from laconic.codec import models
from laconic.codec.evaluate import psnr
from laconic.codec.image.codec import export_checkpoint, read_mlic, write_mlic
from laconic.codec.image.config import CONFIGS, MlicConfig
from laconic.codec.image.layers import lambda_of, quality_of
from laconic.codec.image.model import Mlic, from_detail, to_detail
from laconic.codec.train.images import grown
from laconic.formats.errors import DesyncError, FormatError, ModelError, ParameterError


def samples(count: int) -> torch.Tensor:
    """Crops of rendered scenes ``[N, 64, 64, 3]`` in [0, 1]."""
    pictures = [scene(64, 64, seed=n) for n in range(count)]
    return torch.from_numpy(np.stack(pictures)).float() / 255


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = Mlic(CONFIGS["test-detail"])
    network.initialise(samples(8))
    folder = tmp_path_factory.mktemp("models")
    write_mlic(folder / "detail.safetensors", network, name="detail", training={})
    return folder


@pytest.fixture
def model(store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LACONIC_MODELS", str(store))
    return "detail"


def files(original: np.ndarray, model: str, qualities: list[float]) -> list[bytes]:
    return [codec.encode(original, quality=q, model=model) for q in qualities]


def decoded(data: bytes) -> np.ndarray:
    return codec.decode(data).pixels


def test_the_top_of_the_range_does_not_saturate(model: str) -> None:
    original = scene(130, 100, seed=3)
    qualities = [80.0, 86.0, 91.0, 95.0, 100.0]

    coded = files(original, model, qualities)
    found = [psnr(original, decoded(data)) for data in coded]

    assert found == sorted(found)
    assert [len(data) for data in coded] == sorted(len(data) for data in coded)
    assert found[-1] > 48
    assert found[0] < 40


def test_tiles_and_regions_of_detail_have_no_seams(model: str) -> None:
    original = scene(128, 192, seed=5)

    data = codec.encode(original, quality=100, model=model, tile=64)
    whole = decoded(data)
    part = codec.open(data).region(50, 40, 70, 60).pixels

    assert psnr(original, whole) > 46
    assert np.abs(part.astype(int) - whole[40:100, 50:120]).max() <= 1
    error = np.square(whole.astype(float) - original).mean((0, 2))
    assert error[62:66].mean() < 3 * error.mean()


def test_effort_and_detail_go_together(model: str) -> None:
    original = scene(64, 64, seed=6)

    data = codec.encode(original, quality=100, effort=1, model=model)

    assert psnr(original, decoded(data)) > 45


def test_damage_of_the_detail_is_noticed(model: str) -> None:
    data = bytearray(codec.encode(scene(64, 64, seed=7), quality=100, model=model))
    data[len(data) * 3 // 4] ^= 4

    with pytest.raises((FormatError, DesyncError)):
        decoded(bytes(data))


def test_coefficients_of_the_detail_lose_nothing() -> None:
    x = torch.rand(2, 32, 48, 3, dtype=torch.float64) - 0.5

    coefficients = to_detail(x)

    assert torch.allclose(from_detail(coefficients), x, atol=1e-12)
    assert torch.allclose(coefficients.square().sum(), x.square().sum())


@pytest.mark.parametrize("dense", [False, True])
def test_a_grown_model_makes_the_same_pictures_and_bits(dense: bool) -> None:
    torch.manual_seed(1)
    small = Mlic(CONFIGS["test"])
    small.initialise(samples(8))
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    larger = replace(
        CONFIGS["test-detail"], encoder_blocks=2, decoder_blocks=3, rate_anchors=41, dense=dense
    )
    big = grown(small, larger, samples(4))
    x = samples(4)

    with torch.no_grad():
        for quality in (20.0, 50.0, 95.0):
            other = quality_of(lambda_of(quality, small.config.rates), larger.rates)
            torch.manual_seed(2)
            one = small(x, torch.full((4,), quality))
            torch.manual_seed(2)
            two = big(x, torch.full((4,), other))
            assert torch.allclose(one.y_bits + one.z_bits, two.y_bits + two.z_bits, rtol=0.02)
            assert (one.x_hat - two.x_hat).square().mean() < 1e-4


def test_a_model_grows_no_other_widths() -> None:
    small = Mlic(CONFIGS["test"])
    with pytest.raises(ParameterError, match="another width"):
        grown(small, replace(CONFIGS["test-detail"], hyper=24), samples(2))


def test_first_configurations_keep_their_identity() -> None:
    values = MlicConfig().to_dict()

    assert "rates" not in values
    assert MlicConfig.from_dict(values) == MlicConfig()
    wide = CONFIGS["base"]
    assert MlicConfig.from_dict(wide.to_dict()) == wide
    with pytest.raises(ModelError, match="unknown"):
        MlicConfig.from_dict({**values, "unknown": 1})


def test_an_export_takes_a_share_of_the_weights_from_where_the_run_started(
    store: Path, model: str, tmp_path: Path
) -> None:
    start = models.find(model)
    before, _ = read_mlic(start)
    trained = Mlic(CONFIGS["test-detail"])
    state = {
        "recipe": {"config": "test-detail", "share": 0.25},
        "average": trained.state_dict(),
        "step": 1,
        "seconds": 1.0,
        "start": {"id": start.id},
    }
    torch.save(state, tmp_path / "checkpoint.pt")

    info = export_checkpoint(
        tmp_path / "checkpoint.pt", tmp_path / "out.safetensors", name="out", overwrite=False
    )

    exported, _ = read_mlic(info)
    for own, new, old in zip(*(m.parameters() for m in (exported, trained, before)), strict=True):
        assert torch.allclose(own, torch.lerp(old, new, 0.25), atol=2e-3, rtol=2e-3)

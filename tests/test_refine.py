"""Encoding with effort: smaller loss, same streams, best kept when interrupted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import picture, scene

from laconic import codec
from laconic.codec.evaluate import psnr
from laconic.codec.image import refine as search
from laconic.codec.image.codec import load_model
from laconic.codec.image.config import MlicConfig
from laconic.codec.image.layers import distortion, lambda_of, structural_similarity
from laconic.codec.image.refine import Local, Objective, expected_round, refine
from laconic.codec.models import DEFAULT_MODEL
from laconic.formats.errors import ParameterError


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "STEPS", (0, 3, 24))


def loss(data: bytes, original: object, quality: float) -> float:
    decoded = codec.decode(data).pixels
    error = 255**2 * 10 ** (-psnr(original, decoded) / 10)  # type: ignore[arg-type]
    height, width = decoded.shape[:2]
    return 8 * len(data) / (height * width) + lambda_of(quality, MlicConfig().rates) * error


def test_effort_lowers_the_loss_of_the_file() -> None:
    original = scene(128, 128, seed=4)

    plain = codec.encode(original, quality=40)
    searched = codec.encode(original, quality=40, effort=2)

    assert loss(searched, original, 40) < 0.995 * loss(plain, original, 40)
    assert codec.verify(searched).symbols == codec.verify(plain).symbols
    assert searched == codec.encode(original, quality=40, effort=2)


def test_tiles_alpha_and_targets_work_with_effort() -> None:
    original = picture(100, 150, alpha=True)
    plain = codec.encode(original, quality=40, tile=64)

    tiled = codec.encode(original, quality=40, tile=64, effort=1)
    limited = codec.encode(original, target_bytes=len(plain), tile=64, effort=1)

    assert codec.probe(tiled).segments == codec.probe(plain).segments
    assert len(limited) <= len(plain)
    assert codec.decode(limited).pixels.shape == (100, 150, 3)


def test_progress_tells_the_step_and_the_loss() -> None:
    seen: list[tuple[int, int]] = []
    words: list[str] = []

    codec.encode(
        scene(64, 64),
        quality=40,
        effort=2,
        progress=lambda done, total: seen.append((done, total)),
        status=words.append,
    )

    assert seen == [(i, 24) for i in range(1, 25)]
    assert words[-1].startswith("loss -")


def test_an_interrupt_keeps_the_best_so_far_and_leaves_a_whole_file() -> None:
    original = scene(128, 128, seed=4)
    words: list[str] = []

    def stop_late(done: int, total: int) -> None:
        if done == 16:
            raise KeyboardInterrupt

    data = codec.encode(original, quality=40, effort=2, progress=stop_late, status=words.append)

    assert "interrupted" in words[-1]
    assert loss(data, original, 40) < loss(codec.encode(original, quality=40), original, 40)


def test_unknown_efforts_are_refused() -> None:
    with pytest.raises(ParameterError, match="effort is 10"):
        codec.encode(scene(64, 64), effort=10)


def test_imported_models_need_their_lambda(rule_models: Path) -> None:
    with pytest.raises(ParameterError, match="import its checkpoint again with --lambda"):
        codec.encode(scene(64, 64), model="test-mean", effort=1)


@pytest.mark.parametrize(
    "name",
    ["test-factorized", "test-hyperprior", "test-mean", "test-joint", "test-attn", "test-mlicpp",
     "test-mlicv2", "test-board", "test-elic", "test-chandelier", "test-mean-vbr",
     "test-joint-vbr"],
)  # fmt: skip
def test_effort_works_with_imported_models(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rule_models import network
    from safetensors.torch import save_file

    from laconic.codec import models

    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path / "store"))
    plain = tmp_path / "x.safetensors"
    save_file({k: v.contiguous() for k, v in network(name).state_dict().items()}, plain)
    models.import_checkpoint(plain, name="searched", multiplier=0.01)

    words: list[str] = []
    data = codec.encode(scene(64, 64), model="searched", effort=1, status=words.append)

    assert codec.decode(data).pixels.shape == (64, 64, 3)
    assert words[-1].startswith("loss -")
    assert codec.probe(data).model == "searched"


def test_expected_rounding_ends_at_the_nearest_integer() -> None:
    x = torch.tensor([-1.9, -0.2, 0.1, 0.6, 2.0, 7.95])

    hot, cold = expected_round(x, 0.5), expected_round(x, 0.02)

    assert torch.allclose(cold, x.round(), atol=0.05)
    assert ((hot >= x.floor()) & (hot <= x.floor() + 1)).all()
    assert (hot[1:4] - x[1:4].round()).abs().min() > 0.01


def objective(original: np.ndarray, quality: float) -> tuple[Objective, torch.Tensor, torch.Tensor]:
    """The default model's, with the latents of its encoder."""
    model = load_model(DEFAULT_MODEL)
    x = torch.from_numpy(original).float()[None] / 255
    with torch.no_grad():
        y = model.analyse(x, quality)
        z = model.hyper(y, quality)
    found = Objective(
        model.relaxed(),
        lambda y_hat: model.synthesise(y_hat, quality, fast=True),
        x,
        model.multiplier(quality),
        quality,
    )
    return found, y, z


def test_more_effort_finds_latents_of_less_loss() -> None:
    goal, y, z = objective(scene(128, 128, seed=4), 50)

    some, more = refine(goal, y, z, 1), refine(goal, y, z, 2)

    assert more.after < some.after < some.before
    assert more.after == goal.loss(more.y, more.z)


def test_the_error_is_nearly_quadratic_between_two_syntheses() -> None:
    goal, y, _ = objective(scene(128, 128, seed=4), 50)
    local = Local(goal)
    local.renew(y)
    moved = y + 0.2 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        true = float(goal.error(moved) - goal.error(y))
        near = float(local.error(moved, torch.zeros(())))

    assert near == pytest.approx(true, rel=0.3)
    assert float(local.error(y, torch.ones(()))) > 0


def test_distortion_is_the_squared_error_or_a_mixture_with_ms_ssim() -> None:
    x = torch.rand(2, 176, 192, 3, generator=torch.Generator().manual_seed(0))
    blurred = (x[:, :, :1] + x) / 2
    squared = 255**2 * (blurred - x).square().mean((1, 2, 3))
    structure = 1280 * (1 - structural_similarity(blurred, x))

    assert torch.allclose(distortion(blurred, x), squared)
    assert torch.allclose(distortion(blurred, x, 0.75), 0.25 * squared + 0.75 * structure)
    assert distortion(x, x, 0.75).abs().max() < 0.01
    small = (blurred[:, :160], x[:, :160])
    assert torch.equal(distortion(*small, 0.75), distortion(*small))


def test_effort_lowers_the_loss_that_the_model_is_tuned_for() -> None:
    """A tile of 192 pixels is large enough for MS-SSIM, which the search then counts."""
    original = scene(192, 192, seed=4)
    model = load_model(DEFAULT_MODEL)
    x = torch.from_numpy(original).float()[None] / 255

    losses = []
    for effort in (0, 2):
        data = codec.encode(original, quality=40, effort=effort)
        decoded = torch.from_numpy(codec.decode(data).pixels.astype(np.float32))[None] / 255
        error = distortion(decoded, x, model.visual)
        losses.append(8 * len(data) / 192**2 + model.multiplier(40) * float(error))

    assert model.visual > 0
    assert losses[1] < 0.995 * losses[0]

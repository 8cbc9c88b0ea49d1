"""A chunk of video becomes bytes and comes back: sizes, damage, targets, stopping and going on."""

import zlib
from collections.abc import Mapping
from typing import Any

import films
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from laconic.codec.video import settings as presets
from laconic.codec.video import symbols
from laconic.codec.video.budget import within
from laconic.codec.video.channels import scale_of, tables_for
from laconic.codec.video.chunk import Fit, FitSettings, decode
from laconic.codec.video.chunk_module import Decoder
from laconic.codec.video.plan import KINDS, PREDICTED
from laconic.codec.video.training import boosted, ms_ssim
from laconic.formats.errors import (
    FormatError,
    LaconicError,
    LimitError,
    Limits,
    ParameterError,
    UnsupportedError,
)

NETWORKS = [kind for kind in KINDS if kind not in PREDICTED]  # those have tests of their own


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "fast", 24)


def film(frames: int, rows: int, columns: int) -> NDArray[np.uint8]:
    """A soft pattern that moves."""
    t, y, x = np.mgrid[0:frames, 0:rows, 0:columns].astype(np.float64)
    planes = [np.sin((x + 2 * t) / 5 + c) * np.cos((y - t) / 7) for c in range(3)]
    return np.uint8(np.stack(planes, -1) * 100 + 128)


def fitted(network: str, clip: NDArray[np.uint8], **chosen: Any) -> Fit:
    fit = Fit(clip, FitSettings(network=network, preset="fast", **chosen))
    assert fit.run()
    return fit


def read(payload: bytes, clip: NDArray[np.uint8], limits: Limits | None = None) -> Decoder:
    frames, rows, columns = clip.shape[:3]
    return decode(payload, frames, columns, rows, limits or Limits())


@pytest.mark.parametrize("network", NETWORKS)
def test_a_chunk_decodes_to_the_integers_and_pictures_of_its_fit(network: str) -> None:
    clip = film(3, 24, 32)
    fit = fitted(network, clip, quality=40)

    decoder = read(fit.payload(), clip)

    assert decoder.symbols_check == symbols.symbols_check(fit.coded())
    together = decoder.batch(0, 3)
    assert together.shape == clip.shape
    for index in range(3):
        alone = decoder.frame(index).astype(int)
        assert np.abs(alone - together[index]).max() <= 1


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 5, 3), (2, 17, 33)])
def test_any_size_is_fitted(network: str, size: tuple[int, int, int]) -> None:
    clip = film(*size)

    decoder = read(fitted(network, clip).payload(), clip)

    assert decoder.batch(0, size[0]).shape == clip.shape


def test_more_steps_make_a_better_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = film(4, 32, 32)
    errors = []
    for steps in (10, 300):
        monkeypatch.setitem(presets.PRESETS, "fast", steps)
        decoder = read(fitted("grids", clip, quality=90).payload(), clip)
        errors.append(np.mean((decoder.batch(0, 4).astype(float) - clip) ** 2))

    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("network", NETWORKS)
def test_a_target_is_never_exceeded(network: str) -> None:
    clip = film(3, 24, 32)
    free = len(fitted(network, clip, quality=50).payload())

    payload = fitted(network, clip, target_bytes=free // 2).payload()

    assert len(payload) <= free // 2
    read(payload, clip)


def test_an_impossible_target_is_refused() -> None:
    with pytest.raises(ParameterError, match="need at least"):
        fitted("grids", film(2, 16, 16), target_bytes=20).payload()


def test_coded_bytes_are_close_to_the_ideal_size() -> None:
    coded = fitted("hnerv", film(3, 24, 32)).coded()

    data, bits = symbols.encode_symbols(coded)

    assert len(data) * 8 <= bits * 1.005 + 64


def test_a_fit_that_was_killed_goes_on_to_the_same_payload() -> None:
    clip = film(3, 24, 32)
    chosen = FitSettings(network="grids", preset="fast")
    whole = Fit(clip, chosen)
    whole.run()
    part = Fit(clip, chosen)
    for _ in range(17):  # into the second phase
        part.run(seconds=0)
    state = part.state()
    assert part.step == 17

    again = Fit.resume(clip, chosen, state)
    finished = again.run()

    assert finished
    assert zlib.crc32(again.payload()) == zlib.crc32(whole.payload())


def test_a_stopped_fit_writes_what_it_has_and_can_go_on() -> None:
    clip = film(3, 24, 32)
    fit = Fit(clip, FitSettings(network="grids", preset="fast"))
    heard: list[tuple[int, int]] = []

    finished = fit.run(stop=lambda: True, progress=lambda done, total: heard.append((done, total)))

    assert not finished
    assert heard == [(1, 24)]
    assert read(fit.payload(), clip).batch(0, 3).shape == clip.shape
    assert fit.run()


def test_the_next_chunk_starts_from_the_last() -> None:
    clip = film(6, 24, 32)
    first = fitted("hnerv", clip[:3])
    chosen = FitSettings(network="hnerv", preset="fast")

    cold = Fit(clip[3:], chosen)
    warm = Fit(clip[3:], chosen, init=first.warm())
    cold.run(stop=lambda: True)
    warm.run(stop=lambda: True)

    assert warm.error < cold.error


def test_fits_repeat() -> None:
    clip = film(3, 16, 24)

    assert fitted("grids", clip, seed=3).payload() == fitted("grids", clip, seed=3).payload()


def test_threads_and_kernels_do_not_change_symbols() -> None:
    clip = film(3, 24, 32)
    payload = fitted("grids", clip).payload()
    one = read(payload, clip)
    try:
        torch.backends.mkldnn.set_flags(False)
        other = read(payload, clip)
        pictures = other.batch(0, 3)
    finally:
        torch.backends.mkldnn.set_flags(True)

    assert other.symbols_check == one.symbols_check
    assert np.abs(pictures.astype(int) - one.batch(0, 3)).max() <= 1


def test_damage_is_an_error_or_other_symbols_and_never_a_crash() -> None:
    clip = film(2, 16, 16)
    payload = fitted("grids", clip).payload()
    true = read(payload, clip).symbols_check
    random = np.random.default_rng(0)
    for _ in range(300):
        mutant = films.damaged(payload, random)
        try:
            found = read(mutant, clip).symbols_check
        except (FormatError, UnsupportedError):
            continue
        assert found != true


def test_absurd_claims_are_refused_before_memory_is_taken() -> None:
    clip = film(2, 16, 16)
    wide = bytes([KINDS["hnerv"], 0xFF, 0x07, 3, 8, 8, 8])
    with pytest.raises(FormatError, match="weights"):
        read(wide + b"\1", clip)
    with pytest.raises(UnsupportedError, match="kind 99"):
        read(bytes([99, 1, 1, 1]), clip)
    with pytest.raises(LimitError):
        read(fitted("grids", clip).payload(), clip, Limits(pixels=100))
    with pytest.raises(LaconicError):
        decode(b"", 2, 16, 16, Limits())


def test_frames_outside_the_chunk_are_refused() -> None:
    clip = film(2, 16, 16)
    decoder = read(fitted("grids", clip).payload(), clip)

    with pytest.raises(IndexError):
        decoder.frame(2)


@pytest.mark.parametrize(
    "chosen",
    [
        {"network": "nerf"},
        {"preset": "instant"},
        {"quality": 101},
        {"quality": 5, "target_bytes": 5},
        {"target_bytes": 0},
    ],
)
def test_wrong_settings_are_named(chosen: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=r"expected|give one"):
        FitSettings(**chosen)


def test_frames_of_the_wrong_kind_are_named() -> None:
    with pytest.raises(ParameterError, match=r"expected \[N, H, W, 3\] uint8"):
        Fit(np.zeros((0, 4, 4, 3), np.uint8), FitSettings(network="grids"))


def test_gaussian_tables_are_gaussians_and_keep_their_numbers() -> None:
    tables, starts = tables_for([0, 16, 24])

    for scale, start in starts.items():
        for phase in range(4):
            freqs = tables.frequencies(start + phase)[:-1] / 2.0**24
            symbols_ = tables.lows[start + phase] + np.arange(freqs.size)
            mean = float((freqs * symbols_).sum())
            spread = float(np.sqrt((freqs * (symbols_ - mean) ** 2).sum()))
            if scale:
                assert mean == pytest.approx(phase / 4, abs=1e-3)
                assert spread == pytest.approx(np.sqrt(scale_of(scale) ** 2 + 1 / 12), rel=1e-3)
    assert tables.digest().hex()[:16] == "c81aadccfa1e87ce"


def test_integers_survive_whatever_they_are() -> None:
    random = np.random.default_rng(1)
    shapes = {"a.weight": (40, 30), "b.weight": (3, 5), "a.bias": (7,), "b.bias": (1,)}
    weights = {
        n: np.rint(random.standard_cauchy(s) * 3).clip(-9999, 9999).astype(np.int32)
        for n, s in shapes.items()
    }
    walk = np.rint(np.cumsum(random.normal(0, 2, (5, 3, 6, 7)), 0) + 40).astype(np.int32)
    coded = symbols.Coded(
        weights,
        {"latents.0": walk},
        {"a.weight": -30, symbols.SMALL: 4, symbols.BIASES: -9, "latents.0": 100},
    )

    data, _ = symbols.encode_symbols(coded)
    found, check = symbols.decode_symbols(data, shapes, {"latents.0": walk.shape})

    assert check == symbols.symbols_check(coded)
    assert found.steps == coded.steps
    for name, array in (*weights.items(), ("latents.0", walk)):
        assert np.array_equal({**found.weights, **found.latents}[name], array)


@pytest.mark.parametrize("limit", [700, 1100, 1450])
def test_steps_become_wider_or_finer_until_a_target_is_met_within_two_per_cent(limit: int) -> None:
    random = np.random.default_rng(2)
    floats = {f"{n}.weight": random.normal(0, 6, (30, 20)) for n in "abc"}

    def integers(places: Mapping[str, int]) -> symbols.Coded:
        rounded = {
            name: np.rint(w / 2 ** (places.get(name, 0) / 8)).astype(np.int32)
            for name, w in floats.items()
        }
        return symbols.Coded(rounded, {}, {name: places.get(name, 0) for name in floats})

    def size(coded: symbols.Coded) -> int:
        return len(symbols.encode_symbols(coded)[0])

    assert 0.98 * limit < size(within(limit, integers, [list(floats)], finer=True)) <= limit
    unforced = size(integers({}))
    kept = size(within(limit, integers, [list(floats)], finer=False))
    assert kept <= min(limit, unforced)


def test_prediction_from_frame_to_frame_saves_bits() -> None:
    random = np.random.default_rng(2)
    still = np.repeat(random.integers(-20, 20, (1, 2, 10, 10)), 8, 0).astype(np.int32)
    moving = random.integers(-20, 20, (8, 2, 10, 10)).astype(np.int32)
    sizes = [
        len(symbols.encode_symbols(symbols.Coded({}, {"latents.0": m}, {"latents.0": 0}))[0])
        for m in (still, moving)
    ]

    assert sizes[0] < sizes[1] / 5


def test_ms_ssim_is_the_literatures_on_large_pictures() -> None:
    from pytorch_msssim import ms_ssim as reference

    torch.manual_seed(0)
    a = torch.rand(1, 3, 177, 190)
    b = (a + 0.1 * torch.randn_like(a)).clamp(0, 1)

    assert float(ms_ssim(a, b)) == pytest.approx(float(reference(a, b, data_range=1.0)), abs=1e-5)


@pytest.mark.parametrize("side", [1, 2, 7, 11, 40])
def test_the_boosted_loss_exists_for_any_size(side: int) -> None:
    a = torch.rand(1, 3, side, side).requires_grad_()
    loss = boosted(a, torch.rand(1, 3, side, side))
    loss.backward()

    assert bool(torch.isfinite(loss))
    assert a.grad is not None
    assert bool(torch.isfinite(a.grad).all())

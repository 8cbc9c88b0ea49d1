"""MLIC++ is MLIC++: keys, shapes and numbers of the published network.

The full-size comparison needs the golden vectors: set ``LACONIC_GOLDEN`` to their folder.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from rule_models import TINY_MLICPP
from weight_rule import fill, noise, rule_picture, weight

from laconic.codec.image.mlicpp.banded import Banded, FilteredConv, Workspace
from laconic.codec.image.mlicpp.config import (
    MLICPP,
    MLICPP_2023,
    MLICV2,
    ReferenceConfig,
    recognise,
)
from laconic.codec.image.mlicpp.model import MlicPlusPlus, Pass
from laconic.codec.image.mlicpp.winograd import WinogradConv, use_winograd
from laconic.formats.errors import ModelError

NUMBERS = Path(__file__).parent / "numbers"
GOLDEN = Path(os.environ.get("LACONIC_GOLDEN", "")) / "mlicpp" / "mlicpp_seed0_128x192.npz"


def shapes(config: ReferenceConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {k: tuple(v.shape) for k, v in MlicPlusPlus(config).state_dict().items()}


def test_the_weight_rule_gives_its_published_check_values() -> None:
    first = noise("hello", (8,), 1)[:2]
    conv = weight("mlicpp", "g_a.analysis_transform.0.conv1.weight", (192, 3, 3, 3), 0)

    assert first.tolist() == pytest.approx([-0.42760740922229507, 0.589214179159131], abs=1e-15)
    assert conv.sum(dtype=np.float64) == pytest.approx(-6.158682488749037, abs=1e-9)
    assert float(rule_picture(128, 192, 1)[0, 1, 5, 7]) == pytest.approx(0.41532455, abs=1e-7)


def test_keys_and_shapes_are_the_published_ones() -> None:
    found = shapes(MLICPP)
    listing = "".join(f"{k} {list(found[k])}\n" for k in sorted(found))

    assert len(found) == 1023
    assert hashlib.sha256(listing.encode()).hexdigest() == (
        "e61e7aa139fccaa18471a087e67224bea41e2aa0a3bee3146b69ee5fe8d6212a"
    )


@pytest.mark.parametrize(
    ("config", "count"), [(MLICPP, 83_501_408), (MLICPP_2023, 116_716_928), (MLICV2, 83_521_221)]
)
def test_all_generations_are_recognised_from_their_shapes(
    config: ReferenceConfig, count: int
) -> None:
    with torch.device("meta"):
        network = MlicPlusPlus(config)

    assert sum(p.numel() for p in network.parameters()) == count
    assert recognise(shapes(config)) == config


def test_a_checkpoint_of_something_else_is_named() -> None:
    with pytest.raises(ModelError, match=r"entropy_bottleneck\.quantiles is missing"):
        recognise({"conv1.weight": (64, 3, 7, 7)})


def summary(result: Pass) -> dict[str, list[float]]:
    """Numbers that any deviation of any layer changes."""
    out = {}
    for key in ("y", "z_hat", "hyper", "means", "scales", "y_hat", "x_hat"):
        flat = getattr(result, key).flatten()
        out[key] = [*flat[:3].tolist(), flat.mean().item(), flat.std().item()]
    out["y_bits"] = result.y_bits.flatten().tolist()
    out["z_bits"] = result.z_bits.tolist()
    return out


def tiny(rule: str) -> MlicPlusPlus:
    second = rule == "mlicv2"
    config = ReferenceConfig.from_dict({**TINY_MLICPP, "second": second, "selective": second})
    network = fill(MlicPlusPlus(config), rule).double()
    assert isinstance(network, MlicPlusPlus)
    return network


@pytest.mark.parametrize("rule", ["mlicpp", "mlicv2"])
def test_a_small_network_keeps_its_numbers(rule: str) -> None:
    expected = json.loads((NUMBERS / f"{rule}.json").read_text())

    found = summary(tiny(rule)(rule_picture(64, 128, 1).double()))

    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, rel=1e-9, abs=1e-9), key


@pytest.mark.parametrize("rule", ["mlicpp", "mlicv2"])
def test_training_sees_noise_and_reaches_every_weight_that_files_use(rule: str) -> None:
    torch.manual_seed(0)
    network = tiny(rule).requires_grad_(True).train()

    result = network(rule_picture(64, 64, 1).double())
    rate = result.y_bits.sum() + result.z_bits.sum()
    (rate + result.x_hat.square().mean() + result.keep_loss).backward()

    silent = [k for k, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # Heads of two channels have one rotary pair, whose angle no base changes.
    silent = [k for k in silent if not k.endswith("log_theta")]
    assert silent in ([], ["entropy_bottleneck.quantiles"])


@pytest.mark.parametrize("taps", [3, 5])
@pytest.mark.parametrize("size", [(1, 1), (4, 6), (7, 3), (8, 5), (70, 45)])
def test_fast_convolutions_equal_plain_ones(size: tuple[int, int], taps: int) -> None:
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(5, 3, taps, padding=taps // 2).double()
    x = torch.randn(1, 5, *size, dtype=torch.float64)

    assert torch.allclose(WinogradConv(plain)(x), plain(x), atol=1e-13)


@pytest.mark.parametrize("kind", [{}, {"narrow_synthesis": True}, {"second": True}])
@pytest.mark.parametrize("size", [(64, 64), (128, 192), (320, 64)])
def test_transforms_in_bands_equal_plain_ones_to_a_fraction_of_a_sample(
    size: tuple[int, int], kind: dict[str, bool]
) -> None:
    network = fill(MlicPlusPlus(ReferenceConfig.from_dict({**TINY_MLICPP, **kind})), "mlicpp")
    x = rule_picture(*size, 1)
    plain = network.g_a(x)
    y = 3 * torch.randn(plain.shape, generator=torch.Generator().manual_seed(1))

    analysed = Banded(network.g_a)(x.permute(0, 2, 3, 1))
    picture = Banded(network.g_s)(y.permute(0, 2, 3, 1))

    assert (analysed - plain.permute(0, 2, 3, 1)).abs().max() < 1e-4 * plain.abs().max()
    assert (picture - network.g_s(y).permute(0, 2, 3, 1)).abs().max() < 2e-4


@pytest.mark.parametrize("kind", [{}, {"narrow_synthesis": True}, {"second": True}])
@pytest.mark.parametrize("channels", [24, 96])
def test_the_analysis_is_as_close_to_float64_as_plain_float32(
    channels: int, kind: dict[str, bool]
) -> None:
    """As plain float32 in one of its two layouts: kernels of one machine differ by a factor of
    two."""
    config = {**TINY_MLICPP, **kind, "transform_channels": channels, "latent_channels": 48}
    network = fill(MlicPlusPlus(ReferenceConfig.from_dict(config)), "mlicpp")
    x = rule_picture(128, 192, 1)
    plain, banded = network.g_a(x), Banded(network.g_a)(x.permute(0, 2, 3, 1))
    last = network.g_a(x.contiguous(memory_format=torch.channels_last))
    z_plain = network.h_a(plain)
    use_winograd(network.h_a)
    z_fast = network.h_a(plain)
    network.g_a.double()
    exact = network.g_a(x.double())

    def error(found: torch.Tensor, right: torch.Tensor) -> float:
        return float((found.double() - right).square().mean().sqrt())

    most = max(error(plain, exact), error(last, exact))
    assert error(banded.permute(0, 3, 1, 2), exact) <= most
    assert (z_fast - z_plain).abs().max() < 1e-4 * z_plain.abs().max()


@pytest.mark.parametrize("tile", [4, 6])
@pytest.mark.parametrize("size", [(1, 1), (4, 6), (7, 3), (13, 70), (90, 45), (6, 800)])
def test_banded_convolutions_of_odd_sizes_equal_plain_ones(
    size: tuple[int, int], tile: int
) -> None:
    torch.manual_seed(0)
    convs = [torch.nn.Conv2d(5, outputs, 3, padding=1) for outputs in (3, 4)]
    x = torch.randn(1, 5, *size)
    space = Workspace()
    plane = space.plane(*size, 5)
    plane.put(0, x[0].permute(1, 2, 0))
    found = [space.plane(*size, conv.out_channels) for conv in convs]

    for part, row, band in FilteredConv([(c.weight, c.bias) for c in convs], tile).bands(
        plane, space
    ):
        found[part].put(row, band)

    for conv, out in zip(convs, found, strict=True):
        assert torch.allclose(out.whole(), conv(x), atol=1e-4)


def test_fast_convolutions_have_the_gradients_of_plain_ones() -> None:
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(4, 3, 3, padding=1).double()
    gradients = []
    for conv in (plain, WinogradConv(plain)):
        x = torch.linspace(-1, 1, 4 * 7 * 9, dtype=torch.float64).reshape(1, 4, 7, 9)
        x.requires_grad_()
        conv(x).square().sum().backward()
        gradients.append(x.grad)

    assert torch.allclose(*gradients, atol=1e-12)


def test_the_walk_with_fast_convolutions_stays_far_inside_the_guard_band() -> None:
    """Positions in the scale table move by less than a thousandth of the band."""
    scales: list[torch.Tensor] = []
    y = torch.randn(1, 8 * 12, 12, generator=torch.Generator().manual_seed(2)).double() * 3

    def code(
        at: torch.Tensor, first: int, end: int, mean: torch.Tensor, scale: torch.Tensor, keep: None
    ) -> torch.Tensor:
        scales.append(scale.clamp_min(0.11).log())
        return (y[:, at, first:end] - mean).round() + mean

    network = tiny("mlicpp")
    z = torch.randn(1, 4, 2, 3, generator=torch.Generator().manual_seed(3)).double().round()
    plain = network.walk(network.h_s(z), code)
    count = len(scales)

    use_winograd(network)
    fast = network.walk(network.h_s(z), code)

    step = np.log(256 / 0.11) / 127
    for one, two in zip(scales[:count], scales[count:], strict=True):
        assert (one - two).abs().max() / step < 1e-12
    assert torch.allclose(plain, fast, atol=1e-11)


@pytest.mark.skipif(not GOLDEN.is_file(), reason="LACONIC_GOLDEN names no folder of golden vectors")
def test_the_full_network_equals_the_golden_vectors() -> None:
    expected = np.load(GOLDEN)
    about = json.loads(GOLDEN.with_suffix(".json").read_text())
    network = fill(MlicPlusPlus(MLICPP), "mlicpp", about["weight_seed"]).double()

    result = network(rule_picture(about["height"], about["width"], about["image_seed"]).double())

    found = {
        **result.__dict__,
        "hyper_scales": result.hyper[:, :320],
        "hyper_means": result.hyper[:, 320:],
        "y_bits_per_slice": result.y_bits,
    }
    keys = "y z z_hat hyper_scales hyper_means scales means y_hat x_hat y_bits_per_slice z_bits"
    for key in keys.split():
        wanted = expected[key]
        tolerance = 2e-6 * max(1.0, float(np.abs(wanted).max()))
        difference = np.abs(found[key].numpy().reshape(wanted.shape) - wanted).max()
        assert difference <= tolerance, key
    symbols = (result.y - result.means).round().numpy().astype(np.int16)
    assert np.array_equal(symbols, expected["y_symbols"])

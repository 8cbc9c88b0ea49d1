"""Models of the zoo equal CompressAI's: layer by layer against the library, and golden vectors.

For the full-size vectors set ``LACONIC_GOLDEN`` to their folder.
"""

import copy
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rule_models import RULE_MODELS
from weight_rule import fill, rule_picture

from laconic.codec.image.architectures import ARCHITECTURES
from laconic.codec.image.compressai import variable
from laconic.codec.image.compressai.adapter import GroupedCoder, ZooCoder
from laconic.codec.image.compressai.groups import GroupedNetwork
from laconic.codec.image.compressai.networks import ZooConfig, ZooNetwork
from laconic.codec.image.compressai.published import KINDS, kind_of, recognise
from laconic.codec.image.model import gaussian_bits
from laconic.codec.image.refine import Relaxed
from laconic.entropy import gaussian_scales, gaussian_tables

SIMPLE = [k for k in KINDS if not k.endswith(("-vbr", "checkerboard")) and "elic" not in k]
GROUPED = [k for k in KINDS if "checkerboard" in k or "elic" in k]
VARIABLE = [k for k in KINDS if k.endswith("-vbr")]
HEAVY = pytest.mark.heavy
GOLDEN = Path(os.environ.get("LACONIC_GOLDEN", "")) / "compressai"
FULL = {
    "mbt2018-mean": (ZooConfig("mbt2018-mean", 128, 192), "mbt2018-mean_N128_M192"),
    "cheng2020-attn": (ZooConfig("cheng2020-attn", 128, 128), "cheng2020-attn_N128"),
}


def small(kind: str) -> Any:
    _, config, rule = next(v for v in RULE_MODELS.values() if v[0] == kind)
    return fill(ARCHITECTURES[kind].build(config), rule).double()


def levels(picture: torch.Tensor) -> torch.Tensor:
    return (picture.clamp(0, 1) * 255).round().int()


def coder_of(network: ZooNetwork | GroupedNetwork) -> ZooCoder | GroupedCoder:
    tables = gaussian_tables(gaussian_scales()), network.prior_tables()
    if isinstance(network, GroupedNetwork):
        return GroupedCoder(network, *tables)
    return ZooCoder(network, *tables)


def last(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


def evaluate(network: ZooNetwork, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The published forward pass in evaluation mode."""
    y = network.g_a(x)
    prior = network.entropy_bottleneck
    median = prior.medians[:, None, None]
    z = network.hyper_latent(y)
    if z is None:
        y_hat = (y - median).round() + median
        return {"y": y, "x_hat": network.g_s(y_hat), "z_bits": prior.bits(y_hat).sum()}
    z_hat = (z - median).round() + median
    hyper = network.h_s(z_hat)
    y_hat = y.round()
    means, scales = network.parameters_of(hyper, y_hat)
    if not network.serial:
        y_hat = (y - means).round() + means
    log_scale = scales.clamp_min(0.11).log()
    seen = (y - means).round()
    return {
        "y": y,
        "z": z,
        "z_hat": z_hat,
        "hyper": hyper,
        "means": means,
        "scales": scales,
        "y_hat": y_hat,
        "x_hat": network.g_s(y_hat),
        "y_bits": gaussian_bits(seen, log_scale, 0.11).sum(),
        "z_bits": prior.bits(z_hat).sum(),
    }


@pytest.mark.parametrize("kind", SIMPLE)
def test_the_library_computes_the_same(kind: str) -> None:
    """State dicts are interchangeable with CompressAI's own classes, and so are the results."""
    models = pytest.importorskip("compressai.models")
    network = small(kind)
    n, m = network.config.channels, network.config.latent
    classes = {
        "bmshj2018-factorized": lambda: models.FactorizedPrior(n, m),
        "bmshj2018-factorized-relu": lambda: models.FactorizedPriorReLU(n, m),
        "bmshj2018-hyperprior": lambda: models.ScaleHyperprior(n, m),
        "mbt2018-mean": lambda: models.MeanScaleHyperprior(n, m),
        "mbt2018": lambda: models.JointAutoregressiveHierarchicalPriors(n, m),
        "cheng2020-anchor": lambda: models.Cheng2020Anchor(n),
        "cheng2020-attn": lambda: models.Cheng2020Attention(n),
    }
    theirs = classes[kind]().double().eval()
    theirs.load_state_dict(network.state_dict())
    x = rule_picture(64, 128, 1).double()

    with torch.no_grad():
        expected = theirs(x)
        found = evaluate(network, x)

    assert set(theirs.state_dict()) == set(network.state_dict())
    assert torch.allclose(found["x_hat"], expected["x_hat"], atol=1e-9)
    bits = sum(-torch.log2(v).sum() for v in expected["likelihoods"].values())
    ours = found["z_bits"] + found.get("y_bits", torch.zeros(()))
    assert float(ours) == pytest.approx(float(bits), rel=1e-6)


@pytest.mark.parametrize("kind", GROUPED)
def test_the_library_computes_the_same_on_checkerboards(kind: str) -> None:
    models = pytest.importorskip("compressai.models")
    network = small(kind)
    n, m, groups = network.config.channels, network.config.latent, network.config.groups
    classes = {
        "cheng2020-anchor-checkerboard": lambda: models.sensetime.Cheng2020AnchorCheckerboard(n),
        "elic2022-official": lambda: models.sensetime.Elic2022Official(n, m, groups),
        "elic2022-chandelier": lambda: models.sensetime.Elic2022Chandelier(n, m, groups),
    }
    theirs = classes[kind]().double().eval()
    theirs.load_state_dict(network.state_dict())
    x = rule_picture(64, 128, 1).double()

    with torch.no_grad():
        expected = theirs(x)
        y = network.g_a(x)
        coder = coder_of(network)
        steps = Relaxed(coder, torch.round)
        y_hat = coder.walk(steps, last(y), last(network.hyper_latent(y)), (4, 8), None)
        x_hat = network.g_s(y_hat.permute(0, 3, 1, 2))

    assert set(theirs.state_dict()) == set(network.state_dict())
    assert torch.allclose(x_hat, expected["x_hat"], atol=1e-9)
    bits = sum(-torch.log2(v).sum() for v in expected["likelihoods"].values())
    assert float(torch.stack(steps.bits).sum()) == pytest.approx(float(bits), rel=1e-6)


WIDTHS = [(6, 12, [2, 2, 3, 5]), pytest.param(192, 320, [16, 16, 32, 64, 192], marks=HEAVY)]


@pytest.mark.parametrize(("channels", "latent", "groups"), WIDTHS)
def test_elic_files_hold_what_the_library_reconstructs(
    channels: int, latent: int, groups: list[int]
) -> None:
    """As close to the library's float32 as its own float64 is, but where a latent lies in the
    middle between two symbols; ``-rP`` prints how far."""
    models = pytest.importorskip("compressai.models")
    config = {"channels": channels, "latent": latent, "groups": groups}
    network = fill(ARCHITECTURES["elic2022-official"].build(config), "elic2022-official")
    theirs = models.sensetime.Elic2022Official(channels, latent, groups).eval()
    theirs.load_state_dict(network.state_dict())
    x = rule_picture(256, 384, 1)
    tables = gaussian_tables(gaussian_scales()), network.prior_tables()

    with torch.no_grad():
        single = levels(theirs(x)["x_hat"])
        double = levels(theirs.double()(x.double())["x_hat"])
        y = network.g_a(x)
        z = network.hyper_latent(y)
        coder = GroupedCoder(copy.deepcopy(network).double(), *tables)
        coded = coder.encode(last(y.double()), last(z.double()), None)
        ours = levels(network.g_s(coded.y_hat.float().permute(0, 3, 1, 2)))

    rows = {}
    for name, found in {"their float64": double, "the file": ours}.items():
        away = (found - single).abs()
        rows[name] = int((away > 0).sum()), int(away.max())
        print(f"{name} against their float32: {rows[name][0]} of {away.numel()} samples differ,"
              f" by at most {rows[name][1]}")  # fmt: skip
    away = (ours - double).abs()
    print(f"the file against their float64: {int((away > 0).sum())}, at most {int(away.max())}")
    if channels == 6:
        assert rows["the file"][0] <= 2 * rows["their float64"][0] + 20
        assert int(away.max()) <= 1


@pytest.mark.parametrize("of_z", [True, False])
@pytest.mark.parametrize("kind", VARIABLE)
@pytest.mark.parametrize("quality", [0.0, 37.5, 100.0])
def test_the_library_computes_the_same_at_any_rate(kind: str, of_z: bool, quality: float) -> None:
    models = pytest.importorskip("compressai.models.vbr")
    network = small(kind)
    if kind == "mbt2018-vbr" and of_z:
        pytest.skip("the library has no such model")
    if not of_z and network.config.variable_z:
        rule = next(v[2] for v in RULE_MODELS.values() if v[0] == kind)
        config = {"channels": network.config.channels, "latent": network.config.latent}
        network = fill(ARCHITECTURES[kind].build(config), rule).double()
    n, m = network.config.channels, network.config.latent
    classes = {
        "bmshj2018-hyperprior-vbr": lambda: models.ScaleHyperpriorVbr(n, m, of_z),
        "mbt2018-mean-vbr": lambda: models.MeanScaleHyperpriorVbr(n, m, of_z),
        "mbt2018-vbr": lambda: models.JointAutoregressiveHierarchicalPriorsVbr(n, m),
    }
    theirs = classes[kind]().double().eval()
    weights = network.state_dict()
    if of_z:  # the older names
        pattern = re.compile(r"\.(matri|bias|factor)(?:ces|es|s)\.(\d)$")
        full = {"matri": "matrix", "bias": "bias", "factor": "factor"}
        weights = {pattern.sub(lambda f: f"._{full[f[1]]}{f[2]}", k): v for k, v in weights.items()}
    theirs.load_state_dict(weights)
    x = rule_picture(64, 128, 1).double()
    gain = variable.gain_of(network, quality)

    with torch.no_grad():
        expected = theirs(x, inputscale=gain)
        y = network.g_a(x)
        z = network.hyper_latent(y)
        assert z is not None
        step = variable.z_step(network, gain) if of_z else torch.ones(())
        coder = coder_of(network)
        steps = Relaxed(coder, torch.round)
        y_hat = coder.walk(steps, last(y * gain), last(z / step), (4, 8), quality)
        x_hat = network.g_s((y_hat / gain).permute(0, 3, 1, 2))
        prior = theirs.entropy_bottleneck
        if of_z:  # its forward pass counts the bits of z in bins of one whatever the step
            values = z.transpose(0, 1).reshape(n, 1, -1)
            rounded = prior.quantize_variable(values, "dequantize", prior._get_medians(), step)
            z_mass, _, _ = prior._likelihood_variable(rounded, qs=step)
        else:
            z_mass = expected["likelihoods"]["z"]

    assert torch.allclose(x_hat, expected["x_hat"], atol=1e-9)
    y_bits = -torch.log2(expected["likelihoods"]["y"]).sum()
    assert float(torch.stack(steps.bits[1:]).sum()) == pytest.approx(float(y_bits), rel=1e-6)
    z_bits = -torch.log2(z_mass.clamp_min(1e-9)).sum()
    assert float(steps.bits[0]) == pytest.approx(float(z_bits), rel=1e-6)


def test_qualities_run_through_the_published_gains() -> None:
    network = small("mbt2018-mean-vbr")
    gains = [float(variable.gain_of(network, 100 * k / 7)) for k in range(8)]

    assert gains == pytest.approx(network.Gain.tolist(), rel=1e-6)
    assert variable.multiplier_of(0) == pytest.approx(0.0018)
    assert variable.multiplier_of(100) == pytest.approx(0.18)
    assert [variable.set_of(q) for q in (0.0, 1.7, 1.8, 50.0, 99.9, 100.0)] == [0, 0, 1, 14, 28, 28]
    tables = variable.split_tables(network.prior_tables(), variable.SETS)
    step = variable.z_step(network, variable.gain_of(network, 50.0))
    assert tables[14] == network.entropy_bottleneck.scaled(step).tables()


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_and_widths_are_recognised(kind: str) -> None:
    network = small(kind)
    shapes = {k: tuple(v.shape) for k, v in network.state_dict().items()}

    assert kind_of(shapes) == kind
    assert recognise(shapes, kind) == network.config


@pytest.mark.parametrize("kind", ["mbt2018", "cheng2020-anchor"])
def test_wavefronts_give_the_values_of_raster_order(kind: str) -> None:
    network = small(kind)
    coder = coder_of(network)
    with torch.no_grad():
        y = network.g_a(rule_picture(64, 128, 1).double())
        z = network.hyper_latent(y)
        assert z is not None
        median = network.entropy_bottleneck.medians[:, None, None]
        hyper = network.h_s((z - median).round() + median)
        expected = torch.zeros_like(y)
        for i in range(y.shape[2]):
            for j in range(y.shape[3]):
                means, _ = network.parameters_of(hyper, expected)
                mean = means[..., i, j]
                expected[..., i, j] = (y[..., i, j] - mean).round() + mean
        found = coder.encode(last(y), last(z), None).y_hat.permute(0, 3, 1, 2)

    assert torch.allclose(found, expected, atol=1e-9)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="LACONIC_GOLDEN names no folder of golden vectors")
@pytest.mark.parametrize("kind", FULL)
def test_the_full_networks_equal_the_golden_vectors(kind: str) -> None:
    config, name = FULL[kind]
    keys = json.loads((GOLDEN / f"{name}_state_dict.json").read_text())["before_update"]
    about = json.loads((GOLDEN / f"{name}_seed0_128x192.json").read_text())
    expected = np.load(GOLDEN / f"{name}_seed0_128x192.npz")
    network = fill(ZooNetwork(config), kind, about["weight_seed"])
    assert isinstance(network, ZooNetwork)

    x = rule_picture(about["height"], about["width"], about["image_seed"]).double()
    network.double()
    found = evaluate(network, x)
    coded = coder_of(network).encode(last(found["y"]), last(found["z"]), None)
    x_codec = network.g_s(coded.y_hat.permute(0, 3, 1, 2)).clamp(0, 1)

    assert {k: list(v.shape) for k, v in network.state_dict().items()} == keys
    for key in ("y", "z", "z_hat", "hyper", "scales", "means", "y_hat", "x_hat"):
        wanted = expected[key]
        tolerance = 2e-6 * max(1.0, float(np.abs(wanted).max()))
        assert np.abs(found[key].numpy() - wanted).max() <= tolerance, key
    assert float(found["y_bits"]) == pytest.approx(about["y_bits"], abs=1e-2)
    assert float(found["z_bits"]) == pytest.approx(about["z_bits"], abs=1e-2)
    assert np.abs(x_codec.numpy() - expected["x_hat_codec"]).max() <= 1e-5
    assert len(coded.payload) <= 1.01 * sum(about["codec"]["stream_bytes"])

"""Models of the zoo equal CompressAI's: layer by layer against the library, and golden vectors.

For the full-size vectors set ``LACONIC_GOLDEN`` to their folder.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from rule_models import RULE_MODELS
from weight_rule import fill, rule_picture

from laconic.codec.image.likelihood import gaussian_bits
from laconic.codec.image.zoo.adapter import ZooCoder
from laconic.codec.image.zoo.networks import ZooConfig, ZooNetwork
from laconic.codec.image.zoo.recognise import KINDS, kind_of, recognise
from laconic.entropy import gaussian_scales, gaussian_tables

GOLDEN = Path(os.environ.get("LACONIC_GOLDEN", "")) / "compressai"
FULL = {
    "mbt2018-mean": (ZooConfig("mbt2018-mean", 128, 192), "mbt2018-mean_N128_M192"),
    "cheng2020-attn": (ZooConfig("cheng2020-attn", 128, 128), "cheng2020-attn_N128"),
}


def small(kind: str) -> ZooNetwork:
    _, config, rule = next(v for v in RULE_MODELS.values() if v[0] == kind)
    network = fill(ZooNetwork(ZooConfig(kind, config["channels"], config["latent"])), rule)
    assert isinstance(network, ZooNetwork)
    return network.double()


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


@pytest.mark.parametrize("kind", KINDS)
def test_the_library_computes_the_same(kind: str) -> None:
    """State dicts are interchangeable with CompressAI's own classes, and so are the results."""
    models = pytest.importorskip("compressai.models")
    network = small(kind)
    n, m = network.config.channels, network.config.latent
    classes = {
        "bmshj2018-factorized": lambda: models.FactorizedPrior(n, m),
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


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_and_widths_are_recognised(kind: str) -> None:
    network = small(kind)
    shapes = {k: tuple(v.shape) for k, v in network.state_dict().items()}

    assert kind_of(shapes) == kind
    assert recognise(shapes, kind) == network.config


@pytest.mark.parametrize("kind", ["mbt2018", "cheng2020-anchor"])
def test_wavefronts_give_the_values_of_raster_order(kind: str) -> None:
    network = small(kind)
    coder = ZooCoder(
        network, gaussian_tables(gaussian_scales()), network.entropy_bottleneck.tables()
    )
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
        last = [t.permute(0, 2, 3, 1) for t in (y, z)]
        found = coder.encode(last[0], last[1], None).y_hat.permute(0, 3, 1, 2)

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
    coder = ZooCoder(
        network, gaussian_tables(gaussian_scales()), network.entropy_bottleneck.tables()
    )
    last = [found[k].permute(0, 2, 3, 1) for k in ("y", "z")]
    coded = coder.encode(last[0], last[1], None)
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

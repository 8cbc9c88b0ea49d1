"""Distortion and Bjontegaard deltas against values known by other means."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from pictures import scene

from laconic.codec.evaluate import bd_psnr, bd_rate, ms_ssim, psnr, ssimulacra2
from laconic.codec.evaluate.results import read_curves
from laconic.formats.errors import ParameterError

CURVE = [(0.1, 27.0), (0.2, 30.2), (0.4, 33.0), (0.8, 36.1), (1.5, 39.0)]


@pytest.mark.parametrize("method", ["pchip", "cubic"])
@pytest.mark.parametrize("factor", [0.7, 1.0, 1.25])
def test_scaling_all_rates_is_found_as_that_bd_rate(method: str, factor: float) -> None:
    scaled = [(r * factor, q) for r, q in CURVE]

    result = bd_rate(CURVE, scaled, method)  # type: ignore[arg-type]

    assert result.value == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert (result.low, result.high) == (27.0, 39.0)


@pytest.mark.parametrize("method", ["pchip", "cubic"])
def test_raising_all_qualities_is_found_as_that_bd_psnr(method: str) -> None:
    raised = [(r, q + 0.5) for r, q in CURVE]

    assert bd_psnr(CURVE, raised, method).value == pytest.approx(0.5)  # type: ignore[arg-type]


def test_order_of_points_does_not_matter_and_only_the_overlap_counts() -> None:
    result = bd_rate(CURVE, [(r * 2, q) for r, q in reversed(CURVE[1:4])])

    assert result.value == pytest.approx(100, abs=2)
    assert (result.low, result.high) == (30.2, 36.1)


def test_curves_that_do_not_overlap_are_refused() -> None:
    with pytest.raises(ParameterError, match="overlap"):
        bd_rate(CURVE, [(r, q + 50) for r, q in CURVE])


def test_psnr_of_known_errors() -> None:
    a = np.zeros((4, 4, 3), np.uint8)

    assert psnr(a, a) == math.inf
    assert psnr(a, a + 1) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(a.astype(np.uint16), a.astype(np.uint16) + 257, 16) == pytest.approx(
        48.1308, abs=1e-4
    )
    with pytest.raises(ParameterError):
        psnr(a, a[:2])


def test_ms_ssim_is_one_for_equal_pictures_and_falls_with_noise() -> None:
    a = scene(192, 200)
    rng = np.random.default_rng(0)
    noisy = np.clip(a + rng.normal(0, 20, a.shape), 0, 255).astype(np.uint8)

    assert ms_ssim(a, a) == pytest.approx(1)
    assert 0.5 < ms_ssim(a, noisy) < 0.99
    with pytest.raises(ParameterError):
        ms_ssim(a[:100], a[:100])


def test_ssimulacra2_is_a_hundred_for_equal_pictures_and_sees_blur_and_noise() -> None:
    pytest.importorskip("ssimulacra2")
    a = scene(96, 128)
    rng = np.random.default_rng(0)
    noisy, worse = (
        np.clip(a + rng.normal(0, deviation, a.shape), 0, 255).astype(np.uint8)
        for deviation in (4, 20)
    )

    assert ssimulacra2(a, a) == pytest.approx(100)
    assert ssimulacra2(a[..., :1], a[..., :1]) == pytest.approx(100)
    assert 100 > ssimulacra2(a, noisy) > ssimulacra2(a, worse)
    with pytest.raises(ParameterError):
        ssimulacra2(a, a, 16)


ANCHORS = Path(
    os.environ.get("LACONIC_ANCHORS")
    or Path(__file__).parents[2] / "shared" / "data" / "anchors" / "kodak_rd.json"
)


@pytest.mark.skipif(not ANCHORS.exists(), reason="LACONIC_ANCHORS names no file of curves")
@pytest.mark.parametrize("anchor", ["vtm", "bpg444"])
def test_published_curves_give_published_deltas(anchor: str) -> None:
    published = {  # against VTM and against BPG, per cent
        "hm": (23.3, 0.8), "bpg444": (22.0, 0.0), "av1": (16.2, -6.2), "webp": (78.8, 44.2),
        "jpeg": (208.3, 143.2), "jpeg2000": (98.0, 56.0), "bmshj2018-hyperprior": (30.5, 3.9),
        "mbt2018-mean": (21.3, -3.3), "mbt2018": (11.0, -11.3), "cheng2020-attn": (5.5, -17.6),
        "minnen2020-cc10_paper": (1.1, -20.5), "elic2022_paper": (-7.0, -26.6),
        "lic-tcm-small": (-6.7, -25.7), "lic-tcm-large": (-11.7, -29.7), "mlic": (-9.8, -28.8),
        "mlic+": (-13.1, -31.5), "mlic++": (-15.0, -33.0), "hpcm-base": (-16.0, -33.5),
        "hpcm-large": (-20.0, -36.8), "evc-small": (7.1, -13.8), "evc-large": (-1.0, -20.0),
    }  # fmt: skip
    (base, *_) = read_curves(ANCHORS, [anchor])

    found = {
        name: bd_rate(base.values("bpp", "psnr"), curve.values("bpp", "psnr")).value
        for name in published
        for curve in read_curves(ANCHORS, [name])
    }

    column = ("vtm", "bpg444").index(anchor)
    expected = {name: values[column] for name, values in published.items()}
    assert found == pytest.approx(expected, abs=0.3)

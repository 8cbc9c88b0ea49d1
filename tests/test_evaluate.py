"""Distortion and Bjontegaard deltas against values known by other means."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from pictures import scene

from laconic.codec.evaluate import bd_psnr, bd_rate, ms_ssim, psnr
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


@pytest.mark.skipif("LACONIC_ANCHORS" not in os.environ, reason="LACONIC_ANCHORS names no curves")
@pytest.mark.parametrize(
    ("name", "expected"),
    [("webp", 78.8), ("jpeg", 208), ("bpg444", 22.0), ("mbt2018-mean", 21.3), ("mlic++", -15.0)],
)
def test_published_curves_give_published_deltas(name: str, expected: float) -> None:
    anchors = json.loads(Path(os.environ["LACONIC_ANCHORS"]).read_text())
    curves = {
        n: list(zip(anchors[n]["bpp"], anchors[n]["psnr"], strict=True)) for n in ("vtm", name)
    }

    assert bd_rate(curves["vtm"], curves[name]).value == pytest.approx(expected, abs=0.6)

"""Curves, deltas and plots: exchanged with CompressAI, signed right, drawn legibly."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from laconic.codec.evaluate.outputs import draw
from laconic.codec.evaluate.results import (
    Curve,
    deltas_of,
    deltas_table,
    means_table,
    read_curves,
    to_compressai,
)
from laconic.formats.errors import FormatError, ParameterError

POINTS = [
    {"quality": q, "bpp": r, "psnr": p, "ms-ssim": s, "encode_s": 0.1, "decode_s": 0.2}
    for q, r, p, s in (
        (1, 0.1, 28.0, 0.90), (2, 0.2, 31.0, 0.95), (3, 0.4, 34.0, 0.975), (4, 0.8, 37.0, 0.99),
    )
]  # fmt: skip
OURS = Curve("ours", POINTS)


def test_compressai_reads_our_curves(tmp_path: Path) -> None:
    parse_json_file = pytest.importorskip("compressai.utils.plot.__main__").parse_json_file

    path = tmp_path / "ours.json"
    path.write_text(to_compressai(OURS, "test"))

    parsed = parse_json_file(path, "psnr")

    assert parsed == {"name": "ours", "xs": [0.1, 0.2, 0.4, 0.8], "ys": [28.0, 31.0, 34.0, 37.0]}
    decibels = parse_json_file(path, "ms-ssim")["ys"]
    assert list(decibels) == pytest.approx([10.0, 13.0103, 16.0206, 20.0], abs=1e-3)


def test_we_read_compressai_curves_and_our_own(tmp_path: Path) -> None:
    theirs = {
        "name": "bmshj2018", "description": "", "results": {
            "psnr-rgb": [27.6, 29.2], "ms-ssim-rgb": [0.92, 0.95], "bpp": [0.13, 0.2],
            "encoding_time": [1, 2], "decoding_time": [3, 4],
        },
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(theirs))
    (tmp_path / "b.json").write_text(to_compressai(OURS, "test"))

    (curve,) = read_curves(tmp_path / "a.json")
    (again,) = read_curves(tmp_path / "b.json")

    assert curve.imported
    assert curve.values("bpp", "psnr") == [(0.13, 27.6), (0.2, 29.2)]
    assert curve.points[0]["decode_s"] == 3
    assert again.values("bpp", "psnr") == OURS.values("bpp", "psnr")


def test_a_file_of_many_curves_gives_those_named(tmp_path: Path) -> None:
    path = tmp_path / "many.json"
    path.write_text(json.dumps({n: {"bpp": [2, 1], "psnr": [9, 8], "source": "x"} for n in "abc"}))

    assert [c.name for c in read_curves(path, ["c", "a"])] == ["c", "a"]
    assert read_curves(path)[0].values("bpp", "psnr") == [(1, 8), (2, 9)]
    with pytest.raises(ParameterError, match="no curve 'z'"):
        read_curves(path, ["z"])


@pytest.mark.parametrize("text", ["", "[]", "{}x", '{"a": 1}', '{"a": {"psnr": [1]}}'])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)

    with pytest.raises(FormatError, match="rate-distortion curves"):
        read_curves(path)


def test_deltas_of_both_methods_and_their_range() -> None:
    half = Curve("half", [{**p, "bpp": p["bpp"] / 2} for p in POINTS])

    (row,) = deltas_of(OURS, [OURS, half], "bpp", ["psnr"])

    assert row["bd_rate_pchip"] == pytest.approx(-50)
    assert row["bd_rate_cubic"] == pytest.approx(-50)
    assert row["bd_metric_pchip"] == pytest.approx(3, abs=0.01)
    assert (row["low"], row["high"]) == (28, 37)
    assert "| PSNR (dB) | half | ours | -50.0 | -50.0 | +3.000 | 28 to 37 |" in deltas_table([row])


def test_smaller_is_better_turns_the_sign() -> None:
    base = Curve("base", [{"kbps": r, "mel": m} for r, m in ((8, 2.0), (16, 1.5), (32, 1.0))])
    better = Curve("better", [{"kbps": r, "mel": m - 0.25} for r, m in ((8, 2.0), (16, 1.5),
                                                                       (32, 1.0))])  # fmt: skip

    (row,) = deltas_of(base, [better], "kbps", ["mel"])

    assert row["bd_rate_pchip"] < -20
    assert row["bd_metric_pchip"] == pytest.approx(-0.25)
    assert row["low"] < row["high"]


def test_curves_without_overlap_say_so() -> None:
    far = Curve("far", [{"bpp": p["bpp"], "psnr": p["psnr"] + 40} for p in POINTS])

    (row,) = deltas_of(OURS, [far], "bpp", ["psnr"])

    assert row["bd_rate_pchip"] is None
    assert "no overlap" in deltas_table([row])


def test_tables_show_exact_and_missing_values() -> None:
    curve = Curve("c", [{"quality": None, "bpp": 3.0, "psnr": float("inf"), "ms-ssim": None}])

    assert "| c | - | 3.0000 | exact | - |" in means_table([curve], ["bpp", "psnr", "ms-ssim"])


def label_positions(svg: str) -> dict[str, float]:
    found = re.findall(r'translate\(([\d.]+) ([\d.]+)\)[^>]*>([^<]*)</text>|'
                       r'<text[^>]*y="([\d.]+)"[^>]*>([^<]*)</text>', svg)  # fmt: skip
    return {a or b: float(y or z) for _, y, a, z, b in found}


def test_plots_label_every_curve_legibly_and_dash_the_imported_ones() -> None:
    close = [
        Curve(f"near{i}", [{**p, "psnr": p["psnr"] + 0.02 * i} for p in POINTS], imported=i > 1)
        for i in range(4)
    ]

    svg = draw(close, "bpp", ["psnr"], "svg").decode()

    positions = label_positions(svg)
    heights = sorted(positions[c.name] for c in close)
    assert min(np.diff(heights)) > 9
    assert svg.count("stroke-dasharray: 4.44") >= 2
    assert draw(close, "bpp", ["psnr"], "svg") == svg.encode()


def test_plots_are_pictures_with_linear_or_logarithmic_rate() -> None:
    pictures = [
        np.asarray(Pillow.open(io.BytesIO(draw([OURS], "bpp", ["psnr"], "png", log=log))))
        for log in (False, True)
    ]

    assert pictures[0].shape[0] > 400
    assert pictures[0].shape != pictures[1].shape or (pictures[0] != pictures[1]).any()
    with pytest.raises(ParameterError, match="no curve"):
        draw([OURS], "bpp", ["mel"], "png")

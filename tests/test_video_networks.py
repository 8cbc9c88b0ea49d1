"""HNeRV and HNeRV-Boost are the published networks: widths, keys and numbers.

The comparison of whole frames needs the golden vectors: set ``LACONIC_GOLDEN`` to their folder.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from laconic.codec.video.networks import Shape
from laconic.codec.video.widths import (
    Kernels,
    embedding_channels,
    ladder,
    solve_width,
)

NUMBERS = Path(__file__).parent / "numbers" / "video.json"
GOLDEN = Path(os.environ.get("LACONIC_GOLDEN", ""))
CASES = {
    "hnerv_a": "hnerv/hnerv_a_160x320",
    "hnerv_b": "hnerv/hnerv_b_80x160_q2",
    "boost_a": "hnerv_boost/boost_a_160x320",
    "boost_b": "hnerv_boost/boost_b_120x120_4stage",
}


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NUMBERS.read_text())["widths"]
    return found


def shape_of(row: dict[str, Any]) -> Shape:
    _, first, largest = map(int, row["ks"].split("_"))
    strides, before = tuple(row["dec_strides"]), tuple(row["enc_strides"])
    blocks = tuple(row.get("dec_blocks", ()))
    return Shape(
        width=row["fc_dim"],
        strides=strides,
        blocks=blocks,
        encoder_strides=before,
        kernels=Kernels(first, largest),
        channels=row["embed_channels"],
        lowest=row["lower_width"],
        sigmoid=row.get("out_bias") == "sigmoid",
    )


@pytest.mark.parametrize("row", rows(), ids=lambda r: f"{r['modelsize']}M-{r['height']}")
def test_sizes_give_the_published_widths(row: dict[str, Any]) -> None:
    shape = shape_of(row)
    area = row["height"] * row["width"] / np.prod(shape.encoder_strides) ** 2
    second = float(row["enc_dim"].split("_")[1])
    channels = embedding_channels(second, row["modelsize"], row["frames"], area)
    saturated = row["saturate_stages"]

    width = solve_width(
        row["modelsize"],
        embeddings=channels * row["frames"] * area,
        strides=shape.strides,
        kernels=shape.kernels,
        channels=channels,
        widening=shape.widening,
        reduction=row["reduce"],
        saturated=0 if saturated < 0 else len(shape.strides) - saturated,
        lowest=row["lower_width"],
    )

    assert channels == row["embed_channels"]
    assert width == row["fc_dim"]
    assert ladder(width, len(shape.strides), row["reduce"], shape.lowest) == row["ladder"]

"""HNeRV and HNeRV-Boost are the published networks: widths, keys and numbers.

The comparison of whole frames needs the golden vectors: set ``LACONIC_GOLDEN`` to their folder.
"""

import doctest
import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from weight_rule import fill, noise, rule_picture

from laconic.codec.video.networks import PublishedNetwork, Shape
from laconic.codec.video.plan import (
    REDUCTION,
    Kernels,
    choose_strides,
    embedding_channels,
    ladder,
    solve_width,
)
from laconic.formats.errors import ParameterError

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
        reduction=row.get("reduce", REDUCTION),
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


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("row", rows(), ids=lambda r: f"{r['modelsize']}M-{r['height']}")
def test_every_published_size_builds_with_the_published_parameters(row: dict[str, Any]) -> None:
    with torch.device("meta"):
        network = PublishedNetwork(shape_of(row), "dec_blocks" in row)

    assert parameters(network.encoder) == row["params_encoder"]
    if "dec_blocks" in row:
        without = parameters(network) - parameters(network.encoder)
        assert without == row["params_without_encoder"]
    else:
        assert parameters(network.decoder) == row["params_decoder_blocks"]
        assert parameters(network.head_layer) == row["params_head"]


def test_conditions_and_time_encodings_of_other_sizes_build() -> None:
    shape = Shape(16, (2, 2), (1, 2), reduction=1.5, waves=20, ratio=1.1, condition=8)
    network = PublishedNetwork(shape, boost=True)

    assert network.time_encoding(torch.tensor([0.5])).shape == (1, 40, 1, 1)
    assert network.condition(torch.tensor([0.5])).shape == (1, 8, 1, 1)
    assert network(torch.zeros(1, 16, 2, 3), torch.tensor([0.5])).shape == (1, 3, 8, 12)


def test_a_size_that_embeddings_fill_is_refused() -> None:
    with pytest.raises(ParameterError, match="fewer than the embeddings need"):
        solve_width(0.01, embeddings=16896, strides=(5, 4, 4, 2, 2))


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (160, 320), (180, 320), (1080, 1920), (97, 61)])
def test_strides_leave_little_padding(size: tuple[int, int]) -> None:
    step = int(np.prod(choose_strides(*size)))
    padded = [-(-side // step) * step for side in size]

    assert all(pad - side < step for pad, side in zip(padded, size, strict=True))
    if min(size) >= 100:
        assert np.prod(padded) <= 1.15 * np.prod(size)


def built(row: dict[str, Any], bases: torch.Tensor | None = None) -> PublishedNetwork:
    boost = "dec_blocks" in row
    network = PublishedNetwork(shape_of(row), boost, bases)
    return fill(network, "hnerv-boost" if boost else "hnerv", 0).double()  # type: ignore[return-value]


def inputs(row: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, times and the embedding of the rule."""
    times = torch.tensor(row.get("time_values", [0.0] * row.get("batch", 1)), dtype=torch.float64)
    pictures = [rule_picture(row["height"], row["width"], 0, e) for e in range(len(times))]
    step = int(np.prod(row["enc_strides"]))
    count = len(times) if "dec_blocks" in row else 1
    size = (count, row["embed_channels"], row["height"] // step, row["width"] // step)
    embedding = torch.from_numpy(noise("test.embedding", size, 0).astype(np.float32)).double()
    return torch.cat(pictures).double(), times, embedding


def small(boost: bool) -> dict[str, Any]:
    row = {
        "fc_dim": 20,
        "height": 24,
        "width": 36,
        "enc_strides": [3, 2, 2],
        "dec_strides": [3, 2, 2],
        "ks": "0_1_5",
        "embed_channels": 16,
        "lower_width": 12,
        "time_values": [0.25],
    }
    return {**row, "dec_blocks": [1, 2, 2]} if boost else row


@pytest.mark.parametrize("boost", [False, True])
def test_small_networks_keep_their_numbers(boost: bool) -> None:
    row = small(boost)
    bases = torch.tensor([np.pi * 1.07**k for k in range(80)])
    network = built(row, bases if boost else None)
    pictures, times, _ = inputs(row)

    embedding = network.encoder(pictures)
    frame = network(embedding, times)

    found = [float(f(x)) for x in (embedding, frame) for f in (torch.mean, torch.std, torch.amax)]
    found += frame[0, :, 5, 7].tolist()
    expected = json.loads(NUMBERS.read_text())["boost" if boost else "hnerv"]
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_frames_equal_the_golden_vectors(case: str) -> None:
    path = GOLDEN / (CASES[case] + ".json")
    if not path.is_file():
        pytest.skip("LACONIC_GOLDEN names no folder of golden vectors")
    row = json.loads(path.read_text())
    wanted = np.load(path.with_suffix(".npz"))
    bases = wanted.get("time_bases_float32")
    network = built(row, None if bases is None else torch.from_numpy(bases))
    pictures, times, embedding = inputs(row)

    found = {
        "embed": network.encoder(pictures),
        "frame": network(network.encoder(pictures), times),
        "frame_from_test_embedding": network(embedding, times[: len(embedding)]),
    }
    stages = network.stages(found["embed"], times)
    found |= {f"stage{i}": stage[:1] for i, stage in enumerate(stages) if f"stage{i}" in wanted}
    if bases is not None:
        found["time_encoding"] = network.time_encoding(times)
        found["time_condition"] = network.condition(times)

    listing = {name: list(p.shape) for name, p in network.state_dict().items()}
    assert list(listing.items()) == [(name, shape) for name, shape in row["state_dict"]]
    for key, value in found.items():
        tolerance = 2e-6 * max(1.0, float(np.abs(wanted[key]).max()))
        assert np.abs(value.numpy() - wanted[key]).max() <= tolerance, key


@pytest.mark.parametrize("name", ["channels", "networks", "plan", "symbols"])
def test_examples_in_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"laconic.codec.video.{name}"))

    assert result.attempted > 0
    assert result.failed == 0

"""The network in exact integer arithmetic, and the model file that holds it.

Weights and activations are integers of ten bits. Every sum of products stays below 2^24
whatever the inputs (`check_bounds`, from the weights alone), so sums are exact in any order, on any
machine (`loops` computes them); see Balle, Johnston and Minnen, "Integer
Networks for Data Compression with Latent-Variable Models", ICLR 2019. The trainable twin is
`learn`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec import models
from laconic.codec.lossless.photo.features import INPUTS, LOW, MixtureTables, inputs_of
from laconic.codec.lossless.photo.header import EXACT, HIDDEN_LIMIT, WEIGHT_LIMIT, PhotoConfig
from laconic.codec.lossless.photo.loops import Circuit
from laconic.codec.lossless.photo.product import COLUMNS, pack, padded
from laconic.codec.models import TABLE_PREFIX
from laconic.entropy import NumericsProfile
from laconic.formats.errors import ModelError

Integers = Mapping[str, NDArray[Any]]
DEFAULT_MODEL = "photo"
PREVIEW_MODEL = "photo-preview"
TENSORS = ("w1", "b1", "w2", "b2", "w3", "skip", "b3")


def shapes(config: PhotoConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a model, named ``<plane>.<tensor>``."""
    result: dict[str, tuple[int, ...]] = {}
    outputs = 3 * config.components
    sides = zip(config.inputs, config.hidden, strict=True)
    for plane, (inputs, (first, second)) in enumerate(sides):
        sizes: list[tuple[int, ...]] = [
            (first, inputs), (first,), (second, first), (second,), (outputs, second),
            (outputs, inputs), (outputs,),
        ]  # fmt: skip
        result |= {f"{plane}.{name}": size for name, size in zip(TENSORS, sizes, strict=True)}
    return result


def check_bounds(tensors: Integers, plane: int) -> int:
    """Largest magnitude that any sum, or part of one, in the network of `plane` can reach.

    Activations are not negative: whatever the order, a sum of their products stays between the sum
    of the negative and that of the positive ones.

    Raises ``ModelError`` if it is 2^24 or more, or if a weight has more than ten bits.
    """
    w1, b1, w2, b2, w3, skip, b3 = (tensors[f"{plane}.{name}"].astype(np.int64) for name in TENSORS)
    for weights in (w1, w2, w3, skip):
        if np.abs(weights).max(initial=0) > WEIGHT_LIMIT:
            raise ModelError(f"a weight of plane {plane} exceeds {WEIGHT_LIMIT}: not a valid model")
    sums = np.concatenate(
        (
            np.abs(w1).sum(axis=1) * -LOW + np.abs(b1),
            _one_sided(w2) * HIDDEN_LIMIT + np.abs(b2),
            _one_sided(w3) * HIDDEN_LIMIT + np.abs(skip).sum(axis=1) * -LOW + np.abs(b3),
        )
    )
    if sums.max() >= EXACT:
        raise ModelError(
            f"sums in the network of plane {plane} may reach {sums.max()}: beyond {EXACT} float32"
            " is not exact; train with smaller weights"
        )
    return int(sums.max())


def _one_sided(weights: NDArray[Any]) -> NDArray[Any]:
    """The larger of the sums of positive and of negative weights of each row."""
    both = np.stack((np.maximum(weights, 0).sum(axis=1), np.maximum(-weights, 0).sum(axis=1)))
    result: NDArray[Any] = both.max(axis=0)
    return result


def _circuit(tensors: Integers, tables: MixtureTables) -> Circuit:
    """What `loops` computes with. Padding is of zeros, so that no sum changes."""
    layers = [[tensors[f"{plane}.{name}"].T for name in TENSORS] for plane in range(len(INPUTS))]
    sizes, lasts = [], []
    for w1, _, w2, _, w3, skip, _ in layers:
        second = padded(w2.shape[1], COLUMNS)
        gap = np.zeros((second - w3.shape[0], w3.shape[1]), w3.dtype)
        sizes.append((*w1.shape, second, w3.shape[1]))
        lasts.append(np.concatenate((w3, gap, skip)))
    matrices = ([layer[0] for layer in layers], [layer[2] for layer in layers], lasts)
    packed = [pack(each) for each in matrices]
    biases = [np.zeros((len(layers), w.shape[1] * COLUMNS), np.int32) for w in packed]
    for plane, (_, b1, _, b2, _, _, b3) in enumerate(layers):
        for row, bias in zip(biases, (b1, b2, b3), strict=True):
            row[plane, : bias.size] = bias
    (w1, w2, w3), (b1, b2, b3) = packed, biases
    table = (tables.weight, tables.inverse, tables.leaf, tables.rise)
    return Circuit(np.array(sizes, np.int64), w1, b1, w2, b2, w3, b3, *table)


class PhotoModel:
    """Networks of all planes and the tables of the mixture; `based` if they see a lossy image.

    Raises ``ModelError`` unless the networks are provably exact.
    """

    def __init__(self, tensors: Integers, tables: MixtureTables, identity: str) -> None:
        self.tensors, self.tables, self.id = tensors, tables, identity
        for plane in range(len(INPUTS)):
            check_bounds(tensors, plane)
        self.circuit = _circuit(tensors, tables)
        self.based = tensors["0.w1"].shape[1] == inputs_of(0, based=True)

    def adapted(self, tensors: Integers) -> PhotoModel:
        """The same tables with other weights."""
        return PhotoModel(tensors, self.tables, self.id)


def load_model(name_or_id: str) -> PhotoModel:
    """The model of that name, id or path, loaded once. Raises ``ModelError``."""
    info = models.find(name_or_id)
    return _load(info.id, info.path)


@lru_cache(maxsize=4)
def _load(identity: str, path: Path) -> PhotoModel:
    info = models.read_info(path)
    if info.codec != "photo" or info.numerics != NumericsProfile.INTEGER_NETWORK:
        raise ModelError(f"model {info.name} is made for the codec {info.codec!r}, not for 'photo'")
    config = PhotoConfig.from_dict(info.config)
    tables, weights = {}, {}
    for name, array in models.read_tensors(info).items():
        if name.startswith(TABLE_PREFIX):
            tables[name.removeprefix(TABLE_PREFIX)] = array
        else:
            weights[name] = array
    expected = shapes(config)
    if {k: v.shape for k, v in weights.items()} != expected or any(
        v.dtype.kind != "i" for v in weights.values()
    ):
        raise ModelError(f"model {info.name} does not fit its configuration")
    return PhotoModel(weights, MixtureTables(tables), identity)

"""Variable rate of CompressAI's ``-vbr`` models: what it adds to a network, and its formulas.

Kamisli, Racape and Choi, "Variable-Rate Learned Image Compression with Multi-Objective Optimization
and Quantization-Reconstruction Offsets", DCC 2024 (arXiv 2402.18930). A scalar *gain*, the inverse
of the quantisation step, multiplies y - mean and the scales. A small network moves what is
reconstructed from the middle of a quantisation interval towards zero. The step of z may follow the
gain, and a serial context is told it.

Our quality 0..100 runs through the eight published gains, interpolated geometrically, and through
the multipliers that they were trained for. Choose ``layers.py``'s vectors per quality for models of
our own.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.header import QUALITY_STEPS
from laconic.codec.image.mlicpp.layers import Bound
from laconic.codec.image.mlicpp.slices import FactorizedPrior
from laconic.entropy import CdfTables

# lambda of 255^2 * MSE of CompressAI's qualities 1 to 8, and the gains that stand for them.
LAMBDAS = (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800)
GAINS = (0.10000, 0.13944, 0.19293, 0.26874, 0.37268, 0.51801, 0.71957, 1.00000)
SMALLEST_STEP = 0.5  # of z
# Stored sets of tables of z, at equally spaced qualities: the reconstruction of z follows the gain
# exactly, its tables are those of the nearest set. Tables must be the same integers everywhere.
SETS = 29


def _relu_net(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 1),
    )


def add_variable_rate(network: nn.Module, context: int, *, of_z: bool) -> None:
    """Give a network the parameters under their published names; ``context`` is the width of a
    serial context, or 0."""
    network.Gain = nn.Parameter(torch.tensor(GAINS))
    network.QuantABCD = _relu_net(2, 12)
    if of_z:
        network.gayn2zqstep = nn.Sequential(*_relu_net(1, 10), nn.Softplus())
        network.lower_bound_zqstep = Bound(SMALLEST_STEP)
    if context:
        network.scale_to_context = nn.Linear(1, context)


def between(values: Tensor, quality: float) -> Tensor:
    """Geometric interpolation of positive values that are equally spaced over 0..100, float64."""
    logs = values.detach().double().abs().log()
    position = quality * (len(values) - 1) / 100
    low = min(int(position), len(values) - 2)
    return torch.lerp(logs[low], logs[low + 1], position - low).exp()


def gain_of(network: nn.Module, quality: float) -> Tensor:
    """Inverse of the quantisation step of y at a quality, a scalar in float64."""
    gains = network.Gain
    assert isinstance(gains, Tensor)
    return between(gains, quality)


def multiplier_of(quality: float) -> float:
    """lambda of 255^2 * MSE + bits per pixel that a quality stands for."""
    return float(between(torch.tensor(LAMBDAS), quality))


def z_step(network: nn.Module, gain: Tensor) -> Tensor:
    """Quantisation step of z at a gain."""
    net = network.get_submodule("gayn2zqstep")
    wanted: Tensor = net(gain.to(next(net.parameters()).dtype).reciprocal().reshape(1))[0]
    return wanted.clamp_min(SMALLEST_STEP)


def reconstructed(network: nn.Module, residual: Tensor, scales: Tensor, gain: Tensor) -> Tensor:
    """Whole numbers of steps -> where in their intervals they are reconstructed.

    ``scales`` are in steps, too. Zero stays zero; between whole numbers, which occur only in
    relaxed walks, the offset is interpolated.
    """
    at = residual != 0
    moved = residual[at]
    features = torch.stack((scales[at], gain.to(moved.dtype).expand_as(moved)), -1)
    offset: Tensor = network.get_submodule("QuantABCD")(features)[..., 0]
    return residual.masked_scatter(at, moved - moved.clamp(-1, 1) * offset)


def context_shift(network: nn.Module, gain: Tensor) -> Tensor:
    """What a serial context's features gain at a gain, ``[2M]``."""
    layer = network.get_submodule("scale_to_context")
    assert isinstance(layer, nn.Linear)
    return F.linear(gain.to(layer.weight.dtype).reshape(1), layer.weight, layer.bias)


def set_of(quality: float) -> int:
    """Number of the set of tables of z for a quality in tenths; whole numbers only."""
    tenths = round(quality * QUALITY_STEPS / 100)
    return (tenths * (SETS - 1) + QUALITY_STEPS // 2) // QUALITY_STEPS


@torch.no_grad()
def z_tables(network: nn.Module, prior: FactorizedPrior) -> CdfTables:
    """The tables of z of all sets, one after the other."""
    exact = copy.deepcopy(network.get_submodule("gayn2zqstep")).double()
    sets = []
    for number in range(SETS):
        gain = gain_of(network, 100 * number / (SETS - 1))
        step = exact(gain.reciprocal().reshape(1))[0].clamp_min(SMALLEST_STEP)
        sets.append(prior.scaled(step).tables())
    lows, sizes, freqs = (
        np.concatenate([getattr(s, part) for s in sets]) for part in ("lows", "sizes", "freqs")
    )
    return CdfTables(sets[0].precision, lows, sizes, freqs)


def split_tables(tables: CdfTables, parts: int) -> list[CdfTables]:
    """Inverse of the concatenation; ``parts`` divides the number of tables."""
    starts, each = tables.starts(), len(tables) // parts
    return [
        CdfTables(
            tables.precision,
            tables.lows[first : first + each],
            tables.sizes[first : first + each],
            tables.freqs[starts[first] : starts[first + each]],
        )
        for first in range(0, each * parts, each)
    ]

"""Models with an order of channels: by saliency, from their parameters alone, or by energy.

The idea is that of ISCS (arXiv 2509.16853, version 1), whose formulas were never published; these
are ours. For channel c let w_c be its filter in the last layer of g_a, b_c the bias and v_c its
filter in the first dense layer of g_s:

    a_c = var(w_c) var(v_c)        d_c = |b_c|        r_cj = |corr(w_c, w_j)|
    s_c = z(log a_c) + z(d_c) / 2

with z the standard score over channels. Channels are ordered by s. The salient core is the smallest
prefix that holds ``CORE_SHARE`` of the sum of a; every other channel is auxiliary and belongs to
the core channel it correlates with most. Auxiliary groups depend on the core alone, so they can be
decoded in parallel once the core is known.

Choose the measured order (:func:`energies`) where images are at hand: it costs one pass over a
few of them, and the report says how far the two agree.

A model is given its order without training: its weights stay what they are. What that means depends
on the entropy model:

* channels that are independent given z (CompressAI's hyperprior and factorised models): any
  permutation and any grouping leaves every probability as it was;
* slices (the default model, MLIC++, MLICv2): a slice's networks read the slices before it. Whole
  slices are core or auxiliary; an auxiliary slice sees zeros where its networks expect other
  auxiliary slices, which costs bits. Within the core, slices keep the model's order: any other
  would only hide what they were trained to see;
* position after position (mbt2018, cheng2020): no channel can come first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from laconic.codec import models
from laconic.codec.image.config import KEY, ChannelOrder
from laconic.codec.image.interface import ImageModel
from laconic.codec.models import ModelInfo
from laconic.codec.options import need
from laconic.formats.errors import ParameterError
from laconic.formats.image import Image

Floats = NDArray[np.float64]
CORE_SHARE = 0.9
CORE_SLICES = (16, 16, 32, 64)  # as ELIC's; the last slice takes the rest
PIXELS = 512  # side of the part of each image that is measured


@dataclass(frozen=True)
class Filters:
    """Parameters of a model's latent channels: M filters on either side and M biases."""

    analysis: Floats  # [M, K]
    bias: Floats  # [M]
    synthesis: Floats  # [M, L]


@dataclass(frozen=True)
class Order:
    """Channels from most to least salient, and how they would be sliced and grouped."""

    permutation: list[int]
    scores: Floats  # [M], by channel
    magnitude: Floats  # [M], by channel: what the core holds a share of
    core: int  # the first ``core`` entries of the permutation
    slices: list[int]  # channels of each sequential slice of the core
    groups: list[list[int]]  # auxiliary channels of each core slice

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "permutation": self.permutation,
            "scores": [round(float(s), 6) for s in self.scores],
            "core": self.core,
            "slices": self.slices,
            "groups": self.groups,
        }


def filters_of(model: ImageModel) -> Filters:
    """The parameters of a model that say something about its channels."""
    analysis, bias, synthesis = (t.detach().double().numpy() for t in model.filters())
    return Filters(analysis, bias, synthesis)


def order(filters: Filters, energy: Floats | None = None, share: float = CORE_SHARE) -> Order:
    """Order, core and auxiliary groups of the channels with these filters; with measured
    ``energy`` ``[M]`` it takes the place of what the parameters say."""
    magnitude = filters.analysis.var(1) * filters.synthesis.var(1)
    magnitude = np.maximum(magnitude if energy is None else energy, np.finfo(np.float64).tiny)
    scores = _standard(np.log(magnitude))
    if energy is None:
        scores = scores + 0.5 * _standard(np.abs(filters.bias))
    permutation = np.argsort(-scores, kind="stable")
    held = np.cumsum(magnitude[permutation]) / magnitude.sum()
    core = min(int(np.searchsorted(held, share)) + 1, len(held))
    slices = _slices(core)
    starts = np.cumsum([0, *slices])
    slice_of = np.searchsorted(starts, np.arange(core), side="right") - 1
    groups: list[list[int]] = [[] for _ in slices]
    salient = permutation[:core]
    correlation = np.abs(_correlations(filters.analysis))
    for channel in permutation[core:]:
        nearest = int(np.argmax(correlation[channel, salient]))
        groups[slice_of[nearest]].append(int(channel))
    return Order([int(c) for c in permutation], scores, magnitude, core, slices, groups)


def _standard(x: Floats) -> Floats:
    deviation = x.std()
    return (x - x.mean()) / deviation if deviation > 0 else np.zeros_like(x)


def _correlations(rows: Floats) -> Floats:
    centred = rows - rows.mean(1, keepdims=True)
    norm = np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-30)
    unit = centred / norm
    return unit @ unit.T


def _slices(core: int) -> list[int]:
    """Uneven slices of the core, small ones first."""
    sizes: list[int] = []
    for size in CORE_SLICES:
        if sum(sizes) + size >= core:
            break
        sizes.append(size)
    return [*sizes, core - sum(sizes)]


@torch.no_grad()
def energies(model: ImageModel, images: Iterable[Image], quality: float | None) -> Floats:
    """Measured counterpart: mean square of each channel of y about its mean, in squared
    quantisation steps, ``[M]``. Raises ``ParameterError`` without images."""
    total, square, count = np.zeros(model.channels), np.zeros(model.channels), 0
    for image in images:
        height, width = (min(PIXELS, n) // 64 * 64 for n in image.pixels.shape[:2])
        if not height or not width:
            continue
        samples = image.pixels[:height, :width].astype(np.float32)
        x = torch.from_numpy(samples / np.iinfo(image.pixels.dtype).max)[None]
        y = model.analyse(x.expand(-1, -1, -1, 3), quality)[0].flatten(0, 1).double().numpy()
        total, square, count = total + y.sum(0), square + (y * y).sum(0), count + len(y)
    if not count:
        raise ParameterError("there is no image of at least 64 x 64 pixels to measure")
    return np.asarray(square / count - (total / count) ** 2)


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's rho of two lists of values without ties, -1..1."""
    ranks = [np.argsort(np.argsort(x, kind="stable"), kind="stable") for x in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def concentration(energy: Floats, permutation: list[int]) -> list[float]:
    """Share of the energy in the first 10, 20, .. 100 % of the channels of an order."""
    share = np.cumsum(energy[permutation]) / max(energy.sum(), 1e-30)
    return [float(share[math.ceil(len(share) * i / 10) - 1]) for i in range(1, 11)]


def draw(energy: Floats, by_parameters: list[int], name: str) -> bytes:
    """PNG: energy of each channel in the model's own order, in the parameters' and in the
    measured one."""
    import io

    canvas = need("matplotlib.backends.backend_agg", "eval").FigureCanvasAgg
    new_figure = need("matplotlib.figure", "eval").Figure
    measured = np.argsort(-energy, kind="stable").tolist()
    orders = {
        "as the model has them": list(range(len(energy))),
        "by parameters": by_parameters,
        "by measured energy": measured,
    }
    figure = new_figure(figsize=(7, 5.4), layout="constrained")
    canvas(figure)
    for i, (title, permutation) in enumerate(orders.items()):
        axes = figure.add_subplot(3, 1, i + 1)
        axes.bar(range(len(energy)), np.maximum(energy[permutation], 1e-9), 1.0, color="#0072B2")
        axes.set_yscale("log")
        axes.set_title(f"{name}: channels {title}", fontsize=9, loc="left")
        axes.set_ylabel("energy", fontsize=8)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()


def report(
    model: ImageModel, images: Iterable[Image] | None, quality: float | None
) -> tuple[dict[str, Any], bytes | None]:
    """Everything above about a model as JSON, and the image if there is something measured."""
    found = order(filters_of(model))
    about: dict[str, Any] = {"model": model.info.name, "id": model.info.id, **found.to_dict()}
    if images is None:
        return about, None
    energy = energies(model, images, quality)
    measured = np.argsort(-energy, kind="stable").tolist()
    about["measured"] = {
        "energy": [round(float(e), 6) for e in energy],
        "rank_correlation": round(rank_correlation(found.scores, energy), 4),
        "rank_correlation_of_own_order": round(
            rank_correlation(-np.arange(len(energy), dtype=np.float64), energy), 4
        ),
        "concentration_by_parameters": concentration(energy, found.permutation),
        "concentration_measured": concentration(energy, measured),
        "concentration_as_is": concentration(energy, list(range(len(energy)))),
        "core_energy": float(energy[found.permutation[: found.core]].sum() / energy.sum()),
    }
    return about, draw(energy, found.permutation, model.info.name)


def channel_order(
    model: ImageModel, energy: Floats | None = None, share: float = CORE_SHARE
) -> ChannelOrder:
    """Order, core and groups by parameters, or by measured ``energy`` ``[M]``; the core is the
    smallest that holds ``share`` of the saliency. Raises ``ModelError``: no order is possible."""
    sizes = model.indivisible()
    filters = filters_of(model)
    if max(sizes) == 1:
        return _of_channels(order(filters, energy, share))
    return _of_slices(filters, sizes, energy, share)


def _of_channels(found: Order) -> ChannelOrder:
    groups = [g for g in found.groups if g]
    permutation = [*found.permutation[: found.core], *(c for g in groups for c in g)]
    return ChannelOrder(tuple(permutation), tuple(found.slices), tuple(map(len, groups)))


def _of_slices(
    filters: Filters, sizes: Sequence[int], energy: Floats | None, share: float
) -> ChannelOrder:
    """Slices ranked by the mean score of their channels."""
    found = order(filters, energy, share)
    edges = list(accumulate(sizes, initial=0))
    parts = [np.arange(a, b) for a, b in pairwise(edges)]
    rank = np.argsort([-found.scores[p].mean() for p in parts], kind="stable")
    held = np.cumsum([found.magnitude[parts[i]].sum() for i in rank]) / found.magnitude.sum()
    count = min(int(np.searchsorted(held, share)) + 1, len(parts))
    core, auxiliary = sorted(rank[:count]), rank[count:]

    def channels(part: int) -> list[int]:  # the most salient first
        return [int(c) for c in sorted(parts[part], key=lambda c: -found.scores[c])]

    permutation = [c for part in (*core, *auxiliary) for c in channels(part)]
    return ChannelOrder(
        tuple(permutation),
        tuple(sizes[i] for i in core),
        tuple(sizes[i] for i in auxiliary),
    )


def write_ordered(
    info: ModelInfo, found: ChannelOrder, name: str, *, by: str, overwrite: bool = False
) -> ModelInfo:
    """Put a copy of a model that codes in this order into the user's store.

    Raises ``OutputError`` if there is a model of that name, ``ParameterError`` if the model has an
    order already.
    """
    if KEY in info.config:
        raise ParameterError(f"the model {info.name} has an order already: name the one it is from")
    path = models.store_path(name, overwrite=overwrite)
    return models.write_model(
        path,
        name=name,
        codec=info.codec,
        config={**info.config, KEY: found.to_dict()},
        numerics=info.numerics,
        tensors=models.read_tensors(info),
        training={**info.training, "ordered": {"model": info.name, "id": info.id, "by": by}},
        overwrite=overwrite,
    )

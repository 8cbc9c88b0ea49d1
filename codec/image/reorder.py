"""Models with an order of channels from models without: found by saliency, written to the store.

The weights stay what they are, so nothing is trained. What that means depends on the entropy model:

* channels that are independent given z (CompressAI's hyperprior and factorised models): any
  permutation and any grouping leaves every probability as it was;
* slices (the default model, MLIC++, MLICv2): a slice's networks read the slices before it. Whole
  slices are core or auxiliary; an auxiliary slice sees zeros where its networks expect other
  auxiliary slices, which costs bits. Within the core, slices keep the model's order: any other
  would only hide what they were trained to see;
* position after position (mbt2018, cheng2020): no channel can come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from laconic.codec import models
from laconic.codec.image.interface import ImageModel
from laconic.codec.image.order import KEY, ChannelOrder
from laconic.codec.image.saliency import CORE_SHARE, Filters, Floats, Order, filters_of, order
from laconic.codec.models import ModelInfo
from laconic.formats.errors import ParameterError


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

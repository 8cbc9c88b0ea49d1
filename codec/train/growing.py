"""A trained model as the start of a larger one: same pictures, same bits, more to learn with.

Blocks that the larger model has more of start as the identity. Vectors that follow the quality are
read off at the same lambda, so the scale of qualities may change. Global attentions that the larger
model lacks are replaced by their mean output on sample pictures, which the biases behind them take
up; without them the models of this size need 0.1 to 0.5 % more bits (docs/design/mlic.md). Choose
this for another round on a new configuration; a run from scratch spends its first hours on what the
smaller model knows.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from laconic.codec.image.config import MlicConfig
from laconic.codec.image.model import Mlic
from laconic.codec.image.rate import RateTable, lambda_of, quality_of
from laconic.codec.image.slices import Slice
from laconic.formats.errors import ParameterError

GLOBAL = ("guided", "inter", "intra")


@torch.no_grad()
def grown(model: Mlic, config: MlicConfig, pictures: Tensor) -> Mlic:
    """``model`` in the configuration ``config``; ``pictures`` ``[N, H, W, 3]`` in [0, 1] are
    samples for the means of what falls away.

    Raises ``ParameterError`` where a width is another one: only blocks, rates, the detail layer
    and global attention may differ.
    """
    larger = Mlic(config)
    values = {**model.state_dict()}
    if model.config.global_attention and not config.global_attention:
        values = _without_attention(model, pictures, values)
    _move_last(values, "g_s", model.config.decoder_blocks, config.decoder_blocks)
    for name, module in larger.named_modules():
        if isinstance(module, RateTable) and f"{name}.table" in values:
            values[f"{name}.table"] = _resampled(
                values[f"{name}.table"], model.config, config, len(module.table)
            )
    own = larger.state_dict()
    for name, value in values.items():
        if name not in own or own[name].shape != value.shape:
            raise ParameterError(
                f"{name} of the model to start from is {list(value.shape)}: the configuration to"
                " train has another width; blocks, rates and attention alone may differ"
            )
    larger.load_state_dict({**own, **values})
    return larger


def _move_last(values: dict[str, Tensor], part: str, old: int, new: int) -> None:
    """The last block keeps its place behind the feature gain; new ones come before it."""
    if old == new:
        return
    source, target = f"{part}.blocks.{old - 1}.", f"{part}.blocks.{new - 1}."
    for name in [n for n in values if n.startswith(source)]:
        values[target + name.removeprefix(source)] = values.pop(name)


def _resampled(table: Tensor, old: MlicConfig, new: MlicConfig, anchors: int) -> Tensor:
    rows = []
    for k in range(anchors):
        quality = quality_of(lambda_of(100 * k / (anchors - 1), new.rates), old.rates)
        position = min(quality, 100.0) * (len(table) - 1) / 100
        low = min(max(int(position), 0), len(table) - 2)
        rows.append(torch.lerp(table[low], table[low + 1], position - low))  # beyond 0 it goes on
    return torch.stack(rows)


def _without_attention(
    model: Mlic, pictures: Tensor, values: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Weights in which the means of global attentions have become biases."""
    means: dict[str, list[Tensor]] = defaultdict(list)
    hooks = []
    for number, part in enumerate(model.y_model.slices):
        for kind in GLOBAL:
            if hasattr(part, kind):

                def keep(_: nn.Module, __: Any, out: Tensor, at: str = f"{number}.{kind}") -> None:
                    means[at].append(out.mean((0, 1)))

                hooks.append(getattr(part, kind).register_forward_hook(keep))
    model(pictures, torch.linspace(0, 100, len(pictures)))
    for hook in hooks:
        hook.remove()
    found = {n: v for n, v in values.items() if not any(f".{kind}." in n for kind in GLOBAL)}
    for number, part in enumerate(model.y_model.slices):
        assert isinstance(part, Slice)
        dim, first = model.config.attention, f"y_model.slices.{number}."
        mean = torch.stack(means[f"{number}.{'inter' if number else 'guided'}"]).mean(0)
        intra = torch.stack(means[f"{number}.intra"]).mean(0)
        known = part.anchor_net.inner.in_features - dim  # where inter or guided attention begins
        width = part.other_net.inner.in_features
        drop = {"anchor_net.inner": [(known, mean)], "local.to_query": [(known, mean)]}
        drop |= {f"local.to_{n}": [(known, mean)] for n in ("key", "value")}
        drop["other_net.inner"] = [(width - dim, intra), (known, mean)]
        for name, parts in drop.items():
            weight, bias = found[f"{first}{name}.weight"], found[f"{first}{name}.bias"]
            for start, value in parts:
                bias = bias + weight[:, start : start + dim] @ value
                weight = torch.cat((weight[:, :start], weight[:, start + dim :]), 1)
            found[f"{first}{name}.weight"], found[f"{first}{name}.bias"] = weight, bias
    return found

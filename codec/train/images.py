"""What image trainings start from: random crops, and a larger model grown from a smaller one.

Images are decoded once and kept in memory as uint8. Random down-scaling of their crops hides what
an earlier lossy coding left behind; flips and transpositions multiply a small collection.

:func:`grown` gives a larger configuration the images and bits of a trained smaller one. Blocks that
it has more of start as the identity; vectors that follow the quality are read off at the same
lambda, so the scale of qualities may change; global attentions that it lacks are replaced by their
mean output on samples, which the biases behind them take up (docs/design/mlic.md says what they are
worth). A run from scratch spends its first hours on what the smaller model knows.
"""

from __future__ import annotations

from collections import defaultdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image as PillowImage
from torch import Tensor, nn

from laconic.codec.image.config import MlicConfig
from laconic.codec.image.layers import RateTable, lambda_of, quality_of
from laconic.codec.image.model import Mlic
from laconic.codec.image.slices import Slice
from laconic.codec.train.files import read_each
from laconic.formats.errors import ParameterError
from laconic.formats.image import SUFFIXES

HELD_OUT_EVERY = 45


def read_pixels(data: bytes) -> NDArray[np.uint8]:
    """uint8 ``[H, W, 3]``."""
    with PillowImage.open(BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def load_images(folders: list[Path], smallest: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Training and held-out images, uint8 ``[H, W, 3]``; every 45th is held out.

    Raises ``ParameterError`` when no image of at least ``smallest`` pixels a side is found.
    """
    train: list[np.ndarray] = []
    held_out: list[np.ndarray] = []
    count = 0
    for folder in folders:
        for _, array in read_each(folder, SUFFIXES, read_pixels):
            if min(array.shape[:2]) < smallest:
                continue
            (held_out if count % HELD_OUT_EVERY == 0 else train).append(array)
            count += 1
    if not train or not held_out:
        raise ParameterError(
            f"{count} images of at least {smallest} pixels a side in"
            f" {', '.join(map(str, folders))}: at least 2 are needed to train and validate"
        )
    return train, held_out


class Crops:
    """Endless random crops ``[B, size, size, 3]`` in [0, 1]; large images are drawn more
    often."""

    def __init__(self, images: list[np.ndarray], size: int, seed: int) -> None:
        self.images = images
        self.size = size
        self.random = np.random.default_rng(seed)
        area = np.array([p.shape[0] * p.shape[1] for p in images], dtype=np.float64)
        self.weights = area / area.sum()

    def batch(self, count: int) -> Tensor:
        chosen = self.random.choice(len(self.images), count, p=self.weights)
        return torch.stack([self.crop(self.images[i]) for i in chosen])

    def crop(self, image: np.ndarray) -> Tensor:
        """One crop; half of them are scaled down by up to two."""
        height, width = image.shape[:2]
        scale = self.random.uniform(1, min(2, min(height, width) / self.size))
        source = self.size if self.random.random() < 0.5 else round(self.size * scale)
        top = self.random.integers(0, height - source + 1)
        left = self.random.integers(0, width - source + 1)
        region = image[top : top + source, left : left + source]
        if self.random.random() < 0.5:
            region = region[:, ::-1]
        if self.random.random() < 0.25:
            region = region.transpose(1, 0, 2)
        x = torch.from_numpy(np.ascontiguousarray(region)).permute(2, 0, 1)[None].float() / 255
        if source != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True).clamp(0, 1)
        return x[0].permute(1, 2, 0)


def validation_batch(images: list[np.ndarray], size: int) -> Tensor:
    """Centre crops of the held-out images, ``[N, size, size, 3]`` in [0, 1]."""
    crops = []
    for image in images:
        top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
        crops.append(image[top : top + size, left : left + size])
    return torch.from_numpy(np.stack(crops)).float() / 255


GLOBAL = ("guided", "inter", "intra")


@torch.no_grad()
def grown(model: Mlic, config: MlicConfig, images: Tensor) -> Mlic:
    """``model`` in the configuration ``config``; ``images`` ``[N, H, W, 3]`` in [0, 1] are
    samples for the means of what falls away.

    Raises ``ParameterError`` where a width is another one: only blocks, rates, the detail layer
    and global attention may differ.
    """
    larger = Mlic(config)
    values = {**model.state_dict()}
    if model.config.global_attention and not config.global_attention:
        values = _without_attention(model, images, values)
    if config.dense and not model.config.dense:
        values = _densified(values)
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


def _densified(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the same transforms in which each depth-wise convolution and the point-wise layer
    behind it are one dense convolution."""
    found = dict(values)
    for name in values:
        block, kind, _ = name.partition(".mix_out.weight")
        if kind and block.startswith(("g_a.", "g_s.")):
            taps, offset = found.pop(f"{block}.mix.weight"), found.pop(f"{block}.mix.bias")
            outer, bias = found.pop(name), found.pop(f"{block}.mix_out.bias")
            found[f"{block}.mix.weight"] = outer[:, :, None, None] * taps[:, 0]
            found[f"{block}.mix.bias"] = bias + outer @ offset
    return found


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


def _without_attention(model: Mlic, images: Tensor, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights in which the means of global attentions have become biases."""
    means: dict[str, list[Tensor]] = defaultdict(list)
    hooks = []
    for number, part in enumerate(model.y_model.slices):
        for kind in GLOBAL:
            if hasattr(part, kind):

                def keep(_: nn.Module, __: Any, out: Tensor, at: str = f"{number}.{kind}") -> None:
                    means[at].append(out.mean((0, 1)))

                hooks.append(getattr(part, kind).register_forward_hook(keep))
    model(images, torch.linspace(0, 100, len(images)))
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

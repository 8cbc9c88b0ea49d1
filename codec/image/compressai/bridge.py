"""Our models in CompressAI's evaluation.

    python -m laconic.codec.image.compressai.bridge pretrained DIR -a laconic-mlic -q 1,2,3

The arguments are those of ``python -m compressai.utils.eval_model``, whose architectures gain
``laconic-mlic``, the default model, and ``NAME@laconic`` for every image model that is installed.
CompressAI's qualities 1 to 8 are spread over ours (0 to 100); models of one rate ignore them.
Choose ``laconic eval`` for figures that count whole files; this counts entropy-coded bytes
alone, as CompressAI does.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from compressai.registry import register_model
from laconic.codec import models, registry
from laconic.codec.image.codecs import ImageCodec
from laconic.formats.errors import UnsupportedError

NAME = "laconic-mlic"


@register_model(NAME)
class EvaluatedModel(nn.Module):
    """``compress`` and ``decompress`` as CompressAI's models have them, at one quality."""

    def __init__(self, quality: int, name: str = models.DEFAULT_MODEL) -> None:
        super().__init__()
        info = models.find(name)
        codec = registry.get(info.codec)
        assert isinstance(codec, ImageCodec)
        self.loaded = codec.load(info.id)
        self.where = nn.Parameter(torch.zeros(()), requires_grad=False)  # tells the device
        self.quality = round(100 * (quality - 1) / 7, 1) if self.loaded.variable else None

    def forward(self, x: Tensor) -> dict[str, Any]:
        raise UnsupportedError("entropy estimation is not offered: leave out --entropy-estimation")

    @torch.no_grad()
    def compress(self, x: Tensor) -> dict[str, Any]:
        """``[1, 3, H, W]``, sides multiples of 64 -> strings and the shape of y."""
        y = self.loaded.analyse(x.permute(0, 2, 3, 1), self.quality)
        coded = self.loaded.encode(y, self.loaded.hyper(y, self.quality), self.quality)
        return {"strings": [[coded.payload]], "shape": (y.shape[1], y.shape[2])}

    @torch.no_grad()
    def decompress(self, strings: list[list[bytes]], shape: tuple[int, int]) -> dict[str, Tensor]:
        """Inverse of :meth:`compress`."""
        coded = self.loaded.decode(strings[0][0], shape[0], shape[1], self.quality)
        x = self.loaded.synthesise(coded.y_hat.float(), self.quality)
        return {"x_hat": x.permute(0, 3, 1, 2).clamp(0, 1)}


def pretrained(quality: int, *, name: str = models.DEFAULT_MODEL, **options: Any) -> EvaluatedModel:
    """What CompressAI's zoo calls."""
    return EvaluatedModel(quality, name)


def main(arguments: list[str]) -> None:
    """Run CompressAI's evaluation with our models among its own."""
    from compressai.utils.eval_model import __main__ as evaluation

    evaluation.pretrained_models[NAME] = pretrained
    for info in models.list_models():
        if isinstance(registry.get(info.codec), ImageCodec):
            ours = partial(pretrained, name=info.name)
            evaluation.pretrained_models[f"{info.name}@laconic"] = ours
    evaluation.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])

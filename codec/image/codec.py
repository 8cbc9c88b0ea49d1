"""The codec ``mlic``: pictures <-> ``.lac`` files with the variable-rate model that ships."""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from laconic.codec import models
from laconic.codec.image.coding import Coded, ExactCoder, exact
from laconic.codec.image.config import MlicConfig
from laconic.codec.image.export import read_mlic
from laconic.codec.image.files import PictureCodec
from laconic.codec.image.header import CODEC_ID, MlicHeader
from laconic.codec.image.interface import ImageModel
from laconic.codec.image.model import Mlic
from laconic.codec.image.order import ChannelOrder
from laconic.codec.image.rate import lambda_of
from laconic.codec.image.tiles import analysis_margin, synthesis_margin


class LoadedModel(ImageModel):
    """A model in memory: transforms in float32, the exact coder in float64."""

    variable = True

    def __init__(self, info: models.ModelInfo, network: Mlic, coder: ExactCoder) -> None:
        self.info, self.network, self.coder = info, network, coder
        self.channels = network.config.latent
        self.analysis_margin = analysis_margin(network.config)
        self.synthesis_margin = synthesis_margin(network.config)

    @property
    def config(self) -> MlicConfig:
        return self.network.config

    def analyse(self, x: Tensor, quality: float | None) -> Tensor:
        return self.network.g_a(x, _batch(quality))

    def synthesise(self, y: Tensor, quality: float | None) -> Tensor:
        return self.network.g_s(y, _batch(quality))

    def synthesise_exactly(self, y: Tensor, quality: float | None) -> Tensor:
        x: Tensor = self._exact_synthesis(y, _batch(quality).double())
        return x

    @cached_property
    def _exact_synthesis(self) -> nn.Module:
        return exact(self.network.g_s, torch.float64)

    def hyper(self, y: Tensor, quality: float | None) -> Tensor:
        return self.network.hyper_latent(y, _batch(quality))

    def relaxed(self) -> ExactCoder:
        return ExactCoder(self.network, self.coder.tables, torch.float32, self.coder.order)

    def multiplier(self, quality: float | None) -> float:
        return lambda_of(_given(quality))

    def filters(self) -> tuple[Tensor, Tensor, Tensor]:
        g_a, g_s = self.network.g_a, self.network.g_s
        middle = torch.tensor([50.0])
        gain = g_a.gain(middle).exp().flatten()[:, None]  # to steps, and back in g_s
        back = g_s.gain(middle).exp().flatten()[:, None]
        return g_a.down.weight * gain, g_a.down.bias * gain[:, 0], g_s.up.weight.T * back

    def indivisible(self) -> list[int]:
        return list(self.config.slices)

    def encode(self, y: Tensor, z: Tensor | None, quality: float | None) -> Coded:
        return self.coder.encode(y, z, _given(quality))

    def decode(self, payload: bytes, height: int, width: int, quality: float | None) -> Coded:
        return self.coder.decode(payload, height, width, _given(quality))


def _given(quality: float | None) -> float:
    assert quality is not None, "this codec's header always has a quality"
    return quality


def _batch(quality: float | None) -> Tensor:
    return torch.tensor([_given(quality)])


@lru_cache(maxsize=4)
def _load(identity: str, path: Path) -> LoadedModel:
    info = models.read_info(path)
    network, tables = read_mlic(info)
    network.eval().requires_grad_(False)
    order = ChannelOrder.of(info.config, network.config.latent)
    return LoadedModel(info, network, ExactCoder(network, tables, order=order))


def load_model(name_or_id: str) -> LoadedModel:
    """The model of that name, id or path, loaded once. Raises ``ModelError``."""
    info = models.find(name_or_id)
    return _load(info.id, info.path)


class MlicCodec(PictureCodec):
    """Implements :class:`laconic.codec.base.Codec`."""

    name = "mlic"
    codec_id = CODEC_ID
    header = MlicHeader
    layered = True

    def load(self, name_or_id: str | None) -> LoadedModel:
        return load_model(name_or_id or models.DEFAULT_MODEL)

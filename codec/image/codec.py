"""The variable-rate model of the codec ``mlic``: its model file (half-precision weights and integer
tables), and the model loaded and ready to code.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from laconic.codec import devices, models
from laconic.codec.building import build
from laconic.codec.image.coding import ExactCoder, exact
from laconic.codec.image.config import CONFIGS, KEY, ChannelOrder, MlicConfig
from laconic.codec.image.header import analysis_margin, synthesis_margin
from laconic.codec.image.interface import ImageModel
from laconic.codec.image.layers import lambda_of
from laconic.codec.image.model import Mlic, detail_step, from_detail, to_detail
from laconic.codec.image.postfilter import Chosen, filtered, learned
from laconic.codec.models import ModelInfo, read_tensors, write_model
from laconic.entropy import CdfTables, NumericsProfile, gaussian_scales, gaussian_tables
from laconic.formats.errors import FormatError, ModelError

TABLE_PREFIX = "tables."
DEAD_ZONE = 0.05  # steps of the detail layer; what is this little costs more than it gives
# It is wider where the layer begins and shrinks over so many qualities: every size can be made.
WIDEST, WIDE = 1.4, 2.0


def model_tensors(model: Mlic) -> dict[str, np.ndarray[Any, Any]]:
    """Weights as float16 and the Gaussian tables of the configuration as integers."""
    config = model.config
    tensors = {k: v.detach().cpu().half().numpy() for k, v in model.state_dict().items()}
    scales = gaussian_scales(config.scale_count, config.scale_low, config.scale_high)
    arrays = gaussian_tables(scales).to_arrays()
    return {**tensors, **{TABLE_PREFIX + k: v for k, v in arrays.items()}}


def write_mlic(
    path: Path, model: Mlic, *, name: str, training: dict[str, Any], overwrite: bool = False
) -> ModelInfo:
    """Write ``model`` as a file that :func:`laconic.codec.models.find` can find."""
    return write_model(
        path,
        name=name,
        codec="mlic",
        config=model.config.to_dict(),
        numerics=int(NumericsProfile.FLOAT64_GUARD),
        tensors=model_tensors(model),
        training=training,
        overwrite=overwrite,
    )


def read_mlic(info: ModelInfo) -> tuple[Mlic, CdfTables]:
    """The network in float32 and the coding tables of a model file; raises ``ModelError``."""
    if info.codec != "mlic" or info.numerics != NumericsProfile.FLOAT64_GUARD:
        raise ModelError(f"model {info.name} is made for the codec {info.codec!r}, not for 'mlic'")
    stored = read_tensors(info)
    config = MlicConfig.from_dict({k: v for k, v in info.config.items() if k != KEY})
    network = build(lambda: Mlic(config), stored, info)
    weights, tables = {}, {}
    for name, array in stored.items():
        if name.startswith(TABLE_PREFIX):
            tables[name.removeprefix(TABLE_PREFIX)] = array
        else:
            weights[name] = torch.from_numpy(array).float()
    try:
        network.load_state_dict(weights)
        return network, CdfTables.from_arrays(tables)
    except (RuntimeError, FormatError) as error:
        raise ModelError(f"model {info.name} does not fit its configuration: {error}") from error


def export_checkpoint(checkpoint: Path, out: Path, *, name: str, overwrite: bool) -> ModelInfo:
    """Export the averaged weights of a run of ``laconic train``, or the share of them that its
    recipe says, the rest from where it started."""
    from laconic.codec.train.running import history

    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        config: MlicConfig = CONFIGS[state["recipe"]["config"]]
        model = Mlic(config)
        model.load_state_dict(state["average"])
    except (OSError, RuntimeError, KeyError, EOFError, TypeError) as error:
        raise ModelError(
            f"{checkpoint} is not a checkpoint of an image training: {error}"
        ) from error
    share, start = state["recipe"].get("share", 1.0), state.get("start")
    if share < 1 and start is not None:
        _average(model, models.find(start["id"]), share)
    training = history(state, checkpoint)
    return write_mlic(out, model, name=name, training=training, overwrite=overwrite)


@torch.no_grad()
def _average(model: Mlic, start: ModelInfo, share: float) -> None:
    """Leave a share of the weights and take the rest from those of a model that is as large."""
    before, _ = read_mlic(start)
    if before.config == model.config:
        for own, old in zip(model.parameters(), before.parameters(), strict=True):
            own.lerp_(old, 1 - share)


class LoadedModel(ImageModel):
    """A model in memory: the exact coder in float64, transforms in float32.

    Where the device multiplies in bfloat16 the analysis and a fast synthesis do so too, the latter
    not under a detail layer: its coefficients were taken from a synthesis in float32.
    """

    variable = True

    def __init__(
        self, info: models.ModelInfo, network: Mlic, coder: ExactCoder, device: torch.device
    ) -> None:
        self.info, self.network, self.coder = info, network.to(device), coder
        self.device = device
        self.channels = network.config.latent
        self.visual = _visual(info)
        self.analysis_margin = analysis_margin(network.config)
        self.synthesis_margin = synthesis_margin(network.config)
        self.mixed = devices.has_bfloat16(device)

    @property
    def config(self) -> MlicConfig:
        return self.network.config

    def analyse(self, x: Tensor, quality: float | None) -> Tensor:
        return self.network.g_a(x.to(self.device), self._batch(quality), self.mixed)

    def synthesise(self, y: Tensor, quality: float | None, *, fast: bool = False) -> Tensor:
        return self.restored(y, quality, None, fast=fast)

    def restored(
        self, y: Tensor, quality: float | None, chosen: Chosen | None, *, fast: bool = False
    ) -> Tensor:
        mixed = fast and self.mixed and not self.has_detail(quality)
        return self._synthesise(self.network.g_s, y.to(self.device), quality, mixed, chosen)

    def after_filter(self, x: Tensor, quality: float | None, chosen: Chosen | None) -> Tensor:
        if chosen is None:
            return x
        return filtered(x.clamp(0, 1), learned().filter(chosen, self.latent_quality(quality)))

    def synthesise_exactly(self, y: Tensor, quality: float | None) -> Tensor:
        return self._synthesise(self._exact_synthesis, y.cpu(), quality)

    def _synthesise(
        self, network: nn.Module, y: Tensor, quality: float | None, mixed: bool = False,
        chosen: Chosen | None = None,
    ) -> Tensor:  # fmt: skip
        x: Tensor = network(y[..., : self.channels], self._batch(quality).to(y), mixed)
        x = self.after_filter(x, quality, chosen)
        if y.shape[-1] > self.channels:
            x = x + from_detail(y[..., self.channels :] * self._step(quality))
        return x

    def detail(self, difference: Tensor, quality: float | None) -> Tensor:
        steps = to_detail(difference) / self._step(quality)
        left = max(0.0, 1 - (_given(quality) - self.config.detail_from) / WIDE)
        dead = DEAD_ZONE + WIDEST * left**2
        return steps.sign() * (steps.abs() - dead).clamp_min(0)

    def latent_quality(self, quality: float | None) -> float:
        return min(_given(quality), self.config.detail_from)

    def has_detail(self, quality: float | None) -> bool:
        return bool(self.config.detail) and _given(quality) > self.config.detail_from

    def _step(self, quality: float | None) -> float:
        return detail_step(_given(quality), self.config.detail_from)

    def _batch(self, quality: float | None) -> Tensor:
        return torch.tensor([self.latent_quality(quality)], device=self.device)

    @cached_property
    def _exact_synthesis(self) -> nn.Module:
        return exact(self.network.g_s, torch.float64, "cpu")

    def hyper(self, y: Tensor, quality: float | None) -> Tensor:
        return self.network.hyper_latent(y.to(self.device), self._batch(quality))

    def relaxed(self) -> ExactCoder:
        return ExactCoder(self.network, self.coder.tables, torch.float32, self.coder.order)

    def multiplier(self, quality: float | None) -> float:
        return lambda_of(self.latent_quality(quality), self.config.rates)

    def filters(self) -> tuple[Tensor, Tensor, Tensor]:
        g_a, g_s = self.network.g_a, self.network.g_s
        middle = torch.tensor([50.0], device=self.device)
        gain = g_a.gain(middle).exp().flatten()[:, None]  # to steps, and back in g_s
        back = g_s.gain(middle).exp().flatten()[:, None]
        return g_a.down.weight * gain, g_a.down.bias * gain[:, 0], g_s.up.weight.T * back

    def indivisible(self) -> list[int]:
        return list(self.config.slices)


def _visual(info: models.ModelInfo) -> float:
    """What the history of a model says; it is no part of what identifies the model."""
    recipe = info.training.get("recipe")
    share = recipe.get("visual", 0.0) if isinstance(recipe, dict) else 0.0
    return float(share) if isinstance(share, int | float) and 0 <= share <= 1 else 0.0


def _given(quality: float | None) -> float:
    assert quality is not None, "this codec's header always has a quality"
    return quality


@lru_cache(maxsize=4)
def _load(identity: str, path: Path, device: torch.device) -> LoadedModel:
    info = models.read_info(path)
    network, tables = read_mlic(info)
    network.eval().requires_grad_(False)
    order = ChannelOrder.of(info.config, network.config.latent)
    return LoadedModel(info, network, ExactCoder(network, tables, order=order), device)


def load_model(name_or_id: str, device: str = devices.PROCESSOR) -> LoadedModel:
    """The model of that name, id or path, loaded once for each device. Raises ``ModelError``, and
    ``ParameterError`` for a device that is not here."""
    info = models.find(name_or_id)
    return _load(info.id, info.path, devices.device(device))

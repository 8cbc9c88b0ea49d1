"""CompressAI's models behind the file-level interface, and the order in which they code y.

A hyperprior alone takes one step, a checkerboard two for each group of channels. Models with a
serial context need everything above and to the left of a position. Positions whose column + 3 * row
is equal do not see each other through a 5x5 causal window, so a latent of H x W is coded in W + 3
(H - 1) wavefronts and not in H * W steps; the values are those of raster order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from laconic.codec.image.coding import LatentCoder
from laconic.codec.image.compressai import variable
from laconic.codec.image.compressai.groups import GroupedNetwork
from laconic.codec.image.compressai.networks import CONTEXT, ZooNetwork
from laconic.codec.image.config import ChannelOrder
from laconic.codec.image.interface import ImageModel, stored_multiplier
from laconic.codec.image.mlicpp.model import hyper_shape, to_first, to_last
from laconic.codec.image.slices import checkerboard
from laconic.codec.image.steps import Steps
from laconic.codec.models import ModelInfo
from laconic.entropy import CdfTables
from laconic.formats.errors import ModelError

SCALE_LOW, SCALE_HIGH = 0.11, 256.0
# Reach of the transforms in pixels, rounded up to whole latents: (analysis, synthesis).
MARGINS = {
    "bmshj2018": (32, 64),
    "mbt2018": (32, 64),
    "cheng2020-anchor": (64, 112),
    "cheng2020-anchor-checkerboard": (64, 112),
    "cheng2020-attn": (128, 176),
    "elic2022": (144, 160),
}
TAPS = CONTEXT * CONTEXT // 2  # positions of the window that come first in raster order


@lru_cache(maxsize=32)
def wavefronts(height: int, width: int) -> list[Tensor]:
    """Flat positions of each wavefront, in coding order."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    time = (columns + 3 * rows).reshape(-1)
    return [(time == t).nonzero()[:, 0] for t in range(int(time.max()) + 1)]


class ZooCoder(LatentCoder):
    """Entropy coding with one model of the zoo, in the number type of its entropy networks.

    Latents of models with variable rate are in quantisation steps.
    """

    def __init__(
        self,
        network: ZooNetwork,
        tables: CdfTables,
        z_tables: CdfTables,
        order: ChannelOrder | None = None,
    ) -> None:
        super().__init__(tables, (SCALE_LOW, SCALE_HIGH), order=order)
        self.network = network
        self.z_sets = _sets(network, z_tables)

    def walk(
        self,
        steps: Steps,
        y: Tensor | None,
        z: Tensor | None,
        size: tuple[int, int],
        quality: float | None,
    ) -> Tensor:
        network = self.network
        config, prior = network.config, network.entropy_bottleneck
        if network.factorized:
            value = None if y is None else to_first(y)

            def factorized(steps: Steps, channels: list[int]) -> Tensor:
                some = None if value is None else value[:, channels]
                shape = torch.Size((1, len(channels), *size))
                coded = steps.factorized(some, shape, prior, self.z_sets[0], channels)
                return to_last(coded)

            return self._by_parts(steps, factorized)
        gain = _gain(network, quality)
        first = None if z is None else to_first(z)
        shape = hyper_shape(config.channels, size)
        if config.variable_z:
            assert gain is not None
            assert quality is not None
            step, tables = variable.z_step(network, gain), self.z_sets[variable.set_of(quality)]
            z_hat = step * steps.factorized(first, shape, prior.scaled(step), tables)
        else:
            z_hat = steps.factorized(first, shape, prior, self.z_sets[0])
        hyper = network.h_s(z_hat)
        if network.serial:
            return self._serial(steps, y, hyper, gain)
        means, scales = (to_last(part) for part in network.parameters_of(hyper))

        def gaussian(steps: Steps, channels: list[int]) -> Tensor:
            some = None if y is None else y[..., channels]
            return self._gaussian(steps, some, means[..., channels], scales[..., channels], gain)

        return self._by_parts(steps, gaussian)

    def _by_parts(self, steps: Steps, code: Callable[[Steps, list[int]], Tensor]) -> Tensor:
        """y_hat ``[1, H, W, M]`` from its channels, which are independent given z: all at once, or
        as the order says."""
        every = list(range(self.network.config.latent))
        if self.order is None:
            return code(steps, every)
        core, groups = self.order.parts()
        coded = [code(steps, channels) for channels in core]
        coded += steps.parallel([lambda s, g=g: code(s, g) for g in groups])  # type: ignore[misc]
        place = torch.argsort(torch.tensor(self.order.permutation))
        return torch.cat(coded, -1)[..., place]

    def _gaussian(
        self,
        steps: Steps,
        value: Tensor | None,
        means: Tensor,
        scales: Tensor,
        gain: Tensor | None,
    ) -> Tensor:
        """One step of y; with variable rate value and result are in steps, means and scales are
        not."""
        if gain is None:
            return steps.gaussian(value, means, scales.clamp_min(SCALE_LOW).log())
        means, scales = means * gain, (scales * gain).clamp_min(SCALE_LOW)
        residual = None if value is None else value - means
        whole = steps.gaussian(residual, torch.zeros_like(means), scales.log())
        return variable.reconstructed(self.network, whole, scales, gain) + means

    def _serial(self, steps: Steps, y: Tensor | None, hyper: Tensor, gain: Tensor | None) -> Tensor:
        """Wavefront after wavefront given ``hyper`` ``[1, 2M, H, W]``."""
        network = self.network
        height, width = hyper.shape[2:]
        m, reach = network.config.latent, CONTEXT // 2
        # The causal taps as one matrix: [12 * M, 2M], tap-major.
        weight = network.context_prediction.weight.flatten(2)[..., :TAPS]  # [2M, M, 12]
        weight = weight.permute(2, 1, 0).reshape(TAPS * m, -1)
        bias = network.context_prediction.bias
        assert bias is not None
        if gain is not None:
            bias = bias + variable.context_shift(network, gain)
        across = width + 2 * reach
        tap = torch.arange(TAPS)
        offsets = (tap // CONTEXT - reach) * across + tap % CONTEXT - reach
        decoded = hyper.new_zeros((height + 2 * reach) * across, m)  # padded, channels last
        given = None if y is None else y.reshape(-1, m)
        known = hyper[0].flatten(1).T  # [N, 2M]
        out = hyper.new_zeros(height * width, m)
        for at in wavefronts(height, width):
            place = (at // width + reach) * across + at % width + reach
            seen = decoded[place[:, None] + offsets].reshape(len(at), -1)  # [K, 12 * M]
            context = seen @ weight + bias
            x = torch.cat((known[at], context), 1)[..., None, None]
            scales, means = network.entropy_parameters(x)[..., 0, 0].chunk(2, 1)
            value = None if given is None else given[at]
            y_hat = self._gaussian(steps, value, means, scales, gain)
            seen = y_hat if gain is None else y_hat / gain
            decoded = decoded.index_copy(0, place, seen)
            out = out.index_copy(0, at, y_hat)
        return out.reshape(1, height, width, m)


class GroupedCoder(LatentCoder):
    """Entropy coding with a model that codes groups of channels as checkerboards."""

    def __init__(self, network: GroupedNetwork, tables: CdfTables, z_tables: CdfTables) -> None:
        super().__init__(tables, (SCALE_LOW, SCALE_HIGH))
        self.network = network
        (self.z_tables,) = _sets(network, z_tables)

    def walk(
        self,
        steps: Steps,
        y: Tensor | None,
        z: Tensor | None,
        size: tuple[int, int],
        quality: float | None,
    ) -> Tensor:
        network = self.network
        first = None if z is None else to_first(z)
        shape = hyper_shape(network.config.channels, size)
        prior = network.entropy_bottleneck
        hyper = network.hyper.h_s(steps.factorized(first, shape, prior, self.z_tables))
        board = checkerboard(*size, CONTEXT, hyper.device)
        early, late = board.others, board.anchors  # here even positions come first
        flat = None if y is None else y.flatten(1, 2)  # [1, N, M]
        decoded: list[Tensor] = []
        start = 0
        for group in network.groups:
            side = network.side(hyper, decoded).flatten(2)  # [1, K, N]
            y_hat = hyper.new_zeros(1, size[0] * size[1], group.channels)  # [1, N, c]
            for at in (early, late):
                grid = to_first(y_hat.unflatten(1, size))
                context = group.context_prediction(grid).flatten(2)[..., at]  # [1, 2c, N/2]
                if at is early:
                    context = torch.zeros_like(context)
                x = torch.cat((context, side[..., at]), 1)[..., None]
                parts = network.split(group.entropy_parameters(x)[..., 0])
                means, scales = (part.transpose(1, 2) for part in parts)  # [1, N/2, c]
                value = None if flat is None else flat[:, at, start : start + group.channels]
                coded = steps.gaussian(value, means, scales.clamp_min(SCALE_LOW).log())
                y_hat = y_hat.index_copy(1, at, coded)
            decoded.append(to_first(y_hat.unflatten(1, size)))
            start += group.channels
        return to_last(torch.cat(decoded, 1))


def _sets(network: ZooNetwork | GroupedNetwork, tables: CdfTables) -> list[CdfTables]:
    """Tables of the factorised prior, in sets; raises ``ModelError`` unless they fit the
    network."""
    config = network.config
    sets = variable.SETS if config.variable_z else 1
    channels = len(network.entropy_bottleneck.quantiles)
    if len(tables) != sets * channels:
        raise ModelError(
            f"the model has {len(tables)} tables of its prior: a {config.kind} of {channels}"
            f" channels has {sets * channels}; import its checkpoint again"
        )
    return variable.split_tables(tables, sets)


def _gain(network: ZooNetwork | GroupedNetwork, quality: float | None) -> Tensor | None:
    """Inverse of the quantisation step; None for models of one rate."""
    if not network.variable:
        return None
    assert quality is not None, "files of models with variable rate have a quality"
    return variable.gain_of(network, quality)


class ZooModel(ImageModel):
    """An imported model of the zoo in memory: transforms in float32, the rest in float64."""

    def __init__(
        self,
        info: ModelInfo,
        network: ZooNetwork | GroupedNetwork,
        tables: CdfTables,
        z_tables: CdfTables,
        device: torch.device,
    ) -> None:
        self.info, self.network, self.device = info, network, device
        self.channels = network.config.latent
        self.variable = network.variable
        kind = network.config.kind
        self.analysis_margin, self.synthesis_margin = (
            MARGINS[kind] if kind in MARGINS else MARGINS[kind.split("-")[0]]
        )
        for name, part in network.named_children():
            if name in ("g_a", "g_s", "h_a"):
                part.to(device)
            else:
                part.double()
        order = ChannelOrder.of(info.config, self.channels)
        if order is not None:
            self.indivisible()
        self.coder: LatentCoder
        if isinstance(network, GroupedNetwork):
            network.hyper.h_a.float().to(device)
            self.coder = GroupedCoder(network, tables, z_tables)
        else:
            self.coder = ZooCoder(network, tables, z_tables, order)

    def analyse(self, x: Tensor, quality: float | None) -> Tensor:
        y = to_last(self.network.g_a(to_first(x.to(self.device))))
        gain = _gain(self.network, quality)
        return y if gain is None else y * gain.float()

    def synthesise(self, y: Tensor, quality: float | None, *, fast: bool = False) -> Tensor:
        y, gain = y.to(self.device), _gain(self.network, quality)
        return to_last(self.network.g_s(to_first(y if gain is None else y / gain.float())))

    def hyper(self, y: Tensor, quality: float | None) -> Tensor | None:
        network, gain, y = self.network, _gain(self.network, quality), y.to(self.device)
        z = network.hyper_latent(to_first(y if gain is None else y / gain.float()))
        if z is None:
            return None
        if network.config.variable_z:
            assert gain is not None
            z = z / variable.z_step(network, gain).float()
        return to_last(z)

    def relaxed(self) -> LatentCoder:
        return self.coder

    def multiplier(self, quality: float | None) -> float:
        if self.variable:
            assert quality is not None
            return variable.multiplier_of(quality)
        return stored_multiplier(self.info)

    def filters(self) -> tuple[Tensor, Tensor, Tensor]:
        found, kind = dict(self.network.named_parameters()), self.network.config.kind
        last, first = ("g_a.7.", "g_s.1.") if kind == "cheng2020-attn" else ("g_a.6.", "g_s.0.")
        if kind.startswith("elic2022"):
            last, first = "g_a.13.", "g_s.1."
        if kind.startswith("cheng2020"):
            synthesis = found[first + "conv1.weight"].transpose(0, 1)
        else:  # a transposed convolution: inputs come first
            synthesis = found[first + "weight"]
        return found[last + "weight"].flatten(1), found[last + "bias"], synthesis.flatten(1)

    def indivisible(self) -> list[int]:
        if isinstance(self.network, GroupedNetwork):
            raise ModelError(
                f"the model {self.info.name} ({self.network.config.kind}) codes its groups of"
                " channels in the order that it was trained for: choose a model with a hyperprior"
                " alone or with slices"
            )
        if self.network.serial:
            raise ModelError(
                f"the model {self.info.name} ({self.network.config.kind}) codes all channels of a"
                " position before the next position, so no channel can come before the others:"
                " choose a model with a hyperprior alone or with slices"
            )
        return [1] * self.channels

"""g_a and g_s of the MLIC family on planes: the numbers of ``transforms.py`` in half the time.

Each layer works in place or into a map that the next one reads, and activations, GDN and shortcuts
are applied to bands on their way into the map. Choose this to code pictures, ``transforms.py`` to
train or for gradients with respect to latents.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from laconic.codec.image.reference.layers import GDN, ResidualBlock, ResidualDown, ResidualUp
from laconic.codec.image.reference.planes import DirectConv, FilteredConv, Plane, Workspace
from laconic.codec.image.reference.transforms import Analysis, Synthesis

# Tiles. Small ones round like PyTorch's convolutions, or better: the analysis decides symbols. The
# fewer channels are added up, the more the rounding of tiles shows. Large ones save work where only
# a picture depends on it, but would fill maps at 1/16 badly.
LARGE, SMALL, SMALLEST = 6, 4, 2
FEW = 96  # channels below which the analysis takes the smallest


class Stage(Protocol):
    """A layer that consumes its map."""

    def __call__(self, x: Plane, space: Workspace) -> Plane: ...


def _gelu(rows: Tensor) -> Tensor:
    gelu: Tensor = torch.ops.aten.gelu_(rows)
    return gelu


def _dense(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """A 1x1 convolution as a matrix ``[C, O]`` and a bias."""
    assert conv.bias is not None
    return conv.weight.detach().flatten(1).T.contiguous(), conv.bias.detach()


def _filtered(conv: nn.Conv2d, tile: int) -> FilteredConv:
    assert conv.bias is not None
    return FilteredConv([(conv.weight, conv.bias)], tile)


class Normalisation:
    """GDN of a band in place."""

    def __init__(self, gdn: GDN) -> None:
        self.gamma = gdn.gamma_reparam(gdn.gamma).detach().T.contiguous()
        self.beta, self.inverse = gdn.beta_reparam(gdn.beta).detach(), gdn.inverse

    def __call__(self, rows: Tensor, space: Workspace) -> Tensor:
        flat = rows.flatten(0, 1)
        squares, norm = space.take("squares", *flat.shape), space.take("norm", *flat.shape)
        torch.mul(flat, flat, out=squares)
        torch.addmm(self.beta, squares, self.gamma, out=norm)
        flat.mul_(norm.sqrt_() if self.inverse else norm.rsqrt_())
        return rows


class Block:
    """:class:`ResidualBlock` in place, or into a map of more or fewer channels."""

    def __init__(self, block: ResidualBlock, tile: int) -> None:
        self.first, self.second = _filtered(block.conv1, tile), _filtered(block.conv2, tile)
        self.skip = None if block.skip is None else _dense(block.skip)
        self.outputs = block.conv2.out_channels

    def __call__(self, x: Plane, space: Workspace) -> Plane:
        inner = space.plane(x.height, x.width, self.outputs)
        for _, row, band in self.first.bands(x, space):
            inner.put(row, _gelu(band))
        out = x
        if self.skip is not None:
            weight, bias = self.skip
            out = space.plane(x.height, x.width, self.outputs)
            out.put(0, x.rows(0, x.height) @ weight + bias)
        for _, row, band in self.second.bands(inner, space):
            out.add(row, _gelu(band))
        space.free(inner)
        return out


class Down:
    """:class:`ResidualDown`."""

    def __init__(self, block: ResidualDown, tile: int) -> None:
        self.first, self.second = DirectConv(block.conv1), _filtered(block.conv2, tile)
        self.norm, self.skip = Normalisation(block.gdn), _dense(block.skip)
        self.outputs = block.conv2.out_channels

    def __call__(self, x: Plane, space: Workspace) -> Plane:
        height, width = -(-x.height // 2), -(-x.width // 2)
        inner = space.plane(height, width, self.outputs)
        for _, row, band in self.first.bands(x):
            inner.put(row, _gelu(band))
        out = space.plane(height, width, self.outputs)
        weight, bias = self.skip
        for _, row, band in self.second.bands(inner, space):
            self.norm(band, space)
            seen = x.rows(2 * row, 2 * len(band))[::2, ::2].flatten(0, 1)
            short = space.take("short", len(seen), self.outputs)
            torch.addmm(bias, seen, weight, out=short)
            band[:, :width].add_(short.view(-1, width, self.outputs))
            out.put(row, band)
        space.free(inner)
        space.free(x)
        return out


class Up:
    """:class:`ResidualUp`: both sub-pixel convolutions read the same transform."""

    def __init__(self, block: ResidualUp, tile: int) -> None:
        self.outputs = block.conv.out_channels
        parts = []
        for conv in (block.subpel_conv[0], block.upsample[0]):
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            # Phase (i, j) of channel c is channel 4 c + 2 i + j; parts are rows i, channels (j, c).
            weight = conv.weight.unflatten(0, (-1, 2, 2)).permute(1, 2, 0, 3, 4, 5).flatten(1, 2)
            bias = conv.bias.unflatten(0, (-1, 2, 2)).permute(1, 2, 0).flatten(1)
            parts += list(zip(weight, bias, strict=True))
        self.wide, self.conv = FilteredConv(parts, tile), _filtered(block.conv, LARGE)
        self.norm = Normalisation(block.igdn)

    def __call__(self, x: Plane, space: Workspace) -> Plane:
        inner, out = (space.plane(2 * x.height, 2 * x.width, self.outputs) for _ in range(2))
        for part, row, band in self.wide.bands(x, space):
            pairs = band.unflatten(2, (2, self.outputs)).flatten(1, 2)[:, : inner.width]
            target = out if part >= 2 else inner
            lines = target.rows(2 * row, 2 * len(band))[part % 2 :: 2]
            lines.copy_(pairs if part >= 2 else _gelu(pairs))
        for _, row, band in self.conv.bands(inner, space):
            out.add(row, self.norm(band, space))
        space.free(inner)
        space.free(x)
        return out


class Narrow:
    """The last layer of g_a: a convolution with stride 2."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv, self.outputs = DirectConv(conv), conv.out_channels

    def __call__(self, x: Plane, space: Workspace) -> Plane:
        out = space.plane(-(-x.height // 2), -(-x.width // 2), self.outputs)
        for _, row, band in self.conv.bands(x):
            out.put(row, band)
        return out


class Picture:
    """The last layer of g_s: a sub-pixel convolution to few channels."""

    def __init__(self, layer: nn.Sequential) -> None:
        conv = layer[0]
        assert isinstance(conv, nn.Conv2d)
        self.conv, self.outputs = DirectConv(conv), conv.out_channels // 4

    def __call__(self, x: Plane, space: Workspace) -> Plane:
        out = space.plane(2 * x.height, 2 * x.width, self.outputs)
        for _, row, band in self.conv.bands(x):
            phases = band.unflatten(2, (self.outputs, 2, 2)).permute(0, 3, 1, 4, 2)
            out.put(2 * row, phases.reshape(2 * len(band), -1, self.outputs))
        return out


class Other:
    """A layer without a form of its own, by its module."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, x: Plane, space: Workspace) -> Plane:
        y: Tensor = self.module(x.whole())
        out = space.plane(y.shape[2], y.shape[3], y.shape[1])
        out.put(0, y[0].permute(1, 2, 0))
        space.free(x)
        return out


class Banded:
    """A transform with the weights that the module has now."""

    def __init__(self, transform: Analysis | Synthesis) -> None:
        layers = next(transform.children())
        assert isinstance(layers, nn.Sequential)
        synthesis = isinstance(transform, Synthesis)
        narrow = min(p.shape[0] for n, p in layers.named_parameters() if "conv" in n) < FEW
        few = SMALLEST if narrow else SMALL
        tiles = (SMALL, SMALL, LARGE) if synthesis else (few, few, few)  # g_s begins at 1/16
        self.stages: list[Stage] = []
        for i, layer in enumerate(layers):
            self.stages.append(_stage(layer, tiles[min(i, 2)]))

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """``[1, H, W, C]`` float32, channels-last on both sides."""
        space = Workspace()
        height, width, channels = x.shape[1:]
        plane = space.plane(height, width, channels)
        plane.put(0, x[0])
        for stage in self.stages:
            plane = stage(plane, space)
        return plane.rows(0, plane.height)[None].contiguous()


def _stage(layer: nn.Module, tile: int) -> Stage:
    if isinstance(layer, ResidualBlock):
        return Block(layer, tile)
    if isinstance(layer, ResidualDown):
        return Down(layer, tile)
    if isinstance(layer, ResidualUp):
        return Up(layer, tile)
    if isinstance(layer, nn.Conv2d):
        return Narrow(layer)
    if isinstance(layer, nn.Sequential) and isinstance(layer[-1], nn.PixelShuffle):
        return Picture(layer)
    return Other(layer)

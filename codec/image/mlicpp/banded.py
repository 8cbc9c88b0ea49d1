"""The analysis in bands of rows, so that large images fit into memory.

Fast convolutions of large float32 maps, a band of rows at a time, for transforms of images.

``winograd.py`` transforms small maps in one piece; here both transforms run along columns and along
rows in turn, which costs a third of that, larger tiles are worth while (F(6x6, 3x3): a fifth of the
products), and what follows a convolution (activation, normalisation, shortcut) is done while its
band is still in the cache. Matrix products do the work; every operand is read where it lies.

No gradients: ``layers.py`` gives the same values, but for rounding of about 3e-5 of full scale.

g_a and g_s of the MLIC family on planes: the numbers of ``layers.py`` in half the time.

Each layer works in place or into a map that the next one reads, and activations, GDN and shortcuts
are applied to bands on their way into the map. Choose this to code images, ``layers.py`` to
train or for gradients with respect to latents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.mlicpp.layers import (
    GDN,
    Analysis,
    ResidualBlock,
    ResidualDown,
    ResidualUp,
    Synthesis,
)
from laconic.codec.image.mlicpp.winograd import toom_cook

TILES = 128  # tiles whose products are computed at once
DIRECT_ROWS = 16  # rows of output of a plain convolution that are computed at once
SLACK = 6  # rows and columns beyond the map that tiles may touch


@dataclass
class Plane:
    """A map ``[H, W, C]`` with zeros around it."""

    data: Tensor  # [1 + H + 1 + SLACK, 1 + W + 1 + SLACK, C]
    height: int
    width: int

    @property
    def channels(self) -> int:
        return self.data.shape[2]

    def rows(self, first: int, count: int) -> Tensor:
        """View of some rows, ``[count, W, C]``."""
        return self.data[1 + first : 1 + first + count, 1 : 1 + self.width]

    def put(self, first: int, rows: Tensor) -> None:
        """Write rows ``[R, W or more, C]``."""
        self.rows(first, len(rows)).copy_(rows[:, : self.width])

    def add(self, first: int, rows: Tensor) -> None:
        """Add rows ``[R, W or more, C]``."""
        self.rows(first, len(rows)).add_(rows[:, : self.width])

    def whole(self) -> Tensor:
        """View as ``[1, C, H, W]``."""
        return self.rows(0, self.height).permute(2, 0, 1)[None]


class Workspace:
    """Memory of one transform that its layers share: fresh memory costs as much as a layer."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}
        self._free: list[Plane] = []

    def take(self, name: str, *shape: int) -> Tensor:
        """A buffer that holds until the next call with this name."""
        count = torch.Size(shape).numel()
        found = self._buffers.get(name)
        if found is None or found.numel() < count:
            found = self._buffers[name] = torch.empty(count)
        return found[:count].view(shape)

    def plane(self, height: int, width: int, channels: int) -> Plane:
        """A map with zeros around it; its inside is for the caller to write."""
        for i, plane in enumerate(self._free):
            if (plane.height, plane.width, plane.channels) == (height, width, channels):
                return self._free.pop(i)
        data = torch.empty(2 + height + SLACK, 2 + width + SLACK, channels)
        data[0] = data[1 + height :] = 0
        data[:, 0] = data[:, 1 + width :] = 0
        return Plane(data, height, width)

    def free(self, plane: Plane) -> None:
        """The plane is not needed any more."""
        self._free.append(plane)


Band = tuple[int, int, Tensor]  # part, first row, rows [R, W or more, O] that may be overwritten


class FilteredConv:
    """3x3 convolutions of one map with zero padding, by minimal filtering.

    Parts read the same map and are yielded one after another for each band, so that the map is
    transformed once and what is in flight fits the cache.
    """

    def __init__(self, parts: Sequence[tuple[Tensor, Tensor]], tile: int) -> None:
        """``parts`` are weights ``[O, C, 3, 3]`` with biases ``[O]``."""
        self.tile, self.points = tile, tile + 2
        inputs, filters, outputs = toom_cook(tile, 3)
        self.inputs, self.outputs = inputs.float(), outputs.float()
        self.parts = []
        for weight, bias in parts:
            taps = weight.detach().double().permute(2, 3, 1, 0)  # [3, 3, C, O]
            points = torch.einsum("ik,jl,klco->ijco", filters, filters, taps)
            self.parts.append((points.float().contiguous(), bias.detach()))

    def bands(self, x: Plane, space: Workspace) -> Iterator[Band]:
        """All parts of all bands, top to bottom."""
        m, n, channels = self.tile, self.points, x.channels
        down, across = -(-x.height // m), -(-x.width // m)
        step = max(1, TILES // across)
        for row in range(0, down, step):
            count = min(step, down - row)
            points = self._points(x, m * row, count, across, space)
            for part, (weight, bias) in enumerate(self.parts):
                products = space.take("products", n, n, count * across, len(bias))
                for i in range(n):
                    tiles = points[i].view(-1, n, channels).transpose(0, 1)
                    torch.bmm(tiles, weight[i], out=products[i])
                # Point (1, 1) is x = y = 1, which every output has once.
                products[1, 1].add_(bias)
                rows = self._outputs(products, count, across, space)
                yield part, m * row, rows[: x.height - m * row]

    def _points(self, x: Plane, first: int, count: int, across: int, space: Workspace) -> Tensor:
        """Transform of ``count`` rows of tiles, ``[n, count, across, n, C]``: axis 0 along columns,
        axis 3 along rows."""
        m, n, channels = self.tile, self.points, x.channels
        line = x.data.stride(0)
        windows = x.data[first:].as_strided((count, n, line), (m * line, line, 1))
        columns = space.take("columns", count, n, line)
        torch.bmm(self.inputs.expand(count, n, n), windows, out=columns)
        points = space.take("points", n, count, across, n, channels)
        for row in range(count):
            for i in range(n):
                tiles = columns[row, i].as_strided(
                    (across, n, channels), (m * channels, channels, 1)
                )
                torch.bmm(self.inputs.expand(across, n, n), tiles, out=points[i, row])
        return points

    def _outputs(self, products: Tensor, count: int, across: int, space: Workspace) -> Tensor:
        """Inverse transform, ``[m * count, m * across, O]``."""
        m, n, channels = self.tile, self.points, products.shape[3]
        columns = space.take("columns", m, n, count, across, channels)
        torch.mm(self.outputs, products.view(n, -1), out=columns.view(m, -1))
        rows = space.take("rows", m * count, m * across, channels)
        for row in range(count):
            for i in range(m):
                tiles = columns[i, :, row].transpose(0, 1)  # [across, n, O]
                out = rows[m * row + i].view(across, m, channels)
                torch.bmm(self.outputs.expand(across, m, n), tiles, out=out)
        return rows


class DirectConv:
    """A 3x3 convolution of any stride by PyTorch's kernel, in bands."""

    def __init__(self, conv: nn.Conv2d) -> None:
        assert conv.bias is not None
        self.weight = conv.weight.detach().contiguous(memory_format=torch.channels_last)
        self.bias, self.stride = conv.bias.detach(), conv.stride[0]

    def bands(self, x: Plane) -> Iterator[Band]:
        """Bands, top to bottom."""
        s = self.stride
        height, width = -(-x.height // s), -(-x.width // s)
        for row in range(0, height, DIRECT_ROWS):
            end = min(height, row + DIRECT_ROWS)
            seen = x.data[s * row : s * (end - 1) + 3, : s * (width - 1) + 3]
            out = F.conv2d(seen.permute(2, 0, 1)[None], self.weight, self.bias, stride=s)
            yield 0, row, out[0].permute(1, 2, 0)


# Tiles. Small ones round like PyTorch's convolutions, or better: the analysis decides symbols. The
# fewer channels are added up, the more the rounding of tiles shows. Large ones save work where only
# an image depends on it, but would fill maps at 1/16 badly.
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


class ToImage:
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
        return ToImage(layer)
    return Other(layer)

"""Fast convolutions of large float32 maps, a band of rows at a time, for transforms of pictures.

``winograd.py`` transforms small maps in one piece; here both transforms run along columns and along
rows in turn, which costs a third of that, larger tiles are worth while (F(6x6, 3x3): a fifth of the
products), and what follows a convolution (activation, normalisation, shortcut) is done while its
band is still in the cache. Matrix products do the work; every operand is read where it lies.

No gradients: ``transforms.py`` gives the same values, but for rounding of about 3e-5 of full scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.reference.winograd import toom_cook

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

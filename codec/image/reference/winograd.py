"""3x3 convolutions of float64 maps by minimal filtering, about twice as fast as PyTorch's.

F(2x2, 3x3) computes four outputs from sixteen products instead of thirty-six (Lavin and Gray, "Fast
Algorithms for Convolutional Neural Networks", CVPR 2016, arXiv 1509.09308, eq. 10-12). Its error is
of the order of float64 rounding, far below the guard band of the coder. PyTorch has no such kernel
for float64, and exact coding spends most of its time in these layers. Not worth it for the large
maps of the transforms, where moving data costs more than multiplying.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# G of the paper, applied to filters: [4, 3].
FILTER = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))


class WinogradConv(nn.Module):
    """Stands in for a 3x3 convolution with stride 1, padding 1 and a bias; batches of one."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None
        g = torch.tensor(FILTER, dtype=conv.weight.dtype)
        points = torch.einsum("ai,ocij,bj->aboc", g, conv.weight.detach(), g)
        self.register_buffer("weight", points.flatten(0, 1).contiguous())  # [16, O, C]
        self.register_buffer("bias", conv.bias.detach()[:, None, None])

    def forward(self, x: Tensor) -> Tensor:  # [1, C, H, W] -> [1, O, H, W]
        _, channels, height, width = x.shape
        rows, columns = (height + 1) // 2, (width + 1) // 2  # of 2x2 outputs
        x = F.pad(x, (1, 1 + width % 2, 1, 1 + height % 2))[0]
        inputs = []
        for line in _inputs([x[:, i : i + 2 * rows : 2] for i in range(4)]):
            inputs += _inputs([line[:, :, j : j + 2 * columns : 2] for j in range(4)])
        flat = torch.stack(inputs).reshape(16, channels, -1)
        products = (self.weight @ flat).reshape(4, 4, -1, rows, columns)
        out = torch.stack([torch.stack(_outputs(list(p)), -1) for p in _outputs(list(products))], 2)
        # [O, rows, 2, columns, 2]
        out = out.reshape(-1, 2 * rows, 2 * columns)[:, :height, :width]
        return (out + self.bias)[None]


def _inputs(lines: list[Tensor]) -> list[Tensor]:
    """B^T of the paper along one axis."""
    a, b, c, d = lines
    return [a - c, b + c, c - b, b - d]


def _outputs(lines: list[Tensor]) -> list[Tensor]:
    """A^T of the paper along one axis."""
    a, b, c, d = lines
    return [a + b + c, b - c - d]


def use_winograd(module: nn.Module) -> None:
    """Replace every convolution below ``module`` that can be."""
    for name, child in module.named_children():
        if (
            isinstance(child, nn.Conv2d)
            and child.kernel_size == (3, 3)
            and child.stride == (1, 1)
            and child.padding == (1, 1)
            and child.groups == 1
        ):
            setattr(module, name, WinogradConv(child))
        else:
            use_winograd(child)

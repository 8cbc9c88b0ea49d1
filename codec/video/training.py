"""What only fitting needs and no file holds: HNeRV's encoder, losses, the optimiser and its state.

The encoder sees a frame and gives embeddings that resemble each other where frames do, which the
decoder learns faster than free numbers. Liu et al., "A ConvNet for the 2020s", CVPR 2022, in the
arrangement of HNeRV (arXiv 2304.02633).

Losses are over the image without its padding. `squared` gives the best PSNR for its time. `boosted`
is HNeRV-Boost's mix of L1, MS-SSIM and a frequency term (arXiv 2402.18152, eq. 6); it costs several
times as much a step. Wang, Simoncelli and Bovik, "Multiscale structural similarity", 2003.

Adan, HNeRV-Boost's optimiser, is momentum that also knows how the gradient changes: large steps at
batches of one frame. Xie et al., "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing
Deep Models", TPAMI 2024 (arXiv 2208.06677). All parameters are updated together, which small
networks need: their tensors are tiny and many. Its state goes to the work file as plain arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of ``[B, C, H, W]``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        moved = x.permute(0, 2, 3, 1)  # [B, H, W, C]
        normal = F.layer_norm(moved, self.weight.shape, self.weight, self.bias, 1e-6)
        return normal.permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    """7 x 7 depthwise convolution and an inverted bottleneck, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dwconv(x).permute(0, 2, 3, 1)  # [B, H, W, C]
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(self.norm(y))))
        return x + y.permute(0, 3, 1, 2)


class ConvNextEncoder(nn.Module):
    """Frames ``[B, 3, H, W]`` in [0, 1] to embeddings ``[B, channels, H / P, W / P]``.

    Args:
        strides: one stage each; P is their product and divides H and W.
        channels: of the embedding.
        hidden: of all stages but the last.
    """

    def __init__(self, strides: Sequence[int], channels: int, hidden: int = 64) -> None:
        super().__init__()
        widths = [hidden] * (len(strides) - 1) + [channels]
        layers, before = [], 3
        for i, (stride, width) in enumerate(zip(strides, widths, strict=True)):
            conv = nn.Conv2d(before, width, stride, stride)
            norm = ChannelNorm(before if i else width)
            layers.append(nn.Sequential(norm, conv) if i else nn.Sequential(conv, norm))
            before = width
        self.downsample_layers = nn.ModuleList(layers)
        self.stages = nn.ModuleList(nn.Sequential(ConvNextBlock(width)) for width in widths)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        return x


class Adan(torch.optim.Optimizer):
    """Adan without weight decay.

    Args:
        params: tensors or groups of them with their own ``lr``.
        betas: decay of the mean gradient, of its change and of its square, as PyTorch counts them.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-3,
        betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            b1, b2, b3 = group["betas"]
            pairs = [(p, p.grad) for p in group["params"] if p.grad is not None]
            if not pairs:
                continue
            params: list[Tensor] = [p for p, _ in pairs]
            grads: list[Tensor] = [grad for _, grad in pairs]
            for p, grad in pairs:
                if not self.state[p]:
                    self.state[p] = {
                        "step": 0,
                        "mean": torch.zeros_like(p),
                        "change": torch.zeros_like(p),
                        "square": torch.zeros_like(p),
                        "before": grad.clone(),
                    }
            states = [self.state[p] for p in params]
            for s in states:
                s["step"] += 1
            count = states[0]["step"]
            means, changes, squares, before = (
                [s[key] for s in states] for key in ("mean", "change", "square", "before")
            )
            difference = torch._foreach_sub(grads, before)
            torch._foreach_lerp_(means, grads, 1 - b1)
            torch._foreach_lerp_(changes, difference, 1 - b2)
            ahead = torch._foreach_add(grads, difference, alpha=b2)
            torch._foreach_mul_(squares, b3)
            torch._foreach_addcmul_(squares, ahead, ahead, 1 - b3)
            torch._foreach_copy_(before, grads)
            bottom = torch._foreach_sqrt(torch._foreach_div(squares, 1 - b3**count))
            torch._foreach_add_(bottom, group["eps"])
            top = torch._foreach_div(means, 1 - b1**count)
            torch._foreach_add_(top, changes, alpha=b2 / (1 - b2**count))
            torch._foreach_addcdiv_(params, top, bottom, -group["lr"])


class FrameDescent:
    """Descent for a tensor whose first axis is time, one frame at a time.

    A step sees the gradient of one frame's latents only; this optimiser reads and writes only that
    frame, so that its cost does not grow with the length of the chunk. The gradient is divided by
    its size in the channel and not, as in Adam, in the element: latents that matter little stay
    where they are, most of them at zero.

    Args:
        tensor: ``[N, C, h, w]``, changed in place.
        momentum, memory: decay of a frame's mean gradient and of a channel's mean square.
    """

    def __init__(self, tensor: Tensor, momentum: float = 0.8, memory: float = 0.95) -> None:
        self.tensor, self.momentum, self.memory = tensor, momentum, memory
        self.mean = torch.zeros_like(tensor)
        self.square = torch.zeros(tensor.shape[1], 1, 1, device=tensor.device)
        self.counts = torch.zeros(tensor.shape[0] + 1)  # updates of each frame, and of all

    @torch.no_grad()
    def step(self, frame: int, grad: Tensor, lr: float) -> None:
        """Update one frame from its gradient ``[C, h, w]``; no element moves more than 4 lr."""
        self.counts[frame] += 1
        self.counts[-1] += 1
        own, all_frames = float(self.counts[frame]), float(self.counts[-1])
        self.square.lerp_(grad.square().mean((1, 2), keepdim=True), 1 - self.memory)
        size = (self.square / (1 - self.memory**all_frames)).sqrt_().add_(1e-12)
        mean = self.mean[frame].lerp_(grad, 1 - self.momentum)
        move = mean / size / (1 - self.momentum**own)
        self.tensor[frame].sub_(move.clamp_(-4, 4), alpha=lr)

    def state(self) -> dict[str, Tensor]:
        """Tensors to save; assign to them to restore."""
        return {"mean": self.mean, "square": self.square, "counts": self.counts}


SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
L1_SHARE, PIXEL_WEIGHT = 0.7, 60.0


def squared(frames: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of ``[B, 3, H, W]`` in 0..1."""
    return F.mse_loss(frames, target)


def boosted(frames: Tensor, target: Tensor) -> Tensor:
    """60 (0.7 L1 + 0.3 (1 - MS-SSIM)) + mean |FFT difference|."""
    pixels = L1_SHARE * F.l1_loss(frames, target)
    pixels = pixels + (1 - L1_SHARE) * (1 - ms_ssim(frames, target))
    spectrum = torch.view_as_real(torch.fft.fft2(frames - target))
    return PIXEL_WEIGHT * pixels + spectrum.abs().mean()


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """MS-SSIM, with fewer scales and a smaller window where the image is small.

    An image of at least 161 pixels a side is measured as in the literature, with five scales and
    a window of 11; a smaller one with as many scales as leave the window inside the image.
    """
    side = min(a.shape[-2:])
    window = WINDOW if side >= WINDOW else side - 1 + side % 2
    scales = 1
    while scales < len(SCALE_WEIGHTS) and side // 2**scales >= window:
        scales += 1
    weights = a.new_tensor(SCALE_WEIGHTS[:scales])
    weights = weights / weights.sum()
    kernel = _gaussian(window, a)
    factors = []
    for scale in range(scales):
        if scale:
            a, b = (F.avg_pool2d(x, 2, padding=(x.shape[-2] % 2, x.shape[-1] % 2)) for x in (a, b))
        similarity, structure = _ssim(a, b, kernel)
        factors.append(similarity if scale == scales - 1 else structure)
    stacked = torch.stack(factors).clamp_min(1e-6)  # [scales, B, C]
    return (stacked ** weights[:, None, None]).prod(0).mean()


def _ssim(a: Tensor, b: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Mean similarity and its contrast-structure part, ``[B, C]`` each, for values in 0..1."""
    c1, c2 = 0.01**2, 0.03**2
    maps = torch.cat([a, b, a * a, b * b, a * b], 1)
    blurred = _blur(maps, kernel)
    mean_a, mean_b, aa, bb, ab = blurred.chunk(5, 1)
    structure = (2 * (ab - mean_a * mean_b) + c2) / (
        aa - mean_a.square() + bb - mean_b.square() + c2
    )
    similarity = structure * (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    return similarity.mean((2, 3)), structure.mean((2, 3))


def _gaussian(window: int, like: Tensor) -> Tensor:
    x = torch.arange(window, dtype=like.dtype, device=like.device) - window // 2
    kernel = torch.exp(-x.square() / (2 * SIGMA**2))
    return kernel / kernel.sum()


def _blur(x: Tensor, kernel: Tensor) -> Tensor:
    channels = x.shape[1]
    row = kernel.expand(channels, 1, 1, -1)
    x = F.conv2d(x, row, groups=channels)
    return F.conv2d(x, row.transpose(2, 3), groups=channels)


LOSSES = {"squared": squared, "boosted": boosted}


PREFIX = "optimiser/"


def arrays_of(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Arrays and numbers by ``optimiser/PLACE/KEY``."""
    found: dict[str, Any] = {}
    for place, entries in optimiser.state_dict()["state"].items():
        for key, value in entries.items():
            array = value.detach().cpu().numpy().copy() if torch.is_tensor(value) else value
            found[f"{PREFIX}{place}/{key}"] = array
    return found


def load_arrays(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Put back what :func:`arrays_of` took; other entries of ``state`` are passed over."""
    entries: dict[int, dict[str, Any]] = {}
    for name, value in state.items():
        if name.startswith(PREFIX):
            _, place, key = name.split("/")
            array = np.asarray(value)
            entry = torch.from_numpy(array.copy()) if array.ndim or key == "step" else value
            entries.setdefault(int(place), {})[key] = entry
    optimiser.load_state_dict({**optimiser.state_dict(), "state": entries})

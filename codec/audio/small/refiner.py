"""Flow-matching refiner: the detail that a regression averages away, in a few steps.

Conditional flow matching (Lipman et al. 2023, arXiv 2210.02747) on straight paths

    x_t = (1 - t) x_0 + t x_1,    v = x_1 - x_0                        (equations 22 and 23)

from x_0 = the decoded spectrogram plus noise to x_1 = the true one. Starting at the regression and
not at noise leaves so little to do that two to four Euler steps suffice. The noise comes from a
generator whose stream is frozen (NEP 19), so that a seed means the same everywhere.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.audio.small.config import MEL_BANDS, SmallConfig
from laconic.codec.audio.small.layers import ConvBlock
from laconic.codec.audio.small.vocoder import MEL_MEAN, MEL_SCALE

NOISE = 0.15  # deviation in normalised log-mel, about the regression's own error
TIME_WIDTH = 64


class Refiner(nn.Module):
    """Velocity of ``[B, T, 80]`` spectrograms, given the decoded one."""

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        dim = config.refiner_dim
        self.stem = nn.Linear(2 * MEL_BANDS, dim)
        self.time = nn.Linear(TIME_WIDTH, 2 * dim * config.refiner_depth)
        self.blocks = nn.ModuleList(
            ConvBlock(dim, 3 * dim, 1 / config.refiner_depth) for _ in range(config.refiner_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, MEL_BANDS)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        nn.init.zeros_(self.time.weight)
        nn.init.zeros_(self.time.bias)

    def forward(self, x: Tensor, t: Tensor, coarse: Tensor) -> Tensor:
        """Velocity at ``x`` ``[B, T, 80]`` and time ``t`` ``[B]``; all in normalised units."""
        rates = torch.exp(torch.arange(TIME_WIDTH // 2, device=x.device) * -0.2) * 100
        angle = t[:, None] * rates
        modulation = self.time(torch.cat([angle.sin(), angle.cos()], dim=1))
        parts = modulation[:, None, :].chunk(2 * len(self.blocks), dim=-1)
        y = self.stem(torch.cat([x, coarse], dim=-1))
        for i, block in enumerate(self.blocks):
            y = block(y, parts[2 * i], parts[2 * i + 1])
        velocity: Tensor = self.head(self.norm(y))
        return velocity.float()

    def loss(self, mel: Tensor, coarse: Tensor) -> Tensor:
        """Flow-matching loss for true ``mel`` and decoded ``coarse`` ``[B, T, 80]``."""
        x1, start = (mel - MEL_MEAN) / MEL_SCALE, (coarse - MEL_MEAN) / MEL_SCALE
        x0 = start + NOISE * torch.randn_like(start)
        t = torch.rand(len(x1), device=x1.device)
        x = torch.lerp(x0, x1, t[:, None, None])
        return F.mse_loss(self(x, t, start), x1 - x0)

    def refine(self, coarse: Tensor, steps: int, seed: int) -> Tensor:
        """``steps`` Euler steps from ``coarse`` ``[B, T, 80]``; the noise depends on ``seed`` and
        T alone, not on the batch."""
        start = (coarse - MEL_MEAN) / MEL_SCALE
        noise = np.random.RandomState(seed).standard_normal(start.shape[1:])  # frozen by NEP 19
        x = start + NOISE * torch.from_numpy(noise).to(start)
        for i in range(steps):
            t = torch.full((len(x),), i / steps, device=x.device)
            x = x + self(x, t, start) / steps
        return x * MEL_SCALE + MEL_MEAN

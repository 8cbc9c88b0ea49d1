"""The diffusion network of the published SemantiCodec and its sampler.

Transformers over feature maps, with the layout and names of latent-diffusion checkpoints.

A level of the diffusion network has two of them: one that attends the map itself twice, one whose
second attention reads the condition.

The diffusion network: a U-Net with two transformers per block ("T-UNet") on the VAE's latent.

Four levels of 64, 128, 192 and 320 channels; the three lower ones attend to themselves and to the
condition. It predicts v. Names follow the public checkpoints.

Diffusion in the latent: noise schedule, v-prediction, DDIM with classifier-free guidance.

    z_t = sqrt(a_t) z_0 + sqrt(1 - a_t) eps          (forward process, a_t = cumulative alpha)
    v   = sqrt(a_t) eps - sqrt(1 - a_t) z_0          (what the network predicts)

The schedule's numbers are buffers of a checkpoint and override those made here. Noise comes from
NumPy's frozen MT19937 normal stream, so a seed gives the same noise with every version of every
library. Papers: Song et al., DDIM (arXiv 2010.02502); Salimans and Ho, v (arXiv 2202.00512); Ho
and Salimans, guidance (arXiv 2207.12598).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec.audio.semanticodec.config import FullConfig


class Attention(nn.Module):
    """Attention of ``x`` to ``context``; positions whose ``mask`` is zero are not seen."""

    def __init__(self, width: int, context: int, head: int) -> None:
        super().__init__()
        self.head = head
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Identity())

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x`` ``[B, N, width]``, ``context`` ``[B, M, context]``, ``mask`` bool ``[B, M]``."""

        def heads(y: Tensor) -> Tensor:  # [B, heads, N, head]
            return y.unflatten(-1, (-1, self.head)).transpose(1, 2)

        seen = None if mask is None else mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(
            heads(self.to_q(x)), heads(self.to_k(context)), heads(self.to_v(context)), seen
        )
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class GatedLinear(nn.Module):
    """GEGLU: one half of the projection, weighted by GELU of the other."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, -1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Gated hidden layer, four times as wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            GatedLinear(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention, attention to the context (or to itself), feed-forward."""

    def __init__(self, width: int, context: int, head: int) -> None:
        super().__init__()
        self.attn1 = Attention(width, width, head)
        self.ff = FeedForward(width)
        self.attn2 = Attention(width, context, head)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        y = self.norm1(x)
        x = x + self.attn1(y, y)
        y = self.norm2(x)
        x = x + self.attn2(y, y if context is None else context, mask)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """Transformer block over all positions of a map ``[B, C, H, W]``."""

    def __init__(self, width: int, context: int | None, head: int) -> None:
        super().__init__()
        self.conditioned = context is not None
        self.norm = nn.GroupNorm(32, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, context or width, head)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        y = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)  # [B, H W, C]
        for block in self.transformer_blocks:
            y = block(y, context, mask) if self.conditioned else block(y, None, None)
        return x + self.proj_out(y.transpose(1, 2).unflatten(2, x.shape[2:]))


BLOCKS = 2  # residual blocks per level on the way down, one more on the way up
GROUPS = 32


def time_features(steps: Tensor, width: int) -> Tensor:
    """int ``[B]`` -> ``[B, width]``: cosines, then sines, of geometric frequencies."""
    half = width // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32) / half)
    angles = steps[:, None].float() * rates.to(steps.device)
    return torch.cat([angles.cos(), angles.sin()], 1)


class ResidualBlock(nn.Module):
    """norm, SiLU, conv, plus the time's vector, norm, SiLU, conv, plus the input."""

    def __init__(self, inputs: int, outputs: int, time: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time, outputs))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, outputs),
            nn.SiLU(),
            nn.Identity(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.skip_connection: nn.Module = (
            nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        )

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        y = self.in_layers(x) + self.emb_layers(time)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(y)


class Downsample(nn.Module):
    """Convolution with stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Nearest neighbour, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Stage(nn.ModuleList):
    """Modules in a row, each given what it takes beside the map."""

    def forward(self, x: Tensor, time: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        for module in self:
            if isinstance(module, ResidualBlock):
                x = module(x, time)
            elif isinstance(module, SpatialTransformer):
                x = module(x, context, mask)
            else:
                x = module(x)
        return x


class UNet(nn.Module):
    """v of a noisy latent ``[B, 8, T, F]`` at time steps ``[B]`` given a condition."""

    def __init__(self, config: FullConfig) -> None:
        super().__init__()
        base, head = config.unet_channels, config.head_width
        time = 4 * base
        self.base = base
        self.time_embed = nn.Sequential(nn.Linear(base, time), nn.SiLU(), nn.Linear(time, time))

        def attended(channels: int) -> list[nn.Module]:
            return [SpatialTransformer(channels, c, head) for c in (None, config.context)]

        self.input_blocks = nn.ModuleList([Stage([nn.Conv2d(config.latent, base, 3, padding=1)])])
        channels, widths = base, [base]
        last = len(config.unet_multipliers) - 1
        for level, multiplier in enumerate(config.unet_multipliers):
            for _ in range(BLOCKS):
                block: list[nn.Module] = [ResidualBlock(channels, base * multiplier, time)]
                channels = base * multiplier
                self.input_blocks.append(Stage(block + (attended(channels) if level else [])))
                widths.append(channels)
            if level < last:
                self.input_blocks.append(Stage([Downsample(channels)]))
                widths.append(channels)
        self.middle_block = Stage(
            [
                ResidualBlock(channels, channels, time),
                *attended(channels),
                ResidualBlock(channels, channels, time),
            ]
        )
        self.output_blocks = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(config.unet_multipliers))):
            for index in range(BLOCKS + 1):
                inputs, outputs = channels + widths.pop(), base * multiplier
                channels = outputs
                block = [ResidualBlock(inputs, outputs, time)]
                block += attended(channels) if level else []
                if level and index == BLOCKS:
                    block.append(Upsample(channels))
                self.output_blocks.append(Stage(block))
        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, channels),
            nn.SiLU(),
            nn.Conv2d(channels, config.latent, 3, padding=1),
        )

    def forward(
        self, x: Tensor, steps: Tensor, context: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """``context`` ``[B, positions, 1536 K + 192]``; ``mask`` bool ``[B, positions]``, false
        where nothing is to be seen."""
        time = self.time_embed(time_features(steps, self.base).to(x.dtype))
        kept = []
        for stage in self.input_blocks:
            x = stage(x, time, context, mask)
            kept.append(x)
        x = self.middle_block(x, time, context, mask)
        for stage in self.output_blocks:
            x = stage(torch.cat([x, kept.pop()], 1), time, context, mask)
        return self.out(x)


STEPS = 1000  # of training
LINEAR = (0.0015, 0.0195)  # square roots of these betas are evenly spaced

Predict = Callable[[Tensor, Tensor], Tensor]  # (z_t, steps [B]) -> v


class Schedule(nn.Module):
    """Buffers under the names of latent-diffusion checkpoints."""

    alphas_cumprod: Tensor

    def __init__(self, *, complete: bool = False) -> None:
        super().__init__()
        betas = np.linspace(LINEAR[0] ** 0.5, LINEAR[1] ** 0.5, STEPS, dtype=np.float64) ** 2
        alphas = np.cumprod(1 - betas)
        previous = np.append(1.0, alphas[:-1])
        variance = betas * (1 - previous) / (1 - alphas)
        arrays = {"alphas_cumprod": alphas}
        if complete:
            arrays |= {
                "betas": betas,
                "alphas_cumprod_prev": previous,
                "sqrt_alphas_cumprod": np.sqrt(alphas),
                "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - alphas),
                "log_one_minus_alphas_cumprod": np.log(1 - alphas),
                "sqrt_recip_alphas_cumprod": np.sqrt(1 / alphas),
                "sqrt_recipm1_alphas_cumprod": np.sqrt(1 / alphas - 1),
                "posterior_variance": variance,
                "posterior_log_variance_clipped": np.log(np.maximum(variance, 1e-20)),
                "posterior_mean_coef1": betas * np.sqrt(previous) / (1 - alphas),
                "posterior_mean_coef2": (1 - previous) * np.sqrt(1 - betas) / (1 - alphas),
            }
            self.logvar = nn.Parameter(torch.zeros(STEPS), requires_grad=False)
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array).float())


def noise(shape: tuple[int, ...], stream: np.random.RandomState) -> Tensor:
    """Standard normal float32."""
    return torch.from_numpy(stream.standard_normal(shape).astype(np.float32))


def ddim_steps(count: int) -> list[int]:
    """Time steps of a sampler, rising: evenly spaced from 1, as in the public code.

    ``count`` that does not divide 1000 gives a few more steps than asked for. One step is the
    noisiest, where the public code would take the least noisy.
    """
    if count == 1:
        return [STEPS - 1]
    return [min(t + 1, STEPS - 1) for t in range(0, STEPS, STEPS // count)]


def velocity(z0: Tensor, eps: Tensor, alpha: Tensor) -> Tensor:
    """v of clean latents and noise; ``alpha`` broadcasts."""
    return alpha.sqrt() * eps - (1 - alpha).sqrt() * z0


def sample(
    predict: Predict,
    alphas: Tensor,
    shape: tuple[int, ...],
    *,
    steps: int,
    seed: int,
    eta: float = 1.0,
    like: Tensor,
) -> Tensor:
    """A latent of ``shape``.

    Args:
        predict: the (guided) network.
        alphas: cumulative alphas ``[1000]``.
        steps: evaluations, 1..1000; 0 is one evaluation at the noisiest step that starts from
            zeros, without noise: nearly the mean of all samples.
        seed: of the noise.
        eta: share of fresh noise per step; 0 is deterministic but for the start.
        like: tensor of the dtype and device to work in.
    """
    alphas = alphas.double().cpu()
    stream = np.random.RandomState(seed & 0xFFFFFFFF)  # frozen by NumPy's policy
    times = ddim_steps(steps) if steps else [STEPS - 1]
    z = (noise(shape, stream) if steps else torch.zeros(shape)).to(like)
    for index in range(len(times) - 1, -1, -1):
        t = times[index]
        a = alphas[t].item()
        before = alphas[times[index - 1] if index else 0].item()
        v = predict(z, torch.full((shape[0],), t, device=like.device))
        z0 = a**0.5 * z - (1 - a) ** 0.5 * v
        if not steps:
            return z0
        eps = a**0.5 * v + (1 - a) ** 0.5 * z
        sigma = eta * ((1 - before) / (1 - a) * (1 - a / before)) ** 0.5  # DDIM, eq. 16
        z = before**0.5 * z0 + max(0.0, 1 - before - sigma**2) ** 0.5 * eps
        if sigma > 0:
            z = z + sigma * noise(shape, stream).to(like)
    return z

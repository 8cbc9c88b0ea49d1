"""Diffusion in the latent: noise schedule, v-prediction, DDIM with classifier-free guidance.

    z_t = sqrt(a_t) z_0 + sqrt(1 - a_t) eps          (forward process, a_t = cumulative alpha)
    v   = sqrt(a_t) eps - sqrt(1 - a_t) z_0          (what the network predicts)

The schedule's numbers are buffers of a checkpoint and override those made here. Noise comes from
NumPy's frozen MT19937 normal stream, so a seed gives the same noise with every version of every
library. Papers: Song et al., DDIM (arXiv 2010.02502); Salimans and Ho, v (arXiv 2202.00512); Ho
and Salimans, guidance (arXiv 2207.12598).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

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

"""The decoder: dequantised tokens -> latent by diffusion -> mel by the VAE -> sound by HiFi-GAN."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from laconic.codec.audio.full.config import POSITION_WIDTH, FullConfig
from laconic.codec.audio.full.diffusion import Schedule, sample
from laconic.codec.audio.full.unet import UNet
from laconic.codec.audio.full.vae import FirstStage

GUIDANCE = 2.0  # the public code's default; the paper finds about 3 best


def positions(count: int) -> Tensor:
    """``[count, 192]``: sines at even and cosines at odd places."""
    rates = torch.exp(torch.arange(0, POSITION_WIDTH, 2) * -(math.log(10_000.0) / POSITION_WIDTH))
    angles = torch.arange(count)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


class Diffusion(nn.Module):
    """Holder of the network under the name that checkpoints use."""

    def __init__(self, config: FullConfig) -> None:
        super().__init__()
        self.diffusion_model = UNet(config)


class FullDecoder(Schedule):
    """Published decoder; ``complete`` adds what only training needs, so that keys equal the public
    checkpoint's but for its second, averaged copy of the diffusion network (``averaged_keys``)."""

    scale_factor: Tensor

    def __init__(self, config: FullConfig, *, complete: bool = False) -> None:
        super().__init__(complete=complete)
        self.config = config
        self.register_buffer("scale_factor", torch.tensor(1.0))
        self.model = Diffusion(config)
        self.first_stage_model = FirstStage(config, complete=complete)

    def averaged_keys(self) -> list[str]:
        """Keys of the averaged copy in a public checkpoint: the network's without dots."""
        names = (name for name, _ in self.model.named_parameters())
        return ["model_ema.decay", "model_ema.num_updates"] + [
            "model_ema." + name.replace(".", "") for name in names
        ]

    @torch.no_grad()
    def forward(
        self, codes: Tensor, *, steps: int, seed: int, guidance: float = GUIDANCE, eta: float = 1.0
    ) -> Tensor:
        """``[B, positions, 1536 K]``, -1 where there is no sound -> a window of sound."""
        place = positions(codes.shape[1]).to(codes).expand(len(codes), -1, -1)
        condition = torch.cat([codes, place], -1)
        nothing = torch.cat([torch.zeros_like(codes), place], -1)
        network = self.model.diffusion_model

        def predict(z: Tensor, t: Tensor) -> Tensor:
            v = network(z, t, condition)
            if guidance == 1.0:
                return v
            blind = network(z, t, nothing)
            return blind + guidance * (v - blind)

        latent = sample(
            predict,
            self.alphas_cumprod,
            (len(codes), *self.config.latent_shape),
            steps=steps,
            seed=seed,
            eta=eta,
            like=codes,
        )
        return self.first_stage_model.synthesise(latent / self.scale_factor)

"""One chunk as a module: network and latents together, frames by index.

`ChunkModule` gives all kinds of networks one face: parameters by name, of which those that a file
holds are listed by `ChunkModule.sent`, and `forward(indexes)`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from laconic.codec.video.encoder import ConvNextEncoder
from laconic.codec.video.networks import (
    GridNetwork,
    PublishedNetwork,
    Shape,
    boost_blocks,
    embedding_size,
    level_sizes,
    pyramid,
    time_bases,
)
from laconic.codec.video.plan import EMBEDDING_CHANNELS, LOWEST_WIDTH, Plan

LATENT = "latents."
FILE_TIME_RATIO = 1.07  # frequencies up to 210 pi: exact enough in every library


class ChunkModule(nn.Module):
    """Network and latents of one chunk.

    Args:
        plan: what to build.
        encoder: with HNeRV's encoder, which fitting needs and files do not hold; grids have none.
    """

    def __init__(self, plan: Plan, encoder: bool = False) -> None:
        super().__init__()
        self.plan = plan
        shapes = latent_shapes(plan)
        self.latents = nn.ParameterList(torch.zeros(shape) for shape in shapes.values())
        self.network: nn.Module
        self.encoder: nn.Module | None = None
        if plan.network == "grids":
            self.network = GridNetwork(plan.width, plan.stages, plan.rows, plan.columns)
        else:
            boost = plan.network == "hnerv-boost"
            lowest = min(plan.width, LOWEST_WIDTH)
            shape = Shape(plan.width, plan.stages, boost_blocks(len(plan.stages)), lowest=lowest)
            bases = time_bases(FILE_TIME_RATIO) if boost else None
            self.network = PublishedNetwork(shape, boost, bases, encoder=False)
            if encoder:
                self.encoder = ConvNextEncoder(plan.stages, EMBEDDING_CHANNELS)

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns of what the network makes; the image is its top left corner."""
        plan = self.plan
        if plan.network == "grids":
            return plan.rows, plan.columns
        step = math.prod(plan.stages)
        rows, columns = embedding_size(plan.rows, plan.columns, plan.stages)
        return rows * step, columns * step

    def encode(self, frames: Tensor) -> list[Tensor]:
        """Latents of padded frames ``[B, 3, H, W]``: by the encoder, or of a Laplacian pyramid."""
        if isinstance(self.network, GridNetwork):
            return pyramid(frames, self.plan.stages, self.network.sizes)
        assert self.encoder is not None
        return [self.encoder(frames)]

    def forward(self, indexes: Tensor, latents: Sequence[Tensor] | None = None) -> Tensor:
        """Frames ``[B, 3, H, W]``, padded, nominally in 0..1, from their indexes ``[B]``.

        Args:
            latents: of these frames, ``[B, d, h, w]`` each, in place of the stored ones.
        """
        if latents is None:
            latents = [stored[indexes] for stored in self.latents]
        if isinstance(self.network, PublishedNetwork):
            times = (indexes + 1).double() / self.plan.frames
            out: Tensor = self.network(latents[0], times)
            return out
        out = self.network(latents)
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of all parameters by name, the encoder's too."""
        return {n: p.detach().cpu().numpy().copy() for n, p in self.named_parameters()}

    @torch.no_grad()
    def load_matching(self, arrays: Mapping[str, Any]) -> None:
        """Take over those arrays whose names and shapes are known here."""
        own = dict(self.named_parameters())
        for name, value in arrays.items():
            if name in own and tuple(own[name].shape) == tuple(np.shape(value)):
                own[name].copy_(torch.from_numpy(np.asarray(value)))

    def sent(self) -> dict[str, Tensor]:
        """What a file holds, in the order in which it is coded: weights, then latents."""
        named = {n: p for n, p in self.named_parameters() if not n.startswith("encoder.")}
        weights: dict[str, Tensor] = {n: p for n, p in named.items() if not n.startswith(LATENT)}
        return weights | {n: p for n, p in named.items() if n.startswith(LATENT)}


def latent_shapes(plan: Plan) -> dict[str, tuple[int, int, int, int]]:
    """Names and shapes ``(frames, channels, rows, columns)`` of the latents."""
    if plan.network == "grids":
        sizes = level_sizes(plan.rows, plan.columns, len(plan.stages))
        found = [(d, *size) for d, size in zip(plan.stages, sizes, strict=True) if d]
    else:
        found = [(EMBEDDING_CHANNELS, *embedding_size(plan.rows, plan.columns, plan.stages))]
    return {f"{LATENT}{i}": (plan.frames, *shape) for i, shape in enumerate(found)}

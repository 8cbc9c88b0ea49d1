"""One chunk of a fitted network: as a module, and decoded.

`ChunkModule` gives all kinds of networks one face: parameters by name, of which those that a file
holds are listed by `ChunkModule.sent`, and `forward(indexes)`. `decode` reads the integers once and
makes frames on demand. The integers are the same on every machine; frames are computed in float32,
where kernels differ in the last places, so a sample may differ by one between devices, never more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from laconic.codec import devices
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
from laconic.codec.video.symbols import Coded, decode_symbols, group_of, step_size
from laconic.codec.video.training import ConvNextEncoder
from laconic.formats.errors import DEFAULT_LIMITS, FormatError, Limits

LATENT = "latents."
FILE_TIME_RATIO = 1.07  # frequencies up to 210 pi: exact enough in every library
WEIGHTS_PER_BYTE = 512  # no fitted network spends less than 1/64 bit on a weight
FEWEST_WEIGHTS = 1 << 18


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


def count_sent(plan: Plan) -> int:
    """Weights and latents that a file of this plan holds."""
    with torch.device("meta"):
        return sum(p.numel() for p in ChunkModule(plan).sent().values())


def count_latents(plan: Plan) -> int:
    """Latents alone, without building anything."""
    return sum(math.prod(shape) for shape in latent_shapes(plan).values())


class Decoder:
    """A chunk whose integers are decoded.

    Attributes:
        symbols_check: CRC-32 over all integers, see ``entropy.SymbolCheck``.
        symbols: how many integers these are.
        coded: the integers.
    """

    def __init__(
        self, plan: Plan, coded: Coded, symbols_check: int, device: str | None = None
    ) -> None:
        self.plan, self.coded, self.symbols_check = plan, coded, symbols_check
        self.device = devices.device(device)
        self.module = ChunkModule(plan)
        with torch.no_grad():
            for name, p in self.module.sent().items():
                latent = name.startswith(LATENT)
                symbols = (coded.latents if latent else coded.weights)[name]
                size = step_size(coded.steps[name if latent else group_of(name, p.shape)])
                p.copy_(torch.from_numpy(symbols.astype(np.float64) * size))
        self.symbols = sum(p.numel() for p in self.module.sent().values())
        self.module.requires_grad_(False).to(self.device)
        self.module.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def frame(self, index: int) -> NDArray[np.uint8]:
        """One frame, ``[H, W, 3]`` RGB; IndexError outside 0..N - 1."""
        return self.batch(index, index + 1)[0]

    def batch(self, first: int, end: int) -> NDArray[np.uint8]:
        """Frames ``first`` to ``end`` - 1, ``[B, H, W, 3]`` RGB."""
        if not 0 <= first < end <= self.plan.frames:
            raise IndexError(f"frames {first} to {end} of {self.plan.frames}")
        with torch.inference_mode():
            indexes = torch.arange(first, end, device=self.device)
            frames = self.module(indexes)[..., : self.plan.rows, : self.plan.columns]
            samples = (frames * 255).round().clamp(0, 255).byte()
            array: NDArray[np.uint8] = samples.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return array


def decode(
    payload: bytes,
    frames: int,
    width: int,
    height: int,
    limits: Limits = DEFAULT_LIMITS,
    device: str | None = None,
) -> Decoder:
    """Decode the integers of a payload whose number and size of frames `chunk.decode` has checked.

    Args:
        payload: of ``Fit.payload``.
        frames, width, height: of the chunk.
        device: where frames are evaluated; None is the one in use, or the best there is.

    Raises:
        FormatError: damaged. LimitError: too large. UnsupportedError: a newer kind of network.
    """
    plan, offset = Plan.read(payload, frames, height, width)
    limits.check("the number of latents", count_latents(plan), limits.cells)
    with torch.device("meta"):
        shapes = {name: tuple(p.shape) for name, p in ChunkModule(plan).sent().items()}
    weights = {name: shape for name, shape in shapes.items() if not name.startswith(LATENT)}
    latents = {name: shape for name, shape in shapes.items() if name.startswith(LATENT)}
    count = sum(int(np.prod(shape)) for shape in weights.values())
    if count > FEWEST_WEIGHTS + WEIGHTS_PER_BYTE * len(payload):
        raise FormatError(
            f"a video chunk of {len(payload)} bytes claims {count} weights: the file is damaged"
        )
    coded, check = decode_symbols(payload[offset:], weights, latents)
    return Decoder(plan, coded, check, device)

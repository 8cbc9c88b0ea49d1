"""Decoding one chunk: integers once, frames on demand.

The integers are the same on every machine; frames are computed in float32, where kernels differ in
the last places, so a sample may differ by one between devices, never more.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from laconic.codec import devices
from laconic.codec.video.chunk_module import LATENT, ChunkModule
from laconic.codec.video.plan import Plan
from laconic.codec.video.planning import count_latents
from laconic.codec.video.symbols import Coded, decode_symbols, group_of, step_size
from laconic.formats.errors import DEFAULT_LIMITS, FormatError, Limits

WEIGHTS_PER_BYTE = 512  # no fitted network spends less than 1/64 bit on a weight
FEWEST_WEIGHTS = 1 << 18


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

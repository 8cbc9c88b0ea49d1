"""Which network for which chunk: widths from the bits to spend."""

from __future__ import annotations

import math

import torch

from laconic.codec.video.chunk_module import ChunkModule, latent_shapes
from laconic.codec.video.plan import MAX_WIDTH, Plan, choose_strides
from laconic.codec.video.settings import Aim

BITS_PER_WEIGHT = {"hnerv": 3.0, "hnerv-boost": 4.0}
NARROWEST = 4
GRID_CHANNELS = (3, 3, 3, 3, 1)  # luma alone at half resolution
GRID_SHARE, GRID_BITS_PER_WEIGHT = 0.25, 3.0
WIDEST_GRID = 24


def plan_network(network: str, aim: Aim, frames: int, rows: int, columns: int) -> Plan:
    """The plan for a chunk of ``frames`` images.

    The published networks are as wide as the expected size allows at the bits that a fitted weight
    takes; grids get a share of the bits for weights, the rest goes to latents.
    """
    pixels = frames * rows * columns
    if network == "grids":
        return _plan_grids(aim.bpp * pixels, frames, rows, columns)
    strides = choose_strides(rows, columns)
    budget = aim.bpp * pixels / BITS_PER_WEIGHT[network]
    low, high = NARROWEST, MAX_WIDTH
    while low < high:
        middle = (low + high + 1) // 2
        plan = Plan(network, middle, strides, frames, rows, columns)
        if count_sent(plan) <= budget:
            low = middle
        else:
            high = middle - 1
    return Plan(network, low, strides, frames, rows, columns)


def _plan_grids(bits: float, frames: int, rows: int, columns: int) -> Plan:
    levels = min(len(GRID_CHANNELS), max(1, math.floor(math.log2(min(rows, columns) + 1)) - 1))
    weights = GRID_SHARE * bits / GRID_BITS_PER_WEIGHT
    width = round(math.sqrt(weights / (18 * levels)))  # two 3 x 3 convolutions a level
    width = min(max(width, NARROWEST), WIDEST_GRID)
    return Plan("grids", width, GRID_CHANNELS[-levels:], frames, rows, columns)


def count_sent(plan: Plan) -> int:
    """Weights and latents that a file of this plan holds."""
    with torch.device("meta"):
        return sum(p.numel() for p in ChunkModule(plan).sent().values())


def count_latents(plan: Plan) -> int:
    """Latents alone, without building anything."""
    return sum(math.prod(shape) for shape in latent_shapes(plan).values())

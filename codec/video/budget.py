"""A fit within a budget: which network for the bits to spend, and meeting a target size.

Published networks are as wide as the expected size allows. A pyramid starts with the finest step
that takes its share of the bits. At the end the last word has the coder: steps are widened until
the coded bytes fit. Those of a pyramid's latents come first, since weights were fitted to the
places of theirs; those of the published networks go together, and become finer where there is room.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from laconic.codec.video.chunk_module import count_sent
from laconic.codec.video.plan import MAX_WIDTH, Plan, choose_strides
from laconic.codec.video.settings import Aim
from laconic.codec.video.symbols import Coded, encode_symbols

BITS_PER_WEIGHT = {"hnerv": 3.0, "hnerv-boost": 4.0}
NARROWEST = 4
GRID_CHANNELS = (3, 3, 3, 3, 1)  # luma alone at half resolution
GRID_SHARE, GRID_BITS_PER_WEIGHT = 0.25, 3.0
WIDEST_GRID = 24
PLACES = 64  # that a step may be widened
FINER = 16  # places that it may be made finer


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


def finest_step(limit: float, bits: Callable[[float], float]) -> float:
    """The finest step between 2^-10 and 1, to a quarter of an octave, at which ``bits`` of it are
    at most ``limit``; 1 if none is."""
    low, high = -10.0, 0.0  # octaves
    while high - low > 0.25:
        middle = (low + high) / 2
        low, high = (low, middle) if bits(2**middle) <= limit else (middle, high)
    return float(2**high)


def within(
    limit: int, integers: Callable[[Mapping[str, int]], Coded], groups: Sequence[Sequence[str]], *,
    finer: bool,
) -> Coded:  # fmt: skip
    """The finest integers whose stream has at most ``limit`` bytes, or the coarsest there are.

    One step is changed by one place at a time, so that the smallest change is a small part of the
    bytes.

    Args:
        integers: those of steps widened by so many places, by name.
        groups: names of steps; those of a group are widened alike, one group after the other.
        finer: make the steps of the first group finer where there is room.
    """

    def places(number: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for n, keys in enumerate(groups):
            own = min(number if n == 0 else max(number, 0), PLACES * len(keys))
            each, rest = divmod(own, len(keys))
            found |= {key: each + (i < rest) for i, key in enumerate(keys)}
            number -= max(own, 0)
        return found

    def fits(number: int) -> bool:
        return len(encode_symbols(integers(places(number)))[0]) <= limit

    low = -FINER * len(groups[0]) if finer else 0
    if fits(low):
        return integers(places(low))
    high = PLACES * sum(map(len, groups))
    while high - low > 1:  # the least widening that fits lies above low
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return integers(places(high))

"""Meeting a target size at the start and at the end of a fit.

A pyramid starts with the finest step that takes its share of the bits. The last word has the coder:
steps are widened until the coded bytes fit. Those of a pyramid's latents come first, since weights
were fitted to the places of theirs; those of the published networks go together, and become finer
where there is room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from laconic.codec.video.symbols import Coded, encode_symbols

PLACES = 64  # that a step may be widened
FINER = 16  # places that it may be made finer


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

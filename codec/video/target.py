"""Meeting a target size at the start and at the end of a fit.

A pyramid starts with the finest step that takes its share of the bits. The last word has the coder:
steps are widened until the coded bytes fit, first those of latents, since weights were fitted to
the places of theirs.
"""

from __future__ import annotations

from collections.abc import Callable

from laconic.codec.video.symbols import Coded, encode_symbols

COARSER = 64  # places that steps may be widened


def finest_step(limit: float, bits: Callable[[float], float]) -> float:
    """The finest step between 2^-10 and 1, to a quarter of an octave, at which ``bits`` of it are
    at most ``limit``; 1 if none is."""
    low, high = -10.0, 0.0  # octaves
    while high - low > 0.25:
        middle = (low + high) / 2
        low, high = (low, middle) if bits(2**middle) <= limit else (middle, high)
    return float(2**high)


def within(limit: int, integers: Callable[[int, int], Coded], *, mostly_weights: bool) -> Coded:
    """The finest integers whose stream has at most ``limit`` bytes, or the coarsest there are.

    Args:
        integers: those of steps widened by so many places, of latents and of weights.
        mostly_weights: widen both together.
    """
    shifts = [(shift, 0) for shift in range(COARSER + 1)]
    shifts += [(COARSER, shift) for shift in range(1, COARSER + 1)]
    if mostly_weights:
        shifts = [(shift, shift) for shift in range(COARSER + 1)]
    found = integers(0, 0)
    if len(encode_symbols(found)[0]) <= limit:
        return found
    low, high = 0, len(shifts) - 1  # the least widening that fits lies above low
    while high - low > 1:
        middle = (low + high) // 2
        if len(encode_symbols(integers(*shifts[middle]))[0]) <= limit:
            high = middle
        else:
            low = middle
    return integers(*shifts[high])

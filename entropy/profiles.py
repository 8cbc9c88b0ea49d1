"""How a model makes sure that encoder and decoder pick the same table for every symbol.

A table index that differs by one between two machines desynchronises everything after it. A stream
names its profile in the header, so that a decoder knows what it has to reproduce.
"""

from __future__ import annotations

from enum import IntEnum


class NumericsProfile(IntEnum):
    """What selects the tables of a stream; the value is stored in the header."""

    INTEGER_TABLES = 1
    """Indexes come from integers alone (position, channel, symbols decoded before): exact."""

    INTEGER_NETWORK = 2
    """Indexes come from a network on integer-valued tensors whose sums stay exact (below 2^24 in
    float32, 2^53 in float64), so that no order of summation changes them. Fast; the network must
    have been trained or converted for it. See Balle, Johnston and Minnen, "Integer Networks for
    Data Compression with Latent-Variable Models", ICLR 2019."""

    FLOAT64_GUARD = 3
    """Indexes come from a float64 network; the encoder lists every value that lies within a guard
    band of a decision boundary (`laconic.entropy.guard`). Works for any trained network; exact as
    long as machines differ by less than the band."""

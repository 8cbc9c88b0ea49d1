"""What an audio model offers to the file-level code: the plug between networks and files.

A model turns sound into a grid of tokens and back. Time is cut into *columns* of ``hop`` samples,
a column into ``positions`` bands of frequency; every position carries one token of each stream.
Stream 0 is semantic, the others are acoustic stages: the first n streams alone decode to the same
sound at a lower rate. Models know one channel at one rate, and windows of at most ``window``
columns; resampling, channels, segments, cross-fades and files are the business of the caller.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class AudioModel(Protocol):
    """A loaded model."""

    rate: int  # samples per second
    hop: int  # samples per column
    positions: int  # tokens per stream in a column
    vocabularies: tuple[int, ...]  # size of each stream's alphabet, in decoding order
    window: int  # columns of the longest window that is encoded or decoded at once
    knots: int  # of pitch in a column; 0 where the model does not use the pitch

    def encode(self, wave: Tensor, streams: int) -> Tensor:
        """``[B, samples]`` in [-1, 1] -> int64 ``[B, columns * positions, streams]``, time-major,
        frequency inner; a last column that is not full is continued with silence."""
        ...

    def decode(
        self,
        tokens: Tensor,
        *,
        steps: int,
        seed: int,
        pitch: Tensor | None = None,
        gains: Tensor | None = None,
    ) -> Tensor:
        """int64 ``[B, columns * positions, streams]`` -> ``[B, columns * hop]`` in [-1, 1].

        Models with knots also take the pitch ``[B, columns * knots]`` and corrections of the level
        in nepers ``[B, columns]``, and columns that lack the last stream (-1).

        ``steps`` evaluations of the refiner start from noise drawn with ``seed``; 0 steps is
        the deterministic regression, without noise.
        """
        ...


class PitchedModel(AudioModel, Protocol):
    """A model that has knots."""

    def strengths(self, stream: int) -> NDArray[np.float64]:
        """Squared lengths of what the entries of an acoustic stream add: ``[vocabulary]``."""
        ...

    def loudness(self, wave: Tensor) -> Tensor:
        """Log magnitudes ``[B, columns]`` of ``[B, samples]``."""
        ...

    def decoded_loudness(self, tokens: Tensor, pitch: Tensor | None) -> Tensor:
        """The same of what tokens decode to without corrections."""
        ...

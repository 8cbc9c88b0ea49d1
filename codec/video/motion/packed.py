"""The numbers of a frame without their zeros: what a decoder keeps of each frame of a chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion.field import FrameCode
from laconic.entropy.check import SymbolCheck


@dataclass(frozen=True)
class PackedFrame:
    """A `FrameCode`; ``places`` and ``codes`` are those of coefficients that are not zero."""

    modes: NDArray[np.uint8]
    vectors: NDArray[np.int32]
    means: NDArray[np.int32]
    quarters: NDArray[np.uint8]
    places: NDArray[np.int32]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, code: FrameCode) -> PackedFrame:
        """Pack a frame."""
        flat = np.concatenate([code.luma.reshape(-1), code.chroma.reshape(-1)])
        places = np.flatnonzero(flat)
        return cls(
            code.modes.astype(np.uint8), code.vectors.astype(np.int32),
            code.means.astype(np.int32), code.quarters.astype(np.uint8),
            places.astype(np.int32), flat[places].astype(np.int32),
        )  # fmt: skip

    def unpack(self) -> FrameCode:
        """The frame again."""
        h, w = self.modes.shape
        flat = np.zeros(6 * h * w * 64, np.int64)
        flat[self.places] = self.codes
        luma, chroma = flat[: 4 * h * w * 64], flat[4 * h * w * 64 :]
        return FrameCode(
            self.modes.astype(np.int64), self.vectors.astype(np.int64),
            self.means.astype(np.int64), self.quarters.astype(np.int64),
            luma.reshape(2 * h, 2 * w, 64), chroma.reshape(2, h, w, 64),
        )  # fmt: skip

    def check(self, check: SymbolCheck) -> int:
        """Add all numbers to a check; returns how many coefficients there are."""
        for array in self.arrays():
            check.update(array)
        return self.codes.size

    def arrays(self) -> tuple[Any, ...]:
        """All arrays, in a fixed order."""
        parts = (self.modes, self.vectors, self.means, self.quarters, self.places, self.codes)
        return parts

"""Where segments, columns and samples of a file lie. Whole numbers only: every reader agrees."""

from __future__ import annotations

from dataclasses import dataclass, replace

from laconic.formats.errors import FormatError


@dataclass(frozen=True)
class Geometry:
    """A sound of ``samples`` samples (None while unknown) at ``rate`` Hz, coded at ``model_rate``
    in columns of ``hop`` samples, ``segment`` columns a segment, by windows of up to ``window``."""

    rate: int
    model_rate: int
    hop: int
    segment: int
    window: int
    samples: int | None = None

    @property
    def margin(self) -> int:
        """Columns of its neighbours that a segment is encoded and decoded with, on each side."""
        return (self.window - self.segment) // 2

    def to_model(self, samples: int) -> int:
        """Samples at the model's rate, rounded half up, at least 1."""
        return max(1, (2 * samples * self.model_rate + self.rate) // (2 * self.rate))

    def columns(self, samples: int) -> int:
        """Columns of a sound."""
        return -(-self.to_model(samples) // self.hop)

    @property
    def total(self) -> int | None:
        """Columns of the whole sound."""
        return None if self.samples is None else self.columns(self.samples)

    @property
    def count(self) -> int | None:
        """Segments of the whole sound."""
        return None if self.total is None else -(-self.total // self.segment)

    def start(self, number: int) -> int:
        """First sample of a segment at the sound's own rate."""
        return number * self.segment * self.hop * self.rate // self.model_rate

    def ending(self, number: int, samples: int) -> Geometry:
        """The geometry once the last segment says that the sound has ``samples``."""
        known = replace(self, samples=samples)
        if samples < 1 or known.count != number + 1 or self.samples not in (None, samples):
            raise FormatError(f"segment {number} ends in an impossible place: the file is damaged")
        return known

    def own(self, number: int) -> tuple[int, int]:
        """First column of a segment and the one after its last."""
        first = number * self.segment
        end = first + self.segment
        return first, end if self.total is None else min(end, self.total)

    def around(self, number: int) -> tuple[int, int]:
        """The window of columns that a segment is encoded with: its own and a margin on both
        sides, at the end of the sound as much before it as is needed to fill the window."""
        first = max(0, number * self.segment - self.margin)
        end = first + self.window
        if self.total is not None and end > self.total:
            end = self.total
            first = max(0, end - self.window)
        return first, end

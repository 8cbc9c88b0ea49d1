"""When the frames of a video are shown: exact time stamps in a few bytes.

Times are whole numbers of a rational time base, as in FFmpeg; nothing is rounded. A constant rate
takes a few bytes in the media header, also where a container rounded it to its own time base (30
frames a second in Matroska's milliseconds: 0, 33, 67, 100); everything else is listed in a chunk
``TIME`` (SPEC.md, section 5).
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import overload

from laconic.formats.errors import FormatError, ParameterError, UnsupportedError
from laconic.formats.frame import MAX_BYTES, read_varint, write_varint

CONSTANT, ROUNDED, LISTED = 0, 1, 2  # of time stamps
UNTIL_NEXT, EQUAL = 0, 1  # of durations; 2 is LISTED
USUAL = tuple(Fraction(n * 1000, d) for d in (1001, 1000) for n in (24, 25, 30, 48, 50, 60, 120))
MAX_TERM = 2**31 - 1  # numerator and denominator of a time base, as in FFmpeg


class _Numbers(Sequence[int]):
    """Numbers that follow from a formula, so that a header that claims millions of frames takes no
    memory. Equal to any sequence of the same numbers."""

    size: int

    def number(self, n: int) -> int:
        """Number ``n``, 0 <= n < size."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[int, ...]: ...

    def __getitem__(self, index: int | slice) -> int | tuple[int, ...]:
        chosen = range(self.size)[index]
        return self.number(chosen) if isinstance(chosen, int) else tuple(map(self.number, chosen))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence)
            and len(other) == self.size
            and all(a == b for a, b in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]


class Grid(_Numbers):
    """``start + floor((n p + q) / r)`` for n in 0..size - 1."""

    def __init__(self, start: int, p: int, q: int, r: int, size: int) -> None:
        self.start, self.p, self.q, self.r, self.size = start, p, q, r, size

    def number(self, n: int) -> int:
        return self.start + (n * self.p + self.q) // self.r


class _Gaps(_Numbers):
    """Differences of successive stamps, then ``last``."""

    def __init__(self, stamps: Sequence[int], last: int) -> None:
        self.stamps, self.last, self.size = stamps, last, len(stamps)

    def number(self, n: int) -> int:
        return self.stamps[n + 1] - self.stamps[n] if n + 1 < self.size else self.last


@dataclass(frozen=True)
class Timing:
    """Time stamps and durations of frames in units of ``base`` seconds.

    ``stamps`` increase strictly; ``durations`` are 0 where unknown. Both have one entry a frame.
    """

    base: Fraction
    stamps: Sequence[int]
    durations: Sequence[int]

    def __post_init__(self) -> None:
        if not len(self.stamps) or len(self.durations) != len(self.stamps):
            raise ParameterError("a video needs at least one frame, with one duration for each")
        if self.base <= 0 or max(self.base.numerator, self.base.denominator) > MAX_TERM:
            raise ParameterError(f"the time base is {self.base} s: expected a positive fraction")
        if isinstance(self.stamps, Grid):
            increasing = self.stamps.p >= self.stamps.r or len(self.stamps) == 1
        else:
            increasing = all(a < b for a, b in pairwise(self.stamps))
        if not increasing:
            raise ParameterError("the time stamps of the frames do not increase")

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def seconds(self) -> float:
        """From the first frame to the end of the last."""
        return float((self.stamps[-1] - self.stamps[0] + self.durations[-1]) * self.base)

    @property
    def rate(self) -> Fraction:
        """Mean number of frames a second: exact for a constant rate."""
        if len(self.stamps) == 1:
            return 1 / (max(1, self.durations[0]) * self.base)
        if isinstance(self.stamps, Grid):
            return 1 / (Fraction(self.stamps.p, self.stamps.r) * self.base)
        found = _rounded(self.stamps, self.base)
        if found is not None:
            return 1 / (Fraction(found[0], found[2]) * self.base)
        return (len(self.stamps) - 1) / ((self.stamps[-1] - self.stamps[0]) * self.base)

    def at(self, seconds: float | Fraction) -> int:
        """Number of the frame shown ``seconds`` after the first one appears.

        Raises ``ParameterError`` before the video begins or after it ends.
        """
        place = Fraction(seconds) / self.base + self.stamps[0]
        end = self.stamps[-1] + max(1, self.durations[-1])
        if not self.stamps[0] <= place < end:
            raise ParameterError(
                f"{float(seconds):g} s is outside the video: expected 0 to {self.seconds:g} s"
            )
        return bisect_right(self.stamps, place) - 1

    def cut(self, first: int, end: int) -> Timing:
        """The times of a range of frames, unshifted."""
        return Timing(self.base, self.stamps[first:end], self.durations[first:end])

    def pack(self) -> tuple[bytes, bytes]:
        """Part of the media header, and the data of the chunk ``TIME`` (empty for none)."""
        head = [write_varint(self.base.numerator), write_varint(self.base.denominator)]
        lists = b""
        steps = [b - a for a, b in pairwise(self.stamps)]
        found = _rounded(self.stamps, self.base)
        mode = CONSTANT if len(set(steps)) <= 1 else ROUNDED if found else LISTED
        if list(self.durations[:-1]) == steps:
            lasting = UNTIL_NEXT
        else:
            lasting = EQUAL if len(set(self.durations)) == 1 else LISTED
        head += [bytes([mode | lasting << 4]), _signed(self.stamps[0])]
        if mode == CONSTANT:
            head.append(write_varint(steps[0] if steps else 1))
        elif mode == ROUNDED:
            assert found is not None
            head += [write_varint(n) for n in found]
        else:
            lists += b"".join(map(write_varint, steps))
        if lasting == LISTED:
            lists += b"".join(map(write_varint, self.durations))
        else:
            head.append(write_varint(self.durations[-1]))
        return b"".join(head), _deflate(lists) if lists else b""

    @classmethod
    def unpack(
        cls, data: bytes, offset: int, frames: int, listed: bytes | None
    ) -> tuple[Timing, int]:
        """Inverse of :meth:`pack` for ``frames`` frames; also the offset after the header's part.

        ``listed`` is the chunk's data or None. Raises ``FormatError``.
        """
        base, mode, lasting, offset = _read_modes(data, offset)
        start, offset = _read_signed(data, offset)
        lists = _Lists(listed, frames, mode == LISTED or lasting == LISTED)
        if mode == CONSTANT:
            step, offset = read_varint(data, offset)
            stamps: Sequence[int] = Grid(start, step, 0, 1, frames)
        elif mode == ROUNDED:
            terms = []
            for _ in range(3):
                term, offset = read_varint(data, offset)
                terms.append(term)
            p, q, r = terms
            if r == 0:
                raise FormatError("the video's rate is impossible: the file is damaged")
            if q >= r:
                raise FormatError("the video's rate is impossible: the file is damaged")
            stamps = Grid(start, p, q, r, frames)
        else:
            stamps = tuple(accumulate(lists.take(frames - 1), initial=start))
        if lasting == LISTED:
            durations: Sequence[int] = tuple(lists.take(frames))
        else:
            last, offset = read_varint(data, offset)
            until_next = lasting == UNTIL_NEXT
            durations = _Gaps(stamps, last) if until_next else Grid(last, 0, 0, 1, frames)
        lists.end()
        try:
            return cls(base, stamps, durations), offset
        except ParameterError as error:
            raise FormatError(f"{error}: the file is damaged") from error


def _rounded(stamps: Sequence[int], base: Fraction) -> tuple[int, int, int] | None:
    """``(p, q, r)`` with ``stamps[n] = stamps[0] + floor((n p + q) / r)`` for all n, or None.

    Frames m apart lie less than one unit from m p / r, which bounds the step; a usual rate between
    the bounds is tried, else the simplest fraction.
    """
    last = len(stamps) - 1
    if last < 1:
        return None
    if len({b - a for a, b in pairwise(stamps)}) == 1:
        return stamps[1] - stamps[0], 0, 1
    least, most = (0, 1), (stamps[-1] - stamps[0] + 1, 1)  # fractions, compared crosswise
    for n in range(1, last + 1):
        for span in (stamps[n] - stamps[0], stamps[last] - stamps[last - n]):
            if (span - 1) * least[1] > least[0] * n:
                least = (span - 1, n)
            if (span + 1) * most[1] < most[0] * n:
                most = (span + 1, n)
    low, high = Fraction(*least), Fraction(*most)
    if low >= high:
        return None
    usual = (step for step in (1 / (rate * base) for rate in USUAL) if low < step < high)
    step = next(usual, None) or _simplest(low, high)
    p, r = step.numerator, step.denominator
    exact = [(stamp - stamps[0]) * r - n * p for n, stamp in enumerate(stamps)]
    q, bound = max(0, max(exact)), min(r - 1, min(exact) + r - 1)  # q is in exact .. exact + r - 1
    return (p, q, r) if q <= bound else None


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of smallest denominator strictly between two numbers, 0 <= low < high.

    >>> _simplest(Fraction(33), Fraction(34)), _simplest(Fraction(333, 10), Fraction(334, 10))
    (Fraction(67, 2), Fraction(100, 3))
    """
    whole = low.numerator // low.denominator
    if whole + 1 < high:
        return Fraction(whole + 1)
    if low == whole:  # below the next whole number: whole + 1 / k for the smallest k that fits
        gap = high - whole
        return whole + Fraction(1, gap.denominator // gap.numerator + 1)
    return whole + 1 / _simplest(1 / (high - whole), 1 / (low - whole))


def _signed(value: int) -> bytes:
    """A number of up to 70 bits: zigzag, low 32 bits, then the rest."""
    folded = value << 1 if value >= 0 else (-value << 1) - 1
    return write_varint(folded & 0xFFFFFFFF) + write_varint(folded >> 32)


def _read_signed(data: bytes, offset: int) -> tuple[int, int]:
    low, offset = read_varint(data, offset)
    high, offset = read_varint(data, offset)
    if low > 0xFFFFFFFF:
        raise FormatError("a time stamp is written in two ways: the file is damaged")
    folded = low | high << 32
    return (-(folded + 1 >> 1) if folded & 1 else folded >> 1), offset


def _read_modes(data: bytes, offset: int) -> tuple[Fraction, int, int, int]:
    numerator, offset = read_varint(data, offset)
    denominator, offset = read_varint(data, offset)
    if not (0 < numerator <= MAX_TERM and 0 < denominator <= MAX_TERM) or offset >= len(data):
        raise FormatError("the video's time base is impossible: the file is damaged")
    mode, lasting = data[offset] & 15, data[offset] >> 4
    if max(mode, lasting) > LISTED:
        raise UnsupportedError("the video's times are stored in a way that this version lacks")
    return Fraction(numerator, denominator), mode, lasting, offset + 1


class _Lists:
    """The numbers in a chunk ``TIME``, unpacked within bounds."""

    def __init__(self, listed: bytes | None, frames: int, expected: bool) -> None:
        if expected != (listed is not None):
            raise FormatError("the list of the frames' times is missing or not called for")
        unpacker = zlib.decompressobj(-15)
        try:
            self._data = unpacker.decompress(listed or b"\3\0", 2 * frames * MAX_BYTES + 1)
        except zlib.error as error:
            raise FormatError("the list of the frames' times is damaged") from error
        if not unpacker.eof or unpacker.unused_data:
            raise FormatError("the list of the frames' times has a wrong length")
        self._at = 0

    def take(self, count: int) -> list[int]:
        found = []
        for _ in range(count):
            value, self._at = read_varint(self._data, self._at)
            found.append(value)
        return found

    def end(self) -> None:
        if self._at != len(self._data):
            raise FormatError("the list of the frames' times has a wrong length")


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()

"""The two directions of a latent's coding: steps that write symbols and steps that read them.

A model's ``walk`` (``coding.py``) runs through its steps once and serves both directions: it asks a
:class:`Writer` or a :class:`Reader` for the decoded values of each step. A third kind counts bits
for gradients (``refine.py``).

A stream has the symbols of all steps, each step with its list of close calls first and channels
fastest. With context mixing (``grids.py``, version 3 of the format) the symbols whose tables leave
something to learn are in a stream of their own, which comes before the one of the others and after
its length as a varint.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from laconic.codec.image.grids import MOST, Grids, Mixing, Place
from laconic.entropy import (
    CdfTables,
    SymbolCheck,
    SymbolDecoder,
    SymbolEncoder,
    pull_guarded,
    push_guarded,
)
from laconic.entropy.context_mixing import MixingDecoder, MixingEncoder, binary
from laconic.formats.errors import FormatError
from laconic.formats.frame import read_varint, write_varint

if TYPE_CHECKING:
    from laconic.codec.image.coding import LatentCoder
    from laconic.codec.image.mlicpp.slices import FactorizedPrior

Result = TypeVar("Result")
# y_hat [1, H, W, M] -> coefficients of the detail layer in steps [1, H, W, 768]
Detail = Callable[[Tensor], Tensor]


class Steps(ABC):
    """One direction of coding. ``value`` is what the encoder has and the decoder lacks (None)."""

    def __init__(self, coder: LatentCoder) -> None:
        self.coder = coder
        self.coded: list[NDArray[np.int32]] = []  # symbols of each step
        self.detail: Detail | None = None  # what the encoder adds to a decoded latent
        self.mixing: Mixing | None = None

    def gaussian(
        self, value: Tensor | None, mean: Tensor, log_scale: Tensor, place: Place | None = None
    ) -> Tensor:
        """Code round(value - mean) with the Gaussian tables; returns it plus the mean. ``place``
        is where the symbols lie, for context mixing."""
        indexes = self.choose(self.coder.position(log_scale), self.coder.boundaries)
        residual = None if value is None else value - mean
        tables = self.coder.tables
        return self.symbols_of(residual, log_scale.shape, indexes, tables, place) + mean

    def selected(
        self, value: Tensor | None, mean: Tensor, log_scale: Tensor, keep: Tensor
    ) -> Tensor:
        """As :meth:`gaussian` for elements whose logit ``keep`` is not negative; the others are
        left out and take their mean. Close calls at zero are in the stream."""
        kept = torch.from_numpy(self.choose(keep.detach().numpy(), [0.0]) != 0).reshape(keep.shape)
        some = None if value is None else value[kept]
        coded = self.gaussian(some, mean[kept], log_scale[kept])
        return mean.masked_scatter(kept, coded)

    def factorized(
        self,
        value: Tensor | None,
        shape: torch.Size,
        prior: FactorizedPrior,
        tables: CdfTables,
        channels: Sequence[int] | None = None,
    ) -> Tensor:
        """Code round(value - median), channels first, with one table per channel (those of
        ``channels``, None for all); returns it plus the median."""
        which = np.array(range(shape[1]) if channels is None else channels)
        median = prior.medians[torch.from_numpy(which)][:, None, None]
        residual = None if value is None else value - median
        indexes = np.repeat(which, shape[2] * shape[3])
        return self.symbols_of(residual, shape, indexes, tables) + median

    @abstractmethod
    def parallel(self, tasks: Sequence[Callable[[Steps], Result]]) -> list[Result]:
        """Run tasks that do not depend on each other, each with steps of its own."""

    @abstractmethod
    def choose(self, values: NDArray[np.float64], boundaries: ArrayLike) -> NDArray[np.uint16]:
        """Interval of each value, the same on both sides: close calls are in the stream."""

    @abstractmethod
    def symbols_of(
        self,
        residual: Tensor | None,
        shape: torch.Size,
        indexes: NDArray[np.integer],
        tables: CdfTables,
        place: Place | None = None,
    ) -> Tensor:
        """Code round(residual), with one table index for each element of ``shape``."""


class Branching(Steps):
    """Steps of a stream that may part into streams of their own."""

    def __init__(self, coder: LatentCoder, mixing: Mixing | None = None) -> None:
        super().__init__(coder)
        self.mixing = mixing
        self.branches: list[Branching] = []

    @abstractmethod
    def branch(self, number: int) -> Branching:
        """Steps of auxiliary group ``number``."""

    def parallel(self, tasks: Sequence[Callable[[Steps], Result]]) -> list[Result]:
        self.branches = [self.branch(number) for number in range(len(tasks))]

        def run(number: int) -> Result:
            torch.set_num_threads(1)  # teams of several per group would wait for one another
            with torch.no_grad():  # which a thread does not inherit
                return tasks[number](self.branches[number])

        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(max(1, len(tasks))) as pool:
                return list(pool.map(run, range(len(tasks))))
        finally:
            torch.set_num_threads(threads)

    def streams(self) -> list[Branching]:
        """These steps, then those of the groups."""
        return [self, *self.branches]

    def summary(self) -> tuple[SymbolCheck, int]:
        """Check over all symbols in the order of streams, and how many there are."""
        check, count = SymbolCheck(), 0
        for stream in self.streams():
            for symbols in stream.coded:
                check.update(symbols)
                count += symbols.size
        return check, count


@lru_cache(maxsize=8)
def _savings(tables: CdfTables) -> NDArray[np.float64]:
    """Bits that k - 1 costs less than k, for every table and k = 1 .. MOST, ``[T, MOST]``; 0 beyond
    a table."""
    found = np.zeros((len(tables), MOST))
    for t, low in enumerate(tables.lows.tolist()):
        bits = -np.log2(tables.frequencies(t)[max(-low, 0) : -1])[: MOST + 1]
        found[t, : max(bits.size - 1, 0)] = np.maximum(np.diff(bits), 0)
    return found


def thrifty(
    residual: Tensor, indexes: NDArray[np.integer], tables: CdfTables, place: Place
) -> Tensor:
    """round(residual), or one less in magnitude where that is nearly as good and much cheaper:
    where the squared error grows by less than 2 ``place.thrift`` a bit."""
    magnitude = residual.abs().reshape(-1).numpy()
    rounded = np.rint(magnitude)
    few = np.flatnonzero((rounded > 0) & (rounded <= place.largest))
    number = rounded[few].astype(np.int64)
    saved = _savings(tables)[indexes[few], number - 1]
    rounded[few] -= magnitude[few] < number - 0.5 + place.thrift * saved
    return residual.sign() * torch.from_numpy(rounded).reshape(residual.shape)


class Writer(Branching):
    """Steps of an encoder, with context mixing where there are ``grids``.

    With mixing, symbols are quantised with an eye to their bits (:func:`thrifty`).
    """

    def __init__(self, coder: LatentCoder, grids: Grids | None = None) -> None:
        super().__init__(coder, Mixing(grids, MixingEncoder()) if grids else None)
        self.encoder = SymbolEncoder("ans")
        self.thrifty = grids is not None

    def branch(self, number: int) -> Writer:
        return Writer(self.coder, None if self.mixing is None else self.mixing.grids)

    def choose(self, values: NDArray[np.float64], boundaries: ArrayLike) -> NDArray[np.uint16]:
        return push_guarded(self.encoder, values, boundaries)

    def symbols_of(
        self,
        residual: Tensor | None,
        shape: torch.Size,
        indexes: NDArray[np.integer],
        tables: CdfTables,
        place: Place | None = None,
    ) -> Tensor:
        assert residual is not None
        if self.thrifty and place is not None:
            rounded = thrifty(residual, indexes, tables, place)
        else:
            rounded = residual.round()
        symbols = rounded.reshape(-1).numpy().astype(np.int32)
        if self.mixing is None or place is None:
            self.encoder.push(symbols, indexes, tables)
        else:
            plain = binary(tables).plain[indexes]
            self.encoder.push(symbols[plain], indexes[plain], tables)
            self.mixing.push(place, symbols, indexes, tables)
        self.coded.append(symbols)
        return rounded

    def finish(self) -> bytes:
        """The payload."""
        streams = [s.stream() for s in self.streams() if isinstance(s, Writer)]
        return b"".join(write_varint(len(s)) + s for s in streams[:-1]) + streams[-1]

    def stream(self) -> bytes:
        """These steps without their branches."""
        if self.mixing is None:
            return self.encoder.finish()
        assert isinstance(self.mixing.coder, MixingEncoder)
        mixed = self.mixing.coder.finish()
        return write_varint(len(mixed)) + mixed + self.encoder.finish()


class Reader(Branching):
    """Steps of a decoder, with context mixing where there are ``grids``."""

    def __init__(
        self, coder: LatentCoder, payloads: Sequence[bytes], grids: Grids | None = None
    ) -> None:
        plain, mixing = payloads[0], None
        if grids is not None:
            mixed, plain = split_payload(plain, 2)
            mixing = Mixing(grids, MixingDecoder(mixed))
        super().__init__(coder, mixing)
        self.decoder = SymbolDecoder(plain, "ans")
        self.payloads = payloads[1:]

    def branch(self, number: int) -> Reader:
        grids = None if self.mixing is None else self.mixing.grids
        return Reader(self.coder, self.payloads[number : number + 1], grids)

    def choose(self, values: NDArray[np.float64], boundaries: ArrayLike) -> NDArray[np.uint16]:
        return pull_guarded(self.decoder, values, boundaries)

    def symbols_of(
        self,
        residual: Tensor | None,
        shape: torch.Size,
        indexes: NDArray[np.integer],
        tables: CdfTables,
        place: Place | None = None,
    ) -> Tensor:
        if self.mixing is None or place is None:
            symbols = self.decoder.pull(indexes, tables)
        else:
            plain = binary(tables).plain[indexes]
            symbols = np.zeros(indexes.size, np.int32)
            symbols[plain] = self.decoder.pull(indexes[plain], tables)
            symbols = self.mixing.pull(place, symbols, indexes, tables)
        self.coded.append(symbols)
        return torch.from_numpy(symbols.astype(np.float64)).reshape(shape)

    def finish(self) -> None:
        """Raise ``FormatError`` unless every stream ends where it should."""
        for stream in self.streams():
            assert isinstance(stream, Reader)
            stream.decoder.finish()
            if stream.mixing is not None:
                assert isinstance(stream.mixing.coder, MixingDecoder)
                stream.mixing.coder.finish()


def split_payload(payload: bytes, count: int) -> list[bytes]:
    """``count`` streams of a payload; raises ``FormatError``."""
    streams = []
    offset = 0
    for number in range(count - 1):
        length, offset = read_varint(payload, offset)
        if length > len(payload) - offset:
            raise FormatError(f"stream {number} of a latent is truncated")
        streams.append(payload[offset : offset + length])
        offset += length
    return [*streams, payload[offset:]]

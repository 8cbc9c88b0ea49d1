"""Symbols of a latent <-> bytes, exactly, on any machine (numerics profile FLOAT64_GUARD).

A symbol is round(y - mean), so noise in the mean cannot desynchronise a decoder. What must be
equal on both sides is the table index of every symbol. The entropy model therefore runs in
float64, where machines differ by about 1e-15, and the encoder lists explicitly every index that
lies within ``GUARD_BAND`` of a decision boundary: a decoder never decides a close call
(``entropy/guard.py``).

A payload is one ANS stream of steps. A model's ``walk`` runs through them once and serves both
directions: it asks a :class:`Writer` or a :class:`Reader` for the decoded values of each step.
For the default model (:class:`ExactCoder`) that is z, then per slice the anchors and the
non-anchors, each step with its list of close calls first and channels fastest; it is the walk that
training uses (``slices.py``).

A model with an order of channels (``config.py``) that has auxiliary groups writes a stream of the
core and one for each group: every stream but the last comes after its length as a varint.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from laconic.codec.image.config import ChannelOrder
from laconic.codec.image.model import Mlic, detail_step
from laconic.codec.image.slices import CodeStep
from laconic.entropy import (
    CdfTables,
    SymbolCheck,
    SymbolDecoder,
    SymbolEncoder,
    pull_guarded,
    push_guarded,
)
from laconic.formats.errors import FormatError
from laconic.formats.frame import read_varint, write_varint

if TYPE_CHECKING:
    from laconic.codec.image.mlicpp.slices import FactorizedPrior

Result = TypeVar("Result")
Network = TypeVar("Network", bound=nn.Module)
# y_hat [1, H, W, M] -> coefficients of the detail layer in steps [1, H, W, 768]
Detail = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Coded:
    """Payload of one latent, the check over its symbols, and how many symbols there are."""

    payload: bytes
    check: SymbolCheck
    symbols: int
    y_hat: Tensor  # [1, H, W, M] float64, with a detail layer [1, H, W, M + 768]


class Steps(ABC):
    """One direction of coding. ``value`` is what the encoder has and the decoder lacks (None)."""

    def __init__(self, coder: LatentCoder) -> None:
        self.coder = coder
        self.coded: list[NDArray[np.int32]] = []  # symbols of each step
        self.detail: Detail | None = None  # what the encoder adds to a decoded latent

    def gaussian(self, value: Tensor | None, mean: Tensor, log_scale: Tensor) -> Tensor:
        """Code round(value - mean) with the Gaussian tables; returns it plus the mean."""
        indexes = self.choose(self.coder.position(log_scale), self.coder.boundaries)
        residual = None if value is None else value - mean
        return self.symbols_of(residual, log_scale.shape, indexes, self.coder.tables) + mean

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
    ) -> Tensor:
        """Code round(residual), with one table index for each element of ``shape``."""


class Branching(Steps):
    """Steps of a stream that may part into streams of their own."""

    def __init__(self, coder: LatentCoder) -> None:
        super().__init__(coder)
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


class Writer(Branching):
    """Steps of an encoder."""

    def __init__(self, coder: LatentCoder) -> None:
        super().__init__(coder)
        self.encoder = SymbolEncoder("ans")

    def branch(self, number: int) -> Writer:
        return Writer(self.coder)

    def choose(self, values: NDArray[np.float64], boundaries: ArrayLike) -> NDArray[np.uint16]:
        return push_guarded(self.encoder, values, boundaries)

    def symbols_of(
        self,
        residual: Tensor | None,
        shape: torch.Size,
        indexes: NDArray[np.integer],
        tables: CdfTables,
    ) -> Tensor:
        assert residual is not None
        rounded = residual.round()
        symbols = rounded.reshape(-1).numpy().astype(np.int32)
        self.encoder.push(symbols, indexes, tables)
        self.coded.append(symbols)
        return rounded

    def finish(self) -> bytes:
        """The payload."""
        streams = [s.encoder.finish() for s in self.streams() if isinstance(s, Writer)]
        return b"".join(write_varint(len(s)) + s for s in streams[:-1]) + streams[-1]


class Reader(Branching):
    """Steps of a decoder."""

    def __init__(self, coder: LatentCoder, payloads: Sequence[bytes]) -> None:
        super().__init__(coder)
        self.decoder = SymbolDecoder(payloads[0], "ans")
        self.payloads = payloads[1:]

    def branch(self, number: int) -> Reader:
        return Reader(self.coder, self.payloads[number : number + 1])

    def choose(self, values: NDArray[np.float64], boundaries: ArrayLike) -> NDArray[np.uint16]:
        return pull_guarded(self.decoder, values, boundaries)

    def symbols_of(
        self,
        residual: Tensor | None,
        shape: torch.Size,
        indexes: NDArray[np.integer],
        tables: CdfTables,
    ) -> Tensor:
        symbols = self.decoder.pull(indexes, tables)
        self.coded.append(symbols)
        return torch.from_numpy(symbols.astype(np.float64)).reshape(shape)

    def finish(self) -> None:
        """Raise ``FormatError`` unless every stream ends where it should."""
        for stream in self.streams():
            assert isinstance(stream, Reader)
            stream.decoder.finish()


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


class LatentCoder(ABC):
    """Entropy coding of latents with one model. Thread-safe: keeps no state between calls.

    ``scales`` are the lowest and highest scale of the Gaussian tables, log-spaced. Coding needs
    ``dtype`` float64 on the processor; a walk in float32, on any device, serves gradients only
    (``refine.py``).
    """

    device = torch.device("cpu")  # of the walk

    def __init__(
        self,
        tables: CdfTables,
        scales: tuple[float, float],
        dtype: torch.dtype = torch.float64,
        order: ChannelOrder | None = None,
    ) -> None:
        self.dtype, self.order = dtype, order
        self.tables = tables
        self.boundaries = np.arange(len(tables) - 1) + 0.5  # in steps of the scale table
        self.log_low = float(np.log(scales[0]))
        self.log_step = float(np.log(scales[1] / scales[0])) / (len(tables) - 1)

    def position(self, log_scale: Tensor) -> NDArray[np.float64]:
        """Place of each scale in the table, in steps."""
        place: NDArray[np.float64] = ((log_scale - self.log_low) / self.log_step).numpy()
        return place

    @abstractmethod
    def walk(
        self,
        steps: Steps,
        y: Tensor | None,
        z: Tensor | None,
        size: tuple[int, int],
        quality: float | None,
    ) -> Tensor:
        """All coding steps of a latent of ``size`` (height, width); returns y_hat ``[1, H, W,
        M]``. ``y`` and ``z`` are channels-last and None when decoding."""

    @torch.no_grad()
    def encode(
        self, y: Tensor, z: Tensor | None, quality: float | None, detail: Detail | None = None
    ) -> Coded:
        """``y`` [1, H, W, M] and ``z`` [1, H/4, W/4, Z] in steps -> payload; models with a detail
        layer ask ``detail`` for its coefficients."""
        writer = Writer(self)
        writer.detail = detail
        z = None if z is None else z.cpu().double()
        y_hat = self.walk(writer, y.cpu().double(), z, (y.shape[1], y.shape[2]), quality)
        return Coded(writer.finish(), *writer.summary(), y_hat)

    @torch.no_grad()
    def decode(self, payload: bytes, height: int, width: int, quality: float | None) -> Coded:
        """Inverse of :meth:`encode` for a latent of ``height`` x ``width``.

        Raises ``FormatError`` for a payload that cannot be one of such a latent. Whether the
        symbols are right is told by the returned check.
        """
        groups = 0 if self.order is None else len(self.order.groups)
        reader = Reader(self, split_payload(payload, 1 + groups))
        y_hat = self.walk(reader, None, None, (height, width), quality)
        reader.finish()
        return Coded(payload, *reader.summary(), y_hat)


class ExactCoder(LatentCoder):
    """Entropy coding with the default model."""

    def __init__(
        self,
        model: Mlic,
        tables: CdfTables,
        dtype: torch.dtype = torch.float64,
        order: ChannelOrder | None = None,
    ) -> None:
        super().__init__(tables, (model.config.scale_low, model.config.scale_high), dtype, order)
        self.config = model.config
        self.device = next(model.parameters()).device
        self.plan = None if order is None else order.plan(model.config.slices)
        self.h_s = exact(model.h_s, dtype)
        self.z_prior = exact(model.z_prior, dtype)
        self.y_model = exact(model.y_model, dtype)
        self.detail_scales = exact(model.detail, dtype) if model.config.detail else None

    def walk(
        self,
        steps: Steps,
        y: Tensor | None,
        z: Tensor | None,
        size: tuple[int, int],
        quality: float | None,
    ) -> Tensor:
        assert quality is not None
        start = self.config.detail_from
        q = torch.tensor([min(quality, start)], dtype=self.dtype, device=self.device)
        z_mean, z_log_scale = self.z_prior(q)
        shape = (1, size[0] // 4, size[1] // 4, self.config.z_channels)
        z_hat = steps.gaussian(z, z_mean, z_log_scale.expand(shape))
        flat = None if y is None else y.flatten(1, 2)  # [1, N, M]

        def coding(steps: Steps) -> CodeStep:
            def code(at: Tensor, first: int, end: int, mean: Tensor, log_scale: Tensor) -> Tensor:
                value = None if flat is None else flat[:, at, first:end]
                return steps.gaussian(value, mean, log_scale)

            return code

        def parallel(tasks: Sequence[Callable[[CodeStep], Result]]) -> list[Result]:
            return steps.parallel([lambda s, t=t: t(coding(s)) for t in tasks])  # type: ignore[misc]

        hyper = self.h_s(z_hat, q)
        y_hat: Tensor = self.y_model(hyper, q, coding(steps), self.plan, parallel)
        if self.detail_scales is None or quality <= start:
            return y_hat
        log_scale = self.detail_scales(hyper, y_hat / self.y_model.unit(q))
        log_scale = log_scale - math.log(detail_step(quality, start))
        rest = None if steps.detail is None else steps.detail(y_hat).to(self.device).to(self.dtype)
        return torch.cat((y_hat, steps.gaussian(rest, torch.zeros_like(log_scale), log_scale)), -1)


def exact(module: Network, dtype: torch.dtype, device: str | None = None) -> Network:
    """A copy for coding (float64) or for gradients with respect to latents, on another device if
    one is named."""
    # In this order: not every device has float64.
    copied = copy.deepcopy(module).to(device).to(dtype)
    return copied.eval().requires_grad_(False)

"""Segments of a signal, and how two channels become one stream.

Two channels as one and where its recordings stand: intensity stereo.

The two channels are mixed into one that keeps their energy in each band, and for each column and
band the difference of their levels is stored; the decoder pans the decoded mixture accordingly.
Two independently decoded channels of a semantic codec have unrelated phases, so that a voice in
the middle falls apart; a panned one stays whole, at half the bits. See Breebaart et al.,
"Parametric coding of stereo audio", EURASIP JASP 2005, section 3. Where the channels cancel each
other, coding them independently is the better choice (:func:`cancels`).

Segments: the tokens of some seconds of audio <-> the payload of a segment of the file.

A payload is a byte of flags, the length if this is the last segment of a file whose length was not
known before, and one stream of the range coder: the levels of joint stereo, the pitch of each coded
channel, corrections of the level, a bit for each column where the last stream is not everywhere,
then the tokens of each coded channel. A silent segment has flags alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from laconic.codec.audio.header import Geometry
from laconic.codec.audio.side_information import (
    Gains,
    Track,
    decode_gains,
    decode_track,
    encode_gains,
    encode_track,
)
from laconic.entropy import SymbolCheck
from laconic.entropy.short import (
    AdaptiveCounts,
    ShortDecoder,
    ShortEncoder,
    Weights,
    equal_chances,
    normalised,
)
from laconic.entropy.token_grid import TokenCoder, TokenPrior
from laconic.formats.container import Segment
from laconic.formats.errors import DesyncError, FormatError, UnsupportedError
from laconic.formats.frame import read_varint, write_varint

Wave = NDArray[np.float32]
Levels = NDArray[np.int64]  # [columns, bands], 0..14

EDGES = (0, 300, 700, 1200, 1900, 2900, 4200, 6000, 8000)  # Hz
BANDS = len(EDGES) - 1
STEPS = (-45.0, -20.0, -14.0, -10.0, -7.0, -4.0, -2.0, 0.0, 2.0, 4.0, 7.0, 10.0, 14.0, 20.0, 45.0)
CENTRE = len(STEPS) // 2
FRAMES = 4  # analysis frames in a column
QUIET = 1e-6  # of the loudest band: below it a difference is not heard and keeps its value
STICKY = 1.5  # dB by which a level must be nearer to be preferred to the one before
CANCELLED = 0.1  # share of the energy that must survive mixing
JOINT, ENDS, PITCHED, PARTLY, LEVELLED = 4, 8, 16, 32, 64  # bits of the flags beside the coding


@cache
def _window(hop: int) -> NDArray[np.float64]:
    """Square root of a Hann window of two hops; its squares add up to 1."""
    return np.sqrt(np.hanning(2 * hop + 1)[:-1])


@cache
def _bins(hop: int, rate: int) -> NDArray[np.int64]:
    """Band of each bin of the transform."""
    frequencies = np.fft.rfftfreq(2 * hop, 1 / rate)
    return np.clip(np.searchsorted(EDGES, frequencies, side="right") - 1, 0, BANDS - 1)


def _spectra(wave: NDArray[np.floating], hop: int) -> NDArray[np.complex128]:
    """``[..., n * hop]`` -> ``[..., n + 1, hop + 1]``: frames centred on the hops' ends."""
    padded = np.pad(wave, [(0, 0)] * (wave.ndim - 1) + [(hop, hop)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop, axis=-1)[..., ::hop, :]
    return np.fft.rfft(frames * _window(hop))


def _waves(spectra: NDArray[np.complex128], hop: int) -> Wave:
    """Inverse of :func:`_spectra`."""
    frames = np.fft.irfft(spectra) * _window(hop)
    first, second = frames[..., :hop], frames[..., hop:]
    joined = first[..., 1:, :] + second[..., :-1, :]
    return joined.reshape(*joined.shape[:-2], -1).astype(np.float32)


def _energies(spectra: NDArray[np.complex128], bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """``[..., frames, bins]`` -> ``[..., frames, BANDS]``."""
    power = spectra.real**2 + spectra.imag**2
    return np.stack([power[..., bins == b].sum(-1) for b in range(BANDS)], axis=-1)


def cancels(wave: Wave) -> bool:
    """Whether the sum of two channels ``[2, n]`` loses most of their energy."""
    both = float((wave.astype(np.float64) ** 2).sum()) / 2
    mid = float((wave.mean(0, dtype=np.float64) ** 2).sum())
    return mid < CANCELLED * both


def mix(wave: Wave, columns: int, rate: int) -> tuple[Wave, Levels]:
    """``[2, columns * hop]`` -> the mixture ``[columns * hop]`` and its levels."""
    hop = wave.shape[1] // (columns * FRAMES)
    bins = _bins(hop, rate)
    spectra = _spectra(wave, hop)  # [2, frames, bins]
    middle = spectra.mean(0)
    energies = _energies(spectra, bins)
    kept = _energies(middle, bins)
    gain = np.sqrt((energies.mean(0) + 1e-12) / (kept + 1e-12)).clip(0.5, 2.0)
    mixture = _waves(middle * gain[:, bins], hop)
    # Frames of a column: those centred inside it and half of those on its ends; whole ones do.
    sums = np.stack([energies[:, k : k + columns * FRAMES : FRAMES] for k in range(FRAMES)]).sum(0)
    return mixture, _quantised(sums)


def _quantised(energies: NDArray[np.float64]) -> Levels:
    """``[2, columns, BANDS]`` -> indexes into STEPS."""
    ratio = 10 * np.log10((energies[0] + 1e-12) / (energies[1] + 1e-12))
    steps = np.array(STEPS)
    loudest = energies.sum(0).max()
    levels = np.full(ratio.shape, CENTRE)
    before = np.full(BANDS, CENTRE)
    for column, row in enumerate(ratio):
        nearest = np.abs(row[:, None] - steps).argmin(1)
        stays = np.abs(row - steps[before]) < np.abs(row - steps[nearest]) + STICKY
        stays |= energies[:, column].sum(0) < QUIET * loudest
        before = levels[column] = np.where(stays, before, nearest)
    return levels


def spread(mixture: Wave, levels: Levels, rate: int) -> Wave:
    """Inverse of :func:`mix`: ``[2, n]``."""
    columns = len(levels)
    hop = len(mixture) // (columns * FRAMES)
    ratio = 10 ** (np.array(STEPS)[levels] / 10)  # [columns, BANDS], of energies
    gains = np.sqrt(np.stack([2 * ratio / (1 + ratio), 2 / (1 + ratio)]))
    # From the middles of the columns to the frames, linearly.
    at = (np.arange(columns * FRAMES + 1) / FRAMES - 0.5).clip(0, columns - 1)
    low = at.astype(np.int64).clip(0, max(0, columns - 2))
    share = (at - low)[None, :, None]
    high = np.minimum(low + 1, columns - 1)
    smooth = gains[:, low] * (1 - share) + gains[:, high] * share
    return _waves(_spectra(mixture, hop)[None] * smooth[:, :, _bins(hop, rate)], hop)


@cache
def _around(level: int) -> Weights:
    """Chances of the level that follows ``level``."""
    return normalised(np.array([(4096 >> 2 * abs(level - k)) + 16 for k in range(len(STEPS))]))


def encode_levels(coder: ShortEncoder, levels: Levels) -> None:
    """Append the levels of a segment."""
    model, before = AdaptiveCounts(), [CENTRE] * BANDS
    for row in levels.tolist():
        for band, level in enumerate(row):
            model.encode(coder, _around(before[band]), band, before[band], level)
        before = row


def decode_levels(coder: ShortDecoder, columns: int) -> Levels:
    """Inverse of :func:`encode_levels`."""
    model, before = AdaptiveCounts(), [CENTRE] * BANDS
    levels = np.zeros((columns, BANDS), np.int64)
    for column in range(columns):
        for band in range(BANDS):
            before[band] = model.decode(coder, _around(before[band]), band, before[band])
        levels[column] = before
    return levels


class Coding(IntEnum):
    """How the tokens of a segment are coded."""

    MODELLED = 0  # by prior and counts
    PLAIN = 1  # each at the same cost: never longer than tokens without entropy coding
    SILENT = 2  # no tokens


@dataclass(frozen=True)
class SegmentTokens:
    """What a segment holds.

    Attributes:
        tokens: ``[coded channels, columns, positions, streams]``; no channels in silence. Columns
            may lack the last stream, which is then -1 in all channels and positions.
        levels: of joint stereo, where one coded channel stands for two.
        pitch: tracks ``[coded channels, knots]``, of models that use them.
        gains: corrections of the level ``[coded channels, columns]``, of such models too.
        loudness: log magnitudes of the original ``[coded channels, columns]``, which the encoder
            needs for the gains; they are not stored.
        samples: of the whole original, in the last segment of a file whose header does not say
            its length.
    """

    tokens: NDArray[np.int64]
    levels: Levels | None = None
    samples: int | None = None
    pitch: Track | None = None
    gains: Gains | None = None
    loudness: NDArray[np.float64] | None = None

    @property
    def columns(self) -> int:
        """Columns of a segment that is not silent."""
        return int(self.tokens.shape[1])

    @property
    def silent(self) -> bool:
        """Whether there are no tokens."""
        return len(self.tokens) == 0


@dataclass
class SegmentCoder:
    """Packs segments of one file.

    Attributes:
        vocabularies: symbols of each stream.
        positions: tokens of each stream in a column.
        prior: of the model, or None.
        channels: of the file.
        knots: of pitch in a column, 0 where the model does not use it.
    """

    vocabularies: tuple[int, ...]
    positions: int
    prior: TokenPrior | None
    channels: int
    knots: int = 0
    plain_segments: int = field(default=0, init=False)  # in which no model helped

    def pack(self, segment: SegmentTokens, streams: int) -> Segment:
        """The segment with its first ``streams`` streams."""
        flags, head = 0, b""
        if segment.samples is not None:
            flags, head = ENDS, write_varint(segment.samples)
        if segment.silent:
            return Segment(bytes([flags | Coding.SILENT]) + head, SymbolCheck().value32())
        tokens = segment.tokens[..., :streams]
        if segment.levels is not None:
            flags |= JOINT
        if self.knots and segment.pitch is not None and segment.pitch.any():
            flags |= PITCHED
        if self.knots and segment.gains is not None and segment.gains.any():
            flags |= LEVELLED
        if (tokens[..., -1] < 0).any():
            flags |= PARTLY
        modelled, plain = (self._stream(segment, tokens, flags, plain=p) for p in (False, True))
        coding = Coding.MODELLED if len(modelled) <= len(plain) else Coding.PLAIN
        self.plain_segments += coding == Coding.PLAIN
        body = plain if coding == Coding.PLAIN else modelled
        return Segment(
            bytes([flags | coding]) + head + body,
            check_of(
                tokens,
                segment.levels,
                segment.pitch if flags & PITCHED else None,
                segment.gains if flags & LEVELLED else None,
            ),
        )

    def unpack(
        self, segment: Segment, number: int, geometry: Geometry, streams: int
    ) -> tuple[SegmentTokens, Geometry]:
        """Inverse of :meth:`pack`; also the geometry, with the length if the segment tells it.

        Raises:
            FormatError: damaged. DesyncError: the tokens are not those that were encoded.
            UnsupportedError: coded in a way of a newer version.
        """
        payload, at = segment.payload, 1
        if not payload:
            raise FormatError(f"segment {number} is empty: the file is damaged")
        flags, samples = payload[0], None
        if flags & 3 not in Coding._value2member_map_ or flags >> (7 if self.knots else 4):
            raise UnsupportedError(f"segment {number} is coded in a way that this version lacks")
        if flags & ENDS:
            samples, at = read_varint(payload, at)
            geometry = geometry.ending(number, samples)
        if flags & JOINT and self.channels != 2:
            raise FormatError(f"segment {number} is joint stereo in a recording of other channels")
        first, end = geometry.own(number)
        columns = end - first
        if columns <= 0:
            raise FormatError(f"segment {number} is behind the audio's end: the file is damaged")
        if flags & 3 == Coding.SILENT:
            if len(payload) > at:
                raise FormatError(f"segment {number} is silent but not empty: damaged file")
            empty = np.zeros((0, columns, self.positions, streams), np.int64)
            found = SegmentTokens(empty, None, samples)
        else:
            decoder = ShortDecoder(payload[at:])
            levels = decode_levels(decoder, columns) if flags & JOINT else None
            coder = self.coder(plain=flags & 3 == Coding.PLAIN)
            coded = 1 if flags & JOINT else self.channels
            pitch = None
            if flags & PITCHED:
                knots = self.knots * columns
                pitch = np.stack([decode_track(decoder, knots) for _ in range(coded)])
            gains = decode_gains(decoder, coded, columns) if flags & LEVELLED else None
            full = np.ones(columns, bool)
            if flags & PARTLY:
                full = _decode_columns(decoder, columns)
            tokens = [self._decoded(decoder, coder, full, streams) for _ in range(coded)]
            decoder.finish()
            found = SegmentTokens(np.stack(tokens), levels, samples, pitch, gains)
        if not segment.matches(check_of(found.tokens, found.levels, found.pitch, found.gains)):
            raise DesyncError(
                f"segment {number} decodes to other tokens than were encoded: the model differs"
            )
        return found, geometry

    def _decoded(
        self, decoder: ShortDecoder, coder: TokenCoder, full: NDArray[np.bool_], streams: int
    ) -> NDArray[np.int64]:
        """Tokens of a channel ``[columns, positions, streams]``."""
        if full.all():
            return coder.decode(decoder, len(full), streams)
        if streams < 2:
            raise FormatError("columns without any token: the file is damaged")
        tokens = np.full((len(full), self.positions, streams), -1, np.int64)
        tokens[..., :-1] = coder.decode(decoder, len(full), streams - 1)
        if full.any():
            below = np.ascontiguousarray(tokens[full])
            tokens[full, :, -1] = coder.decode_stream(decoder, below, streams - 1)
        return tokens

    def cost(self, tokens: NDArray[np.int64], stream: int) -> int:
        """Bytes that a stream of a segment takes, to within one for each channel."""
        size = 0
        for channel in tokens:
            encoder = ShortEncoder()
            self.coder(plain=False).encode_stream(encoder, channel, stream)
            size += len(encoder.finish())
        return size

    def _stream(
        self, segment: SegmentTokens, tokens: NDArray[np.int64], flags: int, *, plain: bool
    ) -> bytes:
        encoder = ShortEncoder()
        if segment.levels is not None:
            encode_levels(encoder, segment.levels)
        if flags & PITCHED and segment.pitch is not None:
            for track in segment.pitch:
                encode_track(encoder, track)
        if flags & LEVELLED and segment.gains is not None:
            encode_gains(encoder, segment.gains)
        coder = self.coder(plain=plain)
        full = np.asarray((tokens[..., -1] >= 0).all((0, 2)))  # [columns]
        if flags & PARTLY:
            _encode_columns(encoder, full)
        for channel in tokens:
            if not flags & PARTLY:
                coder.encode(encoder, channel)
                continue
            coder.encode(encoder, channel[..., :-1])
            if full.any():
                coder.encode_stream(encoder, channel[full], channel.shape[-1] - 1)
        return encoder.finish()

    def coder(self, *, plain: bool) -> TokenCoder:
        """Coder of grids."""
        return TokenCoder(self.vocabularies, self.positions, self.prior, plain=plain)


def length_in(payload: bytes) -> int | None:
    """Samples of the whole audio if this segment is one that tells it."""
    if payload and payload[0] & ENDS:
        return read_varint(payload, 1)[0]
    return None


def _encode_columns(coder: ShortEncoder, full: NDArray[np.bool_]) -> None:
    """Append which columns have the last stream."""
    model, before = AdaptiveCounts(), 1
    for symbol in full.astype(np.int64).tolist():
        model.encode(coder, equal_chances(2), 0, before, symbol)
        before = symbol


def _decode_columns(coder: ShortDecoder, columns: int) -> NDArray[np.bool_]:
    """Inverse of :func:`_encode_columns`."""
    model, before = AdaptiveCounts(), 1
    full = np.zeros(columns, bool)
    for column in range(columns):
        before = model.decode(coder, equal_chances(2), 0, before)
        full[column] = before
    return full


def check_of(
    tokens: NDArray[np.int64],
    levels: Levels | None,
    pitch: Track | None = None,
    gains: Gains | None = None,
) -> int:
    """CRC-32 over levels, pitch and gains, then the tokens channel by channel, column by column."""
    check = SymbolCheck()
    for part in (levels, pitch, gains):
        if part is not None:
            check.update(part)
    check.update(tokens)
    return check.value32()

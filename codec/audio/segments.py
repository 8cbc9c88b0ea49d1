"""Segments: the tokens of some seconds of sound <-> the payload of a segment of the file.

A payload is a byte of flags, the length if this is the last segment of a file whose length was not
known before, and one stream of the range coder: the levels of joint stereo, the pitch of each coded
channel, corrections of the level, a bit for each column where the last stream is not everywhere,
then the tokens of each coded channel. A silent segment has flags alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from laconic.codec.audio.gains import Gains, decode_gains, encode_gains
from laconic.codec.audio.geometry import Geometry
from laconic.codec.audio.pitch import Track, decode_track, encode_track
from laconic.codec.audio.stereo import Levels, decode_levels, encode_levels
from laconic.entropy import SymbolCheck
from laconic.entropy.counts import AdaptiveCounts, equal_chances
from laconic.entropy.short import ShortDecoder, ShortEncoder
from laconic.entropy.token_grid import TokenCoder
from laconic.entropy.token_prior import TokenPrior
from laconic.formats.container import Segment
from laconic.formats.errors import DesyncError, FormatError, UnsupportedError
from laconic.formats.varint import read_varint, write_varint


class Coding(IntEnum):
    """How the tokens of a segment are coded."""

    MODELLED = 0  # by prior and counts
    PLAIN = 1  # each at the same cost: never longer than tokens without entropy coding
    SILENT = 2  # no tokens


JOINT, ENDS, PITCHED, PARTLY, LEVELLED = 4, 8, 16, 32, 64  # bits of the flags beside the coding


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
            raise FormatError(f"segment {number} is joint stereo in a sound of other channels")
        first, end = geometry.own(number)
        columns = end - first
        if columns <= 0:
            raise FormatError(f"segment {number} is behind the sound's end: the file is damaged")
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

    def costs(self, tokens: NDArray[np.int64]) -> list[int]:
        """Bytes that each stream of a segment takes, to within one."""
        sizes = []
        for stream in range(tokens.shape[-1]):
            size = 0
            for channel in tokens:
                encoder = ShortEncoder()
                self.coder(plain=False).encode_stream(encoder, channel, stream)
                size += len(encoder.finish())
            sizes.append(size)
        return sizes

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
    """Samples of the whole sound if this segment is one that tells it."""
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

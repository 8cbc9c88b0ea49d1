"""Encoding a recording: read, resample, tokens of segments, rate, payloads, container."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray

from laconic.codec.audio.header import CODEC_VERSION, AudioCodecHeader, AudioOptions, Geometry
from laconic.codec.audio.loading import LoadedModel
from laconic.codec.audio.segments import SegmentCoder, SegmentTokens
from laconic.codec.audio.side_information import gains_of
from laconic.codec.audio.windows import PitchedModel, WindowEncoder
from laconic.formats.audio import AudioHeader
from laconic.formats.audio_stream import AudioSource, Block, resampled
from laconic.formats.container import (
    TAGS,
    Chunk,
    Container,
    ContainerWriter,
    Header,
    Media,
)
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import DesyncError, ParameterError
from laconic.formats.frame import pack_tags

DEFAULT_KBPS = 1.5  # of one channel before entropy coding: what is chosen when nothing is asked for
DEFAULT_STEPS = 0
CODED = 0.87  # of the bits of tokens of fixed length, as files usually have
TRIES = 4  # files that are written to fill a limit


@dataclass
class AudioEncoder:
    """Encodes recordings with one model; the file is named after ``codec_id``.

    ``chunks`` go into the header, as a prompt does.
    """

    codec_id: int
    model: LoadedModel
    settings: AudioOptions
    chunks: tuple[Chunk, ...] = ()

    samples: int = field(default=0, init=False)  # read so far

    def __post_init__(self) -> None:
        self.model.check_steps(self.settings.steps)
        self._effort = self.model.effort(self.settings.effort)
        self._joint = (self.settings.stereo or "joint") == "joint"
        self._streams = len(self.model.network.vocabularies)

    def encode(self, source: AudioSource) -> bytes:
        """A complete file of a recording whose end is known when it is written.

        Raises ``ParameterError`` for a bit rate or size that the lowest rate exceeds.
        """
        bounded = self.settings.kbps is not None or self.settings.target_bytes is not None
        streams = self._streams if bounded else self._asked()
        found = list(self.tokens(source, streams))
        samples = self.samples
        if bounded:
            streams = self._fitting(source, found, samples)
        while True:
            written = self._written(source, found, samples, streams)
            data, limit = written.data, self._limit(samples, source.rate)
            if limit is None or len(data) <= limit:
                if limit is not None and self.model.network.knots and streams < self._streams:
                    written = self._filled(source, written, samples)
                if self.settings.verify:
                    self._verify(source, written, samples)
                return written.data
            if streams == 1:
                raise ParameterError(
                    f"the lowest rate of {self.model.info.name} takes {len(data)} bytes"
                    f" ({8 * len(data) * source.rate / samples / 1000:.3f} kbit/s) for this sound:"
                    f" {limit} bytes were asked for"
                )
            streams -= 1

    def encode_to(self, source: AudioSource, fp: BinaryIO) -> int:
        """Write a file segment by segment while the audio is read; returns its bytes.

        The rate is chosen beforehand, so that even without entropy coding a bound is kept.
        """
        if self.settings.target_bytes is not None:
            raise ParameterError(
                "a target size needs the whole audio: name an output file instead of a pipe"
            )
        streams = self._asked()
        if self.settings.kbps is not None:
            streams = self._safe(source.channels)
        coder = self._coder(source)
        counting: Any = _Counting(fp)
        writer = ContainerWriter(
            counting, self._header(source, 0, streams), [c for c in self._all(source) if c.critical]
        )
        for number, segment in enumerate(self.tokens(source, streams)):
            packed = coder.pack(self.levelled(segment, streams), streams)
            if self.settings.verify:
                again, _ = coder.unpack(packed, number, self._geometry(source), streams)
                _compare(again, segment, number)
            writer.add(packed)
            fp.flush()
        writer.finish([c for c in self._all(source) if not c.critical])
        return counting.count

    def tokens(
        self, source: AudioSource, streams: int, *, silence: bool = True
    ) -> Iterator[SegmentTokens]:
        """Tokens of all segments; afterwards ``samples`` is the length of the audio.

        Without ``silence`` silent segments have tokens as well.
        """
        network, progress = self.model.network, self.settings.progress
        geometry = self._geometry(source)
        encoder = WindowEncoder(
            network,
            geometry,
            source.channels,
            streams,
            joint=self._joint,
            silence=silence,
            effort=self._effort,
            likely=self._likely(source, streams),
        )
        self.samples = 0
        blocks = resampled(self._counted(source), source.channels, source.rate, network.rate)
        seconds = source.seconds
        total = max(1, round(seconds)) if seconds else 0
        for block in blocks:
            yield from encoder.push(block)
            if progress and total:
                progress(min(total - 1, self.samples // source.rate), total)
        yield from encoder.finish(self.samples)
        if progress and total:
            progress(total, total)

    def _counted(self, source: AudioSource) -> Iterator[Block]:
        for block in source:
            self.samples += block.shape[1]
            yield block.clip(-1, 1)

    def _geometry(self, source: AudioSource) -> Geometry:
        network = self.model.network
        return Geometry(source.rate, network.rate, network.hop, self.model.segment, network.window)

    def _coder(self, source: AudioSource) -> SegmentCoder:
        network = self.model.network
        return SegmentCoder(
            network.vocabularies, network.positions, self.model.prior, source.channels,
            network.knots,
        )  # fmt: skip

    def _likely(self, source: AudioSource, streams: int) -> list[int]:
        """Numbers of streams that a file may have of which at most ``streams`` are encoded."""
        kbps, target = self.settings.kbps, self.settings.target_bytes
        if target is not None and source.seconds:
            asked = 8 * target / 1000 / source.seconds
            kbps = asked if kbps is None else min(kbps, asked)
        if kbps is None:
            return [streams]
        each = kbps / (1 if self._joint else source.channels)
        fits = [n for n in range(1, streams + 1) if CODED * self.model.kbps(n) <= each]
        least = max(fits, default=1)
        return list(range(least, min(streams, least + 1) + 1))

    def _asked(self) -> int:
        """Streams for the quality, or the default."""
        quality = self.settings.quality
        if quality is not None:
            return 1 + round(quality / 100 * (self._streams - 1))
        fits = [n for n in range(1, self._streams + 1) if self.model.kbps(n) <= DEFAULT_KBPS]
        return max(fits, default=1)

    def _safe(self, channels: int) -> int:
        """Streams that keep the bit rate whatever the audio."""
        kbps = self.settings.kbps
        assert kbps is not None
        seconds = self.model.segment * self.model.network.hop / self.model.network.rate
        spent = 0.2 / seconds  # segment headers, kbit/s
        fits = [n for n in range(1, self._streams + 1)
                if channels * self.model.kbps(n) + spent <= kbps]  # fmt: skip
        if not fits:
            raise ParameterError(
                f"the lowest rate of {self.model.info.name} may take"
                f" {channels * self.model.kbps(1) + spent:.2f} kbit/s for {channels} channels:"
                f" {kbps} were asked for"
            )
        return fits[-1]

    def _limit(self, samples: int, rate: int) -> int | None:
        """Bytes that the file may have."""
        limits = []
        if self.settings.target_bytes is not None:
            limits.append(self.settings.target_bytes)
        if self.settings.kbps is not None:
            limits.append(int(self.settings.kbps * 1000 * samples / rate / 8))
        return min(limits, default=None)

    def _fitting(self, source: AudioSource, found: list[SegmentTokens], samples: int) -> int:
        """Largest number of streams that should fit the limit; at least 1."""
        limit = self._limit(samples, source.rate)
        assert limit is not None
        sounding = [s.tokens for s in found if not s.silent]
        if not sounding:
            return self._asked()
        coder = self._coder(source)
        size = 8 * len(found) + 24
        for stream in range(self._streams):
            size += sum(coder.cost(tokens, stream) for tokens in sounding)
            if size > limit:  # what can be filled up may begin below the limit
                return max(1, stream if self.model.network.knots else stream + 1)
        return self._streams

    def _filled(self, source: AudioSource, written: Written, samples: int) -> Written:
        """The file with one stream more in as many columns as the limit allows, those first in
        which its entries are largest: there they change most."""
        found, streams, size = written.found, written.streams, len(written.data)
        limit = self._limit(samples, source.rate)
        assert limit is not None
        strengths = [self._strengths(s, streams) for s in found]
        order = np.sort(np.concatenate(strengths))[::-1]
        # A column takes about as much as its tokens do at fixed length.
        places = self.model.network.positions * max(len(s.tokens) for s in found)
        cost = places * np.log2(self.model.network.vocabularies[streams]) / 8
        for _ in range(TRIES):
            count = min(len(order) - 1, int((limit - size) / cost))
            if count < 1:
                break
            least = order[count]
            chosen = [
                replace(s, tokens=np.where((k > least)[None, :, None, None], s.tokens, -1))
                for s, k in zip(found, strengths, strict=True)
            ]
            for before, after in zip(found, chosen, strict=True):
                after.tokens[..., :streams] = before.tokens[..., :streams]
            tried = self._written(source, chosen, samples, streams + 1)
            if len(tried.data) <= limit:
                return tried
            cost *= (len(tried.data) - size) / (limit - size) * 1.02
        return written

    def _strengths(self, segment: SegmentTokens, stream: int) -> NDArray[np.float64]:
        """How much a stream changes in each column of a segment: ``[columns]``."""
        if segment.silent:
            return np.zeros(0)
        sizes = cast(PitchedModel, self.model.network).strengths(stream)  # [positions, entries]
        tokens = segment.tokens[..., stream]  # [channels, columns, positions]
        strengths: NDArray[np.float64] = sizes[np.arange(len(sizes)), tokens].sum((0, 2))
        return strengths

    def _written(
        self, source: AudioSource, found: list[SegmentTokens], samples: int, streams: int
    ) -> Written:
        """A file of the first ``streams`` streams of the tokens of a recording."""
        coder = self._coder(source)
        segments = [
            coder.pack(self.levelled(replace(s, samples=None), streams), streams) for s in found
        ]
        header = self._header(source, samples, streams)
        data = Container(header, segments, self._all(source)).to_bytes()
        return Written(data, found, streams)

    def _verify(self, source: AudioSource, written: Written, samples: int) -> None:
        """Decode the tokens of a file; raises ``DesyncError`` where they are others."""
        coder, geometry = self._coder(source), replace(self._geometry(source), samples=samples)
        packed = ContainerReader(written.data)
        for number, (one, segment) in enumerate(zip(packed, written.found, strict=True)):
            again, _ = coder.unpack(one, number, geometry, written.streams)
            _compare(again, segment, number)

    def levelled(self, segment: SegmentTokens, streams: int) -> SegmentTokens:
        """With the gains that bring what the tokens decode to to the original's level."""
        if segment.silent or segment.loudness is None:
            return segment
        tokens = segment.tokens[..., :streams]
        flat = torch.from_numpy(tokens.reshape(len(tokens), -1, streams))
        pitch = None if segment.pitch is None else torch.from_numpy(segment.pitch)
        with torch.inference_mode():
            heard = cast(PitchedModel, self.model.network).decoded_loudness(flat, pitch)
            decoded = heard.cpu().double().numpy()
        return replace(segment, gains=gains_of(segment.loudness, decoded))

    def _header(self, source: AudioSource, samples: int, streams: int) -> Header:
        # Diffusion as published needs many more steps than the small refiner.
        advised = getattr(self.model.network, "advised_steps", DEFAULT_STEPS)
        steps = advised if self.settings.steps is None else self.settings.steps
        private = AudioCodecHeader(streams, self.model.segment, steps, self.settings.seed or 0)
        media = AudioHeader(source.rate, source.channels, source.layout, samples)
        return Header(
            Media.AUDIO,
            self.codec_id,
            CODEC_VERSION if self.model.network.knots else 1,
            bytes.fromhex(self.model.info.id),
            int(self.model.numerics),
            media.pack(),
            private.pack(),
        )

    def _all(self, source: AudioSource) -> list[Chunk]:
        tags = b"" if self.settings.strip else pack_tags(source.tags)
        return [*self.chunks, *([Chunk(TAGS, tags)] if tags else [])]


@dataclass(frozen=True)
class Written:
    """A file, and the tokens that its first ``streams`` streams were written from."""

    data: bytes
    found: list[SegmentTokens]
    streams: int


def _compare(again: SegmentTokens, segment: SegmentTokens, number: int) -> None:
    """Raises ``DesyncError`` unless the first streams of a segment are those that decode."""
    a, b = again.tokens, segment.tokens[..., : again.tokens.shape[-1]]
    if not (a.size == b.size == 0 or np.array_equal(a, b)):
        raise DesyncError(f"segment {number} does not decode to its tokens: report this")


class _Counting(io.RawIOBase):
    """Counts what is written through it."""

    def __init__(self, fp: BinaryIO) -> None:
        self._fp, self.count = fp, 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._fp.write(data)
        self.count += len(data)
        return len(data)

"""Decoding a recording, whole, in blocks or a range of seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from laconic.codec.audio.header import CODEC_VERSION, AudioCodecHeader, AudioDecodeOptions, Geometry
from laconic.codec.audio.loading import LoadedModel
from laconic.codec.audio.segments import SegmentCoder, SegmentTokens
from laconic.codec.audio.windows import FADE, WindowDecoder
from laconic.formats.audio import Audio, AudioHeader
from laconic.formats.audio_stream import Block, resampled
from laconic.formats.container import TAGS, Chunk, Header, Media, Segment
from laconic.formats.errors import FormatError, ModelError, ParameterError, UnsupportedError
from laconic.formats.frame import read_tags

Loaded = tuple[int, SegmentTokens | None, Geometry]


class Segments(Protocol):
    """What is decoded: a file that can be searched, or one that comes in order."""

    header: Header
    chunks: list[Chunk]

    def __iter__(self) -> Iterator[Segment]: ...


@dataclass
class Plan:
    """Which segments a range of samples needs, at the audio's own rate."""

    first: int  # segment to decode
    end: int
    begin: int  # sample of the result
    stop: int


class AudioDecoder:
    """Decodes one file.

    Attributes:
        audio: its media header.
        notices: what was lost.
        symbols: tokens decoded so far.
    """

    def __init__(self, file: Segments, model: LoadedModel, settings: AudioDecodeOptions) -> None:
        head = file.header
        if head.media != Media.AUDIO or head.codec_version not in range(1, CODEC_VERSION + 1):
            raise UnsupportedError(
                f"the audio is of codec version {head.codec_version}: this is {CODEC_VERSION};"
                " install a newer Laconic"
            )
        if head.numerics != model.numerics:
            raise UnsupportedError(
                f"the audio uses numerics profile {head.numerics}: its model {model.info.name} has"
                f" {int(model.numerics)}"
            )
        self.file, self.model, self.settings = file, model, settings
        self.audio = AudioHeader.unpack(head.media_header)
        self.header = AudioCodecHeader.unpack(head.codec_header)
        model.check_steps(settings.steps)
        network = model.network
        if self.header.streams > len(network.vocabularies):
            raise ModelError(
                f"the audio has {self.header.streams} streams of tokens, but its model"
                f" {model.info.name} has {len(network.vocabularies)}"
            )
        if self.header.segment > network.window:
            raise FormatError("the audio's segments are longer than its model's window: damaged")
        self.geometry = Geometry(
            self.audio.rate,
            network.rate,
            network.hop,
            self.header.segment,
            network.window,
            self.audio.samples or None,
        )
        count = head.segment_count
        if count is not None and self.geometry.count not in (None, count):
            raise FormatError(
                f"the audio has {count} segments: {self.geometry.count} fit its"
                f" {self.audio.samples} samples; the file is damaged"
            )
        self._coder = SegmentCoder(
            network.vocabularies, network.positions, model.prior, self.audio.channels,
            network.knots if head.codec_version > 1 else 0,
        )  # fmt: skip
        self.notices: list[str] = []
        self.symbols = 0

    @property
    def tags(self) -> dict[str, str]:
        """Title, artist and so on; of a file read in order only once it has been read."""
        for chunk in self.file.chunks:
            if chunk.type == TAGS:
                return read_tags(chunk.data)
        return {}

    def tokens(self, first: int = 0, end: int | None = None) -> Iterator[Loaded]:
        """Segments from ``first`` to before ``end``, each checked.

        Raises ``FormatError`` for damage, unless the settings ask for what is intact.
        """
        geometry = self.geometry
        number, segment = first - 1, None
        for number, segment in self._stored(first, end):
            tokens = None
            if segment is not None:
                tokens, geometry = self._coder.unpack(
                    segment, number, geometry, self.header.streams
                )
                self.symbols += tokens.tokens.size
            if self.geometry.samples is None and geometry.samples is not None:
                self.geometry = geometry
            yield number, tokens, geometry
        if end is None and geometry.samples is None and not self.settings.partial:
            raise FormatError("the audio's last segment does not say its length: damaged file")

    def _stored(self, first: int, end: int | None) -> Iterator[tuple[int, Segment | None]]:
        if not hasattr(self.file, "__getitem__"):
            for number, segment in enumerate(self.file):
                if number >= first and (end is None or number < end):
                    yield number, segment
            return
        last = len(self.file) if end is None else min(end, len(self.file))  # type: ignore[arg-type]
        for number in range(first, last):
            try:
                yield number, self.file[number]
            except FormatError as error:
                if not self.settings.partial:
                    raise
                begin = self.geometry.start(number) / self.audio.rate
                self.notices.append(f"{error}: silence from {begin:.1f} s on for one segment")
                yield number, None

    def blocks(self) -> Iterator[Block]:
        """The audio ``[C, n]`` at its own rate, block by block, cut to its exact length."""
        given = 0
        channels = self.audio.channels
        decoded = (block for _, block in self._run(self.tokens(), 0, None))
        for block in resampled(decoded, channels, self.model.network.rate, self.audio.rate):
            # The length is known at the latest when the last segment has been read.
            left = (self.geometry.samples or given + block.shape[1]) - given
            part = block[:, :left]
            given += part.shape[1]
            if part.shape[1]:
                yield part
        missing = (self.geometry.samples or given) - given
        if missing:
            yield np.zeros((channels, missing), np.float32)

    def whole(self) -> Audio:
        """The audio in memory."""
        if self.settings.seconds is not None:
            return self.range(*self.settings.seconds)
        limits = self.settings.limits
        size = self.audio.samples * self.audio.channels
        limits.check("the number of audio samples", size, limits.samples)
        parts: list[Block] = []
        size = 0
        for block in self.blocks():
            size += block.size
            limits.check("the number of audio samples", size, limits.samples)
            parts.append(block)
        if not parts:
            raise FormatError("no segment of the audio is left: nothing can be decoded")
        joined = np.concatenate(parts, axis=1)
        return Audio(joined, self.audio.rate, self.tags, self.notices)

    def range(self, start: float, end: float) -> Audio:
        """The samples from ``start`` to ``end`` seconds; reads only the segments they need.

        Raises ``ParameterError`` for a range outside the audio.
        """
        rate, model_rate = self.audio.rate, self.model.network.rate
        plan = self._plan(start, end)
        # Whole seconds, so that the resampler stands at the same phase as in the whole audio.
        origin = max(0, plan.begin // rate - 1)
        left = origin * model_rate
        parts = []
        at = left
        needed = (-(-plan.stop // rate) + 1) * model_rate
        loaded = self.tokens(max(0, plan.first - 1), plan.end + 1)
        for begin, block in self._run(loaded, plan.first, plan.end):
            skip = max(0, at - begin)
            piece = block[:, skip : max(skip, needed - begin)]
            parts.append(piece)
            at += piece.shape[1]
        samples = np.concatenate(
            [np.concatenate(parts, axis=1)]
            if rate == model_rate
            else list(resampled(iter(parts), self.audio.channels, model_rate, rate)),
            axis=1,
        )
        cut = samples[:, plan.begin - origin * rate : plan.stop - origin * rate]
        missing = plan.stop - plan.begin - cut.shape[1]
        return Audio(np.pad(cut, ((0, 0), (0, missing))), rate, self.tags, self.notices)

    def _plan(self, start: float, end: float) -> Plan:
        geometry = self.geometry
        if geometry.samples is None:
            self._find_end()
            geometry = self.geometry
        samples, count = geometry.samples, geometry.count
        if samples is None or count is None:
            raise FormatError("the audio's length is lost with its end: decode it whole")
        begin, stop = round(start * geometry.rate), min(round(end * geometry.rate), samples)
        if not 0 <= begin < stop:
            raise ParameterError(
                f"the seconds {start:g} to {end:g} are no part of a recording of"
                f" {samples / geometry.rate:g} s"
            )
        width = geometry.segment * geometry.hop
        # A second more on each side for the resampler, and the cross-fades.
        low = max(0, begin // geometry.rate - 1) * geometry.model_rate - FADE
        high = (-(-stop // geometry.rate) + 1) * geometry.model_rate + FADE
        first = max(0, low // width)
        return Plan(first, min(count, -(-high // width)), begin, stop)

    def _find_end(self) -> None:
        """Learn the length of a recording that was written before its end was known."""
        last = len(self.file) - 1  # type: ignore[arg-type]
        for _ in self.tokens(last):
            pass

    def _run(
        self, loaded: Iterator[Loaded], first: int, end: int | None
    ) -> Iterator[tuple[int, Block]]:
        steps, seed = self.settings.steps, self.settings.seed
        decoder = WindowDecoder(
            self.model.network,
            self.geometry,
            self.audio.channels,
            self.header.steps if steps is None else steps,
            self.header.seed if seed is None else seed,
        )
        report = self.settings.progress
        total = self.file.header.segment_count if end is None else end - first
        for begin, block in decoder.run(loaded, first, end):
            yield begin, block
            if report and total:
                done = (begin + block.shape[1]) // (self.geometry.segment * self.geometry.hop)
                report(min(total, done - first + 1), total)

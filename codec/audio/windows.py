"""Audio models behind one protocol, and how one of any kind codes a long signal: window by window.

A model turns audio into a grid of tokens and back. Time is cut into *columns* of ``hop`` samples, a
column into ``positions`` bands of frequency; every position carries one token of each stream.
Stream 0 is semantic, the others are acoustic stages: the first n streams alone decode to the same
signal at a lower rate. Models know one channel at one rate, and windows of at most ``window``
columns; resampling, channels, segments, cross-fades and files are the business of the caller.

A segment is encoded together with a margin of its neighbours and keeps only its own tokens, so that
no bit is spent twice; it is decoded together with the same margin of its neighbours' tokens, and
the decoded windows are cross-faded where they meet. Both directions go forward with at most a
window in memory, whatever the length of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.audio.header import Geometry
from laconic.codec.audio.segments import SegmentTokens, cancels, mix, spread
from laconic.codec.audio.side_information import STEP, track_of
from laconic.formats.audio_stream import Block

SILENCE = 1e-5  # largest magnitude of a sample in a silent segment, -100 dB
FADE = 1280  # samples of a cross-fade at most: half a column, 80 ms


class AudioModel(Protocol):
    """A loaded model."""

    rate: int  # samples per second
    hop: int  # samples per column
    positions: int  # tokens per stream in a column
    vocabularies: tuple[int, ...]  # size of each stream's alphabet, in decoding order
    window: int  # columns of the longest window that is encoded or decoded at once
    knots: int  # of pitch in a column; 0 where the model does not use the pitch

    def to(self, device: torch.device) -> Any:
        """Work on a device from now on; waves and tokens may be anywhere."""
        ...

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
        start: int = 0,
    ) -> Tensor:
        """int64 ``[B, columns * positions, streams]`` -> ``[B, columns * hop]`` in [-1, 1].

        Models with knots also take the pitch ``[B, columns * knots]``, corrections of the level
        in nepers ``[B, columns]`` and the number of the first column, and columns that lack the
        last stream (-1).

        ``steps`` evaluations of the refiner start from noise drawn with ``seed``; 0 steps is
        the deterministic regression, without noise.
        """
        ...


class PitchedModel(AudioModel, Protocol):
    """A model that has knots."""

    searches: bool  # whether a search finds better tokens than the encoder

    def searched(
        self, wave: Tensor, streams: int, pitch: Tensor, likely: Sequence[int], effort: int
    ) -> Tensor:
        """As ``encode`` for the pitch ``[B, columns * knots]``, with an effort of 1 to 9 on files
        of so many streams as are likely, the likeliest first."""
        ...

    def strengths(self, stream: int) -> NDArray[np.float64]:
        """Squared lengths of what the entries of an acoustic stream add: ``[positions,
        vocabulary]``."""
        ...

    def loudness(self, wave: Tensor) -> Tensor:
        """Log magnitudes ``[B, columns]`` of ``[B, samples]``."""
        ...

    def decoded_loudness(self, tokens: Tensor, pitch: Tensor | None) -> Tensor:
        """The same of what tokens decode to without corrections."""
        ...


class WindowEncoder:
    """Blocks of audio at the model's rate in, tokens of segments out.

    Args:
        model: the network.
        geometry: of the file, its length unknown.
        channels: of the audio.
        streams: to encode.
        joint: code two channels as one with levels where they do not cancel each other.
        silence: leave tokens out where all samples are zero.
        effort: of a search for better tokens, 0 for none.
        likely: numbers of streams that the file may have, the likeliest first.
    """

    def __init__(
        self,
        model: AudioModel,
        geometry: Geometry,
        channels: int,
        streams: int,
        *,
        joint: bool,
        silence: bool = True,
        effort: int = 0,
        likely: Sequence[int] = (),
    ) -> None:
        self.model, self.geometry = model, geometry
        self.effort, self.likely = effort, likely
        self.channels, self.streams = channels, streams
        self.joint, self.silence = joint and channels == 2, silence
        self._kept: Block = np.zeros((channels, 0), np.float32)
        self._start = 0  # of what is kept, in samples
        self.number = 0  # of the next segment

    def push(self, block: Block) -> Iterator[SegmentTokens]:
        """Segments that are complete with ``block`` ``[C, n]``; never the last one."""
        self._kept = np.concatenate([self._kept, block], axis=1)
        # One more sample than the window has: then this is not the last segment.
        while self._end > self.geometry.around(self.number)[1] * self.geometry.hop:
            yield self._next(self.geometry)
            self.number += 1
            first = max(0, self.number * self.geometry.segment - self.geometry.window)
            drop = first * self.geometry.hop - self._start
            if drop > 0:
                self._kept, self._start = self._kept[:, drop:], self._start + drop

    def finish(self, samples: int) -> Iterator[SegmentTokens]:
        """The last segments of a recording of ``samples`` samples at its own rate."""
        known = replace(self.geometry, samples=samples)
        assert known.total is not None
        assert known.count is not None
        length = known.total * known.hop - self._start
        missing = max(0, length - self._kept.shape[1])
        self._kept = np.pad(self._kept, ((0, 0), (0, missing)))[:, :length]
        while self.number < known.count:
            segment = self._next(known)
            if self.number == known.count - 1:
                segment = replace(segment, samples=samples)
            yield segment
            self.number += 1

    @property
    def _end(self) -> int:
        return self._start + self._kept.shape[1]

    def _next(self, geometry: Geometry) -> SegmentTokens:
        first, end = geometry.around(self.number)
        own_first, own_end = geometry.own(self.number)
        hop = geometry.hop
        wave = self._kept[:, first * hop - self._start : end * hop - self._start]
        own = slice(own_first - first, own_end - first)
        loudest = np.abs(wave[:, own.start * hop : own.stop * hop]).max()
        if self.silence and loudest < SILENCE:
            shape = (0, own_end - own_first, self.model.positions, self.streams)
            return SegmentTokens(np.zeros(shape, np.int64))
        levels = None
        if self.joint and not cancels(wave):
            mixture, levels = mix(wave, end - first, geometry.model_rate)
            wave, levels = mixture[None], levels[own]
        sound = torch.from_numpy(np.ascontiguousarray(wave))
        pitch = loudness = None
        if self.model.knots:
            model = cast(PitchedModel, self.model)
            tracks = np.stack([track_of(channel) for channel in wave])
            pitch = tracks[:, own.start * model.knots : own.stop * model.knots]
            with torch.inference_mode():
                heard = model.loudness(sound)
            loudness = heard.cpu().double().numpy()[:, own]
        if self.effort and self.model.knots:
            known = torch.from_numpy(tracks)
            tokens = model.searched(sound, self.streams, known, self.likely, self.effort)
        else:
            with torch.inference_mode():
                tokens = self.model.encode(sound, self.streams)
        grid = (
            tokens.cpu().numpy().reshape(len(wave), end - first, self.model.positions, self.streams)
        )
        return SegmentTokens(grid[:, own].astype(np.int64), levels, pitch=pitch, loudness=loudness)


class WindowDecoder:
    """Tokens of segments to blocks of audio at the model's rate.

    Args:
        model: the network.
        geometry: of the file.
        channels: of the audio.
        steps: evaluations of the refiner.
        seed: of its noise.
    """

    def __init__(
        self, model: AudioModel, geometry: Geometry, channels: int, steps: int, seed: int
    ) -> None:
        self.model, self.geometry, self.channels = model, geometry, channels
        self.steps, self.seed = steps, seed

    def run(
        self,
        segments: Iterable[tuple[int, SegmentTokens | None, Geometry]],
        first: int = 0,
        end: int | None = None,
    ) -> Iterator[tuple[int, Block]]:
        """Audio ``[C, n]`` of consecutive segments and its first sample.

        Args:
            segments: number, tokens (None for one that is lost) and the geometry known so far.
            first: segments before it serve as neighbours only.
            end: so do this one and those after it.
        """
        before: SegmentTokens | None = None
        tail: Block | None = None  # what the segment before says of the cross-fade
        queue = iter(segments)
        current = next(queue, None)
        while current is not None and (end is None or current[0] < end):
            following = next(queue, None)
            number, segment, geometry = current
            after = None
            if following is not None:
                after, geometry = following[1], following[2]
            if number >= first:
                at, wave = self._window(number, before, segment, after, geometry)
                own, stop = (c * geometry.hop for c in geometry.own(number))
                half = self._half(number, geometry)
                if tail is not None and own - at >= half:
                    ramp = (np.arange(2 * half, dtype=np.float32) + 0.5) / (2 * half)
                    start = own - half - at
                    mixed = tail * (1 - ramp) + wave[:, start : start + 2 * half] * ramp
                    yield own - half, np.asarray(mixed, np.float32)
                    own += half
                elif tail is not None:
                    yield own - half, tail[:, :half]
                tail = None
                if following is not None:
                    half = self._half(number + 1, geometry)
                    if at + wave.shape[1] >= stop + half:
                        tail = wave[:, stop - half - at : stop + half - at]
                        stop -= half
                yield own, wave[:, own - at : stop - at]
            before, current = segment, following

    def _half(self, number: int, geometry: Geometry) -> int:
        """Half the length of the cross-fade from the segment before ``number``."""
        first, end = geometry.own(number)
        return min(
            FADE // 2, geometry.margin * geometry.hop // 2, (end - first) * geometry.hop // 2
        )

    def _window(
        self,
        number: int,
        before: SegmentTokens | None,
        segment: SegmentTokens | None,
        after: SegmentTokens | None,
        geometry: Geometry,
    ) -> tuple[int, Block]:
        """First sample and audio of a segment with as much of its neighbours as there is."""
        own_first, own_end = geometry.own(number)
        if segment is None or segment.silent:
            count = (own_end - own_first) * geometry.hop
            return own_first * geometry.hop, np.zeros((self.channels, count), np.float32)
        first, end = geometry.around(number)
        parts = [segment]
        left = own_first - first
        if left and before is not None and _alike(before, segment):
            left = min(left, before.columns)
            parts.insert(0, self._cut(before, before.columns - left, before.columns))
        else:
            left = 0
        if end > own_end and after is not None and _alike(after, segment):
            parts.append(self._cut(after, 0, min(end - own_end, after.columns)))
        grid = np.concatenate([p.tokens for p in parts], axis=1)
        flat = torch.from_numpy(grid.reshape(len(grid), -1, grid.shape[-1]))
        with torch.inference_mode():
            wave = self.model.decode(
                flat, steps=self.steps, seed=self.seed + number,
                **self._told(parts, own_first - left),
            )  # fmt: skip
        samples = wave.float().cpu().numpy()
        if segment.levels is not None:
            levels = np.concatenate([p.levels for p in parts if p.levels is not None])
            samples = spread(samples[0], levels, geometry.model_rate)
        return (own_first - left) * geometry.hop, samples

    def _cut(self, segment: SegmentTokens, first: int, end: int) -> SegmentTokens:
        """Columns of a segment."""
        levels = None if segment.levels is None else segment.levels[first:end]
        pitch = segment.pitch
        if pitch is not None:
            pitch = pitch[:, first * self.model.knots : end * self.model.knots]
        gains = None if segment.gains is None else segment.gains[:, first:end]
        return SegmentTokens(segment.tokens[:, first:end], levels, pitch=pitch, gains=gains)

    def _told(self, parts: list[SegmentTokens], start: int) -> dict[str, Any]:
        """What a model that uses the pitch is told beside the tokens of columns from ``start``
        on."""
        knots = self.model.knots
        if not knots:
            return {}
        tracks, gains = [], []
        for part in parts:
            channels, columns = part.tokens.shape[:2]
            # A segment without tracks has no voice, one without gains needs none.
            none = np.zeros((channels, columns * knots), np.int64)
            tracks.append(none if part.pitch is None else part.pitch)
            gains.append(none[:, :columns] if part.gains is None else part.gains)
        return {
            "pitch": torch.from_numpy(np.concatenate(tracks, axis=1)),
            "gains": STEP * torch.from_numpy(np.concatenate(gains, axis=1)),
            "start": start,
        }


def _alike(a: SegmentTokens, b: SegmentTokens) -> bool:
    """Whether two segments code the same channels."""
    return len(a.tokens) == len(b.tokens) and (a.levels is None) == (b.levels is None)

"""A video to a ``.lac`` stream: look at it, cut it into chunks, fit and write them with the audio.

The stream is written when everything is fitted, front to back, so it may go to a pipe. Chunks are
fitted by the processes of one machine (``fitting``) or as tasks of a Ray cluster, one for each; the
stream is the same. Tasks are sent from where the video is read: in a task of its own when files are
spread over the cluster, which frees its core while it waits for those of its chunks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from laconic.codec.engines import Ray, spread
from laconic.codec.video.plan import CODEC_VERSION, HnervHeader
from laconic.codec.video.settings import (
    DEFAULT_QUALITY,
    PATIENCE,
    SEARCH,
    FitSettings,
    VideoOptions,
    expected_seconds,
)
from laconic.codec.video.stream.fitting import (
    FrameSource,
    Meter,
    PlaneSource,
    Task,
    begun,
    fit_at_once,
    fit_in_turn,
    measured,
)
from laconic.codec.video.stream.work import Fitted, Stopper, Work, load, longest_chunk, plan_chunks
from laconic.entropy.quantize import NumericsProfile, SymbolCheck
from laconic.formats.audio_track import PART_BYTES
from laconic.formats.container import Container, ContainerWriter, Header, Media, Segment
from laconic.formats.errors import FormatError, LaconicError, Limits, ParameterError
from laconic.formats.video import VideoHeader
from laconic.formats.video_reader import Film

CHUNK_OVERHEAD = 14  # of a segment, and its share of the header, in bytes
FILE_OVERHEAD = 64
PRESET_TRIED = "medium"  # of fitted networks, when none is asked for
SHORT = 60.0  # seconds that need no announcement


@dataclass(frozen=True)
class Report:
    """What was written. ``psnr`` is the mean over frames, in dB, of what is decoded from the stream
    (RGB, for ``motion`` luma); None without verification. ``complete`` is false after a stop."""

    bytes: int
    frames: int
    chunks: int
    bpp: float
    psnr: float | None
    audio_bytes: int
    complete: bool


class StreamEncoder:
    """Encodes one video.

    Args:
        video: what to encode.
        settings: of the encoder.
        codec_id: number of the codec in the file.
        network: "motion", or what is fitted.
    """

    def __init__(self, video: Film, settings: VideoOptions, codec_id: int, network: str) -> None:
        if settings.fps is not None:
            if not hasattr(video, "at_rate"):
                raise ParameterError(
                    "the video has times of its own: fps is for a folder of images, leave it out"
                )
            video = video.at_rate(settings.fps)
        self.video, self.settings = video, settings
        self.preset = settings.preset or (SEARCH if network == "motion" else PRESET_TRIED)
        self.codec_id, self.network = codec_id, network
        self.note: Callable[[str], None] = settings.say
        self._fit_settings(None)  # complains about unknown presets and networks at once

    def fit(self) -> None:
        """Fit all chunks.

        Raises:
            ParameterError: unreachable target, or a work file that belongs to something else.
            OutputError: the work file cannot be written.
            KeyboardInterrupt: stopped before every chunk had begun.
        """
        from laconic.codec.video import chunk

        found = self.video.scan(self.settings.limits)
        audio, tracks, notices = (
            self.video.sound() if self.settings.audio else (None, 0, list[str]())
        )
        for sentence in (*found.notices, *notices):
            self.note(sentence)
        header = self._header = replace(found.header, tracks=tracks)
        self._audio = audio
        size = 0 if audio is None else audio.seek(0, 2)
        spans = plan_chunks(
            found.changes,
            longest_chunk(header.width, header.height, self.settings.chunk),
            fixed=self.settings.chunk is not None,
        )
        self._plan_time(header, len(spans))
        private = self._private = HnervHeader(self.network, tuple(s.count for s in spans))
        work = self.work = self._work(private)
        if self.network in chunk.PLANAR:
            source: Any = PlaneSource(self.video.planes(), found.sampling, header)
        else:
            source = FrameSource(self.video.frames(), header.width, header.height)
        with Stopper(patient=self.network not in chunk.PLANAR) as stop, self._kept(work):
            task = Task(
                spans,
                self._fit_settings(self.settings.quality),
                self._budget(header, private, size, work),
                work,
                stop,
                self.settings.verify,
                self.settings.progress,
                self.settings.status,
                self.settings.limits,
            )
            jobs = min(self.settings.jobs, len(spans))
            if self.settings.spread:
                early = fit_on_cluster(task, source, self.settings.spread)
            else:
                early = fit_at_once(task, source, jobs) if jobs > 1 else fit_in_turn(task, source)
            if len(work.done) + len(early) < len(spans) or stop.terminated:
                stop.leave()
        self._fitted, self._complete = {**work.done, **early}, not early

    @contextmanager
    def _kept(self, work: Work) -> Iterator[None]:
        """Save what there is when a signal ends the block, and say so."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            if work.path is not None and (work.done or work.states):
                work.save()
                self.note(f"the same command goes on from {work.path}")
            raise

    def write(self, fp: BinaryIO) -> Report:
        """Write the stream of what was fitted."""
        header, fitted = self._header, [self._fitted[n] for n in sorted(self._fitted)]
        counted: Any = _Counted(fp)
        self._write(counted, [Segment(f.payload, f.check) for f in fitted])
        psnr = [value for f in fitted for value in f.psnr]
        return Report(
            counted.count,
            header.frames,
            len(fitted),
            8 * counted.count / (header.width * header.height * header.frames),
            float(np.mean(psnr)) if psnr else None,
            0 if self._audio is None else self._audio.seek(0, 2),
            self._complete,
        )

    def finish(self) -> None:
        """The stream is where it belongs: delete the work file, unless there is more to fit."""
        if self._complete:
            self.work.remove()
        elif self.work.path is not None:
            self.note(f"stopped early: the same command with -f goes on from {self.work.path}")

    def _fit_settings(self, quality: float | None) -> FitSettings:
        device = getattr(self.settings, "device", None)
        return FitSettings(self.network, self.preset, quality=quality, device=device)

    def _plan_time(self, header: VideoHeader, chunks: int) -> None:
        """Say how long it will take, and choose the preset where nobody did."""
        size, jobs = header.width * header.height, min(self.settings.jobs, chunks)
        targets = self.settings.bpp, self.settings.target_bytes
        quality = self.settings.quality
        if quality is None and targets == (None, None):
            quality = DEFAULT_QUALITY

        def seconds() -> float:
            return expected_seconds(self._fit_settings(quality), size, header.frames, chunks)

        expected, instead = seconds(), ""
        if self.settings.preset is None and self.preset != SEARCH and expected > PATIENCE:
            self.preset, instead = SEARCH, f", where {self.preset} would take {_words(expected)}"
            expected = seconds()
        if expected / jobs >= SHORT:
            self.note(
                f"preset {self.preset} takes about {_words(expected / jobs)} on a slow core"
                + instead
            )

    def _work(self, private: HnervHeader) -> Work:
        """The work file to go on from, or a new one."""
        settings = self.settings
        how = asdict(self._fit_settings(settings.quality))
        del how["device"]  # work may go on elsewhere
        facts = [
            CODEC_VERSION, self.video.digest(), how,
            settings.bpp, settings.target_bytes, self.settings.audio, private.lengths,
        ]  # fmt: skip
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        if self.settings.work is None:
            return Work(key)
        path = Path(self.settings.work)
        if not path.exists():
            return Work(key, path)
        try:
            work = load(path)
            if work.key == key:
                if work.done or work.states:
                    self.note(
                        f"going on from {path}: {len(work.done)} of {len(private.lengths)} chunks"
                        " are fitted"
                    )
                return work
            reason = f"{path} holds unfinished work on another video or with other settings"
        except FormatError as error:
            reason = str(error).partition(":")[0]
        if not self.settings.fresh:
            raise ParameterError(f"{reason}: delete it, or add -f to begin anew")
        self.note(f"{reason}: it is replaced")
        return Work(key, path)

    def _budget(
        self, header: VideoHeader, private: HnervHeader, audio: int, work: Work
    ) -> Callable[[int], int | None]:
        """Bytes for each chunk, so that the file with header and audio meets the target."""
        target = self.settings.target_bytes
        pixels = header.width * header.height * header.frames
        if self.settings.bpp is not None:
            target = int(self.settings.bpp * pixels / 8)
        if target is None:
            return lambda number: None
        parts = -(-audio // PART_BYTES)
        media, chunks = header.pack()
        fixed = len(media) + sum(len(c.data) for c in chunks) + len(private.pack())
        fixed += audio + FILE_OVERHEAD + CHUNK_OVERHEAD * (len(private.lengths) + parts)
        if target - fixed < len(private.lengths):
            carried = f", of which the audio takes {audio}: see --no-audio" if audio else ""
            raise ParameterError(
                f"the target is {target} bytes, but the file needs {fixed} before the first"
                f" frame{carried}"
            )
        apart = self.settings.jobs > 1 or self.settings.spread > 0
        return partial(_share, private.lengths, target - fixed, work, apart)

    def _write(self, fp: BinaryIO, segments: list[Segment]) -> None:
        audio, private = self._audio, self._private
        media, chunks = self._header.pack()
        profile = int(NumericsProfile.INTEGER_TABLES)
        count = len(segments) + (0 if audio is None else -(-audio.seek(0, 2) // PART_BYTES))
        head = Header(
            Media.VIDEO, self.codec_id, CODEC_VERSION, b"", profile, media, private.pack(), count
        )
        self.settings.limits.check("the number of segments", count, self.settings.limits.segments)
        if count == 1:
            Container(head, segments, chunks).write(fp)
            return
        writer = ContainerWriter(fp, head, [c for c in chunks if c.critical])
        for segment in segments:
            writer.add(segment)
        if audio is not None:
            audio.seek(0)
            while part := audio.read(PART_BYTES):
                writer.add(Segment(part, part_check(part)))
        writer.finish([c for c in chunks if not c.critical])


def _words(seconds: float) -> str:
    """A time as people say it."""
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} minute{'s' * (minutes != 1)}"
    return f"{round(minutes / 60)} hours"


def part_check(part: bytes) -> int:
    """The symbol check of a part of the audio: over its bytes."""
    check = SymbolCheck()
    check.update(np.frombuffer(part, np.uint8))
    return check.value32()


def _share(lengths: tuple[int, ...], total: int, work: Work, fixed: bool, number: int) -> int:
    """Bytes for a chunk: what is left for the frames that are left, or by number of frames alone
    where chunks are fitted at the same time."""
    if fixed:
        return max(1, total * lengths[number] // sum(lengths))
    used = sum(len(fitted.payload) for n, fitted in work.done.items() if n < number)
    return max(1, (total - used) * lengths[number] // sum(lengths[number:]))


class _Counted:
    """A file that only counts what is written to it on its way."""

    def __init__(self, fp: BinaryIO) -> None:
        self._fp, self.count = fp, 0

    def write(self, data: bytes) -> int:
        self.count += len(data)
        return self._fp.write(data)


@dataclass(frozen=True)
class Piece:
    """A chunk on its way to a node."""

    number: int
    frames: Any
    settings: Any  # chunk.FitSettings
    state: Any  # of a fit that had begun, or None
    limits: Limits
    verify: bool


def fit_on_cluster(
    task: Task, source: FrameSource | PlaneSource, threads: int
) -> dict[int, Fitted]:
    """As ``fitting.fit_at_once`` with as many chunks at a time as the cluster has room for.

    After a stop no more are begun; the work file has those that ended. Raises ``LaconicError`` for
    a chunk whose workers die again and again.
    """
    work, meter = task.work, Meter(task)

    def pieces() -> Iterator[Piece]:
        for number, span in enumerate(task.spans):
            if task.stop():
                return
            if number not in work.done:
                yield Piece(
                    number, source.take(span), task.settings_of(number), work.states.get(number),
                    task.limits, task.verify,
                )  # fmt: skip

    engine = Ray(None, threads, 0)
    for piece, found in spread(fit_piece, pieces(), engine, lost=lambda _, why: why):
        if isinstance(found, str):
            raise LaconicError(f"chunk {piece.number + 1} of the video was given up: {found}")
        work.done[piece.number] = found
        work.states.pop(piece.number, None)
        work.save()
        count = task.spans[piece.number].count
        meter.progress(piece.number, count, count)
    if len(work.done) == len(task.spans):
        meter.finish()
    return {}


def fit_piece(piece: Piece) -> Fitted | str:
    """Fit one chunk to its end."""
    fit = begun(piece.frames, piece.settings, piece.state)
    fit.run()
    device = piece.settings.device
    return measured(fit.payload(), piece.frames, piece.limits, piece.verify, device)

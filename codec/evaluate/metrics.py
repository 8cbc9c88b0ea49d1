"""Which measures exist for which medium, by the names that options and results use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from laconic.codec.evaluate import distortion, sound, voice
from laconic.codec.media import of
from laconic.formats.container import Media
from laconic.formats.errors import ParameterError


@dataclass(frozen=True)
class Metric:
    """A measure of decoded media.

    Attributes:
        name: key in results.
        title: label of an axis, with the unit.
        better: +1 when larger is better, -1 when smaller is.
        media: kinds it applies to. Frames of films are measured one by one and averaged.
        compute: pictures ``(a, b, bit_depth) -> float``; sounds ``(a, b) -> float``. Raises
            ``ParameterError`` where it is not defined, ``UnsupportedError`` without its package.
        extra: needs a package that is not installed by default.
    """

    name: str
    title: str
    better: int
    media: frozenset[Media]
    compute: Callable[..., float]
    extra: bool = False

    def of(self, *arguments: Any) -> float | None:
        """The measure, None where it is not defined."""
        try:
            return self.compute(*arguments)
        except ParameterError:
            return None


PICTURES = frozenset({Media.IMAGE, Media.VIDEO})
SOUNDS = frozenset({Media.AUDIO})


def _ms_ssim_db(a: Any, b: Any, bit_depth: int) -> float:
    return distortion.decibels(distortion.ms_ssim(a, b, bit_depth))


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("psnr", "PSNR (dB)", 1, PICTURES, distortion.psnr),
        Metric("psnr-y", "PSNR of luma (dB)", 1, PICTURES, distortion.psnr_y),
        Metric("ms-ssim", "MS-SSIM", 1, PICTURES, distortion.ms_ssim),
        Metric("ms-ssim-db", "MS-SSIM (dB)", 1, PICTURES, _ms_ssim_db),
        Metric("mel", "log-mel distance", -1, SOUNDS, sound.mel_distance),
        Metric("stft", "STFT distance", -1, SOUNDS, sound.stft_distance),
        Metric("si-sdr", "SI-SDR (dB)", 1, SOUNDS, sound.si_sdr),
        Metric("pesq", "PESQ-WB", 1, SOUNDS, sound.pesq_wb, True),
        Metric("stoi", "STOI", 1, SOUNDS, sound.stoi, True),
        Metric("estoi", "ESTOI", 1, SOUNDS, lambda a, b: sound.stoi(a, b, extended=True), True),
        Metric("visqol", "ViSQOL (speech, polynomial)", 1, SOUNDS, sound.visqol, True),
        Metric("voicing", "voiced frames lost (%)", -1, SOUNDS, voice.voiced_lost, True),
        Metric("f0", "pitch error (semitones)", -1, SOUNDS, voice.f0_error, True),
        Metric("level", "level error (dB)", -1, SOUNDS, voice.level_error),
        Metric("lines", "lines at the frame rate (dB)", -1, SOUNDS, voice.frame_lines),
    )
}


def choose(names: Sequence[str], media: Media) -> list[Metric]:
    """Metrics by name, the medium's defaults when none is named.

    Raises ``ParameterError`` for an unknown one or one of another medium.
    """
    chosen = []
    medium = of(media)
    for name in names or medium.metrics:
        metric = METRICS.get(name)
        if metric is None or media not in metric.media:
            known = ", ".join(m.name for m in METRICS.values() if media in m.media)
            raise ParameterError(
                f"there is no metric {name!r} for {medium.plural}: choose among {known or 'none'}"
            )
        chosen.append(metric)
    return chosen

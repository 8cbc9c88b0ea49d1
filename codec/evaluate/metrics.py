"""Measures of decoded media by name, and Bjontegaard deltas between rate-distortion curves.

Measures of images and video frames are computed here, those of audio in ``audio_measures.py``.
A delta is the mean difference between two curves (Bjontegaard, VCEG-M33, 2001, with a
cubic through the points); PCHIP interpolation (VCEG-AI11 and JCTVC practice) never overshoots and
is the default.
"""

from __future__ import annotations

import io
import json
import math
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from laconic.codec.evaluate import audio_measures
from laconic.codec.media import of
from laconic.codec.options import need
from laconic.formats.container import Media
from laconic.formats.errors import ParameterError

LUMA = np.array([0.299, 0.587, 0.114])  # BT.601, as JPEG and the literature on Kodak
Method = Literal["pchip", "cubic"]
VISUAL = frozenset({Media.IMAGE, Media.VIDEO})
VIDEO = frozenset({Media.VIDEO})
AUDIO = frozenset({Media.AUDIO})


def _same(a: NDArray[Any], b: NDArray[Any]) -> None:
    if a.shape != b.shape or a.dtype != b.dtype or not np.issubdtype(a.dtype, np.integer):
        raise ParameterError(
            f"images of {list(a.shape)} {a.dtype} and {list(b.shape)} {b.dtype} cannot be"
            " compared: expected equal shapes and integer samples"
        )


def psnr(a: NDArray[Any], b: NDArray[Any], bit_depth: int = 8) -> float:
    """Peak signal-to-noise ratio in dB over all samples of all channels; infinite if equal.

    >>> round(psnr(np.zeros((2, 2), np.uint8), np.full((2, 2), 5, np.uint8)), 2)
    34.15
    """
    _same(a, b)
    return _psnr(a.astype(np.float64) - b.astype(np.float64), bit_depth)


def psnr_y(a: NDArray[Any], b: NDArray[Any], bit_depth: int = 8) -> float:
    """PSNR in dB of the luma 0.299 R + 0.587 G + 0.114 B, unrounded, of ``[H, W, 1 or 3]``."""
    _same(a, b)
    difference = a.astype(np.float64) - b.astype(np.float64)
    if a.ndim == 3 and a.shape[2] == 3:
        difference = difference @ LUMA
    return _psnr(difference, bit_depth)


def _psnr(difference: NDArray[Any], bit_depth: int) -> float:
    error = float(np.mean(difference**2))
    peak = (1 << bit_depth) - 1
    return math.inf if error == 0 else float(10 * np.log10(peak * peak / error))


def psnr_yuv(a: Sequence[NDArray[Any]], b: Sequence[NDArray[Any]], bit_depth: int = 8) -> float:
    """PSNR in dB of the planes Y, U and V, weighed by 6 : 1 : 1, the practice of JVET; of luma
    where it is alone."""
    found = [psnr(x, y, bit_depth) for x, y in zip(a, b, strict=True)]
    return (6 * found[0] + found[1] + found[2]) / 8 if len(found) > 1 else found[0]


def ms_ssim(a: NDArray[Any], b: NDArray[Any], bit_depth: int = 8) -> float:
    """Multi-scale structural similarity, mean over channels, of ``[H, W, C]`` images.

    Wang et al. 2003, as computed by pytorch-msssim. Both sides must exceed 160 pixels, else
    ``ParameterError``.
    """
    _same(a, b)
    if a.ndim != 3 or min(a.shape[:2]) <= 160:
        raise ParameterError(
            f"MS-SSIM needs [H, W, C] images larger than 160 x 160: these are {list(a.shape)}"
        )
    import torch
    from pytorch_msssim import ms_ssim as compute

    x, y = (torch.from_numpy(p.astype(np.float32)).permute(2, 0, 1)[None] for p in (a, b))
    return float(compute(x, y, data_range=(1 << bit_depth) - 1))


def ssimulacra2(a: NDArray[Any], b: NDArray[Any], bit_depth: int = 8) -> float:
    """SSIMULACRA2 of 8-bit RGB or gray images ``[H, W, C]``: 100 is the original, 90 cannot be
    told from it, 70 is high quality, 50 medium, 30 low.

    Sneyers 2023, as computed by the package ssimulacra2. Other depths and sides below 8 raise
    ``ParameterError``.
    """
    _same(a, b)
    if a.ndim != 3 or bit_depth != 8 or a.shape[2] not in (1, 3) or min(a.shape[:2]) < 8:
        raise ParameterError(
            "SSIMULACRA2 needs 8-bit RGB or gray images of at least 8 x 8: these are"
            f" {list(a.shape)} of {bit_depth} bits"
        )
    compute = need("ssimulacra2", "eval").compute_ssimulacra2
    files = []
    for samples in (a, b):
        rgb = np.broadcast_to(samples.astype(np.uint8), (*samples.shape[:2], 3))
        height, width = rgb.shape[:2]
        files.append(io.BytesIO(b"P6 %d %d 255\n" % (width, height) + rgb.tobytes()))
    return float(compute(*files))


def ms_ssim_y(a: NDArray[Any], b: NDArray[Any], bit_depth: int = 8) -> float:
    """`ms_ssim` of luma in 8 bits: planes ``[H, W]`` as they are, of RGB that of BT.601."""
    _same(a, b)
    x, y = (luma_of(p, bit_depth)[..., None] for p in (a, b))
    return ms_ssim(x, y)


def luma_of(samples: NDArray[Any], bit_depth: int = 8) -> NDArray[np.uint8]:
    """Luma ``[H, W]`` in 8 bits of a plane ``[H, W]`` or an image ``[H, W, 1 or 3]``."""
    if samples.ndim == 3 and samples.shape[2] == 3:
        samples = samples @ LUMA
    flat = samples.reshape(samples.shape[:2]).astype(np.float64)
    return np.rint(flat * (255 / ((1 << bit_depth) - 1))).astype(np.uint8)


class Vmaf:
    """VMAF of a clip, which is seen frame by frame: ``with Vmaf() as m: m.add(a, b); m.score()``.

    Measured by Netflix's own libvmaf (model vmaf_v0.6.1) in the FFmpeg of the package
    imageio-ffmpeg, on luma in limited range, as that model was trained. Frames wait on the disk.

    Raises ``UnsupportedError`` without the package.
    """

    def __init__(self) -> None:
        self._program = need("imageio_ffmpeg", "eval").get_ffmpeg_exe()
        self._size: tuple[int, ...] = ()

    def __enter__(self) -> Vmaf:
        self._folder = tempfile.TemporaryDirectory()
        paths = [Path(self._folder.name, name) for name in ("a.yuv", "b.yuv")]
        self._files = [path.open("wb") for path in paths]
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files:
            file.close()
        self._folder.cleanup()

    def add(self, a: NDArray[Any], b: NDArray[Any], bit_depth: int = 8, full: bool = False) -> None:
        """Luma ``[H, W]`` of a frame of the source and of the decoded one, in limited range unless
        ``full``."""
        _same(a, b)
        for file, samples in zip(self._files, (a, b), strict=True):
            scale = 219 / ((1 << bit_depth) - 1) if full else 2.0 ** (8 - bit_depth)
            luma = np.clip(np.rint(16 * full + samples * scale), 0, 255).astype(np.uint8)
            self._size = luma.shape
            chroma = 2 * (-(-luma.shape[0] // 2)) * (-(-luma.shape[1] // 2))
            file.write(luma.tobytes() + b"\x80" * chroma)

    def score(self) -> float:
        """The mean over frames, 0 to 100; ``ParameterError`` where libvmaf gives none."""
        for file in self._files:
            file.flush()
        rows, columns = self._size
        raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{columns}x{rows}"]
        done = subprocess.run(  # noqa: S603 - no shell, and names of our own
            [self._program, "-v", "error", *raw, "-i", "b.yuv", *raw, "-i", "a.yuv", "-lavfi",
             "libvmaf=log_fmt=json:log_path=vmaf.json", "-f", "null", "-"],
            cwd=self._folder.name, capture_output=True, text=True, check=False,
        )  # fmt: skip
        log = Path(self._folder.name, "vmaf.json")
        if done.returncode or not log.exists():
            raise ParameterError(f"VMAF cannot be measured: {done.stderr.strip()[-200:]}")
        return float(json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"])


def decibels(similarity: float) -> float:
    """MS-SSIM on the scale -10 log10(1 - x) on which curves are straight.

    >>> round(decibels(0.99), 6)
    20.0
    """
    return math.inf if similarity >= 1 else -10 * math.log10(1 - similarity)


@dataclass(frozen=True)
class BdResult:
    """A delta and the overlap it was averaged over (dB for BD-rate, log10 of rate for BD-PSNR)."""

    value: float
    low: float
    high: float


def bd_rate(
    anchor: Sequence[tuple[float, float]],
    test: Sequence[tuple[float, float]],
    method: Method = "pchip",
) -> BdResult:
    """Mean rate difference in per cent at equal quality; negative means ``test`` needs fewer bits.

    Args:
        anchor, test: points ``(rate, quality in dB)``, at least four each for "cubic", two for
            "pchip", any order.

    >>> curve = [(0.1, 28.0), (0.2, 31.0), (0.4, 34.0), (0.8, 37.0)]
    >>> round(bd_rate(curve, [(r * 1.1, q) for r, q in curve]).value, 6)
    10.0
    """
    a, b = _curve(anchor, method), _curve(test, method)
    delta, low, high = _mean_difference(a[::-1], b[::-1], method)
    return BdResult((10**delta - 1) * 100, low, high)


def bd_psnr(
    anchor: Sequence[tuple[float, float]],
    test: Sequence[tuple[float, float]],
    method: Method = "pchip",
) -> BdResult:
    """Mean quality difference in dB at equal rate; positive means ``test`` is better."""
    delta, low, high = _mean_difference(_curve(anchor, method), _curve(test, method), method)
    return BdResult(delta, low, high)


def _curve(points: Sequence[tuple[float, float]], method: Method) -> tuple[NDArray[Any], ...]:
    """``(log10 rate, quality)`` of the points that increase in both."""
    if method not in ("pchip", "cubic"):
        raise ParameterError(f"the method is {method!r}: expected 'pchip' or 'cubic'")
    rising: list[tuple[float, float]] = []
    for rate, quality in sorted(points):
        if rate <= 0 or not math.isfinite(quality):
            raise ParameterError(f"the point ({rate}, {quality}) is not a rate and a quality")
        if not rising or (quality > rising[-1][1] and rate > rising[-1][0]):
            rising.append((rate, quality))
    if len(rising) < (4 if method == "cubic" else 2):
        raise ParameterError(f"{len(rising)} rising points are too few for method {method!r}")
    rates, qualities = np.array(rising).T
    return np.log10(rates), qualities


def _mean_difference(
    a: tuple[NDArray[Any], ...], b: tuple[NDArray[Any], ...], method: Method
) -> tuple[float, float, float]:
    low, high = max(a[0][0], b[0][0]), min(a[0][-1], b[0][-1])
    if low >= high:
        raise ParameterError("the two curves do not overlap: measure more points")
    difference = _integral(b, low, high, method) - _integral(a, low, high, method)
    return float(difference / (high - low)), float(low), float(high)


def _integral(curve: tuple[NDArray[Any], ...], low: float, high: float, method: Method) -> float:
    x, y = curve
    if method == "cubic":
        primitive = np.polyint(np.polyfit(x, y, 3))
        return float(np.polyval(primitive, high) - np.polyval(primitive, low))
    pchip = need("scipy.interpolate", "eval").PchipInterpolator
    return float(pchip(x, y).integrate(low, high))


@dataclass(frozen=True)
class Metric:
    """A measure of decoded media.

    Attributes:
        name: key in results.
        title: label of an axis, with the unit.
        better: +1 when larger is better, -1 when smaller is.
        media: kinds it applies to. Frames of videos are measured one by one and averaged.
        compute: images ``(a, b, bit_depth) -> float``; recordings ``(a, b) -> float``. Raises
            ``ParameterError`` where it is not defined, ``UnsupportedError`` without its package.
        extra: needs a package that is not installed by default.
        planes: of videos it takes the source's own planes: "y" for luma, "yuv" for all.
        whole: ``compute()`` gives a context manager that sees all frames, such as `Vmaf`.
    """

    name: str
    title: str
    better: int
    media: frozenset[Media]
    compute: Callable[..., Any]
    extra: bool = False
    whole: bool = False
    planes: str = ""

    def of(self, *arguments: Any) -> float | None:
        """The measure, None where it is not defined."""
        try:
            return self.compute(*arguments)  # type: ignore[no-any-return]
        except ParameterError:
            return None


def _ms_ssim_db(a: Any, b: Any, bit_depth: int) -> float:
    return decibels(ms_ssim(a, b, bit_depth))


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("psnr", "PSNR (dB)", 1, VISUAL, psnr),
        Metric("psnr-y", "PSNR of luma (dB)", 1, VISUAL, psnr_y, planes="y"),
        Metric("psnr-yuv", "PSNR of Y, U, V as 6:1:1 (dB)", 1, VIDEO, psnr_yuv, planes="yuv"),
        Metric("ms-ssim", "MS-SSIM", 1, VISUAL, ms_ssim),
        Metric("ms-ssim-db", "MS-SSIM (dB)", 1, VISUAL, _ms_ssim_db),
        Metric("ssimulacra2", "SSIMULACRA2", 1, VISUAL, ssimulacra2, True),
        Metric("ms-ssim-y", "MS-SSIM of luma", 1, VISUAL, ms_ssim_y, planes="y"),
        Metric("vmaf", "VMAF", 1, VIDEO, Vmaf, True, True, "y"),
        Metric("mel", "log-mel distance", -1, AUDIO, audio_measures.mel_distance),
        Metric("stft", "STFT distance", -1, AUDIO, audio_measures.stft_distance),
        Metric("si-sdr", "SI-SDR (dB)", 1, AUDIO, audio_measures.si_sdr),
        Metric("pesq", "PESQ-WB", 1, AUDIO, audio_measures.pesq_wb, True),
        Metric("stoi", "STOI", 1, AUDIO, audio_measures.stoi, True),
        Metric(
            "estoi", "ESTOI", 1, AUDIO, lambda a, b: audio_measures.stoi(a, b, extended=True), True
        ),
        Metric("visqol", "ViSQOL (speech, polynomial)", 1, AUDIO, audio_measures.visqol, True),
        Metric("voicing", "voiced frames lost (%)", -1, AUDIO, audio_measures.voiced_lost, True),
        Metric("f0", "pitch error (semitones)", -1, AUDIO, audio_measures.f0_error, True),
        Metric("speaker", "speaker similarity", 1, AUDIO, audio_measures.speaker_similarity, True),
        Metric("words", "word error (%)", -1, AUDIO, audio_measures.word_error, True),
        Metric("level", "level error (dB)", -1, AUDIO, audio_measures.level_error),
        Metric("lines", "lines at the frame rate (dB)", -1, AUDIO, audio_measures.frame_lines),
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

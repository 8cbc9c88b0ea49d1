"""The demonstrations: sample images beside other codecs, and the sample video.

The demonstration: encode and decode the sample images, measure, draw them side by side.

The demonstration of videos: encode the sample video, decode it to a file, measure, draw a contact
sheet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from laconic.codec import api
from laconic.codec.evaluate import ms_ssim, psnr
from laconic.codec.video.plan import MOTION_ID
from laconic.codec.video.settings import VideoOptions
from laconic.codec.video.stream.encoder import StreamEncoder
from laconic.formats.atomic import atomic_write
from laconic.formats.errors import ParameterError
from laconic.formats.image import read_image, write_image
from laconic.formats.video import SUFFIXES
from laconic.formats.video_reader import VideoFile
from laconic.formats.video_writer import Output, write_video

QUALITIES = (10.0, 40.0, 75.0)
COLUMN = 384


@dataclass(frozen=True)
class DemoRow:
    """One image at one quality. Sizes in bytes of files, times in seconds, models loaded."""

    name: str
    width: int
    height: int
    quality: float
    original_bytes: int
    lac_bytes: int
    bpp: float
    psnr: float
    ms_ssim: float
    encode_s: float
    decode_s: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


@dataclass(frozen=True)
class DemoResult:
    """Measurements and the side-by-side image."""

    rows: list[DemoRow]
    sheet: Path


def sample_folder(witness: str = "still-life.png", kind: str = "images") -> Path:
    """The samples of a checkout, known by a file; raises ``ParameterError`` where there are
    none."""
    for base in (Path.cwd(), *Path.cwd().parents):
        if (base / "samples" / witness).is_file():
            return base / "samples"
    raise ParameterError(
        f"the sample {kind} are part of the source tree and were not found above this folder:"
        f" name a folder of {kind} with --samples"
    )


def run(
    out: Path,
    samples: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    qualities: Sequence[float] = QUALITIES,
) -> DemoResult:
    """Encode and decode every image in ``samples`` at three qualities below ``out``.

    Every number comes from the files written: sizes from the disk, PSNR and MS-SSIM from the PNG.
    """
    files = sorted((samples or sample_folder()).glob("*.png"))
    if not files:
        raise ParameterError(f"{samples} holds no PNG images")
    out.mkdir(parents=True, exist_ok=True)
    api.decode(api.encode(np.zeros((64, 64, 3), np.uint8)))  # load the model before timing
    rows: list[DemoRow] = []
    strips = []
    for file in files:
        original = read_image(file)
        images = [original.pixels]
        for quality in qualities:
            stem = out / f"{file.stem}-q{quality:g}"
            start = time.perf_counter()
            data = api.encode(original, quality=quality)
            middle = time.perf_counter()
            decoded = api.decode(data)
            end = time.perf_counter()
            with atomic_write(stem.with_suffix(".lac"), overwrite=True) as handle:
                handle.write(data)
            write_image(decoded, stem.with_suffix(".png"), overwrite=True)
            size = stem.with_suffix(".lac").stat().st_size
            shown = read_image(stem.with_suffix(".png")).pixels
            rows.append(
                DemoRow(
                    name=file.stem,
                    width=original.width,
                    height=original.height,
                    quality=quality,
                    original_bytes=file.stat().st_size,
                    lac_bytes=size,
                    bpp=8 * size / (original.width * original.height),
                    psnr=psnr(original.pixels, shown),
                    ms_ssim=ms_ssim(original.pixels, shown),
                    encode_s=middle - start,
                    decode_s=end - middle,
                )
            )
            images.append(shown)
            if progress:
                progress(len(rows), len(files) * len(qualities))
        strips.append(_strip(file.stem, images, rows[-len(qualities) :]))
    path = out / "side-by-side.png"
    sheet = np.concatenate(_same_width(strips))
    with atomic_write(path, overwrite=True) as handle:
        Pillow.fromarray(sheet).save(handle, "PNG")
    return DemoResult(rows, path)


def _strip(name: str, images: list[NDArray[Any]], rows: Sequence[DemoRow]) -> NDArray[Any]:
    """A row of centre crops at full resolution with their captions."""
    height = min(COLUMN, images[0].shape[0])
    width = min(COLUMN, images[0].shape[1])
    top, left = (images[0].shape[0] - height) // 2, (images[0].shape[1] - width) // 2
    crops = [np.repeat(p, 3 // p.shape[2], 2) for p in images]
    body = np.concatenate([c[top : top + height, left : left + width] for c in crops], 1)
    canvas = Pillow.new("RGB", (body.shape[1], height + 24), "white")
    canvas.paste(Pillow.fromarray(np.ascontiguousarray(body)), (0, 24))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    captions = [f"{name}, original, {rows[0].original_bytes / 1000:.0f} kB PNG"] + [
        f"q {r.quality:g}: {r.lac_bytes / 1000:.1f} kB, {r.bpp:.3f} bpp, {r.psnr:.2f} dB"
        for r in rows
    ]
    for n, caption in enumerate(captions):
        draw.text((n * width + 4, 3), caption, fill="black", font=font)
    return np.asarray(canvas)


def _same_width(strips: list[NDArray[Any]]) -> list[NDArray[Any]]:
    width = max(s.shape[1] for s in strips)
    return [
        np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips
    ]


COLUMNS = 6  # frames on the contact sheet


@dataclass(frozen=True)
class VideoRow:
    """One video. Sizes in bytes of files, times in seconds (``cpu_s`` of the processor, which
    others may have used meanwhile), ``fps`` frames decoded a second."""

    name: str
    width: int
    height: int
    frames: int
    original_bytes: int
    lac_bytes: int
    bpp: float
    psnr: float
    ms_ssim: float | None
    encode_s: float
    cpu_s: float
    fps: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


@dataclass(frozen=True)
class VideoResult:
    """Measurements and the contact sheet."""

    rows: list[VideoRow]
    sheet: Path


def run_video(
    out: Path,
    samples: Path | None = None,
    preset: str = "fast",
    progress: Callable[[int, int], None] | None = None,
    status: Callable[[str], None] | None = None,
) -> VideoResult:
    """Encode and decode every video in ``samples`` below ``out``.

    Every number comes from the files written: sizes from the disk, PSNR and MS-SSIM (None for
    frames of at most 160 pixels a side) from the frames of the decoded ``.mkv``.
    """
    folder = samples or sample_folder()
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not files:
        raise ParameterError(f"{folder} holds no videos")
    out.mkdir(parents=True, exist_ok=True)
    rows, strips = [], []
    for file in files:
        lac, back = out / f"{file.stem}.lac", out / f"{file.stem}-decoded.mkv"
        start, busy = time.perf_counter(), time.process_time()
        settings = VideoOptions(
            preset=preset, work=f"{lac}.work", fresh=True, progress=progress, status=status
        )
        encoder = StreamEncoder(VideoFile(file), settings, MOTION_ID, "motion")
        encoder.fit()
        with atomic_write(lac, overwrite=True) as handle:
            encoder.write(handle)
        encoder.finish()
        middle, spent = time.perf_counter(), time.process_time() - busy
        with api.decode(lac) as video:
            for _ in video:
                pass
            fps = len(video) / (time.perf_counter() - middle)
            output = Output(video, video.timing, video.header, video.audio)
            write_video(output, back, "mkv", overwrite=True)
        rows.append(_measured(file, lac, back, (middle - start, spent), fps))
        strips.append(_frames_strip(file, back, rows[-1]))
    path = out / "contact-sheet.png"
    width = max(s.shape[1] for s in strips)
    sheet = np.concatenate(
        [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips]
    )
    with atomic_write(path, overwrite=True) as handle:
        Pillow.fromarray(sheet).save(handle, "PNG")
    return VideoResult(rows, path)


def _measured(
    file: Path, lac: Path, back: Path, encoding: tuple[float, float], fps: float
) -> VideoRow:
    """Means over frames, comparing two files frame by frame."""
    noise, likeness = [], []
    for original, shown in zip(VideoFile(file).frames(), VideoFile(back).frames(), strict=True):
        noise.append(psnr(original, shown))
        if min(original.shape[:2]) > 160:
            likeness.append(ms_ssim(original, shown))
    height, width = original.shape[:2]
    size = lac.stat().st_size
    return VideoRow(
        name=file.stem,
        width=width,
        height=height,
        frames=len(noise),
        original_bytes=file.stat().st_size,
        lac_bytes=size,
        bpp=8 * size / (width * height * len(noise)),
        psnr=float(np.mean(noise)),
        ms_ssim=float(np.mean(likeness)) if likeness else None,
        encode_s=encoding[0],
        cpu_s=encoding[1],
        fps=fps,
    )


def _frames_strip(file: Path, back: Path, row: VideoRow) -> NDArray[Any]:
    """Some frames of the original above those decoded, with a caption."""
    chosen = {round(k * (row.frames - 1) / (COLUMNS - 1)) for k in range(COLUMNS)}
    lines = [
        np.concatenate([f for n, f in enumerate(VideoFile(path).frames()) if n in chosen], 1)
        for path in (file, back)
    ]
    body = np.concatenate(lines)
    canvas = Pillow.new("RGB", (body.shape[1], body.shape[0] + 24), "white")
    canvas.paste(Pillow.fromarray(body), (0, 24))
    caption = (
        f"{row.name}: original above, {row.lac_bytes / 1000:.1f} kB below, {row.bpp:.3f} bpp,"
        f" {row.psnr:.2f} dB"
    )
    ImageDraw.Draw(canvas).text((4, 3), caption, fill="black", font=ImageFont.load_default(14))
    return np.asarray(canvas)

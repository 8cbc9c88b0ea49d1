"""The demonstration of films: encode the sample film, decode it to a file, measure, draw a contact
sheet."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from laconic.codec import api
from laconic.codec.demo import sample_folder
from laconic.codec.evaluate import ms_ssim, psnr
from laconic.codec.video.header import MOTION_ID
from laconic.codec.video.options import VideoOptions
from laconic.codec.video.stream.encoder import StreamEncoder
from laconic.formats.atomic import atomic_write
from laconic.formats.errors import ParameterError
from laconic.formats.video import SUFFIXES
from laconic.formats.video_reader import FilmFile
from laconic.formats.video_writer import Output, write_film

COLUMNS = 6  # frames on the contact sheet


@dataclass(frozen=True)
class FilmRow:
    """One film. Sizes in bytes of files, times in seconds (``cpu_s`` of the processor, which others
    may have used meanwhile), ``fps`` frames decoded a second."""

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
class FilmResult:
    """Measurements and the contact sheet."""

    rows: list[FilmRow]
    picture: Path


def run(
    out: Path,
    samples: Path | None = None,
    preset: str = "fast",
    progress: Callable[[int, int], None] | None = None,
    status: Callable[[str], None] | None = None,
) -> FilmResult:
    """Encode and decode every film in ``samples`` below ``out``.

    Every number comes from the files written: sizes from the disk, PSNR and MS-SSIM (None for
    frames of at most 160 pixels a side) from the frames of the decoded ``.mkv``.
    """
    folder = samples or sample_folder()
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not files:
        raise ParameterError(f"{folder} holds no films")
    out.mkdir(parents=True, exist_ok=True)
    rows, strips = [], []
    for file in files:
        lac, back = out / f"{file.stem}.lac", out / f"{file.stem}-decoded.mkv"
        start, busy = time.perf_counter(), time.process_time()
        settings = VideoOptions(
            preset=preset, work=f"{lac}.work", fresh=True, progress=progress, status=status
        )
        encoder = StreamEncoder(FilmFile(file), settings, MOTION_ID, "motion")
        encoder.fit()
        with atomic_write(lac, overwrite=True) as handle:
            encoder.write(handle)
        encoder.finish()
        middle, spent = time.perf_counter(), time.process_time() - busy
        with api.decode(lac) as video:
            for _ in video:
                pass
            fps = len(video) / (time.perf_counter() - middle)
            film = Output(video, video.timing, video.header, video.audio)
            write_film(film, back, "mkv", overwrite=True)
        rows.append(_measured(file, lac, back, (middle - start, spent), fps))
        strips.append(_strip(file, back, rows[-1]))
    picture = out / "contact-sheet.png"
    width = max(s.shape[1] for s in strips)
    sheet = np.concatenate(
        [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips]
    )
    with atomic_write(picture, overwrite=True) as handle:
        Pillow.fromarray(sheet).save(handle, "PNG")
    return FilmResult(rows, picture)


def _measured(
    file: Path, lac: Path, back: Path, encoding: tuple[float, float], fps: float
) -> FilmRow:
    """Means over frames, comparing two files frame by frame."""
    noise, likeness = [], []
    for original, shown in zip(FilmFile(file).frames(), FilmFile(back).frames(), strict=True):
        noise.append(psnr(original, shown))
        if min(original.shape[:2]) > 160:
            likeness.append(ms_ssim(original, shown))
    height, width = original.shape[:2]
    size = lac.stat().st_size
    return FilmRow(
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


def _strip(file: Path, back: Path, row: FilmRow) -> NDArray[Any]:
    """Some frames of the original above those decoded, with a caption."""
    chosen = {round(k * (row.frames - 1) / (COLUMNS - 1)) for k in range(COLUMNS)}
    lines = [
        np.concatenate([f for n, f in enumerate(FilmFile(path).frames()) if n in chosen], 1)
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

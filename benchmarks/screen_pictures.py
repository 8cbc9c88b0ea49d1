"""Rendered screens and drawings, each kind from a seed: nothing is stored, everything repeats.

Text comes with gray and with subpixel anti-aliasing and without any, widgets with gradients and
shadows, pages with photographs (those of ``samples/``). ``TUNING`` lists what the encoder's
constants were chosen on; ``TESTING`` has other seeds, and kinds that tuning never saw.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter, ImageFont

Picture = Pillow.Image
Random = np.random.Generator
Colour = tuple[int, int, int]
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SAMPLES = Path(__file__).parents[1] / "samples"
PHOTOS = ("mountains", "still-life", "brick-wall", "night")
SANS, BOLD, SERIF, MONO = "DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono"
COMPUTER_MODERN, STIX = "cmr10", "STIXGeneral"
_SYLLABLES = (
    *("ka", "lo", "mi", "tra", "ser", "en", "vo", "pli"),
    *("da", "ru", "con", "ti", "ber", "ma", "ne", "ol"),
    *("st", "er", "in", "qua", "fi", "gen", "ur", "al"),
)


def font(name: str, size: int) -> Any:
    """A font that comes with Matplotlib."""
    return ImageFont.truetype(str(FONTS / f"{name}.ttf"), size)


def word(random: Random) -> str:
    """Some syllables."""
    return "".join(random.choice(_SYLLABLES) for _ in range(random.integers(1, 4)))


def sentence(random: Random, length: int) -> str:
    """Words with a capital and a full stop."""
    return " ".join(word(random) for _ in range(length)).capitalize() + "."


def tone(random: Random, low: int = 0, high: int = 255) -> Colour:
    """A colour between two levels."""
    r, g, b = random.integers(low, high, 3)
    return int(r), int(g), int(b)


class Canvas:
    """An image to draw on, with text as screens show it.

    ``aa`` is "gray", "none" or "lcd": stripes of red, green and blue, filtered over five of them.
    """

    def __init__(self, width: int, height: int, colour: Colour, aa: str = "gray") -> None:
        self.picture = Pillow.new("RGB", (width, height), colour)
        self.draw = ImageDraw.Draw(self.picture)
        self.aa = aa

    def text(self, at: tuple[float, float], text: str, face: Any, colour: Colour) -> float:
        """Draws a line of text; returns its width."""
        width = float(self.draw.textlength(text, face))
        if self.aa != "lcd":
            self.draw.fontmode = "1" if self.aa == "none" else "L"
            self.draw.text(at, text, colour, face)
            return width
        big = ImageFont.truetype(face.path, face.size * 3)
        tall = Pillow.new("L", (int(width * 3) + 12, face.size * 5), 0)
        ImageDraw.Draw(tall).text((3, 0), text, 255, big)
        wide = np.asarray(tall.resize((tall.width, tall.height // 3), Pillow.Resampling.BOX), float)
        soft = sum(
            np.roll(wide, k, 1) * w for k, w in zip(range(-2, 3), (1, 2, 3, 2, 1), strict=True)
        )
        soft = soft[:, : soft.shape[1] // 3 * 3].reshape(soft.shape[0], -1, 3) / (9 * 255)
        x, y = int(at[0]) - 1, int(at[1])
        box = (max(0, x), max(0, y), min(self.picture.width, x + soft.shape[1]),
               min(self.picture.height, y + soft.shape[0]))  # fmt: skip
        if box[0] >= box[2] or box[1] >= box[3]:
            return width
        soft = soft[box[1] - y : box[3] - y, box[0] - x : box[2] - x]
        under = np.asarray(self.picture.crop(box), float)
        mixed = under + (np.array(colour) - under) * soft
        self.picture.paste(Pillow.fromarray(np.rint(mixed).astype(np.uint8)), box)
        return width

    def ramp(self, box: tuple[int, int, int, int], top: Colour, bottom: Colour) -> None:
        """A vertical gradient."""
        share = np.linspace(0, 1, box[3] - box[1])[:, None, None]
        rows = np.array(top) * (1 - share) + np.array(bottom) * share
        area = np.broadcast_to(np.rint(rows), (box[3] - box[1], box[2] - box[0], 3))
        self.picture.paste(Pillow.fromarray(area.astype(np.uint8)), box)

    def rounded(self, box: tuple[int, int, int, int], radius: int, colour: Colour) -> None:
        """A rectangle with smooth round corners."""
        width, height = box[2] - box[0], box[3] - box[1]
        mask = Pillow.new("L", (width * 4, height * 4), 0)
        ImageDraw.Draw(mask).rounded_rectangle(
            (0, 0, width * 4 - 1, height * 4 - 1), radius * 4, 255
        )
        self.picture.paste(colour, box, mask.resize((width, height), Pillow.Resampling.BOX))

    def shadow(self, box: tuple[int, int, int, int], blur: int) -> None:
        """A soft shadow around a box."""
        mask = Pillow.new("L", self.picture.size, 0)
        ImageDraw.Draw(mask).rectangle(box, 110)
        self.picture.paste((0, 0, 0), (0, 4), mask.filter(ImageFilter.GaussianBlur(blur)))
        self.draw = ImageDraw.Draw(self.picture)


def photo(random: Random, width: int, height: int) -> Picture:
    """A part of one of the sample photographs, reduced, with grain."""
    name = PHOTOS[int(random.integers(len(PHOTOS)))]
    with Pillow.open(SAMPLES / f"{name}.png") as opened:
        whole = opened.convert("RGB")
    part = min(whole.width / width, whole.height / height) * random.uniform(0.6, 1.0)
    w, h = int(width * part), int(height * part)
    x, y = int(random.integers(whole.width - w + 1)), int(random.integers(whole.height - h + 1))
    small = whole.crop((x, y, x + w, y + h)).resize((width, height), Pillow.Resampling.LANCZOS)
    grain = np.asarray(small, float) + random.normal(0, 2.0, (height, width, 3))
    return Pillow.fromarray(np.clip(np.rint(grain), 0, 255).astype(np.uint8))


_AA = ("gray", "lcd", "none")


def editor(random: Random) -> Picture:
    """Source code with coloured words."""
    dark = random.random() < 0.6
    ground = tone(random, 20, 45) if dark else (255, 255, 255)
    canvas = Canvas(640, 448, ground, _AA[int(random.integers(2))])
    inks = [tone(random, 120, 255) if dark else tone(random, 0, 160) for _ in range(6)]
    face = font(MONO, int(random.integers(11, 15)))
    step = face.size + 5
    canvas.draw.rectangle((0, 0, 36, 448), tuple(max(0, c - 8) for c in ground))
    depth = 0
    for row, y in enumerate(range(4, 440, step)):
        canvas.text((6, y), f"{row + 1:3d}", face, (128, 128, 128))
        if random.random() < 0.12:
            depth = 0
            continue
        x = 44 + depth * 4 * face.getlength(" ")
        for _ in range(random.integers(2, 8)):
            token = random.choice(
                ("if", "return", "(x)", "= 0", "def", "for", word(random), "[i]:", "+ 1")
            )
            x += canvas.text((x, y), str(token) + " ", face, inks[int(random.integers(6))])
        depth = int(np.clip(depth + random.integers(-1, 2), 0, 5))
    return canvas.picture


def terminal(random: Random) -> Picture:
    """A listing in one or two colours."""
    canvas = Canvas(
        640,
        400,
        (0, 0, 0) if random.random() < 0.7 else (44, 0, 30),
        _AA[int(random.choice((0, 2)))],
    )
    face = font(MONO, 12)
    for y in range(2, 392, 15):
        size, day = random.integers(10, 99999), random.integers(1, 31)
        x = canvas.text(
            (4, y),
            f"-rw-r--r-- 1 user user {size:6d} Jan {day:2d} 10:{day + 20:02d} ",
            face,
            (200, 200, 200),
        )
        name = f"{word(random)}_{word(random)}.{random.choice(('py', 'txt', 'png', 'so'))}"
        canvas.text(
            (4 + x, y), name, face, (78, 154, 240) if random.random() < 0.3 else (230, 230, 230)
        )
    return canvas.picture


def page(random: Random) -> Picture:
    """An article with a headline, links and a photograph."""
    canvas = Canvas(704, 512, (255, 255, 255), _AA[int(random.integers(2))])
    accent = tone(random, 0, 160)
    canvas.ramp((0, 0, 704, 40), accent, tuple(c * 3 // 4 for c in accent))  # type: ignore[arg-type]
    canvas.text((12, 10), sentence(random, 2), font(BOLD, 16), (255, 255, 255))
    canvas.text((24, 54), sentence(random, 3), font(SERIF, 26), (20, 20, 20))
    side = int(random.integers(160, 240))
    canvas.picture.paste(photo(random, side, side * 3 // 4), (704 - side - 23, 100))
    face = font(random.choice((SANS, SERIF)), 13)
    for y in range(100, 490, 18):
        x, limit = 24.0, 704 - side - 40 if y < 100 + side * 3 // 4 + 10 else 680
        while x < limit - 70:
            x += canvas.text(
                (x, y),
                word(random) + " ",
                face,
                (6, 69, 173) if random.random() < 0.06 else (34, 34, 34),
            )
    return canvas.picture


def sheet(random: Random) -> Picture:
    """A spreadsheet."""
    canvas = Canvas(640, 416, (255, 255, 255), _AA[int(random.integers(3))])
    face = font(SANS, 11)
    canvas.ramp((0, 0, 640, 22), (246, 246, 246), (218, 220, 222))
    canvas.draw.rectangle((0, 22, 39, 416), (236, 238, 240))
    for column, x in enumerate(range(40, 640, 75)):
        canvas.text((x + 32, 4), chr(65 + column), face, (60, 60, 60))
        canvas.draw.line((x, 0, x, 416), (208, 210, 212))
    for row, y in enumerate(range(22, 416, 19)):
        canvas.draw.line((0, y, 640, y), (208, 210, 212))
        canvas.text((10, y + 3), str(row + 1), face, (60, 60, 60))
        for column, x in enumerate(range(40, 640, 75)):
            if row and random.random() < 0.75:
                text = word(random)[:9] if column == 0 else f"{random.normal(0, 900):.2f}"
                canvas.text(
                    (x + 70 - face.getlength(text), y + 3),
                    text,
                    face,
                    (190, 20, 20) if text[0] == "-" else (0, 0, 0),
                )
    canvas.draw.rectangle((115, 79, 190, 98), outline=(33, 115, 70), width=2)
    return canvas.picture


def widgets(random: Random) -> Picture:
    """A dialogue: buttons with gradients, fields, boxes, sliders."""
    canvas = Canvas(560, 420, tone(random, 225, 246), _AA[int(random.integers(2))])
    accent, face = tone(random, 40, 200), font(SANS, 13)
    canvas.ramp((0, 0, 560, 34), tone(random, 210, 240), tone(random, 180, 215))
    canvas.text((200, 9), sentence(random, 2), font(BOLD, 13), (40, 40, 40))
    for row in range(7):
        y = 52 + row * 44
        canvas.text((20, y + 4), word(random).capitalize() + ":", face, (30, 30, 30))
        kind = int(random.integers(4))
        if kind == 0:
            canvas.rounded((160, y, 420, y + 26), 4, (150, 150, 155))
            canvas.rounded((161, y + 1, 419, y + 25), 3, (255, 255, 255))
            canvas.text((168, y + 5), sentence(random, 3), face, (10, 10, 10))
        elif kind == 1:
            share = int(random.integers(30, 230))
            canvas.rounded((160, y + 10, 420, y + 16), 3, (190, 190, 195))
            canvas.rounded((160, y + 10, 160 + share, y + 16), 3, accent)
            canvas.rounded((152 + share, y + 4, 170 + share, y + 22), 9, (250, 250, 250))
        elif kind == 2:
            for n in range(3):
                x = 160 + n * 90
                canvas.rounded((x, y + 5, x + 16, y + 21), 8 if row % 2 else 3, accent)
                canvas.rounded((x + 4, y + 9, x + 12, y + 17), 4, (255, 255, 255))
                canvas.text((x + 22, y + 4), word(random), face, (30, 30, 30))
        else:
            for n in range(2):
                x = 160 + n * 130
                canvas.rounded((x, y, x + 116, y + 28), 5, (140, 140, 145))
                canvas.ramp((x + 2, y + 2, x + 114, y + 26), (252, 252, 252), (214, 216, 220))
                canvas.text((x + 20, y + 6), word(random).capitalize(), face, (20, 20, 20))
    canvas.rounded((430, 376, 540, 406), 6, accent)
    canvas.text((455, 383), "Apply", face, (255, 255, 255))
    return canvas.picture


def files(random: Random) -> Picture:
    """A file manager: icons with labels."""
    canvas = Canvas(640, 432, (252, 252, 252), "gray")
    canvas.draw.rectangle((0, 0, 150, 432), tone(random, 225, 240))
    face = font(SANS, 11)
    for y in range(14, 300, 26):
        canvas.rounded((12, y, 28, y + 14), 3, tone(random, 60, 200))
        canvas.text((36, y), word(random).capitalize(), face, (50, 50, 50))
    base = tone(random, 60, 200)
    for y in range(16, 400, 100):
        for x in range(170, 600, 94):
            if random.random() < 0.6:
                canvas.rounded((x + 8, y + 4, x + 40, y + 20), 4, tuple(c * 3 // 4 for c in base))  # type: ignore[arg-type]
                canvas.rounded((x + 8, y + 10, x + 68, y + 56), 5, base)
                canvas.ramp(
                    (x + 12, y + 16, x + 64, y + 50), tuple(min(255, c + 40) for c in base), base
                )  # type: ignore[arg-type]
            else:
                canvas.picture.paste(photo(random, 64, 48), (x + 6, y + 8))
            canvas.text((x + 12, y + 64), word(random)[:9], face, (30, 30, 30))
    return canvas.picture


def desktop(random: Random) -> Picture:
    """A wallpaper and windows with shadows."""
    canvas = Canvas(704, 480, (0, 0, 0), _AA[int(random.integers(2))])
    if random.random() < 0.5:
        canvas.picture.paste(photo(random, 704, 480), (0, 0))
    else:
        canvas.ramp((0, 0, 704, 480), tone(random, 20, 200), tone(random, 20, 200))
    canvas.draw.rectangle((0, 454, 704, 480), (30, 30, 34))
    canvas.text((650, 460), "12:30", font(SANS, 12), (240, 240, 240))
    for _ in range(2):
        x, y = int(random.integers(10, 260)), int(random.integers(10, 150))
        w, h = int(random.integers(260, 420)), int(random.integers(200, 290))
        canvas.shadow((x, y, x + w, y + h), 9)
        canvas.rounded((x, y, x + w, y + h), 7, (250, 250, 250))
        canvas.draw.rectangle((x + 1, y + 8, x + w - 2, y + 28), (222, 222, 226))
        for n, colour in enumerate(((237, 106, 94), (245, 191, 79), (98, 197, 84))):
            canvas.rounded((x + 10 + n * 20, y + 10, x + 22 + n * 20, y + 22), 6, colour)
        face = font(SANS, 12)
        for line in range(y + 38, y + h - 18, 17):
            canvas.text((x + 12, line), sentence(random, 9)[: w // 8], face, (40, 40, 40))
    return canvas.picture


def slide(random: Random) -> Picture:
    """A slide with bullets and a chart."""
    canvas = Canvas(720, 405, (255, 255, 255), "gray")
    accent = tone(random, 20, 170)
    canvas.draw.rectangle((0, 0, 720, 64), accent)
    canvas.text((30, 14), sentence(random, 3), font(BOLD, 28), (255, 255, 255))
    for n in range(5):
        canvas.rounded((40, 100 + n * 50, 50, 110 + n * 50), 5, accent)
        canvas.text((62, 92 + n * 50), sentence(random, 3)[:26], font(SANS, 18), (50, 50, 50))
    for n in range(6):
        height = int(random.integers(30, 220))
        x = 430 + n * 44
        canvas.ramp((x, 350 - height, x + 30, 350), tone(random, 90, 230), accent)
    canvas.draw.line((420, 350, 700, 350), (90, 90, 90), 2)
    return canvas.picture


def chat(random: Random) -> Picture:
    """A conversation in bubbles."""
    canvas = Canvas(440, 600, tone(random, 228, 250), _AA[int(random.integers(2))])
    mine, face = tone(random, 60, 200), font(SANS, 13)
    y = 12
    while y < 540:
        lines, own = int(random.integers(1, 4)), random.random() < 0.5
        width, height = int(random.integers(140, 270)), lines * 19 + 14
        x = 420 - width if own else 56
        if not own:
            picture = photo(random, 32, 32)
            mask = Pillow.new("L", (128, 128), 0)
            ImageDraw.Draw(mask).ellipse((0, 0, 127, 127), 255)
            canvas.picture.paste(picture, (14, y), mask.resize((32, 32), Pillow.Resampling.BOX))
        canvas.rounded((x, y, x + width, y + height), 12, mine if own else (255, 255, 255))
        for line in range(lines):
            text = sentence(random, 7)[: width // 9]
            canvas.text(
                (x + 10, y + 7 + line * 19), text, face, (255, 255, 255) if own else (30, 30, 30)
            )
        y += height + 14
    return canvas.picture


def viewer(random: Random) -> Picture:
    """A photograph between bars of buttons."""
    canvas = Canvas(704, 512, (38, 38, 40), "gray")
    canvas.picture.paste(photo(random, 520, 400), (int(random.integers(20, 170)), 57))
    canvas.ramp((0, 0, 704, 40), (86, 86, 90), (60, 60, 62))
    for x in range(10, 600, 84):
        canvas.rounded((x, 7, x + 74, 33), 5, (104, 104, 108))
        canvas.text((x + 10, 12), word(random)[:8], font(SANS, 12), (235, 235, 235))
    canvas.text((14, 486), sentence(random, 6), font(SANS, 12), (170, 170, 170))
    return canvas.picture


def _figure(draw: Callable[[Any, Any], None], size: tuple[float, float] = (6.4, 4.4)) -> Picture:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=100)
    FigureCanvasAgg(figure)
    draw(figure, figure.add_subplot())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Pillow.open(buffer).convert("RGB")


def curves(random: Random) -> Picture:
    """A plot of lines."""

    def draw(figure: Any, axes: Any) -> None:
        x = np.linspace(0, 10, 200)
        for _ in range(4):
            axes.plot(
                x,
                random.normal() * np.sin(x * random.uniform(0.3, 2)) + random.normal(),
                label=word(random),
            )
        axes.legend()
        axes.grid(random.random() < 0.5)
        axes.set_title(sentence(random, 4))
        axes.set_xlabel(word(random))

    return _figure(draw)


def bars(random: Random) -> Picture:
    """Bars, with hatches and errors."""

    def draw(figure: Any, axes: Any) -> None:
        names = [word(random)[:6] for _ in range(6)]
        for n in range(3):
            heights = random.uniform(1, 9, 6)
            axes.bar(
                np.arange(6) + n * 0.27, heights, 0.25, yerr=heights / 9, hatch=("", "//", "..")[n]
            )
        axes.set_xticks(np.arange(6) + 0.27, names)
        axes.set_ylabel(word(random))

    return _figure(draw)


def scatter(random: Random) -> Picture:
    """Points of several colours and sizes, transparent."""

    def draw(figure: Any, axes: Any) -> None:
        for _ in range(3):
            x, y = random.normal(0, 1, (2, 120))
            axes.scatter(
                x + random.normal(), y + random.normal(), random.uniform(5, 90, 120), alpha=0.6
            )
        axes.grid(alpha=0.4)
        axes.set_title(word(random))

    return _figure(draw)


def contours(random: Random) -> Picture:
    """A colour map with contours and a scale."""

    def draw(figure: Any, axes: Any) -> None:
        y, x = np.mgrid[-3:3:120j, -3:3:160j]
        z = sum(
            random.normal() * np.exp(-((x - random.normal()) ** 2) - (y - random.normal()) ** 2)
            for _ in range(6)
        )
        name = random.choice(("viridis", "coolwarm", "magma", "terrain"))
        shown = (
            axes.contourf(x, y, z, 12, cmap=name)
            if random.random() < 0.5
            else axes.imshow(z, cmap=name, extent=(-3, 3, -3, 3))
        )
        axes.contour(x, y, z, 8, colors="k", linewidths=0.7)
        figure.colorbar(shown)

    return _figure(draw)


def _smooth(random: Random, picture: Picture, draw: Callable[[Any, int], None]) -> Picture:
    """Drawing at four times the size, for smooth edges."""
    big = picture.resize((picture.width * 4, picture.height * 4), Pillow.Resampling.NEAREST)
    draw(ImageDraw.Draw(big), 4)
    return big.resize(picture.size, Pillow.Resampling.BOX)


def _outline(
    random: Random, x: float, y: float, radius: float, points: int = 60
) -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    r = radius * (
        1
        + sum(
            random.normal(0, 0.25 / k) * np.cos(k * angles + random.uniform(0, 6))
            for k in range(1, 9)
        )
    )
    return list(zip(x + r * np.cos(angles), y + r * np.sin(angles), strict=True))


def street_map(random: Random) -> Picture:
    """Land, water, roads and names."""
    base = Pillow.new("RGB", (640, 480), (170, 211, 223))

    def draw(pen: Any, k: int) -> None:
        for _ in range(3):
            outline = _outline(
                random, random.uniform(0, 640) * k, random.uniform(0, 480) * k, 220 * k, 200
            )
            pen.polygon(outline, (242, 239, 233))
        for _ in range(9):
            outline = _outline(
                random,
                random.uniform(0, 640) * k,
                random.uniform(0, 480) * k,
                random.uniform(20, 60) * k,
            )
            pen.polygon(outline, (200, 250, 204) if random.random() < 0.6 else (224, 223, 223))
        for _ in range(40):
            x, y = random.uniform(0, 640) * k, random.uniform(0, 480) * k
            line = [(x, y)]
            angle = random.uniform(0, 6.3)
            for _ in range(12):
                angle += random.normal(0, 0.2)
                line.append(
                    (line[-1][0] + 30 * k * np.cos(angle), line[-1][1] + 30 * k * np.sin(angle))
                )
            major = random.random() < 0.25
            pen.line(
                line,
                (180, 150, 110) if major else (200, 200, 200),
                (7 if major else 5) * k,
                "curve",
            )
            pen.line(
                line,
                (252, 214, 164) if major else (255, 255, 255),
                (5 if major else 3) * k,
                "curve",
            )

    canvas = Canvas(640, 480, (0, 0, 0))
    canvas.picture.paste(_smooth(random, base, draw), (0, 0))
    for _ in range(30):
        at = (random.uniform(0, 560), random.uniform(0, 460))
        canvas.text(
            at, word(random).capitalize(), font(SANS, int(random.integers(9, 15))), (60, 60, 60)
        )
    return canvas.picture


def ink(random: Random) -> Picture:
    """Black strokes of a pen on paper, some hatched."""
    base = Pillow.new("RGB", (560, 560), (255, 255, 255))

    def draw(pen: Any, k: int) -> None:
        for _ in range(14):
            outline = _outline(
                random,
                random.uniform(60, 500) * k,
                random.uniform(60, 500) * k,
                random.uniform(20, 130) * k,
                120,
            )
            pen.line([*outline, outline[0]], (0, 0, 0), int(random.integers(1, 4)) * k, "curve")
        for _ in range(6):
            x, y = random.uniform(0, 450), random.uniform(0, 450)
            for n in range(20):
                pen.line(
                    [((x + n * 4) * k, y * k), ((x + n * 4 + 30) * k, (y + 70) * k)], (0, 0, 0), k
                )

    return _smooth(random, base, draw)


def flat_art(random: Random) -> Picture:
    """Overlapping shapes in flat colours with smooth edges."""
    base = Pillow.new("RGB", (512, 512), tone(random, 150, 255))

    def draw(pen: Any, k: int) -> None:
        inks = [tone(random) for _ in range(7)]
        for _ in range(18):
            outline = _outline(
                random,
                random.uniform(0, 512) * k,
                random.uniform(0, 512) * k,
                random.uniform(20, 150) * k,
            )
            pen.polygon(outline, inks[int(random.integers(7))])

    return _smooth(random, base, draw)


def shaded_art(random: Random) -> Picture:
    """Shapes filled with gradients."""
    y, x = np.mgrid[0:480, 0:560].astype(float)
    area = np.empty((480, 560, 3))
    area[:] = (
        np.array(tone(random))
        + (np.array(tone(random)) - np.array(tone(random))) * (y / 480)[..., None] / 2
    )
    for _ in range(10):
        mask = Pillow.new("L", (560 * 4, 480 * 4), 0)
        at = random.uniform(0, 560), random.uniform(0, 480)
        outline = _outline(random, at[0] * 4, at[1] * 4, random.uniform(40, 150) * 4)
        ImageDraw.Draw(mask).polygon(outline, 255)
        cover = np.asarray(mask.resize((560, 480), Pillow.Resampling.BOX), float)[..., None] / 255
        if random.random() < 0.5:
            share = np.clip(np.hypot(x - at[0], y - at[1]) / 150, 0, 1)
        else:
            share = np.clip((x - at[0] + y - at[1]) / 300 + 0.5, 0, 1)
        fill = (
            np.array(tone(random)) * (1 - share[..., None])
            + np.array(tone(random)) * share[..., None]
        )
        area += (fill - area) * cover
    return Pillow.fromarray(np.clip(np.rint(area), 0, 255).astype(np.uint8))


def diagram(random: Random) -> Picture:
    """Boxes, arrows and labels."""
    canvas = Canvas(640, 448, (255, 255, 255), "gray")
    centres = [
        (90 + 150 * c + random.integers(-20, 20), 70 + 100 * r + random.integers(-15, 15))
        for r in range(4)
        for c in range(4)
    ]

    def draw(pen: Any, k: int) -> None:
        for _ in range(14):
            a, b = random.choice(len(centres), 2, replace=False)
            pen.line(
                [tuple(k * int(v) for v in centres[a]), tuple(k * int(v) for v in centres[b])],
                (70, 70, 70),
                k,
            )

    canvas.picture.paste(_smooth(random, canvas.picture, draw), (0, 0))
    for x, y in centres:
        x, y = int(x), int(y)
        canvas.rounded(
            (x - 50, y - 22, x + 50, y + 22), int(random.choice((2, 10, 22))), (60, 60, 90)
        )
        canvas.rounded(
            (x - 49, y - 21, x + 49, y + 21),
            int(random.choice((2, 10, 21))),
            tone(random, 190, 250),
        )
        canvas.text(
            (x - 38, y - 8), word(random)[:9], font(random.choice((SANS, STIX)), 13), (0, 0, 0)
        )
    return canvas.picture


def sprites(random: Random) -> Picture:
    """Pixel art of few colours, enlarged three times."""
    inks = np.array([tone(random) for _ in range(14)], np.uint8)
    index = np.zeros((128, 176), int)
    kinds = [random.integers(0, 14, (16, 8)) for _ in range(7)]
    for y in range(0, 128, 16):
        for x in range(0, 176, 16):
            half = kinds[int(random.integers(7))]
            index[y : y + 16, x : x + 16] = np.concatenate((half, half[:, ::-1]), 1)
    scaled = np.repeat(np.repeat(inks[index], 3, 0), 3, 1)
    return Pillow.fromarray(scaled)


def formulas(random: Random) -> Picture:
    """A scanned-looking page of Computer Modern: black on white, slightly turned."""
    canvas = Canvas(1120, 960, (255, 255, 255), "gray")
    for y in range(30, 940, 46):
        if random.random() < 0.25:
            canvas.text(
                (300, y),
                f"{word(random)} = ({word(random)} + {random.integers(2, 99)}) / {word(random)}",
                font(COMPUTER_MODERN, 34),
                (0, 0, 0),
            )
        else:
            canvas.text((40, y), sentence(random, 12)[:62], font(COMPUTER_MODERN, 30), (0, 0, 0))
    turned = canvas.picture.rotate(
        random.uniform(-0.6, 0.6), Pillow.Resampling.BICUBIC, fillcolor=(255, 255, 255)
    )
    return turned.resize((560, 480), Pillow.Resampling.BOX)


SCREENS = (editor, terminal, page, widgets, desktop, chat, sheet, files, slide, viewer)
DRAWINGS = (
    *(curves, contours, flat_art, ink, shaded_art),
    *(bars, scatter, street_map, diagram, sprites, formulas),
)
TUNING = {"screens": SCREENS[:6], "drawings": DRAWINGS[:5]}  # seeds from 0
TESTING = {"screens": SCREENS, "drawings": DRAWINGS[1:]}  # seeds from 1000


def render(kind: Callable[[Random], Picture], seed: int) -> NDArray[np.uint8]:
    """An image ``[H, W, 3]``."""
    name = int.from_bytes(kind.__name__.encode()[:6], "little")
    return np.asarray(kind(np.random.default_rng([seed, name])))

"""The HTML report in a browser: everything inside one file, and the slider shows what it says."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pictures import scene
from PIL import Image as Pillow

from laconic.cli.main import cli

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


TITLE = "A <b>test</b> </title><script>document.title = 'taken'</script>"
HOSTILE = (
    "script<script>document.title = 'taken'</script>.png",
    'attribute"><img src=x onerror="document.title = \'taken\'">.png',
    "comment<!--.png",
    "json\"}];document.title = 'taken';[{\".png",
    "template${title}$.png",
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "photos").mkdir()
    Pillow.fromarray(scene(192, 256)).save(folder / "photos" / "a&b <1>.png")
    Pillow.fromarray(scene(192, 256, seed=2)).save(folder / "photos" / "second.png")
    for name in HOSTILE:
        path = folder / "photos" / name
        path.parent.mkdir(exist_ok=True)
        Pillow.fromarray(scene(32, 32, seed=3)).save(path)
    arguments = ["eval", str(folder / "photos"), "-c", "jpeg:5,50", "-c", "webp:5,50", "-c",
                 "photo", "--gallery", "9", "--title", TITLE, "--out",
                 str(folder / "run")]  # fmt: skip
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert result.return_value == 0, result.output
    return folder / "run" / "report.html"


def browse(report: Path, state: str, *options: str) -> str:
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               "--window-size=1200,3000", "--virtual-time-budget=5000", *options,
               f"{report.as_uri()}#{state}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def test_the_report_needs_nothing_else_and_escapes_names(report: Path) -> None:
    text = report.read_text()

    assert "A &lt;b&gt;test&lt;/b&gt;" in text
    assert text.count("<script") == 2  # the gallery's data and code
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)
    assert "url(http" not in text
    assert "<script src" not in text
    assert "<svg" in text
    assert "</script" not in text.split('id="data">')[1].split("</script>")[0]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_the_browser_shows_the_state_that_the_address_names(report: Path) -> None:
    dom = browse(report, "item=0&a=original&b=webp&split=25", "--dump-dom")

    assert "a&b <1>.png" in html.unescape(dom)
    assert "clip-path: inset(0px 0px 0px 25%)" in dom
    caption = dom.split('id="captionB">')[1].split("<")[0]
    assert caption.startswith("webp, ")
    assert "bits per pixel" in caption
    assert "<b>right</b>" in dom


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("item", [1, 4])
def test_scripts_in_names_and_titles_are_shown_and_not_run(report: Path, item: int) -> None:
    dom = browse(report, f"item={item}&a=original&b=webp", "--dump-dom")

    assert dom.count("document.title = 'taken'") >= 4  # title, heading, names
    assert "<title>taken" not in dom
    assert not re.search(r"<(img|script)[^>]*(onerror|src=.x)", dom)
    names = {html.unescape(o) for o in re.findall(r"<option[^>]*>([^<]*)</option>", dom)}
    assert set(HOSTILE) <= names


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_of_the_report_is_wider_than_the_screen(
    report: Path, tmp_path: Path, width: int
) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe id="f" width="{width}" height="900" src="{report.as_uri()}"></iframe><script>'
        'f.onload = () => { document.title = "w" + f.contentDocument.documentElement.scrollWidth }'
        "</script>"
    )
    dom = browse(frame, "", "--allow-file-access-from-files", "--dump-dom")

    assert f"<title>w{width}" in dom.replace(f"w{width - 15}", f"w{width}")  # a scroll bar


def test_columns_are_named_for_people_and_dashes_explained(report: Path) -> None:
    tables = (report.parent / "results.md").read_text(), report.read_text()
    for text in tables:
        shown = text.split("Gallery")[0]
        assert "bits per pixel" in shown
        assert "memory (MiB)" in shown
        assert "-: not measured" in shown
        for raw in ("peak_mib", "encode_s", "bits_per_sample", "psnr-y"):
            assert raw not in shown


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_the_slider_uncovers_one_picture_over_the_other(report: Path, tmp_path: Path) -> None:
    shots = {}
    for name, state in {
        "left": "item=0&a=original&b=jpeg&split=100",
        "right": "item=0&a=original&b=jpeg&split=0",
        "half": "item=0&a=original&b=jpeg&split=50",
        "same": "item=0&a=original&b=original&split=50&diff=1",
    }.items():
        path = tmp_path / f"{name}.png"
        browse(report, state, f"--screenshot={path}")
        shots[name] = np.asarray(Pillow.open(path).convert("RGB")).astype(int)
    original = np.asarray(Pillow.open(next(report.parents[1].glob("photos/a&b*.png")))).astype(int)
    top, left = locate(shots["left"], original)

    def stage(name: str) -> np.ndarray:  # type: ignore[type-arg]
        return shots[name][top : top + 192, left : left + 256]

    assert (stage("left")[:, :250] == original[:, :250]).all()
    assert np.abs(stage("right") - original)[:, 6:].mean() > 1
    assert (stage("half")[:, :120] == stage("left")[:, :120]).all()
    assert (stage("half")[:, 136:] == stage("right")[:, 136:]).all()
    assert stage("same").max() <= 4


def locate(page: np.ndarray, picture: np.ndarray) -> tuple[int, int]:  # type: ignore[type-arg]
    """Where ``picture`` lies on the page."""
    first = picture[0, :64]
    for y in range(page.shape[0] - picture.shape[0] + 1):
        for x in np.flatnonzero((page[y, : page.shape[1] - 256] == first[0]).all(-1)):
            if (page[y, x : x + 64] == first).all():
                return y, int(x)
    raise AssertionError("the original is not on the page")

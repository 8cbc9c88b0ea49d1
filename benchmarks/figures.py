"""Measures the figures of docs/ and of the README, keeps them, and writes them into the pages.

    python benchmarks/figures.py measure --kodak DIR --anchors FILE --clic DIR --mnist DIR \
        --tables DIR --photos DIR --films DIR --sounds DIR --large PICTURES CLIP SOUNDS
    python benchmarks/figures.py measure ... --only kodak image_speed
    python benchmarks/figures.py write

``measure`` runs the benchmarks one after the other and keeps what they found in
``benchmarks/results/``. Kodak means the 24 images as PNG, the anchors are published curves
``{name: {"bpp": [...], "psnr": [...]}}``, MNIST its IDX files, tables are CSV files, photos those
of ``laconic train photo``, videos those that ``video_rd.py`` names, recordings held-out ones;
none of them is part of this repository, and what is not given is not measured. ``write`` fills the
blocks of ``figure_blocks.py`` from what was kept, so that no number in a table was typed; a test
compares them. All of them stand in ``docs/figures.md``, those of one codec in its own page as well,
and one table for each medium in the README.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from figure_blocks import CLIC, KODAK, MEASURES, PAGES, filled
from kept import HERE, RESULTS, ROOT

EFFORTS = "4"
CURVES = "vtm,av1,bpg444,mbt2018-mean"
CROP = 768  # pixels of a side of the images of CLIC


def run(*command: str, cwd: Path | None = None) -> None:
    """A step of the measurement; stops everything when it fails."""
    print("$", *command, flush=True)
    subprocess.run([sys.executable, *command], check=True, cwd=cwd)


def evaluate(folder: Path, name: str, codecs: Iterable[str], *options: str) -> None:
    """One `laconic eval` of the images in ``folder``, kept in ``results/NAME``; it is resumed if it
    was cut."""
    out = Path(tempfile.gettempdir()) / f"laconic-{name}"
    choices = [x for codec in codecs for x in ("-c", codec)]
    choices += [x for measure in MEASURES for x in ("-m", measure)]
    run(
        "-m", "laconic.cli", "eval", folder.name, *choices, "--out", str(out), "--gallery", "0",
        "--log", "--quiet", *options, cwd=folder.resolve().parent,
    )  # fmt: skip
    target = RESULTS / name
    target.mkdir(parents=True, exist_ok=True)
    for file in ("results.json", "results.md", "rd.png", "rd.svg", "config.json"):
        shutil.copyfile(out / file, target / file)
    for curve in sorted((out / "curves").glob("*.json")):
        shutil.copyfile(curve, target / curve.name)


def measure_kodak(kodak: Path, anchors: Path) -> None:
    """Rate-distortion on Kodak from the bytes of files."""
    curves = ("--curves", f"{anchors.resolve()}:{CURVES}", "--anchor", "vtm")
    evaluate(kodak, "kodak", KODAK, *curves, "--title", "Kodak, 24 images")


def measure_clic(clic: Path) -> None:
    """The middles of images of CLIC, beside the slowest AVIF; hours of it are of one encoder."""
    from sga_kodak import centre

    from laconic.formats.image import read_image, write_image

    folder = Path(tempfile.gettempdir()) / "clic"
    folder.mkdir(exist_ok=True)
    for file in sorted(clic.glob("*.png"))[:12]:
        write_image(centre(read_image(file), CROP), folder / file.name, overwrite=True)
    evaluate(folder, "clic", CLIC, "--anchor", "avif@slow", "--title", "CLIC 2025, 12 images")


def measure_demo(name: str, *options: str) -> None:
    """The demonstration on the sample images, or with ``--video`` on the sample video."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "laconic.cli", "demo", "--json", "--out", folder, "-f"]
        done = subprocess.run(
            [*command, *options], check=True, capture_output=True, text=True, cwd=ROOT
        )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    (RESULTS / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")


def measure_lossless(kodak: Path) -> None:
    """Lossless photographs; jpeg xl needs the package imagecodecs."""
    out = RESULTS / "kodak-lossless"
    run(str(HERE / "lossless_photo.py"), "--data", str(kodak), "--out", str(out))


def measure_rendered() -> None:
    """Lossless coding of the sample images."""
    out = RESULTS / "samples-lossless"
    options = ("--coders", "png,webp,laconic-e0", "--out", str(out))
    run(str(HERE / "lossless_photo.py"), "--data", str(ROOT / "samples"), *options)


def measure_preview(kodak: Path) -> None:
    """What a preview in a lossless file costs."""
    out = RESULTS / "lossless_preview"
    run(str(HERE / "lossless_preview.py"), "--data", str(kodak), "--out", str(out))


def measure_photos(photos: Path) -> None:
    """Colour transforms, and circuits for latents, on the training images' held-out part."""
    for name in ("colour_transforms", "latent_circuits"):
        steps = ("--steps", "500") if name == "colour_transforms" else ()
        run(str(HERE / f"{name}.py"), "--data", str(photos), "--out", str(RESULTS / name), *steps)


def measure_records(mnist: Path, tables: Path) -> None:
    """Digits and tables."""
    folders = ("--mnist", str(mnist), "--tables", str(tables))
    run(str(HERE / "lossless_records.py"), *folders, "--out", str(RESULTS))


def measure_effort(kodak: Path) -> None:
    """What encoding effort buys, on eight whole images."""
    script = str(HERE / "sga_kodak.py")
    options = ("--efforts", EFFORTS, "--out", str(RESULTS / "sga"))
    run(script, "--pictures", str(kodak), *options)


def measure_order(kodak: Path) -> None:
    """Files of the default model in several orders of its channels, on four images."""
    with tempfile.TemporaryDirectory() as folder:
        for number in (1, 5, 20, 23):
            shutil.copy(kodak / f"kodim{number:02}.png", folder)
        script = str(HERE / "channel_order.py")
        run(script, "--pictures", folder, "--out", str(RESULTS / "channel_order"))


def measure_contexts(kodak: Path) -> None:
    """What each context of the entropy model is worth."""
    options = ("--pictures", str(kodak), "--json", str(RESULTS / "contexts.json"))
    run(str(HERE / "context_ablation.py"), *options)


def script(name: str) -> Callable[[], None]:
    """The measurement that ``benchmarks/NAME.py`` makes."""
    return lambda: run(str(HERE / f"{name}.py"), "--json", str(RESULTS / f"{name}.json"))


def measure_films(films: Path) -> None:
    """Video networks against x264 and x265, and what parts of their coder are worth."""
    run(str(HERE / "video_rd.py"), "--clips", str(films))
    run(str(HERE / "video_parts.py"), "--clips", str(films))


def measure_sounds(sounds: Path) -> None:
    """The audio codec at every rate beside others, and which part of it loses how much."""
    result = str(RESULTS / "audio_table.json")
    run(str(HERE / "audio_table.py"), "--data", str(sounds), "--json", result)
    run(str(HERE / "audio_split.py"), "--data", str(sounds))


def measure_large(pictures: Path, film: Path, sounds: Path) -> None:
    """Time and memory of large inputs."""
    made_of = ("--pictures", str(pictures), "--film", str(film), "--sounds", str(sounds))
    run(str(HERE / "large_inputs.py"), *made_of, "--out", str(RESULTS / "large_inputs"))


SCRIPTS = (
    "entropy_speed",
    "image_speed",
    "toolkit_speed",
    "mlicpp_speed",
    "audio_speed",
)


def main() -> None:
    """Measure or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--kodak", type=Path, required=True)
    measuring.add_argument("--anchors", type=Path, required=True)
    measuring.add_argument("--clic", type=Path, help="validation images of CLIC 2025")
    measuring.add_argument("--mnist", type=Path)
    measuring.add_argument("--tables", type=Path)
    measuring.add_argument("--photos", type=Path, help="images of `laconic train photo`")
    measuring.add_argument("--films", type=Path, help="videos that video_rd.py names")
    measuring.add_argument(
        "--sounds", type=Path, help="held-out recordings in folders, those of audio_clips.py too"
    )
    measuring.add_argument(
        "--large", type=Path, nargs=3, help="pictures, a clip and recordings of large_inputs.py"
    )
    names = [
        "kodak",
        "clic",
        "demo",
        "demo_film",
        "lossless",
        "rendered",
        "preview",
        "effort",
        "contexts",
        "order",
        *SCRIPTS,
        "records",
        "photos",
        "films",
        "sounds",
        "large",
    ]
    measuring.add_argument("--only", nargs="+", choices=names)
    commands.add_parser("write")
    arguments = parser.parse_args()
    if arguments.command == "measure":
        RESULTS.mkdir(exist_ok=True)
        tasks: dict[str, Callable[[], None]] = {
            "kodak": lambda: measure_kodak(arguments.kodak, arguments.anchors),
            "demo": lambda: measure_demo("demo"),
            "demo_film": lambda: measure_demo("demo_film", "--video"),
            "lossless": lambda: measure_lossless(arguments.kodak),
            "rendered": measure_rendered,
            "preview": lambda: measure_preview(arguments.kodak),
            "effort": lambda: measure_effort(arguments.kodak),
            "contexts": lambda: measure_contexts(arguments.kodak),
            "order": lambda: measure_order(arguments.kodak),
            **{name: script(name) for name in SCRIPTS},
        }
        if arguments.clic:
            tasks["clic"] = lambda: measure_clic(arguments.clic)
        if arguments.mnist and arguments.tables:
            tasks["records"] = lambda: measure_records(arguments.mnist, arguments.tables)
        if arguments.photos:
            tasks["photos"] = lambda: measure_photos(arguments.photos)
        if arguments.films:
            tasks["films"] = lambda: measure_films(arguments.films)
        if arguments.large:
            tasks["large"] = lambda: measure_large(*arguments.large)
        if arguments.sounds:
            tasks["sounds"] = lambda: measure_sounds(arguments.sounds)
        if missing := set(arguments.only or ()) - set(tasks):
            parser.error(f"{', '.join(sorted(missing))}: give the folders that are measured")
        for name in arguments.only or tasks:
            tasks[name]()
    for page in PAGES:
        page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    main()

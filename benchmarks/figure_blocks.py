"""Tables of the README and of docs/ from kept results, one function for each block.

A block lies between ``<!-- figures: NAME -->`` and ``<!-- end -->``; ``figures.py`` measures and
writes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from figure_blocks_audio import (
    audio_groups,
    audio_rates,
    audio_rounds,
    audio_rows,
    audio_savings,
    audio_short,
    audio_speed,
    audio_training,
)
from kept import RESULTS, ROOT, load, table

from laconic.codec.evaluate import bd_rate

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OURS = {
    "mlic": (0, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95, 100),
    "mlic@mlic-base": (0, 20, 40, 60, 80, 90, 100),
}  # qualities
SEARCHED = "mlic@mlic-base+effort4"
POINTS = {**OURS, SEARCHED: OURS["mlic@mlic-base"]}
OTHERS = ("avif", "avif@420", "jxl", "webp", "jpeg")
KODAK = (*(f"{name}:{','.join(map(str, points))}" for name, points in POINTS.items()), *OTHERS)
SLOWEST = ("avif@slow", "avif")
CLIC = tuple(
    f"{name}:{','.join(points)}"
    for names, points in ((OURS, ("20", "40", "60", "80")), (SLOWEST, ("25", "45", "65", "80")))
    for name in names
)
MEASURES = ("psnr", "psnr-y", "ms-ssim-db", "ssimulacra2")


TITLES = {
    "mlic": "**mlic**",
    "mlic@mlic-base": "mlic --tune psnr",
    SEARCHED: "mlic --tune psnr --effort 4",
}


def kodak_measures() -> str:
    """Bits of the default model, and of the one tuned for PSNR, at equal quality by four measures:
    where latents alone carry the quality, and over the whole range."""
    rows = []
    for ours, highest in (("mlic", 85), ("mlic", 100), ("mlic@mlic-base", 80), (SEARCHED, 80)):
        for theirs in OTHERS:
            cells = []
            for measure in MEASURES:
                reached = zip(POINTS[ours], _points(ours, measure), strict=True)
                own = [point for quality, point in reached if quality <= highest]
                cells.append(_change(_points(theirs, measure), own))
            name = f"{TITLES[ours]} | 0 to {highest}"
            rows.append(f"{name} | {theirs} | " + " | ".join(cells))
    head = "bits of, % | qualities | against | RGB PSNR | luma PSNR | MS-SSIM | SSIMULACRA2"
    return table(head, rows)


def clic_measures() -> str:
    """Bits of both models at equal quality by four measures, on images of CLIC."""
    rows = []
    for ours in OURS:
        for theirs in SLOWEST:
            cells = [_change(*(_points(x, m, "clic") for x in (theirs, ours))) for m in MEASURES]
            rows.append(f"{TITLES[ours]} | {theirs} | " + " | ".join(cells))
    head = "bits of, % | against | RGB PSNR | luma PSNR | MS-SSIM | SSIMULACRA2"
    return table(head, rows, texts=2)


Mean = tuple[float, float | None]  # bpp and a measure; None where a file of them is exact


def _points(codec: str, measure: str, images: str = "kodak") -> list[Mean]:
    """The means of a codec on Kodak or CLIC."""
    found = load(f"{images}/{codec}")["results"]
    column = "psnr-rgb" if measure == "psnr" else measure
    return list(zip(found["bpp"], found[column], strict=True))


def _change(before: list[Mean], after: list[Mean]) -> str:
    """BD-rate of one curve against another, as a cell."""
    return f"{bd_rate(_finite(before), _finite(after)).value:+.1f}"


def _finite(points: list[Mean]) -> list[tuple[float, float]]:
    return [(rate, value) for rate, value in points if value is not None]


def kodak_deltas() -> str:
    """BD-rates of PSNR against VTM, best first."""
    rows = [d for d in load("kodak/results")["deltas"] if d["metric"] == "psnr"]
    rows.sort(key=lambda d: d["bd_rate_pchip"])
    return table(
        "codec | BD-rate against VTM, % (PCHIP) | (cubic) | BD-PSNR, dB | over PSNR, dB",
        [
            f"{TITLES.get(d['codec'], d['codec'])} | {d['bd_rate_pchip']:+.1f} |"
            f" {d['bd_rate_cubic']:+.1f} | {d['bd_metric_pchip']:+.2f} |"
            f" {d['low']:.1f} to {d['high']:.1f}"
            for d in rows
        ],
    )


def kodak_points() -> str:
    """Mean points of the default model."""
    points = load("kodak/mlic")["results"]
    columns = ("bpp", "psnr-rgb", "psnr-y", "ms-ssim-db", "ssimulacra2")
    rows = zip(OURS["mlic"], *(points[c] for c in columns), strict=True)
    return table(
        "quality | bpp | PSNR, dB | PSNR of luma, dB | MS-SSIM, dB | SSIMULACRA2",
        [
            f"{q} | {b:.4f} | {_decibels(p)} | {_decibels(y)} | {_decibels(m)} | {s:.1f}"
            for q, b, p, y, m, s in rows
        ],
    )


def _decibels(mean: float | None) -> str:
    return "one is exact" if mean is None else f"{mean:.2f}"


def training() -> str:
    """Steps, minutes and held-out loss of the shipped model, from its own manifest."""
    from laconic.codec import models

    history = models.find(models.DEFAULT_MODEL).training
    runs = [history]
    while "started_from" in runs[-1]:
        runs.append(runs[-1]["started_from"])
    parts = [
        f"{r['steps']:,} steps of {r['recipe']['batch']} crops of {r['recipe']['crop']} pixels in"
        f" {r['minutes']:.0f} minutes"
        for r in reversed(runs)
    ]
    held_out = history["held_out"]
    points = ", ".join(
        f"{b:.3f} bpp and {p:.2f} dB"
        for b, p in zip(held_out["bpp"], held_out["psnr"], strict=True)
    )
    return (
        f"{', then '.join(parts)}, on two shared CPU cores; on held-out images at qualities 10,"
        f" 30, 50, 70 and 90 (estimated bits, unrounded): {points}."
    )


def training_curve() -> str:
    """BD-rate against the shipped model at some crops of every run."""
    found = load("training_curve")
    rows = found["held_out"]
    shown = []
    for number in sorted({r["run"] for r in rows}):
        points = [r for r in rows if r["run"] == number]
        some = points if len(points) < 5 else [*points[:-1:4], points[-1]]
        shown += [
            f"{number} | {r['crops']:,} | {r['bd_rate']:+.1f} | {r['loss']:.4f}" for r in some
        ]
    head = "run | crops seen | BD-rate against the shipped model, % | mean loss"
    files = [
        f"On {k['pictures']} Kodak images, from bytes of files, the model after"
        f" {k['crops']:,} crops is at {k['bd_rate']:+.1f} %."
        for k in found["kodak"]
    ]
    return "\n\n".join([table(head, shown), *files])


def contexts() -> str:
    """Bits added by silencing a context."""
    found = load("contexts")["parts"]
    qualities = list(next(iter(found.values())))
    head = " | ".join(["silenced", *(f"quality {q}, bits" for q in qualities)])
    rows = [
        " | ".join([name, *(f"{points[q]['bits']:+.2f} %" for q in qualities)])
        for name, points in found.items()
    ]
    return table(head, rows)


def demo() -> str:
    """Sizes and times of the samples."""
    return table(
        "image | quality | PNG bytes | .lac bytes | bpp | PSNR, dB | encode, s | decode, s",
        [
            f"{r['name']} | {r['quality']:g} | {r['original_bytes']:,} | {r['lac_bytes']:,} |"
            f" {r['bpp']:.3f} | {r['psnr']:.2f} | {r['encode_s']:.2f} | {r['decode_s']:.2f}"
            for r in load("demo")
        ],
    )


def demo_film() -> str:
    """The sample video."""
    return table(
        "video | frames | size | bytes | .lac bytes | bpp | PSNR, dB | encode s (CPU) | decode fps",
        [
            f"{r['name']} | {r['frames']} | {r['width']} x {r['height']} |"
            f" {r['original_bytes']:,} | {r['lac_bytes']:,} | {r['bpp']:.4f} | {r['psnr']:.2f} |"
            f" {r['encode_s']:.0f} ({r['cpu_s']:.0f}) | {r['fps']:.0f}"
            for r in load("demo_film")
        ],
    )


def entropy() -> str:
    """Coders side by side."""
    figures = load("entropy_speed")
    return table(
        "coder | encode, Msymbols/s | decode, Msymbols/s | times CompressAI | bytes | above ideal",
        [
            f"{name} | {r['encode_msps']:.1f} | {r['decode_msps']:.1f} |"
            f" {r['encode_ratio']:.1f} and {r['decode_ratio']:.1f} | {r['bytes']:,.0f} |"
            f" {r['excess_percent']:.4f} %"
            for name, r in figures["coders"].items()
        ],
    )


def speed() -> str:
    """Share of the peer's time."""
    ratios = load("image_speed")["ratios"]
    return (
        f"encoding takes {ratios['encode']:.2f} ({ratios['encode and verify']:.2f} with"
        f" verification) and decoding {ratios['decode']:.2f} of its time."
    )


def toolkit() -> str:
    """Every codec beside those people use."""
    rows = []
    for medium, codecs in load("toolkit_speed").items():
        for r in codecs if medium != "starts" else ():
            rows.append(
                f"{medium}: {r['codec']} | {r['percent']:.2f} | {r['encode_mbps']:.2f}"
                f" ({r['encode_ratio']:.2g}) | {r['decode_mbps']:.2f} ({r['decode_ratio']:.2g}) |"
                f" {r['peak_mib']:.0f}"
            )
    return table(
        "medium: codec and setting | size, % of samples | encode, MB/s (times the first row)"
        " | decode, MB/s | peak, MiB",
        rows,
    )


def video_short() -> str:
    """Videos at the default preset against other encoders, for the README."""
    from video_rd import RIVALS, delta

    points = load("video_rd")
    clips = sorted({p["clip"] for p in points})
    rows = []
    for theirs in (name for name in RIVALS if "default" not in name):
        cells = []
        for clip in clips:
            value = delta(points, clip, "motion fast", theirs, "psnr_y")
            cells.append("-" if value is None else f"{value:+.0f} %")
        rows.append(f"{theirs} | " + " | ".join(cells))
    return table("bits of `motion` against | " + " | ".join(clips), rows)


def mlicpp() -> str:
    """MLIC++ beside a forward pass of its own, and the authors' code beside theirs."""
    figures = load("mlicpp_speed")
    return table(
        "768 x 512, one thread | CPU seconds | of a forward pass | authors' code, of theirs",
        [
            f"{name} | {seconds:.1f} | {seconds / figures['seconds']['forward']:.2f} |"
            f" {figures['authors'].get(name, 1.0):.2f}"
            for name, seconds in figures["seconds"].items()
        ],
    )


def order_ranks() -> str:
    """Orders of the channels against measurement."""
    return kept("channel_order")().split("\n\n")[0]


def order_files() -> str:
    """What orders do to files."""
    return kept("channel_order")().split("\n\n")[1]


def kept(name: str) -> Callable[[], str]:
    """A table that a benchmark wrote itself."""
    return lambda: (RESULTS / f"{name}.md").read_text().strip()


def records() -> str:
    """Digits and tables, without the comparison of coding orders."""
    return "\n\n".join(kept("lossless_records")().split("\n\n")[:2])


def tables() -> str:
    """Tables alone, for the README."""
    return kept("lossless_records")().split("\n\n")[1]


def orders() -> str:
    """Cost of coding in the published order and in ours."""
    return kept("lossless_records")().split("\n\n")[2]


BLOCKS: dict[str, Callable[[], str]] = {
    "kodak-deltas": kodak_deltas,
    "kodak-measures": kodak_measures,
    "kodak-points": kodak_points,
    "clic-measures": clic_measures,
    "training": training,
    "training-curve": training_curve,
    "contexts": contexts,
    "audio-training": audio_training,
    "demo": demo,
    "demo-film": demo_film,
    "speed": speed,
    "effort": kept("sga"),
    "training-step": kept("training_step"),
    "image-trials": kept("image_trials"),
    "mlicpp-speed": mlicpp,
    "order-ranks": order_ranks,
    "order-files": order_files,
    "lossless": kept("kodak-lossless"),
    "held-out": kept("held-out"),
    "samples-lossless": kept("samples-lossless"),
    "lossless-preview": kept("lossless_preview"),
    "latent-circuits": kept("latent_circuits"),
    "colour-transforms": kept("colour_transforms"),
    "records": records,
    "records-orders": orders,
    "tables": tables,
    "large": kept("large_inputs"),
    "entropy": entropy,
    "toolkit": toolkit,
    "video": kept("video_rd"),
    "video-networks": kept("video_networks"),
    "video-order": kept("video_order"),
    "video-parts": kept("video_parts"),
    "video-ablation": kept("video_ablation"),
    "pscodec": kept("pscodec_prompts"),
    "audio-speech": lambda: audio_rows("speech"),
    "audio-men": lambda: audio_rows("men"),
    "audio-women": lambda: audio_rows("women"),
    "audio-groups": audio_groups,
    "audio-other": lambda: audio_rows("other"),
    "audio-split": kept("audio_split"),
    "audio-short": audio_short,
    "audio-rates": audio_rates,
    "audio-rounds": audio_rounds,
    "video-short": video_short,
    "audio-savings": audio_savings,
    "audio-speed": audio_speed,
}


def filled(text: str) -> str:
    """``text`` with every block replaced by what the kept results say; one that was not measured
    stays as it is."""

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        try:
            return f"<!-- figures: {name} -->\n{BLOCKS[name]()}\n<!-- end -->"
        except FileNotFoundError:
            return match[0]

    return re.sub(r"<!-- figures: (\S+) -->.*?<!-- end -->", fill, text, flags=re.DOTALL)

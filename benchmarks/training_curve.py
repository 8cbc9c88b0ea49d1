"""BD-rate of the default model against the number of crops it was trained on.

    python benchmarks/training_curve.py --run SECOND.jsonl:3439 --run THIRD.jsonl:10055 \\
        --kodak 3439:EVALUATION

``--run`` takes the log that a training writes beside its checkpoint and the steps made before it;
``--kodak`` the steps behind another model and the folder of a ``laconic eval`` of it. Both are
compared with the shipped model at five qualities: held-out images from estimated bits and
unrounded samples, Kodak from bytes of files. Keeps
``benchmarks/results/training_curve.json`` and draws ``docs/mlic-small-curve.png``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from laconic.codec import models
from laconic.codec.evaluate import bd_rate

ROOT = Path(__file__).parents[1]
QUALITIES = (10, 30, 50, 70, 90)  # on Kodak


def held_out(history: dict[str, Any], logs: list[tuple[Path, int]]) -> list[dict[str, Any]]:
    """Points ``{crops, bd_rate, run}`` of every log, and the ends of runs that have none."""
    batch = history["recipe"]["batch"]
    anchor = points_of(history["held_out"])
    rows = []
    first = history.get("started_from")
    if first is not None:
        rows.append({"run": 1, "steps": first["steps"], **score(anchor, first["held_out"])})
    for number, (path, before) in enumerate(logs, start=1 + len(rows)):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            rows.append({"run": number, "steps": before + entry["step"], **score(anchor, entry)})
    return [{**row, "crops": row["steps"] * batch} for row in rows]


def points_of(entry: dict[str, Any]) -> list[list[float]]:
    """``(bpp, PSNR)`` of a validation."""
    return [list(p) for p in zip(entry["bpp"], entry["psnr"], strict=True)]


def score(anchor: list[list[float]], entry: dict[str, Any]) -> dict[str, float]:
    """BD-rate of a validation and its mean loss."""
    value = bd_rate(anchor, points_of(entry)).value
    return {"bd_rate": round(float(value), 3), "loss": float(np.mean(entry["loss"]))}


def kodak(folder: Path, anchor: Path) -> dict[str, float]:
    """BD-rate against another evaluation on the images that both have, from mean points."""
    ours, theirs = (per_picture(f) for f in (folder, anchor))
    shared = sorted(set(ours) & set(theirs))
    curves = [np.mean([found[name] for name in shared], 0).tolist() for found in (theirs, ours)]
    return {"pictures": len(shared), "bd_rate": round(float(bd_rate(*curves).value), 3)}


def per_picture(folder: Path) -> dict[str, list[list[float]]]:
    """``(bpp, PSNR)`` at :data:`QUALITIES` of every image that has all of them."""
    found: dict[str, dict[float, list[float]]] = {}
    kept, raw = folder / "results.json", folder / "measurements.jsonl"
    rows = (
        json.loads(kept.read_text())["measurements"]
        if kept.exists()
        else [json.loads(line) for line in raw.read_text().splitlines()]
    )
    for row in rows:
        if row["codec"].startswith("mlic"):
            found.setdefault(row["item"], {})[row["quality"]] = [row["bpp"], row["psnr"]]
    return {
        name: [points[q] for q in QUALITIES]
        for name, points in found.items()
        if set(QUALITIES) <= set(points)
    }


def draw(rows: list[dict[str, Any]], target: Path) -> None:
    """One line per run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), dpi=120, layout="constrained")
    axes = figure.subplots()
    for run in sorted({row["run"] for row in rows}):
        points = [(r["crops"] / 1000, r["bd_rate"]) for r in rows if r["run"] == run]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=f"run {run}")
    axes.axhline(0, color="gray", linewidth=0.8)
    axes.set_xlabel("crops of 192 x 192 seen, thousands")
    axes.set_ylabel("BD-rate against the shipped model, %")
    axes.legend()
    figure.savefig(target)


def main() -> None:
    """Read logs and evaluations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", action="append", default=[], metavar="LOG:STEPS")
    parser.add_argument("--kodak", action="append", default=[], metavar="STEPS:FOLDER")
    options = parser.parse_args()
    history = models.find(models.DEFAULT_MODEL).training
    logs = [(Path(path), int(steps)) for path, steps in (r.rsplit(":", 1) for r in options.run)]
    rows = held_out(history, logs)
    batch, shipped = history["recipe"]["batch"], ROOT / "benchmarks" / "results" / "kodak"
    files = [
        {"crops": int(steps) * batch, **kodak(Path(folder), shipped)}
        for steps, folder in (k.split(":", 1) for k in options.kodak)
    ]
    out = ROOT / "benchmarks" / "results" / "training_curve.json"
    out.write_text(json.dumps({"held_out": rows, "kodak": files}, indent=1) + "\n")
    draw(rows, ROOT / "docs" / "mlic-small-curve.png")


if __name__ == "__main__":
    main()

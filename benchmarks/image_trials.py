"""Trials of image models and optimisers: equal CPU minutes of one thread from scratch, same data.

    python benchmarks/image_trials.py --data PICTURES --out RUNS [--minutes 30]
        [--trials small,wide,dense,mixture,soap] [--rates 0.005,0.01,0.02]

Every trial first sweeps its learning rate in short annealed runs (``--sweep`` minutes each) and
then trains with the best for the whole time, annealed as well. All have the scale of qualities and
the detail layer of ``mlic-base``. What counts is the mean loss of averaged weights on held-out
pictures, beside that of a trained model (``--mark``). Interrupted, it goes on with the same
command; a trial that is done is not run again. Keeps ``benchmarks/results/image_trials.json``; logs
of all runs lie in RUNS.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import RESULTS, keep, table
from soap import Soap
from torch import nn

from laconic.codec import models
from laconic.codec.evaluate import bd_rate
from laconic.codec.image import layers
from laconic.codec.image.config import CONFIGS, MlicConfig
from laconic.codec.train import image
from laconic.codec.train.running import build_optimisers, run_trainer

BASE = CONFIGS["base"]
WIDE = replace(BASE, chroma=64, encoder_blocks=6, decoder_blocks=8)
TODAY = replace(
    CONFIGS["small"],
    rates=BASE.rates,
    rate_anchors=BASE.rate_anchors,
    detail=BASE.detail,
    detail_from=BASE.detail_from,
)
Optimisers = Callable[..., list[torch.optim.Optimizer]]


@dataclass(frozen=True)
class Trial:
    """``analysis`` is what g_a has in place of the configuration's blocks."""

    title: str
    config: MlicConfig
    analysis: MlicConfig | None = None
    optimisers: Optimisers = build_optimisers
    rate: float = 1.0  # what ``--rates`` are multiplied by


class Timed(image.Trainer):
    """A run whose budget is time of the processor, whatever else runs beside it."""

    clock = staticmethod(time.process_time)


def with_soap(model: nn.Module, *, muon_lr: float, **others: float) -> list[torch.optim.Optimizer]:
    """As the recipe's optimisers, with SOAP in place of Muon."""
    muon, adam = build_optimisers(model, muon_lr=muon_lr, **others)
    return [Soap(muon.param_groups), adam]


TRIALS = {
    "small": Trial("separable, 3 + 4 blocks, global attention (`mlic-small`)", TODAY),
    "wide": Trial("separable, 6 + 8 blocks of 192 channels", WIDE),
    "dense": Trial("dense 3x3, 4 + 6 blocks (`mlic-base`)", CONFIGS["dense"]),
    "mixture": Trial("analysis separable, synthesis dense", CONFIGS["dense"], analysis=BASE),
    "soap": Trial("dense, SOAP in place of Muon", CONFIGS["dense"], None, with_soap, 0.3),
}


def run(trial: Trial, rate: float, minutes: float, data: list[Path], out: Path) -> dict[str, Any]:
    """Train for ``minutes``; held-out figures at the end."""
    log = out / "log.jsonl"
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    if not done or done[-1]["minutes"] < minutes:
        CONFIGS["trial"] = trial.config
        recipe = image.Recipe(
            config="trial",
            minutes=minutes,
            warmup=50,
            ema=0.995 if minutes < 15 else 0.998,
            muon_lr=rate * trial.rate,
        )
        analysis, optimisers = layers.Analysis.__init__, image.build_optimisers
        if trial.analysis is not None:
            layers.Analysis.__init__ = lambda self, _: analysis(self, trial.analysis)  # type: ignore[method-assign, assignment]
        image.build_optimisers = trial.optimisers  # type: ignore[assignment]
        try:
            run_trainer(lambda: Timed(recipe, data, out), out, resume=True, threads=1)
        finally:
            layers.Analysis.__init__ = analysis  # type: ignore[method-assign]
            image.build_optimisers = optimisers
        done = [json.loads(line) for line in log.read_text().splitlines()]
    last = done[-1]
    return {"rate": rate * trial.rate, "mean_loss": float(np.mean(last["loss"])), **last}


def marked(name: str, data: list[Path], out: Path) -> dict[str, Any]:
    """Held-out figures of a trained model."""
    config = next(k for k, c in CONFIGS.items() if c.to_dict() == models.find(name).config)
    trainer = image.Trainer(image.Recipe(config=config), data, out, name)
    found = trainer.validate()
    return {**found, "mean_loss": float(np.mean(found["loss"])), "minutes": 0.0}


def rows(result: dict[str, Any]) -> list[str]:
    """Cells of each trial: what, rates, steps, loss, BD-rate against the mark."""
    lines = []
    mark = [*zip(result["mark"]["bpp"], result["mark"]["psnr"], strict=True)]
    for name, found in result["trials"].items():
        final, sweep = found["final"], found["sweep"]
        points = [*zip(final["bpp"], final["psnr"], strict=True)]
        swept = ", ".join(f"{r['rate']:g}: {r['mean_loss']:.3f}" for r in sweep)
        lines.append(
            f"{TRIALS[name].title} | {swept} | {final['step']:,} | {final['mean_loss']:.4f} |"
            f" {bd_rate(mark, points).value:+.1f}"
        )
    return lines


def main() -> None:
    """Run what is asked for; keep and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--sweep", type=float, default=2.5)
    parser.add_argument("--rates", default="0.005,0.01,0.02")
    parser.add_argument("--trials", default=",".join(TRIALS))
    parser.add_argument("--mark", default="mlic-small")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept = RESULTS / "image_trials"
    before = kept.with_suffix(".json")
    result = json.loads(before.read_text()) if before.exists() else {}
    result.setdefault("trials", {})
    result["mark"] = marked(options.mark, options.data, options.out / "mark")
    for name in options.trials.split(","):
        trial = TRIALS[name]
        train = partial(run, trial, data=options.data)
        sweep = [
            train(float(r), options.sweep, out=options.out / f"{name}-{r}")
            for r in options.rates.split(",")
        ]
        best = min(sweep, key=lambda r: r["mean_loss"])
        final = train(best["rate"] / trial.rate, options.minutes, out=options.out / name)
        result["trials"][name] = {"sweep": sweep, "final": final}
        head = "trial | rates and losses of the sweep | steps | loss | BD-rate, %"
        keep(kept, result, table(head, rows(result), texts=2))


if __name__ == "__main__":
    main()

"""Work per CPU second of a training step of the image models, one thread, in one run.

    python benchmarks/training_step.py --data PICTURES --out benchmarks/results/training_step

Multiplications are counted by torch in forward and backward pass; those of the optimisers are not,
their time is. The first row is what the first model was trained with: depth-wise blocks in float32.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from kept import keep, table
from torch.utils.flop_counter import FlopCounterMode

from laconic.codec.image.layers import Block
from laconic.codec.train import image

STEPS = 6
RUNS = {  # configuration, blocks in bfloat16
    "depth-wise, float32 (`mlic-small`)": ("small", False),
    "depth-wise, bfloat16": ("small", True),
    "dense, float32": ("dense", False),
    "dense, bfloat16 (`mlic-base`)": ("dense", True),
}


def trainer_of(config: str, mixed: bool, data: list[Path], out: Path) -> image.Trainer:
    """A run of the usual recipe from scratch."""
    trainer = image.Trainer(image.Recipe(config=config), data, out)
    for module in trainer.model.modules():
        if isinstance(module, Block):
            module.mixed = mixed
    return trainer


def main() -> None:
    """Measure alternately, keep the best of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        trainers = {
            name: trainer_of(*kind, options.data, Path(folder)) for name, kind in RUNS.items()
        }
        for name, trainer in trainers.items():
            counter = FlopCounterMode(display=False)
            with counter:
                trainer.train_step()
            result[name] = {"gmac": counter.get_total_flops() / 2e9, "seconds": float("inf")}
        for _ in range(STEPS):
            for name, trainer in trainers.items():
                start = time.process_time()
                trainer.train_step()
                seconds = time.process_time() - start
                result[name]["seconds"] = min(seconds, result[name]["seconds"])
    rows, first = [], None
    for name, found in result.items():
        batch = trainers[name].recipe.batch
        found["gmac_per_second"] = found["gmac"] / found["seconds"]
        first = first or found["gmac_per_second"]
        rows.append(
            f"{name} | {batch} | {found['gmac']:.1f} | {found['seconds']:.2f} |"
            f" {found['gmac_per_second']:.1f} | {found['gmac_per_second'] / first:.2f}"
        )
    head = "step | crops | GMAC | CPU seconds | GMAC per CPU second | of the first"
    keep(options.out, result, table(head, rows))


if __name__ == "__main__":
    main()

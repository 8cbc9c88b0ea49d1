"""Encode and decode time of MLIC++ against a plain forward pass of the same network, in one run.

    python benchmarks/mlicpp_speed.py [--height N] [--width N] [--json FILE]

The network has the published size and weights from the rule of ``tests/weight_rule.py``; a time is
CPU seconds of one thread, the best of several rounds. The forward pass is ``MlicPlusPlus.forward``
in float32 with PyTorch's own convolutions, as the authors' evaluation computes it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from laconic import codec
from laconic.codec import models
from laconic.codec.image.architectures import load_model
from laconic.codec.image.checkpoints import import_checkpoint
from laconic.codec.image.mlicpp.config import MLICPP
from laconic.codec.image.mlicpp.model import MlicPlusPlus
from laconic.formats.image import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from weight_rule import fill, rule_picture

ROUNDS = 2
NAME = "mlicpp-rule"
# The authors' code on the same kind of machine, 768 x 512: forward 7.4, compress 3.9, decompress
# 4.7 CPU seconds.
AUTHORS = {"encode": 3.9 / 7.4, "decode": 4.7 / 7.4}


def best(task: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of the fastest of some calls, after one that does not count, and a result."""
    result, seconds = task(), float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        result = task()
        seconds = min(seconds, time.process_time() - start)
    return seconds, result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    x = rule_picture(arguments.height, arguments.width, 1)
    samples = (x[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
    picture = Image(pixels=samples, bit_depth=8)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as store, torch.no_grad():
        os.environ["LACONIC_MODELS"] = store
        network = fill(MlicPlusPlus(MLICPP), "mlicpp")
        seconds["forward"], _ = best(partial(network, x))
        from safetensors.torch import save_file

        plain = Path(store) / "plain"
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, plain)
        del network
        import_checkpoint(plain, arch=None, name=NAME)
        load_model("mlic++", NAME)
        seconds["encode"], data = best(lambda: codec.encode(picture, model=NAME, verify=False))
        seconds["decode"], _ = best(lambda: codec.decode(data))
        size = models.find(NAME).bytes
    shares = {name: seconds[name] / seconds["forward"] for name in AUTHORS}
    for name, value in seconds.items():
        print(f"{name:8} {value:6.2f} CPU seconds")
    for name, share in shares.items():
        print(f"{name:8} {share:.2f} of a forward pass; the authors' {AUTHORS[name]:.2f}")
    if arguments.json:
        found = {"seconds": seconds, "shares": shares, "authors": AUTHORS, "model_bytes": size}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

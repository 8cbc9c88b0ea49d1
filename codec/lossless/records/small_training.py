"""Training of the preset `small` with torch: float network first, then rounded to integers."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from laconic.codec import models
from laconic.codec.lossless.records.named import save_network
from laconic.codec.lossless.records.small import (
    ACTIVATION_BITS,
    MAX_ACTIVATION,
    MAX_WEIGHT,
    NEIGHBOURS,
    RADIUS,
    VALUES,
    WEIGHT_BITS,
    SmallNetwork,
    interval,
)
from laconic.codec.lossless.records.training import Report
from laconic.codec.train.running import load_state, save_state
from laconic.formats.errors import FormatError, ParameterError
from laconic.formats.records import Records

UNIT = 1 << ACTIVATION_BITS
FINE = 1 << (ACTIVATION_BITS + WEIGHT_BITS)


@dataclass(frozen=True)
class SmallRecipe:
    """How a network is trained; the defaults make ``mnist-small``."""

    hidden: int = 128
    steps: int = 4000
    batch: int = 4096  # pixels
    rate: float = 6e-3
    held_out: int = 3000
    seed: int = 0


class Float(nn.Module):
    """The network in floats, with rounding in the forward pass and straight-through gradients."""

    def __init__(self, height: int, width: int, hidden: int) -> None:
        super().__init__()

        def weights(rows: int, columns: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(rows, columns) * (2 / rows) ** 0.5)

        self.place_y = nn.Parameter(torch.zeros(height, hidden))
        self.place_x = nn.Parameter(torch.zeros(width, hidden))
        self.w1 = weights(len(NEIGHBOURS), hidden)
        self.w2, self.b2 = weights(hidden, hidden), nn.Parameter(torch.zeros(hidden))
        self.w3 = nn.Parameter(torch.zeros(hidden, VALUES))
        self.b3 = nn.Parameter(torch.zeros(VALUES))

    def forward(self, seen: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Logits ``[B, 256]`` of pixels with neighbours ``seen`` ``[B, 60]`` in 0..1."""
        hidden = seen @ _weight(self.w1) + _bias(self.place_y)[y] + _bias(self.place_x)[x]
        hidden = _act(hidden) @ _weight(self.w2) + _bias(self.b2)
        return _act(hidden) @ _weight(self.w3) + _bias(self.b3)

    def integers(self, height: int, width: int) -> SmallNetwork:
        """The integer network that the forward pass imitates."""
        tensors = {}
        for name, value in self.named_parameters():
            array = value.detach().numpy()
            if name.startswith("w"):
                limit = MAX_WEIGHT
                tensors[name] = np.clip(np.rint(array * 2**WEIGHT_BITS), -limit, limit).astype(
                    "<i2"
                )
            else:
                tensors[name] = np.rint(array * FINE).astype("<i4")
        return SmallNetwork(height, width, tensors).check()


def _through(value: Tensor, rounded: Tensor) -> Tensor:
    return value + (rounded - value).detach()


def _weight(value: Tensor) -> Tensor:
    limit = MAX_WEIGHT / 2**WEIGHT_BITS
    rounded = (value * 2**WEIGHT_BITS).round() / 2**WEIGHT_BITS
    return _through(value, rounded.clamp(-limit, limit))


def _bias(value: Tensor) -> Tensor:
    return _through(value, (value * FINE).round() / FINE)


def _act(value: Tensor) -> Tensor:
    clipped = value.clamp(0, MAX_ACTIVATION / UNIT)
    return _through(clipped, (clipped * UNIT).floor() / UNIT)


def run_small(
    recipe: SmallRecipe,
    records: Records,
    out: Path,
    *,
    name: str,
    resume: bool = False,
    report: Report = print,
) -> models.ModelInfo:
    """Train a network on gray images ``[N, H, W]`` of 8 bits and write its model file.

    Raises:
        ParameterError: the records are no such images. FormatError: a damaged checkpoint.
    """
    shape = records.header.shape
    if records.array is None or records.array.dtype != np.uint8 or len(shape) != 2:
        raise ParameterError("the preset small is trained on gray images of 8 bits, [N, H, W]")
    height, width = shape
    images = records.array.reshape(-1, height, width)
    train = _padded(images[: len(images) - recipe.held_out])
    torch.manual_seed(recipe.seed)
    net = Float(height, width, recipe.hidden)
    optimiser = torch.optim.Adam(net.parameters(), lr=recipe.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, recipe.steps)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, first = out / "checkpoint.pt", 0
    if checkpoint.exists() and resume:
        try:
            saved = load_state(checkpoint)
            if saved["recipe"] != asdict(recipe):
                raise FormatError(f"{checkpoint} is of another recipe: choose another folder")
            net.load_state_dict(saved["net"])
            optimiser.load_state_dict(saved["optimiser"])
            schedule.load_state_dict(saved["schedule"])
            first = saved["step"]
        except (KeyError, RuntimeError) as error:
            raise FormatError(f"{checkpoint} is not a checkpoint: {error}") from error
    start = time.perf_counter()
    for step in range(first, recipe.steps):
        seen, y, x, target = _pixels(train, height, width, recipe, step)
        loss = nn.functional.cross_entropy(net(seen, y, x), target)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % max(1, recipe.steps // 20) == 0:
            bits = loss.item() / np.log(2)
            report(
                f"step {step + 1}: {bits:.4f} bits per pixel, {time.perf_counter() - start:.0f} s"
            )
            state = {
                "recipe": asdict(recipe), "net": net.state_dict(), "step": step + 1,
                "optimiser": optimiser.state_dict(), "schedule": schedule.state_dict(),
            }  # fmt: skip
            save_state(checkpoint, state)
    network = net.integers(height, width)
    held = mean_bits(network, images[len(images) - recipe.held_out :][:500])
    training = {
        "records": len(train),
        "recipe": asdict(recipe),
        "held_out_bits": round(held, 5),
    }
    return save_network(
        out / f"{name}.safetensors", network, name=name, training=training, overwrite=True
    )


def mean_bits(network: SmallNetwork, images: NDArray[Any]) -> float:
    """Bits per pixel of images ``[N, H, W]``."""
    values = images.reshape(len(images), -1).astype(np.int64)
    total = 0.0

    def code(pixel: int, freqs: NDArray[np.float64]) -> NDArray[np.int64]:
        nonlocal total
        _, widths = interval(freqs, values[:, pixel])
        total += float((32 - np.log2(widths)).sum())
        return values[:, pixel]

    network.walk(len(values), code)
    return total / values.size


def _padded(images: NDArray[Any]) -> NDArray[np.uint8]:
    return np.pad(images, ((0, 0), (RADIUS, 0), (RADIUS, RADIUS)))


def _pixels(
    padded: NDArray[np.uint8], height: int, width: int, recipe: SmallRecipe, step: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random pixels with what comes before them."""
    rng = np.random.default_rng([recipe.seed, step])
    n = rng.integers(0, len(padded), recipe.batch)
    y, x = rng.integers(0, height, recipe.batch), rng.integers(0, width, recipe.batch)
    dy, dx = np.array(NEIGHBOURS).T
    seen = padded[n[:, None], y[:, None] + RADIUS + dy, x[:, None] + RADIUS + dx]
    inputs = torch.from_numpy(((seen.astype(np.float32) + 2) // 4) / UNIT)
    target = torch.from_numpy(padded[n, y + RADIUS, x + RADIUS].astype(np.int64))
    return inputs, torch.from_numpy(y), torch.from_numpy(x), target

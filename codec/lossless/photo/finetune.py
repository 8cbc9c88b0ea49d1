"""Adapting the model to one picture (``--effort``): fewer bits for encoding time.

The weights are trained further on the picture's own samples; what changes is rounded to coarse
steps, also during training, and its price is part of the loss,

    L = sum_samples bits + sum_weights PRICE * log2(1 + |change| / step),

so that only changes that pay for themselves survive. Compare CALLIC (AAAI 2025), which adapts a
context model by low-rank matrices. Decoding costs the same at every effort.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.base import Progress
from laconic.codec.lossless.photo.adapter import pack_changes
from laconic.codec.lossless.photo.config import INTEGER_BITS, WEIGHT_LIMIT
from laconic.codec.lossless.photo.learn import PlaneNetwork, bits_of
from laconic.codec.lossless.photo.network import PhotoModel, check_bounds, load_model
from laconic.codec.lossless.photo.samples import Batch, Samples
from laconic.formats.errors import ModelError

OUTPUT_LAYER_UP_TO = 2  # efforts that leave the hidden layers alone
STEPS_PER_EFFORT = 80
BATCH = 4096
RATE = 1.5e-3
PRICE = 1.6  # bits for each doubling of a change
JUDGE = 40_000  # samples on which changes are judged
STEP_BITS = {"w1": 5, "b1": 6, "w2": 5, "b2": 6, "w3": 6, "skip": 6, "b3": 7}
"""Changes are multiples of 2^-n."""
_OUTPUT = ("w3", "skip", "b3")


def find_adapter(
    numbers: NDArray[np.uint16], bits: int, model: str, effort: int, progress: Progress | None
) -> bytes:
    """Changes of the model that make the picture smaller, packed, or b"" if there are none.

    Args:
        numbers: what is coded, [H, W, 1 or 3], below 2^bits; followed by the lossy picture if the
            model sees one.
        model: name, id or path.
        effort: 1 to 9; above OUTPUT_LAYER_UP_TO all layers are adapted.
    """
    loaded = load_model(model)
    samples = Samples([numbers], bits, based=loaded.based)
    random = np.random.default_rng(0)
    planes = [_PlaneTuner(loaded, plane, effort) for plane in range(samples.channels)]
    pixels = numbers.shape[0] * numbers.shape[1]
    total = STEPS_PER_EFFORT * effort
    for step in range(total):
        batches = samples.draw(random, BATCH)
        for plane, batch in zip(planes, batches, strict=True):
            plane.step(batch, 1 << bits, pixels, 1 - step / total)
        if progress and step % 20 == 0:
            progress(step, total)
    judged = samples.draw(np.random.default_rng(1), min(JUDGE, pixels))
    changes: dict[str, NDArray[Any]] = {}
    steps: dict[str, int] = {}
    for plane, batch in zip(planes, judged, strict=True):
        found = plane.changes(batch, 1 << bits, pixels)
        changes |= found
        steps |= {name: plane.step_of(name) for name in found}
    return pack_changes(changes, steps, len(planes)) if changes else b""


class _PlaneTuner:
    """The network of one plane while it is adapted."""

    def __init__(self, model: PhotoModel, plane: int, effort: int) -> None:
        self.model, self.plane = model, plane
        shapes = {n: model.tensors[f"{plane}.{n}"].shape for n in ("w1", "w2", "b3")}
        hidden = (shapes["w1"][0], shapes["w2"][0])
        components = shapes["b3"][0] // 3
        self.network = PlaneNetwork(shapes["w1"][1], hidden, components)
        self.network.load_integers(model.tensors, plane)
        self.network.quantised = True
        self.network.requires_grad_(False)
        self.plain = {name: p.clone() for name, p in self.network.named_parameters()}
        names = _OUTPUT if effort <= OUTPUT_LAYER_UP_TO else tuple(self.plain)
        self.change = {
            name: torch.zeros_like(self.plain[name], requires_grad=True) for name in names
        }
        self.optimiser = torch.optim.Adam(self.change.values(), lr=RATE, betas=(0.9, 0.99))

    def step(self, batch: Batch, levels: int, pixels: int, falling: float) -> None:
        """One update on a batch of the picture's samples."""
        bits = self._bits(self._weights(), batch, levels)
        price = torch.stack(
            [
                torch.log2(1 + change.abs() * (1 << STEP_BITS[name])).sum()
                for name, change in self.change.items()
            ]
        ).sum()
        self.optimiser.zero_grad(set_to_none=True)
        (bits + PRICE / pixels * price).backward()
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * falling
        self.optimiser.step()

    def changes(self, batch: Batch, levels: int, pixels: int) -> dict[str, NDArray[Any]]:
        """Integer multiples by name, or none if they do not pay on `batch`."""
        with torch.no_grad():
            before = float(self._bits(self.plain, batch, levels))
            after = float(self._bits(self._weights(), batch, levels))
        multiples = {
            f"{self.plane}.{name}": torch.round(change.detach() * (1 << STEP_BITS[name]))
            .to(torch.int64)
            .numpy()
            for name, change in self.change.items()
        }
        multiples = {name: self._in_range(name, value) for name, value in multiples.items()}
        steps = {name: self.step_of(name) for name in multiples}
        cost = 8 * len(pack_changes(multiples, steps, self.plane + 1))
        return multiples if (before - after) * pixels > cost and self._exact(multiples) else {}

    def step_of(self, name: str) -> int:
        """Step of a tensor's changes, as a power of two of its integers."""
        tensor = name.split(".")[1]
        return INTEGER_BITS[tensor] - STEP_BITS[tensor]

    def _weights(self) -> dict[str, Tensor]:
        """Weights with changes rounded to their steps (straight-through)."""
        weights = dict(self.plain)
        for name, change in self.change.items():
            scale = float(1 << STEP_BITS[name])
            rounded = change + (torch.round(change * scale) / scale - change).detach()
            weights[name] = self.plain[name] + rounded
        return weights

    def _bits(self, weights: dict[str, Tensor], batch: Batch, levels: int) -> Tensor:
        inputs, base, scale, value = batch
        out = torch.func.functional_call(self.network, weights, (inputs,))
        return bits_of(out, base, scale, value, levels).mean()

    def _in_range(self, name: str, multiples: NDArray[Any]) -> NDArray[Any]:
        """Multiples without those that would leave the range of the weights."""
        old = self.model.tensors[name].astype(np.int64)
        new = old + (multiples << self.step_of(name))
        limit = WEIGHT_LIMIT if old.ndim == 2 else 1 << 30
        return np.where(np.abs(new) > limit, 0, multiples)

    def _exact(self, multiples: dict[str, NDArray[Any]]) -> bool:
        tensors = dict(self.model.tensors)
        for name, value in multiples.items():
            tensors[name] = tensors[name] + (value << self.step_of(name))
        try:
            check_bounds(tensors, self.plane)
        except ModelError:
            return False
        return True

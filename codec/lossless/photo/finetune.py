"""The network on images of its own: adaptation to one image (``--effort``), samples, and export.

For an image the weights are trained further on its own samples; what changes is rounded to coarse
steps, also during training, and its price is part of the loss,

    L = sum_samples bits + sum_weights PRICE * log2(1 + |change| / step),

so that only changes that pay for themselves survive. Compare CALLIC (AAAI 2025), which adapts a
context model by low-rank matrices. Decoding costs the same at every effort. The samples with their
contexts are those that training learns from; export turns its checkpoint into integer weights and
tables, with proof that sums are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.base import Progress
from laconic.codec.lossless.photo.context import inputs_of
from laconic.codec.lossless.photo.fallback import pack_changes
from laconic.codec.lossless.photo.header import CONFIGS, INPUT_BITS, INTEGER_BITS, WEIGHT_LIMIT
from laconic.codec.lossless.photo.learn import PhotoNetwork, PlaneNetwork, bits_of
from laconic.codec.lossless.photo.loops import draw
from laconic.codec.lossless.photo.mixture import tables
from laconic.codec.lossless.photo.network import PhotoModel, check_bounds, load_model
from laconic.codec.lossless.photo.wave import UNSEEN, planes_of
from laconic.codec.models import TABLE_PREFIX, ModelInfo, write_model
from laconic.codec.train.running import history
from laconic.entropy import NumericsProfile
from laconic.formats.errors import ModelError


def write_photo(
    path: Path, network: PhotoNetwork, *, name: str, training: dict[str, Any], overwrite: bool
) -> ModelInfo:
    """Write `network` as a model file; raises ``ModelError`` if a sum could reach 2^24."""
    weights = network.integers()
    for plane in range(len(network.config.hidden)):
        check_bounds(weights, plane)
    arrays = {**weights, **{TABLE_PREFIX + k: v for k, v in tables().items()}}
    return write_model(
        path,
        name=name,
        codec="photo",
        config=network.config.to_dict(),
        numerics=int(NumericsProfile.INTEGER_NETWORK),
        tensors=arrays,
        training=training,
        overwrite=overwrite,
    )


def export_checkpoint(checkpoint: Path, out: Path, *, name: str, overwrite: bool) -> ModelInfo:
    """Export the averaged weights of a run of ``laconic train photo``."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network = PhotoNetwork(CONFIGS[state["recipe"]["config"]])
        network.load_state_dict(state["average"])
        for plane in network.networks():
            plane.balance()
    except (OSError, RuntimeError, KeyError, EOFError, TypeError) as error:
        raise ModelError(
            f"{checkpoint} is not a checkpoint of a photo training: {error}"
        ) from error
    training = history(state, checkpoint)
    return write_photo(out, network, name=name, training=training, overwrite=overwrite)


Batch = tuple[Tensor, Tensor, Tensor, Tensor]  # inputs [n, F], base, scale, value [n]


class Samples:
    """Images as planes (green, red - green, blue - green), to draw samples from.

    Args:
        images: integers below 2^bits, [H, W, C] with C = 1 or 3 for all; ``based``, the same
            number of channels of a lossy image follows, for networks that see one.
        bits: 8 to 16.
    """

    def __init__(
        self, images: Sequence[NDArray[Any]], bits: int = 8, *, based: bool = False
    ) -> None:
        self.bits, self.based = bits, based
        self.channels = channels = images[0].shape[2] // (1 + based)
        self.planes = [planes_of(image[..., :channels]) for image in images]
        self.lossy = [planes_of(p[..., channels:]) if based else UNSEEN for p in images]
        area = np.array([p.shape[0] * p.shape[1] for p in images], np.float64)
        self.share = area / area.sum()

    def draw(self, random: np.random.Generator, count: int) -> list[Batch]:
        """A batch for each plane, of the same random pixels."""
        which = random.choice(len(self.planes), count, p=self.share)
        size = np.array([planes.shape[1:] for planes in self.planes], np.int64)[which]
        y, x = (random.random(count) * side for side in size.T)
        place = np.stack((y, x)).astype(np.int64)
        return [self._batch(plane, which, place) for plane in range(self.channels)]

    def _batch(self, plane: int, which: NDArray[Any], place: NDArray[np.int64]) -> Batch:
        inputs = np.empty((which.size, inputs_of(plane, based=self.based)), np.float32)
        base, scale = np.empty(which.size, np.float32), np.empty(which.size, np.int64)
        value = np.empty(which.size, np.float32)
        for number in np.unique(which):
            at = np.flatnonzero(which == number)
            planes, (y, x) = self.planes[number], np.ascontiguousarray(place[:, at])
            found = np.empty_like(inputs[at]), np.empty_like(base[at]), np.empty_like(scale[at])
            draw(plane, y, x, planes, self.lossy[number], self.bits, *found)
            inputs[at], base[at], scale[at] = found
            value[at] = planes[plane, y, x] + (planes[0, y, x] if plane else 0)
        return (
            torch.from_numpy(inputs) * 2.0**-INPUT_BITS,
            torch.from_numpy(base),
            torch.from_numpy(scale),
            torch.from_numpy(value),
        )


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
    """Changes of the model that make the image smaller, packed, or b"" if there are none.

    Args:
        numbers: what is coded, [H, W, 1 or 3], below 2^bits; followed by the lossy image if the
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
        """One update on a batch of the image's samples."""
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

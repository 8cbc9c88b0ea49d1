"""The network as torch module: training, model files, samples, adaptation to an image.

It is the same function as `network.IntegerNetwork`, differentiable. With `quantised` the weights
and activations are rounded on the way (straight-through gradients), as in "Integer Networks for
Data Compression with Latent-Variable Models" (Balle, Johnston and Minnen, ICLR 2019); steps are
powers of two, hence float32 computes exactly what the integer network does. Export turns a
checkpoint into integer weights and tables, with proof that sums are exact.

For one image (``--effort``) the weights are trained further on its own samples; what changes is
rounded to coarse steps, also during training, and its price is part of the loss,

    L = sum_samples bits + sum_weights PRICE * log2(1 + |change| / step),

so that only changes that pay for themselves survive. Compare CALLIC (AAAI 2025), which adapts a
context model by low-rank matrices. Decoding costs the same at every effort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from laconic.codec.base import Progress
from laconic.codec.lossless.photo.fallback import pack_changes
from laconic.codec.lossless.photo.features import (
    LOG_SCALE_HIGH,
    LOG_SCALE_LOW,
    LOW,
    inputs_of,
    scale_table,
    tables,
)
from laconic.codec.lossless.photo.header import (
    CONFIGS,
    EXACT,
    HIDDEN_BITS,
    HIDDEN_LIMIT,
    INPUT_BITS,
    INTEGER_BITS,
    SKIP_BITS,
    WEIGHT_BITS,
    WEIGHT_LIMIT,
    PhotoConfig,
)
from laconic.codec.lossless.photo.loops import draw
from laconic.codec.lossless.photo.network import PhotoModel, check_bounds, load_model
from laconic.codec.lossless.photo.wave import UNSEEN, planes_of
from laconic.codec.models import TABLE_PREFIX, ModelInfo, write_model
from laconic.codec.train.running import history
from laconic.entropy import NumericsProfile
from laconic.formats.errors import ModelError

_SCALE = torch.from_numpy(scale_table().astype(np.float32))
Batch = tuple[Tensor, Tensor, Tensor, Tensor]  # inputs [n, F], base, scale, value [n]
OUTPUT_LAYER_UP_TO = 2  # efforts that leave the hidden layers alone
STEPS_PER_EFFORT = 80
BATCH = 4096
RATE = 1.5e-3
PRICE = 1.6  # bits for each doubling of a change
JUDGE = 40_000  # samples on which changes are judged
STEP_BITS = {"w1": 5, "b1": 6, "w2": 5, "b2": 6, "w3": 6, "skip": 6, "b3": 7}
"""Changes are multiples of 2^-n."""
_OUTPUT = ("w3", "skip", "b3")


def _rounded(x: Tensor, bits: int) -> Tensor:
    """Nearest multiple of 2^-bits, with the gradient of the identity."""
    scale = float(1 << bits)
    return x + ((x * scale).round() / scale - x).detach()


def _floored(x: Tensor, bits: int) -> Tensor:
    scale = float(1 << bits)
    return x + ((x * scale).floor() / scale - x).detach()


class PlaneNetwork(nn.Module):
    """Inputs of one plane to the parameters of its mixture."""

    def __init__(self, inputs: int, hidden: tuple[int, int], components: int) -> None:
        super().__init__()
        first, second = hidden
        self.w1 = nn.Parameter(torch.randn(first, inputs) * (1.4 / inputs**0.5))
        self.b1 = nn.Parameter(torch.zeros(first))
        self.w2 = nn.Parameter(torch.randn(second, first) * (1.4 / first**0.5))
        self.b2 = nn.Parameter(torch.zeros(second))
        outputs = 3 * components
        self.w3 = nn.Parameter(torch.randn(outputs, second) * (0.2 / second**0.5))
        self.skip = nn.Parameter(torch.zeros(outputs, inputs))
        spread = torch.linspace(-0.3, 0.3, components)
        self.b3 = nn.Parameter(
            torch.cat((torch.zeros(components), spread, torch.linspace(-1.5, 0, components)))
        )
        self.quantised = False

    def forward(self, x: Tensor) -> Tensor:
        """x [n, F] in units (multiples of 2^-INPUT_BITS) to outputs [n, 3 * K]."""
        w1, b1, w2, b2, w3, skip, b3 = (
            _rounded(p, INTEGER_BITS[name]) if self.quantised else p
            for name, p in (
                ("w1", self.w1), ("b1", self.b1), ("w2", self.w2), ("b2", self.b2),
                ("w3", self.w3), ("skip", self.skip), ("b3", self.b3),
            )
        )  # fmt: skip
        top = HIDDEN_LIMIT / (1 << HIDDEN_BITS)
        h = torch.addmm(b1, x, w1.t()).clamp(0, top)
        if self.quantised:
            h = _floored(h, HIDDEN_BITS)
        h = torch.addmm(b2, h, w2.t()).clamp(0, top)
        if self.quantised:
            h = _floored(h, HIDDEN_BITS)
        return torch.addmm(torch.addmm(b3, x, skip.t()), h, w3.t())

    @torch.no_grad()
    def clip(self) -> None:
        """Keep the weights in the range of the integers."""
        for w in (self.w1, self.w2, self.w3):
            w.clamp_(-WEIGHT_LIMIT / (1 << WEIGHT_BITS), WEIGHT_LIMIT / (1 << WEIGHT_BITS))
        self.skip.clamp_(-WEIGHT_LIMIT / (1 << SKIP_BITS), WEIGHT_LIMIT / (1 << SKIP_BITS))

    @torch.no_grad()
    def balance(self) -> None:
        """Scale hidden units down whose sums could reach 2^24, and what follows them up: the same
        function, within the limits that `network.check_bounds` proves."""
        for w, b, after, name, limit in (
            (self.w1, self.b1, self.w2, "w1", -2 * LOW),
            (self.w2, self.b2, self.w3, "w2", HIDDEN_LIMIT),
        ):
            sums = torch.maximum(w.clamp(min=0).sum(1), (-w).clamp(min=0).sum(1))
            reach = sums * limit * (1 << INTEGER_BITS[name])
            reach += b.abs() * (1 << INTEGER_BITS["b" + name[1]])
            factor = (0.95 * EXACT / reach).clamp(max=1)
            w.mul_(factor[:, None])
            b.mul_(factor)
            after.div_(factor)
        self.clip()

    @torch.no_grad()
    def load_integers(self, tensors: Mapping[str, NDArray[Any]], plane: int) -> None:
        """Take the weights of a model's plane; inputs that it lacks get none."""
        for name, p in self.named_parameters():
            values = torch.from_numpy(np.asarray(tensors[f"{plane}.{name}"], np.float32))
            p.zero_()
            p[..., : values.shape[-1]] = values / (1 << INTEGER_BITS[name])


class PhotoNetwork(nn.Module):
    """The networks of all planes."""

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__()
        self.config = config
        self.planes = nn.ModuleList(
            PlaneNetwork(inputs, hidden, config.components)
            for inputs, hidden in zip(config.inputs, config.hidden, strict=True)
        )

    def networks(self) -> list[PlaneNetwork]:
        """The networks in the order of the planes."""
        return [plane for plane in self.planes if isinstance(plane, PlaneNetwork)]

    def quantise(self, on: bool) -> None:
        """Round weights and activations from now on, or stop it."""
        for plane in self.networks():
            plane.quantised = on

    @torch.no_grad()
    def integers(self) -> dict[str, NDArray[np.int32]]:
        """The weights as integers, named ``<plane>.<tensor>``."""
        return {
            f"{number}.{name}": (p.detach() * (1 << INTEGER_BITS[name]))
            .round()
            .to(torch.int32)
            .numpy()
            for number, plane in enumerate(self.networks())
            for name, p in plane.named_parameters()
        }

    def load_integers(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Inverse of :meth:`integers`."""
        for number, plane in enumerate(self.networks()):
            plane.load_integers(tensors, number)


def bits_of(out: Tensor, base: Tensor, scale: Tensor, value: Tensor, levels: int) -> Tensor:
    """Code length in bits of each sample, [n].

    Args:
        out: outputs of a :class:`PlaneNetwork`, [n, 3 * K]: logits, means, log scales.
        base: in half levels, [n]. scale: index of the activity, [n].
        value: the samples, [n]. levels: number of sample values.
    """
    logit, mean, log_scale = out.chunk(3, dim=1)
    s = _SCALE[scale.long()][:, None]
    mu = base[:, None] * 0.5 + s * mean
    inverse = torch.exp(-log_scale.clamp(LOG_SCALE_LOW, LOG_SCALE_HIGH)) / s
    v = value[:, None]
    above = torch.sigmoid((v + 0.5 - mu) * inverse)
    below = torch.sigmoid((v - 0.5 - mu) * inverse)
    above = torch.where(v >= levels - 1, torch.ones_like(above), above)
    below = torch.where(v <= 0, torch.zeros_like(below), below)
    p = (torch.softmax(logit, dim=1) * (above - below)).sum(1)
    return -torch.log2(p.clamp_min(0) * (1 - levels * 2.0**-24) + 2.0**-24)


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

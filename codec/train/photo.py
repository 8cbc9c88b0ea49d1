"""Training of the lossless photo model: the mean code length of random samples.

Samples are drawn from whole images with the context that the codec will see, borders included;
images are turned and mirrored anew every few hundred steps. The learning rate follows the share
of the time budget that has passed; for the last part the network is trained as the integers that it
will be (`laconic.codec.lossless.photo.learn`). Images must never have been coded lossily: the
model would learn the artefacts. Every ninth image is held out.

The configuration ``photo-preview`` sees a lossy image as well: the images are coded with the
default lossy model at several qualities first, and each time they are turned one is drawn.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic import codec
from laconic.codec import models
from laconic.codec.lossless.photo.header import CONFIGS
from laconic.codec.lossless.photo.learn import Batch, PhotoNetwork, Samples, bits_of
from laconic.codec.lossless.photo.network import load_model
from laconic.codec.train.files import read_each
from laconic.codec.train.images import read_pixels
from laconic.codec.train.running import BudgetTrainer, follow, load_state, run_trainer, save_state
from laconic.formats.errors import ParameterError
from laconic.formats.image import SUFFIXES

HELD_OUT_EVERY = 9
HELD_OUT_FIRST = 4


@dataclass(frozen=True)
class PhotoRecipe:
    """Everything that decides a run besides the data."""

    config: str = "photo"
    minutes: float = 80.0
    batch: int = 4096
    lr: float = 4e-3
    warmup: int = 300
    anneal: float = 0.75  # last part of the budget, in which the rate falls to zero
    integers: float = 0.2  # last part of the budget, trained with rounded weights
    ema: float = 0.999
    clip: float = 1.0
    turn_every: int = 400
    seed: int = 0
    qualities: tuple[float, ...] = (0.0, 20.0)  # of the lossy images


def load_photos(
    folders: list[Path],
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Training and held-out images, uint8 ``[H, W, 3]``. Raises ``ParameterError`` when there are
    fewer than two."""
    images = []
    for folder in folders:
        images += [array for _, array in read_each(folder, SUFFIXES, read_pixels)]
    if len(images) < 2:
        raise ParameterError(
            f"{len(images)} images in {', '.join(map(str, folders))}: at least 2 are needed to"
            " train and validate"
        )
    first = min(HELD_OUT_FIRST, len(images) - 1)
    held_out = images[first::HELD_OUT_EVERY]
    rest = [p for i, p in enumerate(images) if i < first or (i - first) % HELD_OUT_EVERY]
    return rest, held_out


def with_lossy(
    images: list[NDArray[np.uint8]], qualities: tuple[float, ...]
) -> list[NDArray[np.uint8]]:
    """Each image and what a lossy codec makes of it at each quality, ``[H, W, 3 (1 + Q)]``."""
    result = []
    for image in images:
        coded = [codec.encode(image, quality=q, verify=False) for q in qualities]
        lossy = [codec.decode(data).pixels for data in coded]
        result.append(np.concatenate((image, *lossy), axis=2))
    return result


def drawn(images: list[NDArray[np.uint8]], random: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Images with one of their lossy versions each, ``[H, W, 6]``."""
    result = []
    for image in images:
        first = 3 * int(random.integers(1, image.shape[2] // 3))
        result.append(np.concatenate((image[..., :3], image[..., first : first + 3]), axis=2))
    return result


def turned(images: list[NDArray[np.uint8]], random: np.random.Generator) -> list[NDArray[np.uint8]]:
    """The images turned and mirrored at random."""
    sides = (-1, 1)
    return [np.rot90(p, int(random.integers(4)))[:, :: int(random.choice(sides))] for p in images]


def loss_of(network: PhotoNetwork, batch: list[Batch]) -> Tensor:
    """Mean bits per sample of each plane, [3]."""
    return torch.stack(
        [
            bits_of(plane(inputs), base, scale, value, 256).mean()
            for plane, (inputs, base, scale, value) in zip(network.networks(), batch, strict=True)
        ]
    )


class PhotoTrainer(BudgetTrainer):
    """One run: network, averaged network, optimiser, data, clock."""

    def __init__(
        self, recipe: PhotoRecipe, data: list[Path], out: Path, init: str | None = None
    ) -> None:
        self.recipe, self.out, self.minutes = recipe, out, recipe.minutes
        torch.manual_seed(recipe.seed)
        self.random = np.random.default_rng(recipe.seed)
        self.images, held_out = load_photos(data)
        self.network = PhotoNetwork(CONFIGS[recipe.config])
        self.based = self.network.config.based
        if self.based:
            self.images = with_lossy(self.images, recipe.qualities)
            held_out = drawn(with_lossy(held_out, recipe.qualities[:1]), self.random)
        self.validation = Samples(held_out, based=self.based).draw(np.random.default_rng(1), 60_000)
        self.start: dict[str, Any] | None = None  # history of the model that the run began with
        if init is not None:
            self._start_from(init)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=recipe.lr, betas=(0.9, 0.99), eps=1e-8
        )
        self.pool: Samples | None = None

    def _start_from(self, name: str) -> None:
        info = models.find(name)
        tensors = load_model(name).tensors
        try:
            self.network.load_integers(tensors)
        except (RuntimeError, KeyError) as error:
            raise ParameterError(
                f"model {name} has other sizes than {self.recipe.config!r}: start from a model of"
                " the same widths"
            ) from error
        self.start = {"name": info.name, "id": info.id, **info.training}

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {
            "recipe": asdict(self.recipe),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "start": self.start,
        }
        save_state(self.checkpoint, state)

    def load(self) -> None:
        """Continue from the checkpoint."""
        state = load_state(self.checkpoint)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.start = state.get("start")
        self.random = np.random.default_rng([self.recipe.seed, self.step])

    def train_step(self) -> dict[str, float]:
        """One update; bits per sample of each plane and their mean."""
        recipe = self.recipe
        progress = self.progress()
        self.network.quantise(progress >= 1 - recipe.integers)
        if self.pool is None or self.step % recipe.turn_every == 0:
            images = drawn(self.images, self.random) if self.based else self.images
            self.pool = Samples(turned(images, self.random), based=self.based)
        bits = loss_of(self.network, self.pool.draw(self.random, recipe.batch))
        self.optimiser.zero_grad(set_to_none=True)
        bits.sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        if torch.isfinite(norm):
            falling = min(1.0, max(0.0, (1 - progress) / recipe.anneal))
            rate = recipe.lr * falling * min(1.0, (self.step + 1) / recipe.warmup)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            self.optimiser.step()
            for plane in self.network.networks():
                plane.clip()
            decay = min(recipe.ema, (self.step + 1) / (self.step + 10))
            follow(self.average, self.network, decay)
        self.step += 1
        planes = {f"plane {i}": b for i, b in enumerate(bits.tolist())}
        return {**planes, "mean": bits.mean().item()}

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        """Bits per sample of each plane on held-out images, with integer weights."""
        self.average.quantise(True)
        bits = [round(b, 4) for b in loss_of(self.average, self.validation).tolist()]
        return {"bits": bits, "mean": round(sum(bits) / len(bits), 4)}


def run(
    recipe: PhotoRecipe,
    data: list[Path],
    out: Path,
    *,
    resume: bool = False,
    threads: int | None = None,
    init: str | None = None,
) -> Path:
    """Train ``recipe`` on the images below ``data``, from the model ``init`` if given; returns
    the checkpoint's path.

    Raises ``ParameterError`` for an existing run without ``resume`` or too few images, and
    ``FormatError`` for a checkpoint that cannot be read.
    """

    def make() -> PhotoTrainer:
        return PhotoTrainer(recipe, data, out, init)

    return run_trainer(make, out, resume=resume, threads=threads)

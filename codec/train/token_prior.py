"""Training the integer network that predicts tokens (:mod:`laconic.entropy.token_grid`).

    laconic train audio-prior --init MODEL --data DIR --out DIR

The model's tokens of all recordings below ``--data`` are computed and kept in ``--out``, the
network is trained with rounded weights (straight-through gradients), and the model is written again
with the prior in it, under a new id: streams of the old one stay readable with the old one. A model
that has a prior already starts from it, another one from that of the model which it began with, in
streams that this predicts better than their counts.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from laconic.codec import models
from laconic.codec.audio.loading import PRIOR, LoadedModel, load
from laconic.codec.audio.tokens import tokens as tokens_of
from laconic.entropy import NumericsProfile
from laconic.entropy.token_grid import (
    EMBEDDING_SCALE,
    HEAD_SCALE,
    HIDDEN_SCALE,
    LOGIT_SCALE,
    OWN,
    WEIGHT_SCALE,
    Grid,
    below,
)
from laconic.formats.audio import SUFFIXES
from laconic.formats.errors import LaconicError, ModelError, ParameterError

Grids = NDArray[np.int64]  # [columns, positions, streams]
SCALES = {
    "embedding": EMBEDDING_SCALE,
    "weight": WEIGHT_SCALE,
    "place": EMBEDDING_SCALE + WEIGHT_SCALE,
    "head": HEAD_SCALE,
    "bias": LOGIT_SCALE,
}
HELD_OUT = 20  # one segment in so many measures the progress


@dataclass(frozen=True)
class PriorRecipe:
    """How the network is trained."""

    steps: int = 1500
    batch: int = 1024  # tokens of each stream
    width: int = 24  # of the embeddings
    hidden: int = 48
    rate: float = 4e-3  # of Adam
    dropout: float = 0.15  # of neighbours
    first: int = 5  # streams that every step trains
    others: int = 2  # of the streams after them, drawn for each step
    seed: int = 0


def _rounded(x: Tensor, scale: int, limit: int = 127) -> Tensor:
    """To the grid of 2^-scale within the limits of an integer, gradient straight through."""
    step = 2.0**-scale
    return x + ((x / step).round().clamp(-limit, limit) * step - x).detach()


class PriorNetwork(nn.Module):
    """Networks of all streams, in real numbers that are multiples of their steps."""

    def __init__(self, vocabularies: Sequence[int], positions: int, recipe: PriorRecipe) -> None:
        super().__init__()
        self.vocabularies, self.dropout = tuple(vocabularies), recipe.dropout
        width, hidden = recipe.width, recipe.hidden

        def parameter(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(scale * torch.randn(*shape))

        self.embedding = nn.ParameterList(parameter(v + 1, width, scale=0.5) for v in vocabularies)
        slots = [len(OWN) + len(below(s)) for s in range(len(vocabularies))]
        self.weight = nn.ParameterList(
            parameter(n * width, hidden, scale=(n * width) ** -0.5) for n in slots
        )
        self.place = nn.ParameterList(parameter(positions, hidden, scale=0.1) for _ in slots)
        self.head = nn.ParameterList(parameter(hidden, v, scale=0.1) for v in vocabularies)
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(v)) for v in vocabularies)

    def logits(self, stream: int, near: Tensor, place: Tensor) -> Tensor:
        """``near`` ``[N, slots]`` tokens of the neighbours -> ``[N, V]``."""
        sources = [stream] * len(OWN) + list(below(stream))
        parts = []
        for slot, source in enumerate(sources):
            x = F.embedding(near[:, slot], _rounded(self.embedding[source], EMBEDDING_SCALE))
            if self.training and self.dropout:
                x = x * (torch.rand(len(x), 1) >= self.dropout)
            parts.append(x)
        pre = torch.cat(parts, 1) @ _rounded(self.weight[stream], WEIGHT_SCALE)
        pre = pre + self.place[stream][place]
        hidden = _rounded(pre.clamp(0, 127 / 2**HIDDEN_SCALE), HIDDEN_SCALE)
        return hidden @ _rounded(self.head[stream], HEAD_SCALE) + self.bias[stream]

    @torch.no_grad()
    def start_from_counts(self, tokens: Tensor) -> None:
        """Begin with the frequencies of the symbols in ``[N, streams]``."""
        for stream, symbols in enumerate(self.vocabularies):
            counts = torch.bincount(tokens[:, stream], minlength=symbols).float() + 0.5
            self.bias[stream].copy_((counts / counts.sum()).log().clamp(min=-12))

    @torch.no_grad()
    def start_from(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Take over integers of :meth:`tensors`, of the streams that they know. Raises
        ``ModelError`` for other shapes."""
        known = [s for s in range(len(self.vocabularies)) if f"{PRIOR}.{s}.head" in tensors]
        for stream in known:
            for name, scale in SCALES.items():
                own = getattr(self, name)[stream]
                values = torch.from_numpy(tensors[f"{PRIOR}.{stream}.{name}"]).float() / 2.0**scale
                if own.shape != values.shape:
                    raise ModelError("the model has a token prior of another size")
                own.copy_(values)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The integers that ship."""
        found: dict[str, NDArray[Any]] = {}
        for stream in range(len(self.vocabularies)):
            for name, scale in SCALES.items():
                values = (getattr(self, name)[stream].detach() * 2.0**scale).round()
                integers = values.to(torch.int32)
                if name in ("embedding", "weight", "head"):
                    integers = values.clamp(-127, 127).to(torch.int8)
                found[f"{PRIOR}.{stream}.{name}"] = integers.numpy()
        return found


def neighbours(
    grids: Sequence[Grids], vocabularies: Sequence[int]
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Of all tokens: neighbours ``[N, slots]`` for each stream, places ``[N]``, the tokens
    themselves ``[N, streams]``."""
    near: list[list[NDArray[np.int64]]] = [[] for _ in vocabularies]
    places, own = [], []
    for grid in grids:
        columns, positions, streams = grid.shape
        framed = Grid(vocabularies, columns, positions)
        framed.tokens[:] = grid.transpose(2, 0, 1)
        time_, place = (a.reshape(-1) for a in np.indices((columns, positions)))
        at = framed.at(time_, place)[:, None]
        for stream in range(streams):
            slots = [(stream, dt, df) for dt, df in OWN] + [(s, 0, 0) for s in below(stream)]
            reach = np.array([framed.offset(*slot) for slot in slots])
            near[stream].append(framed.flat[at + reach].astype(np.int16))
        places.append(place)
        own.append(grid.reshape(-1, streams))
    return (
        [torch.from_numpy(np.concatenate(n)) for n in near],
        torch.from_numpy(np.concatenate(places)),
        torch.from_numpy(np.concatenate(own)),
    )


def train(
    grids: Sequence[Grids],
    vocabularies: Sequence[int],
    recipe: PriorRecipe,
    *,
    start: Mapping[str, NDArray[Any]] | None = None,
    deadline: float | None = None,
) -> dict[str, NDArray[Any]]:
    """Train on segments and return the integers; prints the progress.

    Args:
        start: integers to start from, those of streams that they predict better than counts.
        deadline: ``time.monotonic()`` at which to stop early; the rate falls to zero towards it.
    """
    torch.manual_seed(recipe.seed)
    test = [g for n, g in enumerate(grids) if n % HELD_OUT == 0]
    near, place, own = neighbours([g for n, g in enumerate(grids) if n % HELD_OUT], vocabularies)
    network = PriorNetwork(vocabularies, grids[0].shape[1], recipe)
    network.start_from_counts(own)
    if start is not None:
        begun = copy.deepcopy(network)
        begun.start_from(start)
        pairs = zip(held_out_bits(begun, test), held_out_bits(network, test), strict=True)
        better = {f"{PRIOR}.{stream}." for stream, (a, b) in enumerate(pairs) if a < b}
        network.start_from({k: v for k, v in start.items() if k.startswith(tuple(better))})
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    began = time.monotonic()
    running = 0.0
    for step in range(recipe.steps):
        done = step / recipe.steps
        if deadline is not None:
            done = max(done, (time.monotonic() - began) / max(1e-9, deadline - began))
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * min(1.0, (step + 1) / 50) * (1 - done)
        picked = torch.randint(len(own), (recipe.batch,))
        loss = torch.zeros(())
        for stream in drawn(len(vocabularies), recipe):
            logits = network.logits(stream, near[stream][picked].long(), place[picked])
            loss = loss + F.cross_entropy(logits, own[picked, stream])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        running += 0.02 * (float(loss.detach()) - running) if step else float(loss.detach())
        if step % 100 == 99:
            bits = [f"{b:.2f}" for b in held_out_bits(network, test)]
            print(
                f"step {step + 1}  loss {running:.3f}  held-out bits {' '.join(bits)}"
                f"  {time.monotonic() - began:.0f} s",
                flush=True,
            )
    return network.tensors()


def drawn(streams: int, recipe: PriorRecipe) -> list[int]:
    """The streams that a step trains: the first ones, and some of the rest."""
    rest = recipe.first + torch.randperm(max(0, streams - recipe.first))[: recipe.others]
    return [*range(min(streams, recipe.first)), *rest.tolist()]


def held_out_bits(network: PriorNetwork, grids: Sequence[Grids]) -> list[float]:
    """Bits per token of each stream, by the network alone."""
    near, place, own = neighbours(grids, network.vocabularies)
    network.eval()
    with torch.inference_mode():
        bits = [
            float(F.cross_entropy(network.logits(s, near[s].long(), place), own[:, s])) / np.log(2)
            for s in range(len(network.vocabularies))
        ]
    network.train()
    return bits


def segments_of(model: LoadedModel, files: Sequence[Path]) -> list[Grids]:
    """Tokens of recordings, cut into segments as their files are; unreadable ones are left out."""
    network = model.network
    found: list[Grids] = []
    for number, path in enumerate(files):
        try:
            rows = tokens_of(path, model=str(model.info.path))
        except LaconicError as error:
            print(f"{path}: {error}", flush=True)
            continue
        for channel in rows if rows.ndim == 3 else rows[None]:
            grid = channel.reshape(-1, network.positions, channel.shape[-1])
            found += [grid[at : at + model.segment] for at in range(0, len(grid), model.segment)]
        if number % 100 == 99:
            print(f"{number + 1} of {len(files)} recordings", flush=True)
    return found


def add_prior(
    model: str | Path,
    data: Sequence[Path],
    out: Path,
    recipe: PriorRecipe,
    *,
    minutes: float | None = None,
) -> models.ModelInfo:
    """Train a prior for a model on the recordings below ``data`` and write both into the folder
    ``out``; recordings in folders called "validation" are left out.

    Raises ``ParameterError`` for folders without recordings.
    """
    info = models.find(str(model))
    loaded = load(str(model), info.codec)
    files = sorted(
        path
        for folder in data
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and "validation" not in path.parts
    )
    if not files:
        raise ParameterError(f"{', '.join(map(str, data))} hold no recordings")
    out.mkdir(parents=True, exist_ok=True)
    kept = out / f"tokens-{info.id}.npz"
    if kept.exists():
        with np.load(kept, allow_pickle=False) as file:
            grids = [file[key].astype(np.int64) for key in file.files]
    else:
        grids = segments_of(loaded, files)
        small = {str(n): g.astype(np.int16) for n, g in enumerate(grids)}
        np.savez_compressed(kept, **small)  # type: ignore[arg-type]
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    stored = models.read_tensors(info)
    before = info.training.get("started_from", {}).get("id")
    if f"{PRIOR}.0.head" not in stored and before is not None:
        stored = models.read_tensors(models.find(before))
    start = stored if f"{PRIOR}.0.head" in stored else None
    prior = train(grids, loaded.network.vocabularies, recipe, start=start, deadline=deadline)
    return write_with_prior(info, prior, out / f"{info.name}.safetensors")


def write_with_prior(
    info: models.ModelInfo, prior: Mapping[str, NDArray[Any]], out: Path
) -> models.ModelInfo:
    """The model ``info`` with another prior."""
    tensors = {k: v for k, v in models.read_tensors(info).items() if not k.startswith(PRIOR)}
    return models.write_model(
        out,
        name=info.name,
        codec=info.codec,
        config=info.config,
        numerics=int(NumericsProfile.INTEGER_NETWORK),
        tensors={**tensors, **prior},
        training=info.training,
        overwrite=True,
    )

"""The whole small model behind the interface of :mod:`laconic.codec.audio.windows`, and its file.

    samples -> analysis spectrogram -> masked autoencoder -> tokens                     (encode)
    tokens -> decoder -> log-mel [-> refiner] -> vocoder -> consistency -> samples     (decode)

The token stages carry what there is to know; the refiner and the vocoder, or an excitation in its
place, invent the rest. Use the
full-size architecture of :mod:`laconic.codec.audio` to run published checkpoints; this one is some
fifty times smaller and is meant for a processor. In a model file the matrices of the blocks and of
the detail and the codebooks are int8 with a scale per row, which halves the file at no audible
cost, everything else is in half precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from laconic.codec.audio.semanticodec_small.config import CONFIGS, RATE, SmallConfig
from laconic.codec.audio.semanticodec_small.heard import Heard
from laconic.codec.audio.semanticodec_small.mae import (
    Analysis,
    MaskedAutoencoder,
    Synthesis,
    energies,
    patches_of,
)
from laconic.codec.audio.semanticodec_small.search import searched
from laconic.codec.audio.semanticodec_small.tokens import TokenAutoencoder
from laconic.codec.audio.semanticodec_small.vocoder import (
    MEL_SCALE,
    Consistency,
    Excitation,
    Refiner,
    Vocoder,
)
from laconic.codec.audio.side_information import HOP as PITCH_HOP
from laconic.codec.building import build
from laconic.codec.models import (
    TABLE_PREFIX,
    Arrays,
    ModelInfo,
    find,
    read_tensors,
    write_model,
)
from laconic.codec.train.running import history
from laconic.entropy import NumericsProfile
from laconic.formats.errors import ModelError, ParameterError

Given = TypeVar("Given", Tensor, Tensor | None)
CODEC = "semanticodec"
ARCHITECTURE = "small"
PARTS = {  # what stages train: prefix of the names in their checkpoints and in the model
    "audio-mae": ("encoder.", "mae."),
    "audio-vocoder": ("", "vocoder."),
    "audio-tokens": ("", "tokens."),
    "audio-decoder": ("", "tokens.decoder."),
    "audio-sound": ("", "vocoder."),
    "audio-refiner": ("", "refiner."),
}
SHORTER = 0.75  # power of the level that a spectrum loses with its window: 0.5 of noise, 1 of tones
BEAM = 4  # sequences of entries that a search goes on with
SCALE = ".scale"  # suffix of the scales of a matrix in int8
IN_BYTES = (".blocks.", ".detail.weight", ".codebooks")  # parts of the names of such matrices
IN_HALVES = ("bias", "norm.weight", "norm1.weight", "norm2.weight", "gain", "depthwise.weight")
TRAINING_ONLY = "tokens.quantiser.counts"


class SmallSemantiCodec(nn.Module):
    """Implements :class:`laconic.codec.audio.windows.AudioModel`."""

    rate = RATE

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.config = config
        self.hop, self.positions, self.window = config.hop, config.positions, config.window
        self.vocabularies = (config.semantic, *(config.acoustic,) * config.stages)
        self.knots = config.hop // PITCH_HOP if config.pitch else 0
        self.analysis = Analysis()
        self.synthesis = Synthesis(config.mel_hop, config.mel_window)
        self.mae = MaskedAutoencoder(config)
        self.tokens = TokenAutoencoder(config)
        self.refiner = Refiner(config) if config.refiner_depth else None
        self.refines = self.refiner is not None
        self.searches = not config.vocoder_depth
        self.vocoder: Vocoder | Excitation
        if config.vocoder_depth:
            self.vocoder = Vocoder(config.vocoder_dim, config.vocoder_depth)
        else:
            self.vocoder = Excitation()
        self.consistency = Consistency(config.mel_hop, config.mel_window)

    @torch.no_grad()
    def encode(self, wave: Tensor, streams: int) -> Tensor:
        """``[B, samples]`` in [-1, 1] -> int64 ``[B, columns * positions, streams]``.

        Raises ``ParameterError`` for more samples than a window holds, or streams than there are.
        """
        self._check(-(-wave.shape[-1] // self.hop), streams)
        padded = self._padded(wave)
        semantic, latents = self._latents(padded, self.synthesis(padded))
        return self.tokens.tokens(semantic, latents, streams)

    def searched(
        self, wave: Tensor, streams: int, pitch: Tensor, likely: Sequence[int], effort: int
    ) -> Tensor:
        """As :meth:`encode`, with latents searched for files of so many streams as are ``likely``,
        for the likeliest, the first, alone; ``pitch`` is that of the window."""
        self._check(-(-wave.shape[-1] // self.hop), streams)
        padded, pitch = self._padded(wave), self._here(pitch)
        stages = [n - 1 for n in likely if n > 1]
        with torch.inference_mode(False):
            with torch.no_grad():
                target = self.synthesis(padded)
                start = self._latents(padded, target)
            latents = start[1]
            if stages:
                with torch.enable_grad():
                    latents = searched(
                        self.tokens, self._heard, start, target, pitch, stages[0], effort
                    )
        return self.tokens.tokens(start[0], latents, streams, BEAM, stages)

    def _latents(self, padded: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Semantic tokens and the encoder's latents of whole columns, whose log-mel is known."""
        patches = patches_of(self.analysis(padded))
        return self.tokens.latents(patches, self.mae(patches), mel)

    @cached_property
    def _heard(self) -> Heard:
        return Heard(self.config).to(self.synthesis.bank.device)

    @torch.no_grad()
    def decode(
        self,
        tokens: Tensor,
        *,
        steps: int,
        seed: int,
        pitch: Tensor | None = None,
        gains: Tensor | None = None,
        start: int = 0,
    ) -> Tensor:
        """int64 ``[B, columns * positions, streams]`` -> ``[B, columns * hop]`` in [-1, 1], by the
        ``pitch`` ``[B, columns * knots]`` if it is known and the model uses it, and louder by the
        ``gains`` ``[B, columns]`` in nepers. ``start`` is the number of the first column in the
        recording, which noise follows.

        Raises ``ParameterError`` for more columns than a window holds, a part of a column, or
        tokens outside their alphabets.
        """
        self._check(-(-tokens.shape[1] // self.positions), tokens.shape[2])
        if tokens.shape[1] % self.positions:
            raise ParameterError(
                f"{tokens.shape[1]} tokens per stream are no whole columns of {self.positions}"
            )
        tokens, pitch, gains = self._here(tokens), self._here(pitch), self._here(gains)
        limits = torch.tensor(self.vocabularies[: tokens.shape[2]], device=tokens.device)
        least = -1 if self.knots and tokens.shape[2] > 1 else 0
        present = tokens[..., : max(1, tokens.shape[2] + least)]
        if (
            bool((present < 0).any())
            or bool((tokens < least).any())
            or bool((tokens >= limits).any())
        ):
            raise ParameterError("tokens outside their alphabets: they are of another model")
        mel = self._mel(tokens, pitch)
        if steps:
            if self.refiner is None:
                raise ParameterError("this model has no refiner: leave the steps out")
            mel = self.refiner.refine(mel, steps, seed)
        if gains is not None:
            mel = mel + self._by_frame(gains)[..., None]
        return self.sound(mel, pitch, start).clamp(-1, 1)

    def sound(self, mel: Tensor, pitch: Tensor | None, start: int = 0) -> Tensor:
        """Samples ``[B, columns * hop]`` of a log-mel spectrogram and the pitch, from the column
        ``start`` of a recording on."""
        rounds = self.config.rounds
        if isinstance(self.vocoder, Excitation):
            samples = mel.shape[1] * self.config.mel_hop
            excitation = self.vocoder(samples, pitch, len(mel), start * self.hop)
            return self.consistency.sounding(excitation.to(mel), mel, rounds)
        wave: Tensor = self.vocoder(mel)
        return self.consistency.fast(wave, mel, rounds) if rounds else self.consistency(wave, mel)

    def _by_frame(self, gains: Tensor) -> Tensor:
        """``[B, columns]`` -> ``[B, frames]``, without jumps."""
        frames = self.config.frames * self.config.split
        steps = gains.float().repeat_interleave(frames, dim=1)
        padded = F.pad(steps[:, None], (frames // 2, frames // 2), mode="replicate")
        return F.avg_pool1d(padded, frames + 1, stride=1)[:, 0]

    @torch.no_grad()
    def loudness(self, wave: Tensor) -> Tensor:
        """Log magnitudes ``[B, columns]`` of ``[B, samples]``."""
        return self._loudness(self.synthesis(self._padded(wave)))

    @torch.no_grad()
    def decoded_loudness(self, tokens: Tensor, pitch: Tensor | None) -> Tensor:
        """Log magnitudes ``[B, columns]`` of what tokens decode to."""
        return self._loudness(self._mel(self._here(tokens), self._here(pitch)))

    def _here(self, x: Given) -> Given:
        """On the device of the network; float64, which not every device has, as float32."""
        if x is None:
            return x
        return (x.float() if x.dtype == torch.float64 else x).to(self.synthesis.bank.device)

    def _padded(self, wave: Tensor) -> Tensor:
        """Whole columns."""
        return F.pad(self._here(wave).float(), (0, -wave.shape[-1] % self.hop))

    def _mel(self, tokens: Tensor, pitch: Tensor | None) -> Tensor:
        """Log-mel of tokens, its harmonics brought out where the pitch is known."""
        used = (self.tokens.entries(tokens) >= 0).sum(-1)
        return self.tokens.decode(tokens, pitch) + self.tokens.decoder.emphasis(pitch, used)

    def _loudness(self, mel: Tensor) -> Tensor:
        energy = energies(mel, self.synthesis.bank)  # [B, frames]
        columns = energy.unflatten(1, (-1, self.config.frames * self.config.split))
        return columns.mean(-1).clamp(min=1e-12).log() / 2

    def strengths(self, stream: int) -> NDArray[np.float64]:
        """Squared lengths of the entries of an acoustic stream, ``[positions, entries]``."""
        books = self.tokens.quantiser.codebooks[self.tokens.stage[stream - 1]]
        found: NDArray[np.float64] = books.cpu().double().square().sum(-1).numpy()
        return found

    def _check(self, columns: int, streams: int) -> None:
        if not 1 <= columns <= self.window:
            raise ParameterError(
                f"a window of {columns} columns: this model takes 1 to {self.window} of"
                f" {self.hop} samples at once"
            )
        if not 1 <= streams <= len(self.vocabularies):
            raise ParameterError(f"{streams} streams: this model has {len(self.vocabularies)}")


def resized(weights: dict[str, Tensor], old: SmallConfig, new: SmallConfig) -> dict[str, Tensor]:
    """Weights of a model for a configuration whose spectrogram has more or shorter frames: those
    that a frame of the decoder makes begin alike, at the level that a shorter window gives; and for
    one with detail or more stages, of which the model knows nothing."""
    times = new.split // old.split
    shift = SHORTER * math.log(new.mel_window / old.mel_window) / MEL_SCALE
    head = "tokens.decoder.head."
    more = new.width - old.width
    book, into = "tokens.quantiser.codebooks", "tokens.decoder.latent.weight"
    changed = {
        book: F.pad(weights[book], (0, more, 0, 0, 0, new.stages - old.stages)),
        TRAINING_ONLY: F.pad(weights[TRAINING_ONLY], (0, 0, 0, new.stages - old.stages)),
        into: F.pad(weights[into], (0, more)),
        head + "weight": weights[head + "weight"].repeat(times, 1),
        head + "bias": weights[head + "bias"].repeat(times) + shift,
    }
    kept = {k: v for k, v in weights.items() if new.vocoder_depth or not k.startswith("vocoder.")}
    return {**kept, **changed}


def write_small(
    path: Path,
    model: SmallSemantiCodec,
    *,
    name: str,
    training: dict[str, Any],
    tables: Arrays | None = None,
    overwrite: bool = False,
) -> ModelInfo:
    """Write ``model`` as a file that :func:`laconic.codec.models.find` can find; ``tables`` are the
    integers of a prior of its tokens, by names that begin with ``tables.``."""
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for key, value in model.state_dict().items():
        weight = value.detach().cpu().float()
        if key == TRAINING_ONLY:
            continue
        if any(part in key for part in IN_BYTES) and not key.endswith(IN_HALVES):
            scale = (weight.abs().amax(-1) / 127).clamp(min=1e-7).half()
            rounded = (weight / scale.float()[..., None]).round().clamp(-127, 127)
            tensors[key] = rounded.to(torch.int8).numpy()
            tensors[key + SCALE] = scale.numpy()
        else:
            tensors[key] = weight.half().numpy()
    return write_model(
        path,
        name=name,
        codec=CODEC,
        config={"architecture": ARCHITECTURE, **model.config.to_dict()},
        numerics=int(NumericsProfile.INTEGER_NETWORK if tables else NumericsProfile.INTEGER_TABLES),
        tensors={**tensors, **(tables or {})},
        training=training,
        overwrite=overwrite,
    )


def export_checkpoint(checkpoint: Path, out: Path, *, name: str, overwrite: bool) -> ModelInfo:
    """Export the averaged weights of all stages beside ``checkpoint``, which is one of them.

    Until ``audio-sound`` has been trained the vocoder of ``audio-vocoder`` takes its place, until
    ``audio-decoder`` the decoder of ``audio-tokens``; without ``audio-refiner`` there is none: a
    refiner fits the decoder that it was trained with. What no stage has trained again is that of
    the model which a run began with, its prior too, which fits its tokens less well than one of
    ``audio-prior`` would.

    Raises ``ModelError`` when ``audio-mae``, ``audio-tokens`` or a vocoder is missing, or the model
    that a run began with is not installed.
    """
    runs = checkpoint.parent.parent
    states: dict[str, dict[str, Any]] = {}
    training: dict[str, Any] = {}
    for stage in PARTS:
        path = runs / stage / "checkpoint.pt"
        if path.exists():
            states[stage] = torch.load(path, map_location="cpu", weights_only=True)
            state = states[stage]
            if state.get("start"):
                training["started_from"] = state["start"]
            if state["recipe"] is None:  # a part of the model that the run began with
                continue
            training[stage] = history(state, path)
            training[stage].pop("started_from", None)
    for needed in ("audio-mae", "audio-tokens"):
        if needed not in states:
            raise ModelError(f"{runs} lacks the stage {needed}: train it first")
    recipe = next(s["recipe"] for s in states.values() if s["recipe"] is not None)
    config = CONFIGS[recipe.get("model", "small")]
    if config.vocoder_depth and not {"audio-vocoder", "audio-sound"} & set(states):
        raise ModelError(f"{runs} lacks the stage audio-vocoder: train it first")
    weights: dict[str, Tensor] = {}
    for stage, state in states.items():  # later stages replace what earlier ones made
        theirs, ours = PARTS[stage]
        for key, value in state["average"].items():
            if key.startswith(theirs):
                weights[ours + key.removeprefix(theirs)] = value
    if "audio-refiner" not in training:
        config = replace(config, refiner_depth=0)
    model = SmallSemantiCodec(config)
    begun = model.state_dict()
    tables: Arrays = {}
    if "started_from" in training:
        info = find(training["started_from"]["id"])
        first = read_small(info)
        before = resized(first.state_dict(), first.config, config)
        begun |= {k: v for k, v in before.items() if k in begun}
        if first.vocabularies == model.vocabularies:
            tables = {k: v for k, v in read_tensors(info).items() if k.startswith(TABLE_PREFIX)}
    try:
        known = {k: v for k, v in weights.items() if k in begun}
        model.load_state_dict({**begun, **known})
    except RuntimeError as error:
        raise ModelError(f"the stages in {runs} are of different sizes: {error}") from error
    return write_small(out, model, name=name, training=training, tables=tables, overwrite=overwrite)


def read_small(info: ModelInfo) -> SmallSemantiCodec:
    """The network in float32, ready to use. Raises ``ModelError`` for other files."""
    if info.codec != CODEC or info.config.get("architecture") != ARCHITECTURE:
        raise ModelError(f"model {info.name} is of the codec {info.codec!r}, not a small {CODEC!r}")
    settings = {k: v for k, v in info.config.items() if k != "architecture"}
    config = SmallConfig.from_dict(settings)
    stored = read_tensors(info)
    model = build(lambda: SmallSemantiCodec(config), stored, info, SCALE)
    weights = {
        k: torch.from_numpy(v).float()
        for k, v in stored.items()
        if not k.startswith(TABLE_PREFIX) and not k.endswith(SCALE)
    }
    weights[TRAINING_ONLY] = model.tokens.quantiser.counts
    try:
        for key in (k.removesuffix(SCALE) for k in stored if k.endswith(SCALE)):
            weights[key] = weights[key] * torch.from_numpy(stored[key + SCALE]).float()[..., None]
        model.load_state_dict(weights)
    except (RuntimeError, KeyError) as error:
        raise ModelError(f"model {info.name} does not fit its configuration: {error}") from error
    return model.requires_grad_(False).eval()

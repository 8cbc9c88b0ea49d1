"""Configurations of the published SemantiCodec, and how its checkpoints are recognised.

Configuration of the published SemantiCodec models.

Three rates exist, named by the tokens per second of both streams: 100, 50 and 25, which differ in
how many neighbouring patches are stacked into one token (K = 1, 2, 4). Everything else is shared.
Widths are free so that the same code runs at any size; ``config_of`` gives the published ones.
Paper: Liu et al., SemantiCodec, IEEE JSTSP 18(8) 2024 (arXiv 2405.00233).

Which SemantiCodec a checkpoint is, from the shapes of its tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from laconic.codec.building import from_values, to_values
from laconic.formats.errors import ModelError

RATE = 16_000
MEL_BINS = 128  # of the analysis spectrogram
FRAMES = 1024  # of the analysis spectrogram, 10 ms each: one window
PATCH = 16  # side of a patch in frames and in bins
PATCH_SAMPLES = PATCH * RATE // 100  # 2,560: 0.16 s
GRID = (FRAMES // PATCH, MEL_BINS // PATCH)  # patches of a window in time, in frequency
POSITION_WIDTH = 192  # sine-cosine position of the diffusion's condition
STACKS = {1: (1, 1), 2: (1, 2), 4: (2, 2)}  # K -> patches stacked in time, in frequency
LSTM_LAYERS = {1: 4, 2: 3, 4: 2}
LICENCE = "CC BY-NC 4.0 (AudioMAE): not for commercial use"
MAX_WIDTH = 8192
Shapes = Mapping[str, tuple[int, ...]]
MAE, UNET, VAE = "audiomae.model.", "model.diffusion_model.", "first_stage_model."
CODEBOOK = "codebook"  # the one tensor of a .npy file
HEAD_WIDTH = 64  # of AudioMAE; no tensor tells it


@dataclass(frozen=True)
class FullConfig:
    """Numbers that fix the tensors of a model."""

    stack: int = 1  # K: patches per token
    semantic: int = 8192  # centroids of the merged semantic codebook
    acoustic: int = 8192  # entries of the acoustic codebook
    width: int = 768  # AudioMAE
    depth: int = 12
    heads: int = 12
    pretraining_width: int = 512  # decoder of the masked pre-training, which no codec needs
    pretraining_depth: int = 8
    lstm_layers: int = 4
    unet_channels: int = 64
    unet_multipliers: tuple[int, ...] = (1, 2, 3, 5)
    head_width: int = 32  # of the diffusion network's attention
    vae_channels: int = 128
    vae_multipliers: tuple[int, ...] = (1, 2, 4)
    latent: int = 8  # channels of the latent that is diffused
    mel_bins: int = 64  # of the spectrogram that is synthesised
    vocoder_channels: int = 1024

    def __post_init__(self) -> None:
        widths = (self.width, self.pretraining_width, self.unet_channels, self.vae_channels)
        sensible = (
            self.stack in STACKS
            and all(1 <= w <= MAX_WIDTH for w in widths)
            and 1 <= self.semantic <= 1 << 16
            and 1 <= self.acoustic <= 1 << 16
            and self.width % (4 * self.heads) == 0
            and self.pretraining_width % 4 == 0
            and 1 <= self.depth <= 64
            and 0 <= self.pretraining_depth <= 64
            and 1 <= self.lstm_layers <= 16
            and self.unet_channels % 32 == 0
            and self.vae_channels % 32 == 0
            and 1 <= len(self.unet_multipliers) <= 8
            and 1 <= len(self.vae_multipliers) <= 8
            and all(1 <= m <= 16 for m in (*self.unet_multipliers, *self.vae_multipliers))
            and 1 <= self.head_width <= self.unet_channels
            and 1 <= self.latent <= 64
            and self.mel_bins % 2 ** (len(self.vae_multipliers) - 1) == 0
            and 1 <= self.mel_bins <= 256
            and self.vocoder_channels % 32 == 0
            and self.vocoder_channels <= MAX_WIDTH
        )
        if not sensible:
            raise ModelError(
                f"no SemantiCodec stacks {self.stack} patches of width {self.width} with"
                f" {self.lstm_layers} LSTM layers, a diffusion network of"
                f" {self.unet_channels} x {list(self.unet_multipliers)} channels and a vocoder of"
                f" {self.vocoder_channels}"
            )

    @property
    def features(self) -> int:
        """Width of a stacked feature, of a centroid and of an acoustic code: 768 K."""
        return self.width * self.stack

    @property
    def context(self) -> int:
        """Width of the diffusion's condition: both codes and the position."""
        return 2 * self.features + POSITION_WIDTH

    @property
    def tokens(self) -> int:
        """Positions of a window."""
        return GRID[0] * GRID[1] // self.stack

    @property
    def token_rate(self) -> int:
        """Tokens per second of both streams, the name of a published model."""
        return 100 // self.stack

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, time, frequency of a window's latent."""
        reduction = 2 ** (len(self.vae_multipliers) - 1)
        return self.latent, FRAMES // reduction, self.mel_bins // reduction

    def to_dict(self) -> dict[str, Any]:
        return to_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FullConfig:
        """Inverse of :meth:`to_dict`; raises ``ModelError`` for unknown or missing entries."""
        return from_values(cls, values, "; import its checkpoint again")


def config_of(token_rate: int, semantic: int = 8192) -> FullConfig:
    """The published model of 100, 50 or 25 tokens per second. Raises ``ModelError``."""
    stack = 100 // token_rate if token_rate in (100, 50, 25) else 0
    if not stack:
        raise ModelError(
            f"no SemantiCodec of {token_rate} tokens per second was published: there are 100, 50"
            " and 25"
        )
    return FullConfig(stack=stack, semantic=semantic, lstm_layers=LSTM_LAYERS[stack])


def kind_of(shapes: Shapes) -> str:
    """``encoder``, ``decoder`` or ``codebook``: which of the three published files this is.

    Raises ``ModelError`` naming what was found.
    """
    if f"{MAE}cls_token" in shapes and "encoder_output_linear.weight" in shapes:
        return "encoder"
    if f"{UNET}time_embed.0.weight" in shapes:
        return "decoder"
    if list(shapes) == [CODEBOOK]:
        return "codebook"
    some = ", ".join(sorted(shapes)[:3])
    raise ModelError(
        f"it holds {len(shapes)} tensors ({some}, ...): expected encoder.ckpt, decoder.ckpt or a"
        " codebook .npy of SemantiCodec"
    )


def recognise(encoder: Shapes, decoder: Shapes, codebook: tuple[int, ...]) -> FullConfig:
    """The configuration whose tensors have these shapes.

    Raises ``ModelError`` for a tensor that is missing or of another rank, for parts of different
    rates, and for impossible widths. Whether *all* shapes agree is checked when weights are loaded.
    """

    def shape(tensors: Shapes, key: str, rank: int, part: str) -> tuple[int, ...]:
        found = tensors.get(key)
        if found is None or len(found) != rank:
            raise ModelError(
                f"the {part} is no SemantiCodec's: {key} is {list(found) if found else 'missing'},"
                f" expected a tensor of {rank} dimensions"
            )
        return found

    width = shape(encoder, f"{MAE}cls_token", 3, "encoder")[2]
    features = shape(encoder, "encoder_output_linear.weight", 2, "encoder")[0]
    acoustic = shape(encoder, "quantizer._codebook.embed", 3, "encoder")[1]
    if features % width or features // width not in STACKS:
        raise ModelError(f"features of width {features} are no stack of 1, 2 or 4 times {width}")
    stack = features // width
    if codebook[1] != features:
        raise ModelError(
            f"the codebook's centroids have width {codebook[1]}, the encoder's features {features}:"
            f" take a codebook of the rate of {100 // stack} tokens per second"
            f" (combine_{512 // stack}_audioset_dominate)"
        )
    context = shape(decoder, _cross(decoder), 2, "decoder")[1]
    layers = _count(encoder, r"encoder\.weight_ih_l(\d+)$")
    base = shape(decoder, f"{UNET}time_embed.0.weight", 2, "decoder")[1]
    vae = f"{VAE}decoder."
    vae_base = shape(decoder, f"{vae}norm_out.weight", 1, "decoder")[0]
    up = _count(decoder, re.escape(vae) + r"up\.(\d+)\.block\.0\.norm1\.weight$")
    vae_widths = [
        shape(decoder, f"{vae}up.{i}.block.0.conv1.weight", 4, "decoder")[0] for i in range(up)
    ]
    config = FullConfig(
        stack=stack,
        semantic=codebook[0],
        acoustic=acoustic,
        width=width,
        depth=_count(encoder, re.escape(MAE) + r"blocks\.(\d+)\.norm1\.weight$"),
        heads=max(1, width // HEAD_WIDTH),
        lstm_layers=layers or LSTM_LAYERS[stack],
        unet_channels=base,
        unet_multipliers=_multipliers(decoder, base),
        vae_channels=vae_base,
        vae_multipliers=tuple(w // vae_base for w in vae_widths),
        latent=shape(decoder, f"{UNET}input_blocks.0.0.weight", 4, "decoder")[1],
        mel_bins=shape(decoder, f"{VAE}vocoder.conv_pre.weight", 3, "decoder")[1],
        vocoder_channels=shape(decoder, f"{VAE}vocoder.conv_pre.weight", 3, "decoder")[0],
    )
    if context != config.context:
        raise ModelError(
            f"the decoder reads conditions of width {context}, the encoder makes {config.context}:"
            " they are of different token rates; take both from one folder"
        )
    return config


def _count(shapes: Shapes, pattern: str) -> int:
    found = [int(m[1]) for key in shapes if (m := re.match(pattern, key))]
    return max(found, default=-1) + 1


def _cross(decoder: Shapes) -> str:
    """Key of the first attention to the condition."""
    ending = ".2.transformer_blocks.0.attn2.to_k.weight"
    keys = [k for k in decoder if k.startswith(f"{UNET}input_blocks.") and k.endswith(ending)]
    return min(keys, key=lambda k: int(k.split(".")[3]), default=f"{UNET}input_blocks.4{ending}")


def _multipliers(decoder: Shapes, base: int) -> tuple[int, ...]:
    """Widths of the levels: two residual blocks each, then a convolution that halves the map."""
    widths: list[int] = []
    index = 1
    while f"{UNET}input_blocks.{index}.0.in_layers.0.weight" in decoder:
        widths.append(decoder[f"{UNET}input_blocks.{index}.0.out_layers.0.weight"][0] // base)
        index += 3
    if not widths:
        raise ModelError("the decoder is no SemantiCodec's: its diffusion network has no blocks")
    return tuple(widths)

"""Which SemantiCodec a checkpoint is, from the shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping

from laconic.codec.audio.full.config import LSTM_LAYERS, STACKS, FullConfig
from laconic.formats.errors import ModelError

Shapes = Mapping[str, tuple[int, ...]]
MAE, UNET, VAE = "audiomae.model.", "model.diffusion_model.", "first_stage_model."
CODEBOOK = "codebook"  # the one tensor of a .npy file
HEAD_WIDTH = 64  # of AudioMAE; no tensor tells it


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

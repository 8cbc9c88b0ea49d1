"""A SemantiCodec of reduced size with weights from the rule, and its three published files."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from weight_rule import fill, noise

from laconic.codec.audio.semanticodec.config import FullConfig
from laconic.codec.audio.semanticodec.decoder import FullDecoder
from laconic.codec.audio.semanticodec.model import FullEncoder

REDUCED = FullConfig(
    stack=2,
    semantic=64,
    acoustic=32,
    width=64,
    depth=3,
    heads=1,
    pretraining_width=32,
    pretraining_depth=1,
    lstm_layers=1,
    unet_channels=32,
    unet_multipliers=(1, 1),
    vae_channels=32,
    vae_multipliers=(1, 1, 1),
    latent=4,
    mel_bins=16,
    vocoder_channels=32,
)


def centroids(config: FullConfig) -> NDArray[np.float32]:
    """The semantic codebook of the rule."""
    shape = (config.semantic, config.features)
    return noise("semantic_codebook", shape, 0).astype(np.float32)


def rule_encoder(config: FullConfig, *, complete: bool = False) -> FullEncoder:
    encoder = fill(FullEncoder(config, complete=complete), "semanticodec")
    assert isinstance(encoder, FullEncoder)
    key = "quantizer._codebook.embed"
    values = noise(key, (1, config.acoustic, config.features), 0).astype(np.float32)
    encoder.get_buffer(key).copy_(torch.from_numpy(values))
    encoder.set_centroids(torch.from_numpy(centroids(config)))
    return encoder


def rule_decoder(config: FullConfig, *, complete: bool = False) -> FullDecoder:
    decoder = fill(FullDecoder(config, complete=complete), "semanticodec")
    assert isinstance(decoder, FullDecoder)
    return decoder


def published_files(
    folder: Path, config: FullConfig = REDUCED, *, plain: bool = False
) -> list[Path]:
    """``encoder.ckpt``, ``decoder.ckpt`` and a codebook as they are published; ``plain`` saves
    safetensors, which are read without a child process."""
    decoder = rule_decoder(config, complete=True)
    averaged = {k: torch.tensor(0.0) for k in decoder.averaged_keys()}
    states = {
        "encoder": dict(rule_encoder(config, complete=True).state_dict()),
        "decoder": {**decoder.state_dict(), **averaged},
    }
    paths = []
    for part, state in states.items():
        paths.append(folder / f"{part}{'.safetensors' if plain else '.ckpt'}")
        (save_file if plain else torch.save)(state, paths[-1])
    paths.append(folder / "codebook_32_0.npy")
    np.save(paths[-1], centroids(config))
    return paths

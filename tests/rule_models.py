"""Tiny models of the published architectures, made by the weight rule and imported like any
checkpoint."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from weight_rule import fill

from laconic.codec import models, registry
from laconic.codec.image.architectures import ARCHITECTURES
from laconic.codec.image.checkpoints import import_checkpoint
from laconic.codec.image.codec import write_mlic
from laconic.codec.image.codecs import ImageCodec
from laconic.codec.image.config import CONFIGS
from laconic.codec.image.model import Mlic
from laconic.codec.image.reorder import channel_order, write_ordered

TINY_MLICPP: dict[str, Any] = {
    "transform_channels": 4,
    "latent_channels": 12,
    "slices": 3,
    "window": 3,
    "heads": 2,
    "parameter_widths": [8, 8, 8],
    "channel_widths": [6, 6],
    "residual_widths": [6, 6],
    "narrow_synthesis": False,
    "second": False,
    "selective": False,
}
TEST_BASE = "test-mlic"
ELIC: dict[str, Any] = {"channels": 6, "latent": 12, "groups": [2, 2, 3, 5]}
# name of the model -> (architecture, configuration, rule of the weights)
RULE_MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "test-mlicpp": ("mlic++", TINY_MLICPP, "mlicpp"),
    "test-mlicpp-2023": (
        "mlic++",
        {**TINY_MLICPP, "residual_widths": [], "narrow_synthesis": True},
        "mlicpp",
    ),
    "test-mlicv2": ("mlicv2", {**TINY_MLICPP, "second": True, "selective": True}, "mlicv2"),
    "test-factorized": ("bmshj2018-factorized", {"channels": 6, "latent": 8}, "mbt2018-mean"),
    "test-hyperprior": ("bmshj2018-hyperprior", {"channels": 6, "latent": 8}, "mbt2018-mean"),
    "test-mean": ("mbt2018-mean", {"channels": 6, "latent": 8}, "mbt2018-mean"),
    "test-joint": ("mbt2018", {"channels": 6, "latent": 9}, "mbt2018-mean"),
    "test-anchor": ("cheng2020-anchor", {"channels": 6, "latent": 6}, "cheng2020-attn"),
    "test-attn": ("cheng2020-attn", {"channels": 6, "latent": 6}, "cheng2020-attn"),
    "test-relu": ("bmshj2018-factorized-relu", {"channels": 6, "latent": 8}, "mbt2018-mean"),
    "test-board": (
        "cheng2020-anchor-checkerboard",
        {"channels": 6, "latent": 6},
        "cheng2020-checkerboard",
    ),
    "test-elic": ("elic2022-official", ELIC, "elic2022-official"),
    "test-chandelier": ("elic2022-chandelier", ELIC, "elic2022-chandelier"),
    "test-hyperprior-vbr": (
        "bmshj2018-hyperprior-vbr",
        {"channels": 6, "latent": 8, "variable_z": True},
        "mbt2018-mean",
    ),
    "test-mean-vbr": (
        "mbt2018-mean-vbr",
        {"channels": 6, "latent": 8, "variable_z": True},
        "mbt2018-mean",
    ),
    "test-mean-vbr-fixed-z": (
        "mbt2018-mean-vbr",
        {"channels": 6, "latent": 8},
        "mbt2018-mean",
    ),
    "test-joint-vbr": ("mbt2018-vbr", {"channels": 6, "latent": 9}, "mbt2018-mean"),
}


# name of the ordered model -> model it is made from; the core holds half of the saliency
ORDERED = {
    "test-mlicpp-ordered": "test-mlicpp",
    "test-factorized-ordered": "test-factorized",
    "test-mean-ordered": "test-mean",
}


def network(name: str) -> nn.Module:
    """The network of a test model, in evaluation mode."""
    arch, config, rule = RULE_MODELS[name]
    return fill(ARCHITECTURES[arch].build(config), rule)


def checkpoint(name: str, folder: Path) -> Path:
    """A checkpoint as training scripts save it."""
    path = folder / f"{name}.pth.tar"
    torch.save({"epoch": 3, "state_dict": network(name).state_dict(), "loss": 0.5}, path)
    return path


def install(folder: Path, *names: str) -> None:
    """Import test models (default: all, and a small one of the default model's kind) into the
    store, which must be ``folder``."""
    assert models.search_path()[-1] == folder
    for name in [n for n in names if n in RULE_MODELS] if names else RULE_MODELS:
        plain = folder / f"{name}.plain"
        from safetensors.torch import save_file

        save_file({k: v.contiguous() for k, v in network(name).state_dict().items()}, plain)
        import_checkpoint(plain, arch=None, name=name)
        plain.unlink()
    if not names:
        base = Mlic(CONFIGS["test"])
        fill(base, "mlic")
        write_mlic(folder / f"{TEST_BASE}.safetensors", base, name=TEST_BASE, training={})
    for name, source in ORDERED.items():
        if not names or name in names:
            write_order(source, name)


def write_order(source: str, name: str) -> None:
    """Put a model into the store that codes as its parameters order it."""
    info = models.find(source)
    codec = registry.get(info.codec)
    assert isinstance(codec, ImageCodec)
    order = channel_order(codec.load(info.id), share=0.5)
    assert order.groups
    write_ordered(info, order, name, by="parameters")

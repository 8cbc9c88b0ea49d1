"""A tiny PSCodec with weights from the rule, and its golden stream:

python tests/prompt_models.py      # writes tests/golden/pscodec-1 where it is missing
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from weight_rule import fill, noise, rule_sound

from laconic import codec
from laconic.codec import models
from laconic.codec.audio.pscodec.config import PromptConfig
from laconic.codec.audio.pscodec.model import ARCHITECTURE, CODEC, TRAINING_ONLY, PsCodec
from laconic.codec.audio.pscodec.quantize import Codebook
from laconic.codec.models import ModelInfo
from laconic.formats.audio import Audio
from laconic.formats.container import Container

TINY = PromptConfig(
    width=32,
    encoder_width=16,
    encoder_blocks=1,
    decoder_width=16,
    decoder_blocks=1,
    entries=16,
    prompt_width=16,
    voice_codes=2,
    mel_codes=4,
    prompt_entries=8,
)
GOLDEN = Path(__file__).parent / "golden" / "pscodec-1"


def rule_network(config: PromptConfig = TINY) -> PsCodec:
    network = fill(PsCodec(config), "semanticodec")
    assert isinstance(network, PsCodec)
    for name, module in network.named_modules():
        if isinstance(module, Codebook):
            values = noise(f"{name}.embed", tuple(module.embed.shape), 0).astype(np.float32)
            module.embed.copy_(torch.from_numpy(values))
    return network


def install(folder: Path) -> ModelInfo:
    """Put the model into a store under the codec's default name."""
    tensors = {
        k: v.half().numpy()
        for k, v in rule_network().state_dict().items()
        if not k.endswith(TRAINING_ONLY)
    }
    return models.write_model(
        folder / "pscodec-base.safetensors",
        name="pscodec-base",
        codec=CODEC,
        config={"architecture": ARCHITECTURE, **TINY.to_dict()},
        numerics=1,
        tensors=tensors,
        training={},
        overwrite=True,
    )


def golden_sound() -> Audio:
    """Eleven seconds, so that there are two segments, and of an odd rate."""
    return Audio(rule_sound(11 * 12_000, 1).numpy(), 12_000)


def main() -> None:
    """Write the golden stream unless it is there."""
    if GOLDEN.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LACONIC_MODELS"] = folder
        install(Path(folder))
        data = codec.encode(golden_sound(), codec="pscodec")
        decoded = codec.decode(data)
    container = Container.from_bytes(data)
    about = {
        "checks": [s.check for s in container.segments],
        "model": container.header.model.hex(),
        "prompt": [list(c.data) for c in container.chunks],
        "samples": decoded.samples.shape[1],
        "every_5000": decoded.samples[0, ::5000].round(6).tolist(),
    }
    GOLDEN.mkdir(parents=True)
    (GOLDEN / "prompted.lac").write_bytes(data)
    (GOLDEN / "prompted.json").write_text(json.dumps(about) + "\n")


if __name__ == "__main__":
    main()

"""The stages of the small audio model, in the order in which they are trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from laconic.codec.train.audio_loop import AudioRecipe, AudioTrainer
from laconic.codec.train.running import run_trainer

STAGES = {
    "audio-mae": ("audio_mae", "MaeTrainer"),
    "audio-vocoder": ("audio_vocoder", "VocoderTrainer"),
    "audio-tokens": ("audio_tokens", "TokenTrainer"),
    "audio-decoder": ("audio_decoder", "DecoderTrainer"),
    "audio-sound": ("audio_sound", "SoundTrainer"),
    "audio-refiner": ("audio_refiner", "RefinerTrainer"),
}


def run(
    stage: str,
    changes: dict[str, Any],
    data: list[Path],
    out: Path,
    *,
    resume: bool = False,
    threads: int | None = None,
) -> Path:
    """Train one stage on the recordings below ``data``; returns the checkpoint's path.

    Raises ``ParameterError`` for an existing run without ``resume`` or too few recordings, and
    ``FormatError`` for a checkpoint that cannot be read.
    """
    file, name = STAGES[stage]
    module = import_module(f"laconic.codec.train.{file}")
    recipe: AudioRecipe = replace(module.RECIPE, **changes)
    make: Callable[..., AudioTrainer] = getattr(module, name)
    return run_trainer(lambda: make(recipe, data, out), out, resume=resume, threads=threads)

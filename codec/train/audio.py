"""The stages of the small audio model, in the order in which they are trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from laconic.codec.train.audio_loop import AudioRecipe, AudioTrainer
from laconic.codec.train.audio_stages import begin_from
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
    init: str | None = None,
) -> Path:
    """Train one stage on the recordings below ``data``; returns the checkpoint's path.

    With ``init`` a new run goes on from that installed model, which also takes the place of the
    stages before that are not in the folders beside ``out``.

    Raises ``ParameterError`` for an existing run without ``resume`` or too few recordings, and
    ``FormatError`` for a checkpoint that cannot be read, ``ModelError`` for a model that is not
    installed or of another size.
    """
    file, name = STAGES[stage]
    module = import_module(f"laconic.codec.train.{file}")
    recipe: AudioRecipe = replace(module.RECIPE, **changes)
    make: Callable[..., AudioTrainer] = getattr(module, name)

    def trainer() -> AudioTrainer:
        begun = None if init is None else begin_from(init, recipe.model, out.parent, stage)
        made = make(recipe, data, out)
        if begun is not None:
            made.begin(**begun)
        return made

    return run_trainer(trainer, out, resume=resume, threads=threads)

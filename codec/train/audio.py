"""The stages of the small audio model, in the order in which they are trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from laconic.codec.audio.semanticodec_small.config import CONFIGS
from laconic.codec.train.audio_loop import AudioRecipe, AudioTrainer
from laconic.codec.train.audio_sound import SOUND_RECIPE, SoundTrainer
from laconic.codec.train.audio_stages import (
    DECODER_RECIPE,
    MAE_RECIPE,
    REFINER_RECIPE,
    VOCODER_RECIPE,
    DecoderTrainer,
    MaeTrainer,
    RefinerTrainer,
    VocoderTrainer,
    begin_from,
)
from laconic.codec.train.audio_tokens import TOKENS_RECIPE, TokenTrainer
from laconic.codec.train.running import run_trainer
from laconic.formats.errors import ParameterError

STAGES: dict[str, tuple[type[AudioTrainer], AudioRecipe]] = {
    "audio-mae": (MaeTrainer, MAE_RECIPE),
    "audio-vocoder": (VocoderTrainer, VOCODER_RECIPE),
    "audio-tokens": (TokenTrainer, TOKENS_RECIPE),
    "audio-decoder": (DecoderTrainer, DECODER_RECIPE),
    "audio-sound": (SoundTrainer, SOUND_RECIPE),
    "audio-refiner": (RefinerTrainer, REFINER_RECIPE),
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
    kind, usual = STAGES[stage]
    make: Callable[..., AudioTrainer] = kind
    recipe = replace(usual, **changes)
    config = CONFIGS[recipe.model]
    depths = {"audio-vocoder": config.vocoder_depth, "audio-sound": config.vocoder_depth}
    if not {**depths, "audio-refiner": config.refiner_depth}.get(stage, 1):
        raise ParameterError(
            f"models of the size {recipe.model} have nothing that {stage} trains: leave the stage"
            " out, or choose another size"
        )

    def trainer() -> AudioTrainer:
        begun = None if init is None else begin_from(init, recipe.model, out.parent, stage)
        made = make(recipe, data, out)
        if begun is not None:
            made.begin(**begun)
        return made

    return run_trainer(trainer, out, resume=resume, threads=threads)

"""Which part of the audio codec loses how much, by groups of voices.

    python benchmarks/audio_split.py --data DIR [--model MODEL]

``DIR`` holds what ``audio_clips.py`` brings. Each chain leaves out more of what is true than the
one before: the spectrogram that the vocoder works from is the original's, then the decoder's; the
latents are exact, then tokens. PESQ and STOI against the original, means over the clips of a group.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from kept import RESULTS, keep, table
from torch import Tensor

from laconic.codec.audio.codec import SemantiCodec
from laconic.codec.audio.loading import load
from laconic.codec.audio.semanticodec_small.mae import FLOOR, patches_of
from laconic.codec.audio.semanticodec_small.model import SmallSemantiCodec
from laconic.codec.audio.side_information import STEP, gains_of, track_of
from laconic.codec.evaluate.audio_measures import pesq_wb, stoi
from laconic.formats.audio import Audio, read_audio

GROUPS = ("men", "women", "children")
MOST_ROUNDS = 128  # of fast consistency, beside the model's own number
STREAMS = (25, 13, 6, 5, 3)
FOUND, EFFORTS = 5, (1, 4)  # streams that are searched, how long
SOLVING = 60  # rounds that find magnitudes for a mel spectrogram


def with_phases(network: SmallSemantiCodec, mel: Tensor, wave: Tensor) -> Tensor:
    """Samples that have the log-mel ``mel``, begun with the phases of ``wave`` and smooth
    magnitudes; plain rounds then bring the harmonics out."""
    consistency = network.consistency
    spectrum = consistency.spectrum(wave)
    magnitude = torch.ones_like(spectrum.abs())
    for _ in range(SOLVING):
        found = (magnitude @ consistency.bank).clamp(min=FLOOR).log()
        magnitude = magnitude * ((mel - found) @ consistency.spread.T).exp()
    out: Tensor = consistency(consistency.inverse(torch.polar(magnitude, spectrum.angle())), mel)
    return out


def chains(network: SmallSemantiCodec, wave: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Name and samples of every chain for ``[1, samples]`` of whole columns."""
    mel = network.synthesis(wave)
    yield "true spectrogram, true phases", with_phases(network, mel, wave)
    pitch = torch.from_numpy(track_of(wave[0].numpy())[None])
    for rounds in (MOST_ROUNDS, network.config.rounds):
        with patch.object(network, "config", replace(network.config, rounds=rounds)):
            yield f"true spectrogram, {rounds} rounds", network.sound(mel, pitch)
    patches = patches_of(network.analysis(wave))
    semantic, latents = network.tokens.latents(patches, network.mae(patches), mel)
    tokens = network.tokens.tokens(semantic, latents, len(network.vocabularies))
    with patch.object(network.tokens.quantiser, "decode", lambda indices: latents):
        yield "decoder from exact latents", decoded(network, tokens, pitch, wave)
    for streams in (n for n in STREAMS if n <= tokens.shape[-1]):
        yield f"{streams} streams", decoded(network, tokens[..., :streams], pitch, wave)
    for effort in EFFORTS if network.searches else ():
        found = network.searched(wave, FOUND, pitch, [FOUND], effort)
        yield f"{FOUND} streams, effort {effort}", decoded(network, found, pitch, wave)


def decoded(network: SmallSemantiCodec, tokens: Tensor, pitch: Tensor, wave: Tensor) -> Tensor:
    """What files decode to: pitch and level are told beside the tokens."""
    levels = (network.loudness(wave), network.decoded_loudness(tokens, pitch))
    gains = STEP * torch.from_numpy(gains_of(*(x.double().numpy() for x in levels)))
    return network.decode(tokens, steps=0, seed=0, pitch=pitch, gains=gains)


def measured(network: SmallSemantiCodec, sound: Audio) -> Iterator[tuple[str, float, float]]:
    """Name, PESQ and STOI of every chain."""
    samples = sound.samples.shape[1]
    wave = F.pad(torch.from_numpy(sound.samples), (0, -samples % network.hop))
    with torch.inference_mode():
        for name, out in chains(network, wave):
            back = Audio(out.clamp(-1, 1).numpy()[:, :samples], sound.rate)
            yield name, pesq_wb(sound, back), stoi(sound, back)


def main() -> None:
    """Measure, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default=SemantiCodec.default_model)
    arguments = parser.parse_args()
    model = load(arguments.model, "semanticodec")
    network = model.network
    assert isinstance(network, SmallSemantiCodec)
    result: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    counts = []
    for group in GROUPS:
        files = sorted(arguments.data.rglob(f"{group}-*.flac"))
        if not files:
            sys.exit(f"{arguments.data} holds no clips of {group}: audio_clips.py brings them")
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for file in files:
            for name, *measures in measured(network, read_audio(file)):
                found[name].append((measures[0], measures[1]))
        counts.append(f"{group} ({len(files)})")
        for name, values in found.items():
            quality, clarity = np.mean(values, axis=0)
            result[name][group] = {"pesq": float(quality), "stoi": float(clarity)}
            print(group, name, f"{quality:.2f} / {clarity:.3f}", flush=True)
    rows = []
    for name, groups in result.items():
        cells = (f"{groups[g]['pesq']:.2f} / {groups[g]['stoi']:.3f}" for g in GROUPS)
        rows.append(" | ".join([name, *cells]))
    kept = {"model": {"name": model.info.name, "id": model.info.id}, "chains": result}
    keep(RESULTS / "audio_split", kept, table(" | ".join(["PESQ / STOI", *counts]), rows))


if __name__ == "__main__":
    main()

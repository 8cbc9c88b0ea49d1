"""What PSCodec's prompts buy: files of equal size with and without them, on held-out speakers.

    python benchmarks/pscodec_prompts.py --base RUN --plain RUN [--further NAME=RUN...]
        --speech NAME=PATH... --out PREFIX

``--base`` and ``--plain`` are the folders of two trainings of the same length ("laconic train
pscodec --config base" and "--config plain"): the network without prompts has larger codebooks
instead, so that files of 5 s are as large; ``--further`` names runs of other configurations. Every
PATH (a folder, file or .tar of recordings of one kind of speakers, none of them in training) is
cut into pieces of 5 s, which are encoded into files, decoded and compared. "speaker" is the
similarity of speaker vectors and needs the weights of the package Resemblyzer. Sizes are
equal before entropy coding, which the table shows beside the bytes of the files. A third row
decodes the files of Base with prompts from the next kind of speakers: what is lost there is what
the prompt tells.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import keep, table
from numpy.typing import NDArray

from laconic import codec
from laconic.codec import models
from laconic.codec.audio.loading import load
from laconic.codec.audio.pscodec.model import PromptModel
from laconic.codec.evaluate.audio_measures import (
    mel_distance,
    speaker_similarity,
    stft_distance,
    stoi,
)
from laconic.codec.train.files import each_file
from laconic.codec.train.recordings import RATE, read_mono
from laconic.formats.audio import SUFFIXES, Audio
from laconic.formats.container import PROMPT, Container
from laconic.formats.container_reader import ContainerReader

SECONDS = 5
MEASURES = ("mel", "stft", "stoi", "estoi", "speaker")


def pieces(path: Path, most: int) -> list[Audio]:
    """Pieces of 5 s, each of one recording; of all joined where none is as long."""
    recordings = [read_mono(data) for _, data in each_file(path, SUFFIXES)]
    length = SECONDS * RATE
    long = [r for r in recordings if len(r) >= length] or [np.concatenate(recordings)]
    cut = [r[n : n + length] for r in long for n in range(0, len(r) - length + 1, length)]
    chosen = np.unique(np.linspace(0, len(cut) - 1, min(len(cut), most)).round().astype(int))
    return [Audio(cut[n][None].copy(), RATE) for n in chosen]


def with_prompt_of(data: bytes, other: bytes) -> bytes:
    """A file with the prompt of another one."""
    mine, theirs = ContainerReader(data), ContainerReader(other)
    chunks = [c for c in mine.chunks if c.type != PROMPT]
    chunks += [c for c in theirs.chunks if c.type == PROMPT]
    return Container(mine.header, list(mine), chunks).to_bytes()


def uncoded_bits(data: bytes) -> float:
    """Bits of the tokens of a piece and its prompt at log2 of their alphabets."""
    network = load(ContainerReader(data).header.model.hex(), "pscodec").network
    assert isinstance(network, PromptModel)
    columns = SECONDS * network.rate / network.hop
    prompt = sum(log2(size) for size in network.prompt_vocabularies)
    return columns * sum(log2(size) for size in network.vocabularies) + prompt


def scores(sounds: list[Audio], files: list[bytes]) -> dict[str, Any]:
    """Means over all pieces, and the values of each for the comparison in pairs."""
    found: dict[str, list[float]] = {key: [] for key in MEASURES}
    for sound, data in zip(sounds, files, strict=True):
        decoded = codec.decode(data)
        found["mel"].append(mel_distance(sound, decoded))
        found["stft"].append(stft_distance(sound, decoded))
        found["stoi"].append(stoi(sound, decoded))
        found["estoi"].append(stoi(sound, decoded, extended=True))
        found["speaker"].append(speaker_similarity(sound, decoded))
    row: dict[str, Any] = {key: float(np.mean(values)) for key, values in found.items()}
    row["bytes"] = float(np.mean([len(data) for data in files]))
    row["plain_bits"] = uncoded_bits(files[0])
    row["pieces"] = {key: [round(v, 5) for v in values] for key, values in found.items()}
    return row


def encoded(sounds: list[Audio], model: str) -> list[bytes]:
    """Files."""
    return [codec.encode(s, codec="pscodec", model=model) for s in sounds]


def measure(
    name: str, sounds: list[Audio], others: list[Audio], further: list[str]
) -> dict[str, Any]:
    """All rows of one set of pieces; ``others`` are of other voices."""
    base, plain = encoded(sounds, "pscodec-base"), encoded(sounds, "pscodec-plain")
    strange = encoded(others, "pscodec-base")
    foreign = [with_prompt_of(d, strange[n % len(strange)]) for n, d in enumerate(base)]
    rows = {"base": base, "plain": plain, "base, prompt of other speakers": foreign}
    rows |= {row: encoded(sounds, f"pscodec-{row}") for row in further}
    result: dict[str, Any] = {"set": name, "count": len(sounds), "seconds": SECONDS}
    result["rows"] = {row: scores(sounds, files) for row, files in rows.items()}

    def gain(key: str) -> NDArray[np.float64]:
        values = [np.array(result["rows"][r]["pieces"][key]) for r in ("base", "plain")]
        return values[0] - values[1]

    result["base minus plain"] = {
        key: [float(gain(key).mean()), float(gain(key).std(ddof=1) / len(sounds) ** 0.5)]
        for key in MEASURES
    }
    return result


def sets_table(results: dict[str, Any]) -> str:
    """Markdown."""
    lines = []
    for found in results["sets"]:
        for name, row in found["rows"].items():
            lines.append(
                f"{found['set']} ({found['count']}): {name} | {row['plain_bits']:.0f} |"
                f" {row['bytes']:.0f} | " + " | ".join(f"{row[key]:.4f}" for key in MEASURES)
            )
        difference = " | ".join(
            f"{found['base minus plain'][key][0]:+.4f} ± {found['base minus plain'][key][1]:.4f}"
            for key in MEASURES
        )
        lines.append(f"{found['set']}: base minus plain, ± standard error | | | {difference}")
    return table(
        "speakers held out, pieces of 5 s | tokens and prompt, bits | file, bytes"
        " | log-mel | STFT | STOI | ESTOI | speaker",
        lines,
    )


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--plain", type=Path, required=True)
    parser.add_argument("--further", nargs="*", default=[], metavar="NAME=RUN")
    parser.add_argument("--speech", nargs="+", required=True, metavar="NAME=PATH")
    parser.add_argument("--pieces", type=int, default=20, help="at most, of each")
    parser.add_argument("--out", type=Path, required=True, help="without .json and .md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    further = dict(entry.split("=", 1) for entry in arguments.further)
    runs = {"base": arguments.base, "plain": arguments.plain, **further}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LACONIC_MODELS"] = folder
        training = {}
        for name, run in runs.items():
            checkpoint = Path(run) / "checkpoint.pt"
            info = models.export(
                checkpoint, Path(folder) / f"pscodec-{name}.safetensors", name=f"pscodec-{name}"
            )
            training[name] = {
                "parameters": info.parameters,
                "model_bytes": info.bytes,
                "steps": info.training["steps"],
                "minutes": info.training["minutes"],
                "held_out": info.training.get("held_out"),
            }
        named = [entry.split("=", 1) for entry in arguments.speech]
        sounds = [pieces(Path(path), arguments.pieces) for _, path in named]
        sets = [
            measure(name, sounds[n], sounds[(n + 1) % len(sounds)], list(further))
            for n, (name, _) in enumerate(named)
        ]
    results = {"training": training, "sets": sets}
    keep(arguments.out, results, sets_table(results))


if __name__ == "__main__":
    main()

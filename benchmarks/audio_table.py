"""Quality and size of the audio codec on held-out recordings, beside codecs people use.

    python benchmarks/audio_table.py --data DIR --json benchmarks/results/audio_table.json
        [--model MODEL] [--limit N] [--metrics pesq,stoi,...] [--streams 1,2,...] [--steps 0,4]
        [--only ours | others | savings] [--kind speech | men | ... | other]

``DIR`` holds recordings whose names begin with the source before the first dash; SPEECH are
speech, GROUPS are groups of their own, which ``audio_clips.py`` brings, the rest music or effects.
PESQ, STOI, ESTOI, ViSQOL (speech mode, polynomial map, 16 kHz), lost voice and pitch are measured
on voices only, words on English ones. A run of one kind keeps what is known of the others. Sizes
are those of whole files. Codec 2 is measured where its tools ``c2enc`` and ``c2dec`` are installed.
What the entropy coding saves is counted on the same files against tokens of fixed length.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from audio_clips import LIST

from laconic import codec
from laconic.codec.audio.codec import SemantiCodec
from laconic.codec.audio.decoding import AudioDecoder
from laconic.codec.audio.encoding import AudioEncoder
from laconic.codec.audio.header import AudioDecodeOptions, AudioOptions
from laconic.codec.audio.loading import LoadedModel, load
from laconic.codec.audio.segments import SegmentCoder
from laconic.codec.evaluate import audio_measures
from laconic.codec.evaluate import audio_measures as metrics
from laconic.codec.evaluate.baselines import audio as baselines
from laconic.codec.evaluate.subject import Item, find_items
from laconic.entropy.token_grid import TokenPrior
from laconic.formats.audio import SUFFIXES, Audio, fit_length, resample
from laconic.formats.audio_stream import AudioSource
from laconic.formats.container import Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.errors import LaconicError

SPEECH = ("nathalie_nl", "kathleen_en", "picovoice_s2i", "librivox_fr", "speech")
GROUPS = ("men", "women", "children", "noisy", "reverberant", "two", "singing")
KBPS = 1.5  # of files that fill a limit, as most users ask for
LADDER = (1, 2, 3, 5, 6, 7, 9, 13, 25)  # streams
STEPS = (0, 4)
REFINED = (5,)  # streams that are measured with the refiner too
OPUS = (6, 8, 12)
CODEC2 = ("700C", "1300", "3200")
MEASURES: dict[str, tuple[Callable[[Audio, Audio], float], bool]] = {
    "pesq": (metrics.pesq_wb, True),
    "stoi": (metrics.stoi, True),
    "estoi": (lambda a, b: metrics.stoi(a, b, extended=True), True),
    "visqol": (metrics.visqol, True),
    "log_mel": (lambda a, b: log_mel(a, b), False),
    "mr_stft": (metrics.stft_distance, False),
    "voicing": (audio_measures.voiced_lost, True),
    "f0": (audio_measures.f0_error, True),
    "speaker": (audio_measures.speaker_similarity, True),
    "words": (audio_measures.word_error, True),
    "level": (audio_measures.level_error, False),
    "lines": (audio_measures.frame_lines, False),
}


def log_mel(a: Audio, b: Audio) -> float:
    """Mean difference of natural logarithms of mel magnitudes: 80 bands, 1024 samples, hop 256."""
    import torch
    from torchaudio.functional import melscale_fbanks

    bank = melscale_fbanks(513, 0.0, 8000.0, 80, 16000, norm="slaney", mel_scale="slaney")
    logs = []
    for sound in (a, b):
        mono = Audio(sound.samples.mean(0, keepdims=True, dtype=np.float32), sound.rate)
        wave = torch.from_numpy(resample(mono, 16000).samples[0])
        spectrum = torch.stft(wave, 1024, 256, window=torch.hann_window(1024), return_complex=True)
        logs.append((spectrum.abs().T @ bank).clamp(min=1e-5).log())
    return float((logs[0] - logs[1]).abs().mean())


def kind_of(item: Item) -> str:
    """Speech, one of the groups, or other."""
    if (source := item.path.name.split("-")[0]) in GROUPS:
        return source
    return "speech" if item.path.name.startswith(SPEECH) else "other"


@cache
def english() -> set[str]:
    """Names of the English clips of the list, without endings."""
    rows = csv.DictReader(LIST.read_text().splitlines(), delimiter="\t")
    return {row["file"].removesuffix(".flac") for row in rows if row["language"] == "en"}


def in_english(item: Item) -> bool:
    """Whether one voice speaks English; clips made of another bear its name after their kind."""
    stem = item.path.stem
    known = stem in english() or stem.partition("-")[2] in english()
    return known or stem.split("-")[0].endswith("_en")


def ours(
    model: LoadedModel, ladder: list[int], all_steps: list[int]
) -> Iterator[tuple[str, Callable[[Item], tuple[int, Audio]]]]:
    """Every rung of the ladder, some with the refiner too."""
    most = len(model.network.vocabularies)
    for streams in (n for n in ladder if n <= most):
        for steps in (s for s in all_steps if s == 0 or streams in REFINED):

            def run(item: Item, streams: int = streams, steps: int = steps) -> tuple[int, Audio]:
                quality = 100 * (streams - 1) / (most - 1)
                encoder = AudioEncoder(7, model, AudioOptions(quality=quality, verify=False))
                data = encoder.encode(AudioSource(item.original))
                decoder = AudioDecoder(
                    ContainerReader(data), model, AudioDecodeOptions(steps=steps)
                )
                return len(data), decoder.whole()

            yield f"semanticodec {streams} streams, {steps} steps", run

    def filled(item: Item) -> tuple[int, Audio]:
        data = codec.encode(item.original, kbps=KBPS, model=str(model.info.path))
        return len(data), codec.decode(data)

    yield f"semanticodec --kbps {KBPS:g}", filled


def opus(kbps: int) -> Callable[[Item], tuple[int, Audio]]:
    """Opus through FFmpeg in frames of 60 ms, as for the lowest rates."""
    subject = baselines.make("opus", None)
    options = {**subject.row.options, "frame_duration": "60"}
    subject.row = type(subject.row)(**{**subject.row.__dict__, "options": options})

    def run(item: Item) -> tuple[int, Audio]:
        data = subject.encode(item, kbps)
        return len(data), subject.decode(data, item)

    return run


def codec2(mode: str) -> Callable[[Item], tuple[int, Audio]]:
    """Codec 2 at 8 kHz."""

    def run(item: Item) -> tuple[int, Audio]:
        mono = Audio(item.original.samples.mean(0, keepdims=True), item.original.rate)
        narrow = resample(mono, 8000).samples[0]
        with tempfile.TemporaryDirectory() as folder:
            raw, coded, out = (str(Path(folder) / n) for n in ("a.raw", "a.c2", "b.raw"))
            (narrow.clip(-1, 1) * 32767).astype("<i2").tofile(raw)
            for command in (["c2enc", mode, raw, coded], ["c2dec", mode, coded, out]):
                subprocess.run(command, check=True, capture_output=True)
            back = np.fromfile(out, "<i2").astype(np.float32)[None] / 32767
            size = Path(coded).stat().st_size
        wide = resample(Audio(back, 8000), item.original.rate)
        return size, Audio(fit_length(wide.samples, item.original.samples.shape[1]), wide.rate)

    return run


def measure(
    items: list[Item], name: str, run: Callable[[Item], tuple[int, Audio]], wanted: list[str]
) -> list[dict[str, Any]]:
    """A row for each kind of audio."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        kind = kind_of(item)
        size, decoded = run(item)
        row = found[kind]
        row["bytes"].append(size)
        row["seconds"].append(item.original.seconds)
        for measure_name in wanted:
            compute, speech_only = MEASURES[measure_name]
            if speech_only and kind == "other":
                continue
            if measure_name == "words" and not in_english(item):
                continue
            try:
                row[measure_name].append(compute(item.original, decoded))
            except LaconicError:
                continue
    rows = []
    for kind, values in found.items():
        sounds = len(values["bytes"])
        size, seconds = sum(values.pop("bytes")), sum(values.pop("seconds"))
        means = {k: float(np.mean(v)) for k, v in values.items()}
        rows.append({"codec": name, "kind": kind, "sounds": sounds, "bytes": int(size),
                     "kbps": 8 * size / seconds / 1000, **means})  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    return rows


def savings(items: list[Item], model: LoadedModel) -> list[dict[str, Any]]:
    """Bytes of payloads for each source: fixed length, counts alone, prior and counts."""
    network = model.network
    found: dict[str, dict[str, Any]] = {}
    for item in items:
        rows = codec.audio.tokens(item.original, model=str(model.info.path))
        grids = rows.reshape(1, -1, network.positions, rows.shape[-1])
        source = item.path.name.split("-")[0]
        total = found.setdefault(source, {"sounds": 0, "streams": {}})
        total["sounds"] += 1
        most = rows.shape[-1]
        bits = np.log2(network.vocabularies)
        for at in range(0, grids.shape[1], model.segment):
            part = grids[:, at : at + model.segment]
            places = part.shape[1] * network.positions
            spent = {"fixed": places * np.cumsum(bits) / 8}
            priors: list[tuple[str, TokenPrior | None]] = [("counts", None), ("prior", model.prior)]
            for name, prior in priors:
                coder = SegmentCoder(network.vocabularies, network.positions, prior, 1)
                spent[name] = np.cumsum([coder.cost(part, n) for n in range(most)])
            for streams in (n for n in LADDER if n <= most):
                row = total["streams"].setdefault(streams, {"fixed": 0, "counts": 0, "prior": 0})
                for name, sizes in spent.items():
                    row[name] += int(np.ceil(sizes[streams - 1]))
    for source, total in found.items():
        print(source, json.dumps(total), flush=True)
    return [{"source": source, **total} for source, total in found.items()]


def main() -> None:
    """Measure, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--model", default=SemantiCodec.default_model)
    parser.add_argument("--limit", type=int, help="recordings of each source")
    parser.add_argument("--metrics", default=",".join(MEASURES))
    parser.add_argument("--kind", choices=["speech", *GROUPS, "other"])
    parser.add_argument("--streams", default=",".join(map(str, LADDER)))
    parser.add_argument("--steps", default=",".join(map(str, STEPS)))
    parser.add_argument("--only", choices=["ours", "others", "savings"])
    arguments = parser.parse_args()
    model = load(arguments.model, "semanticodec")
    items = find_items([arguments.data], Media.AUDIO)
    if arguments.limit:
        seen: dict[str, int] = defaultdict(int)
        kept = []
        for item in items:
            source = item.path.name.split("-")[0]
            seen[source] += 1
            if seen[source] <= arguments.limit:
                kept.append(item)
        items = kept
    if arguments.kind:
        items = [item for item in items if kind_of(item) == arguments.kind]
    if not items:
        sys.exit(f"{arguments.data} holds none of {', '.join(sorted(SUFFIXES))}")
    wanted = arguments.metrics.split(",")
    result: dict[str, Any] = {}
    if arguments.json.exists():
        result = json.loads(arguments.json.read_text())
    if arguments.only in (None, "savings"):
        result["savings"] = savings(items, model)
    if arguments.only in (None, "ours"):
        result["model"] = {"name": model.info.name, "id": model.info.id}
        ladder, steps = (list(map(int, x.split(","))) for x in (arguments.streams, arguments.steps))
        kept = {kind_of(item) for item in items}
        result["ours"] = [r for r in result.get("ours", []) if r["kind"] not in kept]
        for name, run in ours(model, ladder, steps):
            result["ours"] += measure(items, name, run, wanted)
    if arguments.only in (None, "others"):
        kept = {kind_of(item) for item in items}
        result["others"] = [r for r in result.get("others", []) if r["kind"] not in kept]
        for kbps in OPUS:
            result["others"] += measure(items, f"Opus {kbps} kbit/s", opus(kbps), wanted)
        if shutil.which("c2enc"):
            for mode in CODEC2:
                result["others"] += measure(items, f"Codec 2 {mode}", codec2(mode), wanted)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

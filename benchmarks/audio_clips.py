"""The voices that audio_table.py and audio_split.py measure, from the recordings of audio_test.tsv.

    python benchmarks/audio_clips.py --out DIR [--clones DIR]

Every row of ``audio_test.tsv`` becomes a FLAC file of 16 kHz in ``DIR``. From them are made,
always the same, so that nothing more has to be fetched:

- noisy: a voice with dishes, rain or six other voices behind it, at 10 dB;
- reverberant: a voice in a room, its impulse response a direct sound and as much energy again of
  Gaussian noise that decays by 60 dB in 0.4 s;
- two: a man and a woman at once, equally loud, as long as the shorter of both speaks.

Recordings are read over the network from GitHub, or from clones below ``--clones``, bare or not,
whose folders are called ``owner+name``.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import urllib.request
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from laconic.formats.audio import Audio, read_audio, resample
from laconic.formats.audio_writer import write_audio

RATE = 16000
LIST = Path(__file__).with_name("audio_test.tsv")
MEN = ("aew-01", "aew-02", "libritts1089-01", "libritts949-01", "libritts7176-01", "lyra-01")
WOMEN = ("axb-01", "axb-02", "libritts2004-01", "libritts337-01", "libritts3575-01",
         "libritts4507-01")  # fmt: skip
BEHIND = ("women-kerstin-01", "women-kerstin-06", "women-kerstin-11", "men-thorsten-02",
          "men-rdh-02", "men-libritts6294-01")  # fmt: skip
RATIO = 10.0  # dB of voice over noise
DECAY = 0.4  # seconds to -60 dB
LOUDEST = 0.95  # what is made is brought down to it

Wave = NDArray[np.float64]


def fetched(row: dict[str, str], clones: Path | None) -> bytes:
    """The file that a row names."""
    if clones is None:
        place = f"{row['repository']}/{row['commit']}/{quote(row['path'])}"
        with urllib.request.urlopen(f"https://raw.githubusercontent.com/{place}") as answer:
            data: bytes = answer.read()
            return data
    folder = clones / row["repository"].replace("/", "+")
    folder = next(f for f in (folder / "repo", folder) if f.exists())
    command = ["git", "-C", str(folder), "cat-file", "blob", f"{row['commit']}:{row['path']}"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def clip(row: dict[str, str], data: bytes) -> Wave:
    """The part of a recording that a row names, one channel."""
    whole = read_audio(data)
    start = round(float(row["start"]) * whole.rate)
    part = whole.samples[:, start : start + round(float(row["seconds"]) * whole.rate)]
    mono = Audio(part.mean(0, keepdims=True, dtype=np.float32), whole.rate)
    return resample(mono, RATE).samples[0].astype(np.float64)


def power(wave: Wave) -> float:
    """Mean of squares."""
    return float((wave**2).mean())


def mixed(voice: Wave, other: Wave, ratio: float) -> Wave:
    """Both, the voice ``ratio`` dB above the other, which is repeated if it is shorter."""
    behind = np.resize(other, len(voice))
    return voice + behind * np.sqrt(power(voice) / power(behind) / 10 ** (ratio / 10))


def in_room(voice: Wave) -> Wave:
    """The voice in a room, as loud as before."""
    times = np.arange(int(DECAY * RATE)) / RATE
    response = np.random.RandomState(0).standard_normal(len(times)) * 10 ** (-3 * times / DECAY)
    response[: RATE // 400] = 0  # the first reflection comes after 2.5 ms
    response /= np.sqrt((response**2).sum())
    response[0] = 1
    size = len(voice) + len(response)
    heard = np.fft.irfft(np.fft.rfft(voice, size) * np.fft.rfft(response, size), size)
    heard = heard[: len(voice)]
    return heard * np.sqrt(power(voice) / power(heard))


def made(clips: dict[str, Wave]) -> dict[str, Wave]:
    """Noisy and reverberant voices, and two at once; their names say what they are made of."""
    voices = [name for pair in zip(MEN, WOMEN, strict=True) for name in pair]
    sexes = ["men", "women"] * len(MEN)
    behind = sum(np.resize(clips[name], 7 * RATE) / np.sqrt(power(clips[name])) for name in BEHIND)
    noises = (clips["noise-dishes-01"], clips["noise-rain-01"], np.asarray(behind))
    found = {}
    for number, (sex, name) in enumerate(zip(sexes, voices, strict=True)):
        voice = clips[f"{sex}-{name}"]
        # Each noise is behind two men and two women.
        found[f"noisy-{sex}-{name}"] = mixed(voice, noises[number // 2 % 3], RATIO)
        found[f"reverberant-{sex}-{name}"] = in_room(voice)
    for man, woman in zip(MEN, WOMEN, strict=True):
        one, other = clips[f"men-{man}"], clips[f"women-{woman}"]
        length = min(len(one), len(other))
        found[f"two-{man}-{woman}"] = mixed(one[:length], other[:length], 0)
    return found


def main() -> None:
    """Fetch, cut, make."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clones", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    clips = {}
    for row in csv.DictReader(LIST.read_text().splitlines(), delimiter="\t"):
        clips[row["file"].removesuffix(".flac")] = clip(row, fetched(row, arguments.clones))
    kept = {name: wave for name, wave in clips.items() if not name.startswith("noise-")}
    for name, wave in {**kept, **made(clips)}.items():
        loud = wave * min(1.0, LOUDEST / np.abs(wave).max())
        sound = Audio(loud[None].astype(np.float32), RATE)
        write_audio(sound, arguments.out / f"{name}.flac", overwrite=True)
    print(f"{len(kept)} clips of the list, and those made of them, lie in {arguments.out}")


if __name__ == "__main__":
    main()

"""Speed and memory of the audio codec: factors of real time, and an hour through the pipe.

    python benchmarks/audio_speed.py [--json FILE] [--model MODEL] [--minutes 60] [--sound FILE]

Factors are seconds of audio per second of processor time, which says what a core that has nothing
else to do would take; set OMP_NUM_THREADS=1 to leave out what threads lose to each other. The long
audio is a sample, repeated; its steps are commands of their own, model loading included, so that
peak memory is their own. FFmpeg's Opus encoder is measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from kept import alone

from laconic.codec.audio.codec import SemantiCodec
from laconic.formats.audio import Audio, read_audio, resample
from laconic.formats.audio_writer import FORMATS, AudioWriter

SAMPLE = Path(__file__).parents[1] / "samples" / "voice.flac"


def looped(source: Path, seconds: float, target: Path, rate: int = 16000) -> None:
    """Write ``source`` over and over until it lasts ``seconds``."""
    sound = read_audio(source)
    piece = resample(
        Audio(sound.samples.mean(0, keepdims=True, dtype=np.float32), sound.rate), rate
    )
    left = round(seconds * rate)
    with target.open("wb") as file:
        writer = AudioWriter(file, FORMATS["wav"], rate, 1)
        while left > 0:
            writer.write(piece.samples[:, :left])
            left -= piece.samples.shape[1]
        writer.finish()


def opus_factors(path: Path, seconds: float) -> dict[str, float]:
    """Opus through FFmpeg, as factors of real time."""
    import io

    from laconic.formats.audio_stream import AudioSource

    sound = read_audio(path)
    buffer = io.BytesIO()
    start = time.process_time()
    writer = AudioWriter(buffer, FORMATS["opus"], sound.rate, 1)
    writer.write(sound.samples)
    writer.finish()
    middle = time.process_time()
    with AudioSource(buffer.getvalue()) as source:
        for _ in source:
            pass
    end = time.process_time()
    return {"encode": seconds / (middle - start), "decode": seconds / (end - middle)}


def factors(path: Path, seconds: float, model: str) -> list[dict[str, Any]]:
    """Default rate, model loaded, one process."""
    from laconic import codec

    def encode(**options: Any) -> bytes:
        return codec.encode(path, codec="semanticodec", model=model, **options)

    codec.decode(codec.encode(SAMPLE, codec="semanticodec", model=model))
    data = encode()
    steps: dict[str, Callable[[], Any]] = {
        "encode, verified": encode,
        "encode --no-verify": lambda: encode(verify=False),
        "encode --kbps 1.5": lambda: encode(kbps=1.5),
        "encode --kbps 3": lambda: encode(kbps=3),
        "decode": lambda: codec.decode(data),
        "tokens alone": lambda: codec.verify(data),
    }
    rows = []
    for name, step in steps.items():
        start = time.process_time()
        step()
        rows.append({"step": name, "factor": seconds / (time.process_time() - start)})
    return rows


def show(result: dict[str, Any]) -> None:
    """Factors of real time and, in brackets, of Opus's; peaks."""
    opus, long = result["opus"], result["long"]
    print("times real time, in brackets times that of Opus")
    for row in result["factors"]:
        peer = opus["encode" if row["step"].startswith("encode") else "decode"]
        print(f"{row['step']:20} {row['factor']:7.1f} ({row['factor'] / peer:.3g})")
    print(f"{long['minutes']:g} minutes from a cold process, {long['bytes']:,} bytes")
    for way in ("encode", "decode"):
        factor = long[f"{way}_factor"]
        print(
            f"{way:20} {factor:7.1f} ({factor / opus[way]:.3g})  peak {long[f'{way}_mib']:5.0f} MiB"
        )


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--model", default=SemantiCodec.default_model)
    parser.add_argument("--minutes", type=float, default=60, help="of the long audio")
    parser.add_argument("--sound", type=Path, default=SAMPLE)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short.wav", Path(folder) / "long.wav"
        looped(arguments.sound, 60, short)
        result: dict[str, Any] = {
            "cores": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS", "all"),
            "factors": factors(short, 60, arguments.model),
            "opus": opus_factors(short, 60),
        }
        seconds = 60 * arguments.minutes
        looped(arguments.sound, seconds, long)
        coded, back = str(Path(folder) / "long.lac"), str(Path(folder) / "back.wav")
        encode = alone("encode", str(long), "-o", coded, "--model", arguments.model, "--quiet",
                       "--no-verify")  # fmt: skip
        decode = alone("decode", coded, "-o", back, "--quiet")
        result["long"] = {
            "minutes": arguments.minutes,
            "bytes": Path(coded).stat().st_size,
            "encode_factor": seconds / encode["cpu_s"],
            "encode_mib": encode["peak_mib"],
            "decode_factor": seconds / decode["cpu_s"],
            "decode_mib": decode["peak_mib"],
        }
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

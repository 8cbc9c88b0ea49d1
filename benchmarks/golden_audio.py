"""Writes golden streams of recordings into ``tests/golden``; existing ones are kept.

    python benchmarks/golden_audio.py

Streams of the tiny model of ``tests/tiny_audio.py`` cover the format; those whose names begin with
"small" are of the models that ship.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from laconic import codec
from laconic.formats.audio import Audio
from laconic.formats.container import Container
from laconic.formats.errors import ModelError

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from tiny_audio import NAME, install, melody  # noqa: E402
from tiny_prior import VOCABULARIES  # noqa: E402

PLAIN = NAME + "-plain"
SHIPPED = {
    "small": "semanticodec-small",
    "small-2": "semanticodec-small-2",
    "small-3": "semanticodec-small-3",
    "small-4": "semanticodec-small-4",
    "small-5": "semanticodec-small-5",
    "small-6": "semanticodec-small-6",
    "small-7": "semanticodec-small-7",
    "small-8": "semanticodec-small-8",
}


def encoded(sound: Audio, model: str, **options: Any) -> bytes:
    """A file at full quality unless the options say otherwise."""
    chosen = {"quality": 100.0, "steps": 0, **options}
    return codec.encode(sound, codec="semanticodec", model=model, **chosen)


def streamed(sound: Audio, model: str) -> bytes:
    """A file whose header does not say its length."""
    buffer = io.BytesIO()
    codec.audio.encode_to(sound, buffer, model=model, quality=100.0, steps=0)
    return buffer.getvalue()


def cases() -> dict[str, bytes]:
    """Every feature of the files."""
    tagged = melody(1)
    tagged.tags = {"title": "Wind", "artist": "Élise"}
    gap = melody(20)
    gap.samples[:, :160000] = 0
    opposite = melody(2).samples[0]
    noise = np.random.default_rng(0)
    tokens = np.stack([noise.integers(0, v, 64 * 4) for v in VOCABULARIES], -1)
    found = {
        "mono": encoded(melody(3), NAME),
        "counts": encoded(melody(3), PLAIN),
        "segments": encoded(melody(21, 22050), NAME, quality=50.0),
        "joint": encoded(melody(12, 44100, 2), PLAIN),
        "dual": encoded(melody(4, 44100, 2), PLAIN, stereo="dual"),
        "cancelling": encoded(Audio(np.stack([opposite, -opposite]), 16000), PLAIN),
        "five-one": encoded(melody(1, 48000, 6), PLAIN),
        "one-sample": encoded(Audio(np.ones((1, 1), np.float32), 16000), PLAIN),
        "silence": encoded(Audio(np.zeros((2, 500000), np.float32), 48000), PLAIN),
        "gap": encoded(gap, PLAIN),
        "tags": encoded(tagged, PLAIN),
        "streamed": streamed(melody(21), PLAIN),
        "streamed-short": streamed(melody(1.5, 8000), PLAIN),
        "seeded": encoded(melody(2), PLAIN, steps=4, seed=123456),
        "plain": codec.audio.pack(tokens, model=PLAIN, steps=0),
    }
    for name, model in SHIPPED.items():
        with contextlib.suppress(ModelError):
            codec.models.find(model)
            found |= {
                f"{name}-mono": encoded(melody(3), model, quality=40.0),
                f"{name}-stereo": encoded(melody(12, 44100, 2), model, quality=100.0),
                f"{name}-short": encoded(melody(0.1), model, quality=0.0),
            }
    return found


def envelope(samples: Any) -> list[list[float]]:
    """Root mean squares of each channel in a dozen parts."""
    parts = np.array_split(samples, min(12, samples.shape[1]), axis=1)
    return [[round(float(np.sqrt((p[c] ** 2).mean())), 5) for p in parts]
            for c in range(len(samples))]  # fmt: skip


def main() -> None:
    """Encode every case that has no file yet."""
    with tempfile.TemporaryDirectory() as store, pytest.MonkeyPatch.context() as patch:
        os.environ["LACONIC_MODELS"] = store
        install(Path(store), patch)
        install(Path(store), patch, prior=False)
        for name, data in cases().items():
            container = Container.from_bytes(data)
            version = container.header.codec_version
            path = ROOT / "tests" / "golden" / f"semanticodec-{version}" / f"{name}.lac"
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            decoded = codec.decode(data)
            about = {
                "checks": [s.check for s in container.segments],
                "model": container.header.model.hex(),
                "rate": decoded.rate,
                "shape": list(decoded.samples.shape),
                "tags": decoded.tags,
                "envelope": envelope(decoded.samples),
            }
            path.write_bytes(data)
            path.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
            digest = hashlib.sha256(data).hexdigest()[:8]
            print(path.relative_to(ROOT), len(data), "bytes", digest)


if __name__ == "__main__":
    main()

"""Files of every codec written in one environment and read in another.

    python tests/environments.py encode FOLDER [NAME...]
    python tests/environments.py decode FOLDER...

``encode`` writes a file per codec and model into the folder, and beside it what it decodes to;
``decode`` checks every symbol of such folders and of the golden files, and what they decode to.
Both print their versions. Set what an environment is by the usual variables (``OMP_NUM_THREADS``,
``ATEN_CPU_CAPABILITY``, ``NPY_DISABLE_CPU_FEATURES``, ``LACONIC_NO_JIT``) or by its packages:
``.ci/matrix`` goes through them.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mutants
import numpy as np
import prompt_models
import pytest
import rule_models
import torch
from pictures import picture, scene

from laconic import codec
from laconic.formats.audio import Audio
from laconic.formats.image import Image
from laconic.formats.table import Table

MADE = "test-detail.safetensors"  # a model whose weights are not the same everywhere
LEVELS = 1  # of 255 that decoded samples of lossy codecs may differ between machines
TONE = np.sin(np.arange(4000) / 9.0, dtype=np.float32)[None] * np.float32(0.3)
CELLS = b"n,name,x\n" + b"".join(b"%d,w%d,%d.5\n" % (n, n % 7, n * n % 50) for n in range(90))
FRAMES = np.stack([np.roll(scene(24, 32), n, 1) for n in range(3)])


def works(names: list[str]) -> dict[str, Callable[[], bytes]]:
    """How each of these files, or all, is made; the store must hold the models of
    :mod:`mutants`."""
    found: dict[str, Callable[[], bytes]] = {
        "photo": lambda: codec.encode(scene(40, 52), lossless=True),
        "photo-16-alpha": lambda: codec.encode(picture(20, 30, 3, 16, alpha=True), lossless=True),
        "records-table": lambda: codec.encode(Table(CELLS), codec="records"),
        "records-floats": lambda: codec.encode(np.arange(60.0).reshape(20, 3), codec="records"),
        "motion": lambda: codec.encode(FRAMES, quality=40),
        "hnerv": lambda: codec.encode(FRAMES, codec="hnerv", preset="fast"),
        "pscodec": lambda: codec.encode(prompt_models.golden_sound(), codec="pscodec"),
        "semanticodec": lambda: codec.encode(Audio(TONE, 16000), model="tiny-tones"),
    }
    for name in (*rule_models.RULE_MODELS, *rule_models.ORDERED):
        quality = 60.0 if "vbr" in name else None
        found[name] = lambda name=name, quality=quality: codec.encode(  # type: ignore[misc]
            scene(60, 90), model=name, quality=quality
        )
    for data in mutants.made() if not names or any(n.startswith("mlic-3-") for n in names) else ():
        found[data[0].replace("/", "-")] = data[1].to_bytes
    return {name: work for name, work in found.items() if not names or name in names}


def decoded(data: bytes) -> np.ndarray[Any, Any]:
    """What a file holds, as numbers."""
    value = codec.decode(data)
    if isinstance(value, Image):
        return value.pixels
    if isinstance(value, Table):
        return np.frombuffer(value.text, np.uint8)
    if hasattr(value, "close"):
        frames = np.stack([np.asarray(getattr(f, "pixels", f)) for f in value])
        value.close()
        return frames
    return np.asarray(getattr(value, "samples", value))


def encode(folder: Path, names: list[str]) -> None:
    """Write the files of these names, or all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, work in works(names).items():
        data = work()
        (folder / f"{name}.lac").write_bytes(data)
        np.save(folder / f"{name}.npy", decoded(data))
        print(f"{name}: {len(data)} bytes", flush=True)


def decode(folders: list[Path]) -> int:
    """Check all files; returns how many are wrong."""
    wrong = 0
    for path in [path for folder in folders for path in sorted(folder.glob("*.lac"))]:
        expected, data = np.load(path.with_suffix(".npy")), path.read_bytes()
        report = codec.verify(data)
        found = decoded(data)
        exact = codec.probe(data).codec in ("photo", "records", "motion")
        whole = expected.dtype.kind == "u"
        most = 0 if exact else LEVELS if whole else LEVELS / 255
        away = np.abs(found.astype(np.float64) - expected.astype(np.float64)).max(initial=0)
        good = found.shape == expected.shape and away <= most
        wrong += not good
        print(f"{path.parent.name} {path.stem}: {report.symbols} symbols equal, samples within"
              f" {away:g}{'' if good else ' WRONG'}", flush=True)  # fmt: skip
    for name, golden in mutants.seeds():
        codec.verify(golden.to_bytes())
        print(f"golden {name}: symbols equal", flush=True)
    return wrong


def main(what: str, folder: str, *names: str) -> int:
    """Prepare the store and do it."""
    compiled = find_spec("numba") and os.environ.get("LACONIC_NO_JIT", "0") in ("", "0")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__},"
          f" numba {version('numba') if compiled else 'off'}, threads {torch.get_num_threads()},"
          f" {torch.backends.cpu.get_cpu_capability()}", flush=True)  # fmt: skip
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as store:
        patch.setenv("LACONIC_MODELS", store)
        rule_models.install(Path(store))
        for other in () if what == "encode" else (folder, *names):
            for path in Path(other).glob("*.safetensors"):
                shutil.copy(path, Path(store) / f"{Path(other).name}-{path.name}")
        mutants.install(Path(store), patch)
        if what == "encode":
            encode(Path(folder), list(names))
            shutil.copy(Path(store) / MADE, folder)
            return 0
        return decode([Path(folder), *map(Path, names)])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Exact decoding: one stream, many ways of computing, the same symbols.

The stream is made once; child processes decode it under other numbers of threads, without oneDNN,
on the baseline instruction set, and with float noise injected; each prints a digest of the symbols.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import picture

from laconic import codec
from laconic.codec.image.codec import load_model
from laconic.codec.image.codecs import MlicCodec
from laconic.codec.image.coding import ExactCoder
from laconic.codec.image.header import ImageOptions
from laconic.codec.models import DEFAULT_MODEL
from laconic.formats import ContainerReader
from laconic.formats.errors import LaconicError

DIGEST = """
import hashlib, sys, torch
{setup}
from laconic.codec.image.codec import load_model
from laconic.codec.models import DEFAULT_MODEL
from laconic.formats import ContainerReader
segment = ContainerReader(open(sys.argv[1], "rb").read())[0]
coded = load_model(DEFAULT_MODEL).coder.decode(segment.payload, 12, 16, 62.0)
assert segment.matches(coded.check.value32())
print(coded.check.value32())
"""
VARIANTS = {
    "one thread": ("torch.set_num_threads(1)", {}),
    "two threads": ("torch.set_num_threads(2)", {}),
    "seven threads": ("torch.set_num_threads(7)", {}),
    "without oneDNN": ("torch.backends.mkldnn.enabled = False", {"DNNL_MAX_CPU_ISA": "SSE41"}),
    "baseline instructions": (
        "",
        {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    ),
    "other products": ("", {"MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"}),
}


def plain() -> bytes:
    """A file of one latent and nothing else."""
    return MlicCodec().encode_plain(picture(192, 256), ImageOptions(quality=62))


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exact") / "x.lac"
    path.write_bytes(plain())
    return path


@pytest.mark.parametrize("name", VARIANTS)
def test_symbols_are_equal_on_other_arithmetic(name: str, stream: Path) -> None:
    setup, environment = VARIANTS[name]
    result = subprocess.run(
        [sys.executable, "-c", DIGEST.format(setup=setup), str(stream)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert int(result.stdout) & 0xFFFF == ContainerReader(stream.read_bytes())[0].check


def noisy(coder: ExactCoder, relative: float, seed: int) -> ExactCoder:
    """The same coder with its scales disturbed, in steps of the table."""
    generator = torch.Generator().manual_seed(seed)
    clean = coder.position

    def position(log_scale: torch.Tensor) -> Any:
        place = clean(log_scale)
        noise = torch.rand(place.shape, generator=generator, dtype=torch.float64).numpy()
        return place + relative * (2 * noise - 1)

    other = object.__new__(ExactCoder)
    other.__dict__.update(coder.__dict__)
    other.position = position  # type: ignore[method-assign]
    return other


def test_noise_below_the_guard_band_changes_nothing(stream: Path) -> None:
    coder = load_model(DEFAULT_MODEL).coder
    segment = ContainerReader(stream.read_bytes())[0]

    for seed in range(3):
        coded = noisy(coder, 0.9e-9, seed).decode(segment.payload, 12, 16, 62.0)
        assert segment.matches(coded.check.value32())


def test_noise_far_above_the_guard_band_is_detected(stream: Path) -> None:
    coder = load_model(DEFAULT_MODEL).coder
    segment = ContainerReader(stream.read_bytes())[0]

    for seed in range(5):
        try:
            coded = noisy(coder, 0.05, seed).decode(segment.payload, 12, 16, 62.0)
        except LaconicError:
            continue
        assert not segment.matches(coded.check.value32())


def test_channels_last_and_batched_networks_give_the_same_symbols(stream: Path) -> None:
    """The walk over a batch of two equals the walk over one, symbol for symbol."""
    model = load_model(DEFAULT_MODEL)
    coder = model.coder
    segment = ContainerReader(stream.read_bytes())[0]
    y_hat = coder.decode(segment.payload, 12, 16, 62.0).y_hat
    q = torch.tensor([62.0, 62.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(1, 3, 4, model.config.z_channels, generator=generator, dtype=torch.float64)
    hyper = coder.h_s(z.round(), q[:1])
    positions: list[list[Any]] = [[], []]

    def walk(batch: int, layout: Any) -> None:
        def code(at: Any, first: int, end: int, mean: Any, log_scale: Any) -> Any:
            positions[batch - 1].append(coder.position(log_scale)[:1])
            return (y_hat.flatten(1, 2)[:, at, first:end] - mean).round() + mean

        features = layout(hyper.expand(batch, -1, -1, -1))
        coder.y_model(features, q[:batch], code)

    walk(1, lambda h: h)
    walk(2, lambda h: h.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1))

    for one, two in zip(*positions, strict=True):
        assert abs(one - two).max() < 1e-10


def test_files_of_encoders_with_other_threads_decode_here(stream: Path) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        again = plain()
    finally:
        torch.set_num_threads(threads)

    assert codec.decode(again).pixels.shape == (192, 256, 3)
    assert codec.verify(again).symbols == codec.verify(stream).symbols


@pytest.mark.parametrize(
    ("name", "stream_name"),
    [("seven threads", "mlicpp-ordered"), ("baseline instructions", "mlicpp")],
)
def test_imported_models_decode_on_other_arithmetic(
    name: str, stream_name: str, rule_models: Path
) -> None:
    """Golden streams, made with other kernels than today's, in processes that compute otherwise."""
    setup, environment = VARIANTS[name]
    path = Path(__file__).parent / "golden" / "mlic++-1" / f"{stream_name}.lac"
    code = f"import sys, torch\n{setup}\nfrom laconic import codec\ncodec.verify(sys.argv[1])"
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("bits", "quality", "near"), [(8, 50, True), (16, 50, False), (8, 95, False)]
)
def test_synthesis_in_bfloat16_is_within_a_level_and_only_where_that_is_enough(
    bits: int, quality: float, near: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = codec.encode(picture(96, 128, bits=bits), quality=quality)
    found = []
    for mixed in (False, True):
        monkeypatch.setattr(load_model(DEFAULT_MODEL), "mixed", mixed)
        found.append(codec.decode(data).pixels.astype(int))

    assert np.abs(found[0] - found[1]).max() == int(near)

"""Files of imported models: every property that the default codec's files have."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import picture
from rule_models import RULE_MODELS
from test_image_exact import VARIANTS

from laconic import codec
from laconic.codec import models, registry
from laconic.codec.image.architectures import load_model
from laconic.codec.image.coding import LatentCoder
from laconic.codec.image.interface import ImageModel
from laconic.formats import Container, ContainerReader
from laconic.formats.errors import FormatError, LaconicError

pytestmark = pytest.mark.usefixtures("rule_models")
NAMES = sorted(RULE_MODELS)


def loaded(name: str) -> ImageModel:
    return load_model(models.find(name).codec, name)


def rate(model: ImageModel) -> float | None:
    return 50.0 if model.variable else None


@pytest.mark.parametrize("name", NAMES)
def test_pictures_come_back_with_alpha_metadata_and_depth(name: str) -> None:
    original = picture(97, 131, bits=16, alpha=True)

    data = codec.encode(original, model=name, tile=64)
    decoded = codec.decode(data)

    quality = {"quality": 50.0} if name.endswith(("-vbr", "-fixed-z")) else {}
    assert codec.probe(data).to_dict()["settings"] == {"tile": 64, **quality}
    assert decoded.pixels.shape == original.pixels.shape
    assert decoded.pixels.dtype == np.uint16
    assert decoded.alpha is not None
    assert np.array_equal(decoded.alpha, original.alpha)
    assert codec.verify(data).segments == 6


@pytest.mark.parametrize("name", NAMES)
def test_tiles_are_the_same_picture_as_the_whole(name: str) -> None:
    """Synthesis and analysis of a part with its margin equal those of the whole."""
    model = loaded(name)
    reach = model.synthesis_margin // 16
    generator = torch.Generator().manual_seed(5)
    y = torch.randn(1, 4, 2 * reach + 6, model.channels, generator=generator)
    with torch.no_grad():
        whole = model.synthesise(y, rate(model))
        left = model.synthesise(y[:, :, : reach + 2], rate(model))
        wide = torch.rand(1, 64, 2 * model.analysis_margin + 256, 3, generator=generator)
        latents = model.analyse(wide, rate(model))
        part = model.analyse(wide[:, :, : model.analysis_margin + 128], rate(model))

    assert torch.allclose(left[:, :, :32], whole[:, :, :32], atol=1e-5)
    assert torch.allclose(part[:, :, :8], latents[:, :, :8], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_payload_is_as_small_as_the_tables_allow(name: str) -> None:
    """Coding a latent drawn around zero costs about its entropy and decodes to the same values."""
    model = loaded(name)
    q = rate(model)
    with torch.no_grad():
        y = model.analyse(torch.rand(1, 128, 192, 3, generator=torch.manual_seed(1)), q)
        coded = model.encode(y, model.hyper(y, q), q)
        again = model.decode(coded.payload, 8, 12, q)

    assert again.symbols == coded.symbols
    assert torch.equal(coded.y_hat, again.y_hat)
    # Selective compression leaves elements out; everything else codes each element of y.
    assert (coded.symbols >= y.numel()) == (name != "test-mlicv2")


DIGEST = """
import sys, torch
{setup}
from laconic import codec
from laconic.codec.image.architectures import load_model
from laconic.formats import ContainerReader
for path in sys.argv[1:]:
    reader = ContainerReader(open(path, "rb").read())
    print(codec.verify(path).symbols, reader[0].check)
"""


@pytest.mark.parametrize("variant", ["seven threads", "without oneDNN", "baseline instructions"])
def test_symbols_are_equal_on_other_arithmetic(variant: str, tmp_path: Path) -> None:
    setup, environment = VARIANTS[variant]
    paths = []
    for name in NAMES:
        paths.append(tmp_path / f"{name}.lac")
        paths[-1].write_bytes(codec.encode(picture(128, 192), model=name))
    result = subprocess.run(
        [sys.executable, "-c", DIGEST.format(setup=setup), *map(str, paths)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == len(NAMES)


def noisy(model: ImageModel, size: float, seed: int) -> ImageModel:
    """The same model whose scales are disturbed, in steps of the table."""
    import copy

    generator = torch.Generator().manual_seed(seed)
    other = copy.copy(model)
    coder: LatentCoder = copy.copy(model.coder)  # type: ignore[attr-defined]
    clean = coder.position

    def position(log_scale: torch.Tensor) -> Any:
        place = clean(log_scale)
        noise = torch.rand(place.shape, generator=generator, dtype=torch.float64).numpy()
        return place + size * (2 * noise - 1)

    coder.position = position  # type: ignore[method-assign]
    other.coder = coder  # type: ignore[attr-defined]
    return other


@pytest.mark.parametrize("name", NAMES)
def test_noise_below_the_guard_band_changes_nothing_and_above_is_detected(name: str) -> None:
    segment = ContainerReader(codec.encode(picture(128, 192), model=name))[0]
    model = loaded(name)

    coded = noisy(model, 0.9e-9, 1).decode(segment.payload, 8, 12, rate(model))
    assert segment.matches(coded.check.value32())
    if name in ("test-factorized", "test-relu"):  # tables depend on the channel alone
        return
    try:
        coded = noisy(model, 3.0, 1).decode(segment.payload, 8, 12, rate(model))
    except LaconicError:
        return
    assert not segment.matches(coded.check.value32())


@pytest.mark.parametrize("name", NAMES)
def test_damaged_payloads_raise_only_documented_errors(name: str) -> None:
    container = Container.from_bytes(codec.encode(picture(64, 64), model=name))
    payload = container.segments[0].payload
    rng = np.random.default_rng(2)
    import dataclasses

    for _ in range(8):
        damaged = bytearray(payload)
        for at in rng.integers(0, len(payload), 3):
            damaged[at] ^= int(rng.integers(1, 256))
        cut = bytes(damaged[: rng.integers(1, len(damaged) + 1)])
        segment = dataclasses.replace(container.segments[0], payload=cut)
        data = Container(container.header, [segment], container.chunks).to_bytes()
        with pytest.raises(FormatError):
            codec.verify(data)


@pytest.mark.parametrize("name", [n for n in NAMES if "-vbr" in n])
def test_models_of_all_rates_take_a_quality_and_a_size(name: str) -> None:
    original = picture(64, 64)
    sizes = [len(codec.encode(original, model=name, quality=q)) for q in (0, 35.5, 100)]

    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]
    assert codec.probe(codec.encode(original, model=name, quality=35.5)).settings["quality"] == 35.5
    target = (sizes[0] + sizes[2]) // 2
    assert len(codec.encode(original, model=name, target_bytes=target)) <= target


def test_a_header_of_another_kind_of_model_is_refused() -> None:
    import dataclasses

    for name, header in (("test-mean", b"\0\0\1"), ("test-mean-vbr", b"\1")):
        container = Container.from_bytes(codec.encode(picture(64, 64), model=name))
        forged = dataclasses.replace(container.header, codec_header=header)
        data = Container(forged, container.segments, container.chunks).to_bytes()
        with pytest.raises(FormatError, match="header is not one of its model"):
            codec.decode(data)


def test_stream_numbers_are_fixed() -> None:
    assert registry.get("compressai").codec_id == 5
    assert registry.get("mlic++").codec_id == 4


def test_a_latent_of_which_nothing_is_kept_costs_next_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rule_models import network
    from safetensors.torch import save_file

    weights = {k: v.contiguous() for k, v in network("test-mlicv2").state_dict().items()}
    for key, value in weights.items():
        if key.startswith("keep_") and ".outer." in key:
            value.fill_(-5.0 if key.endswith("bias") else 0.0)
    save_file(weights, tmp_path / "x.safetensors")
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path / "store"))
    models.import_checkpoint(tmp_path / "x.safetensors", name="sparing")

    data = codec.encode(picture(128, 192), model="sparing")

    assert codec.verify(data).symbols == 4 * 2 * 3  # z alone
    assert codec.decode(data).pixels.shape == (128, 192, 3)

"""Checks any codec against what every codec promises; for tests of your own.

>>> from laconic.codec.testing import check_codec
>>> check_codec("photo", sizes=1, prefixes=5, damages=5)

A codec that passes works in the Python API, on the command line and in evaluations. What is
checked, each by a function of its own: the declaration; the round trip through API and command
line; equal bytes for equal input; that options are checked and those of others refused; that every
prefix and every damaged byte of a file is found; random access; an evaluation.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from laconic import codec as toolkit
from laconic.codec import media, registry
from laconic.codec.base import RATES, Codec, DecodeSettings, EncodeSettings
from laconic.codec.media.base import Medium
from laconic.codec.options import declared
from laconic.formats.audio import Audio
from laconic.formats.container import Media
from laconic.formats.errors import LaconicError, ParameterError
from laconic.formats.image import Image
from laconic.formats.records import Records, from_array
from laconic.formats.table import Table
from laconic.formats.video_images import VideoArray

Run = Callable[[Sequence[str]], str]


def check_codec(
    name: str,
    *,
    sizes: int = 3,
    prefixes: int | None = None,
    damages: int = 60,
    command_line: bool = True,
    evaluate: bool = True,
    run: Run | None = None,
    **options: Any,
) -> None:
    """Raise ``AssertionError`` for the first promise that a codec does not keep.

    Args:
        name: of a codec of the registry, with a colon and a model if wanted.
        sizes: how many samples of its medium are tried, small and odd ones first.
        prefixes: how many prefixes of the smallest file are tried; None tries every one.
        damages: how many single bytes are changed.
        command_line: run ``laconic`` as well.
        evaluate: measure one point as ``laconic eval`` does.
        run: runs ``laconic`` with arguments and returns what it prints; None starts a process,
            which knows installed codecs only.
        options: of the codec, such as a fast preset.
    """
    codec = registry.get(name.partition(":")[0])
    medium = media.of(codec.media)
    check_declaration(codec)
    found = list(samples(codec.media))[:sizes]
    files = [check_round_trip(name, medium, sample, options) for sample in found]
    assert toolkit.encode(found[0], codec=name, **options) == files[0], (
        f"{name}: two encodings of one input differ: the encoder has to be deterministic"
    )
    check_options(name, found[0], options)
    smallest = min(files, key=len)
    check_prefixes(smallest, prefixes)
    check_damage(smallest, damages)
    check_parts(codec, medium, files[-1])
    with tempfile.TemporaryDirectory() as folder:
        original = write_sample(Path(folder), found[-1], codec.media)
        if command_line:
            check_command_line(name, codec, original, options, run or laconic)
        if evaluate:
            check_evaluation(name, codec, original)


def samples(kind: Media) -> Iterator[Any]:
    """Small inputs of a medium, odd ones first."""
    rng = np.random.default_rng(7)
    if kind == Media.IMAGE:
        for height, width, channels in ((1, 1, 3), (33, 20, 1), (48, 70, 3)):
            ramp = np.linspace(0, 200, width)[None, :, None] + np.arange(height)[:, None, None]
            noise = rng.integers(0, 20, (height, width, channels))
            yield Image(np.clip(ramp + noise, 0, 255).astype(np.uint8))
    elif kind == Media.AUDIO:
        for samples_, rate, channels in ((700, 8000, 1), (12_345, 22_050, 2), (40_000, 16_000, 1)):
            time = np.arange(samples_) / rate
            tones = [np.sin(2 * np.pi * (220 + 110 * c) * time) for c in range(channels)]
            yield Audio((0.3 * np.array(tones)).astype(np.float32), rate)
    elif kind == Media.VIDEO:
        for frames, height, width in ((1, 8, 8), (3, 17, 30), (6, 32, 48)):
            still = rng.integers(0, 255, (height, width, 3), np.uint8)
            yield np.stack([np.roll(still, n, 1) for n in range(frames)])
    else:
        yield Table(b"a\n1\n")
        yield from_array(rng.integers(0, 4, (50, 3), np.uint8))
        yield Table(b"city,people\n" + b"".join(b"x%d,%d\n" % (n % 5, n) for n in range(60)))


def check_declaration(codec: Codec) -> None:
    """Names, numbers, rates, options."""
    assert isinstance(codec, Codec), f"{codec!r} does not derive from laconic.codec.base.Codec"
    assert registry.name_of(codec.codec_id) == codec.name, (
        f"{codec.name}: the number {codec.codec_id} belongs to {registry.name_of(codec.codec_id)}"
    )
    assert isinstance(codec.media, Media), f"{codec.name}: media is {codec.media!r}"
    assert set(codec.rates) <= set(RATES), f"{codec.name}: rates are {codec.rates}"
    assert issubclass(codec.options, EncodeSettings), f"{codec.name}: options are no settings"
    assert issubclass(codec.decode_options, DecodeSettings), f"{codec.name}: as for decoding"
    for kind in (codec.options, codec.decode_options):
        for option in declared(kind).values():
            assert option.help.endswith("."), f"{codec.name}: {option.name} needs a sentence"
            if option.default is not None:
                option.checked(option.default)


def check_round_trip(name: str, medium: Medium, sample: Any, options: dict[str, Any]) -> bytes:
    """Encode, probe, verify, decode; exact where the codec says so. Returns the file."""
    data = toolkit.encode(sample, codec=name, **options)
    info, report = toolkit.probe(data), toolkit.verify(data)
    assert info.codec == name.partition(":")[0], f"{name}: the file says {info.codec}"
    assert info.file_bytes == len(data)
    assert report.segments == info.segments, f"{name}: verify saw {report.segments} segments"
    json.dumps(info.to_dict())
    decoded, original = plain(medium, toolkit.decode(data)), plain(medium, sample)
    assert decoded.shape == original.shape, (
        f"{name}: decoded {list(decoded.shape)} from {list(original.shape)}"
    )
    if registry.get(info.codec).lossless:
        assert np.array_equal(decoded, original), f"{name} is lossless but decoded other samples"
    return data


def plain(medium: Medium, value: Any) -> Any:
    """Samples, frames or bytes as an array."""
    if isinstance(value, Image):
        return value.pixels
    if isinstance(value, Audio):
        return value.samples
    if hasattr(value, "scan"):
        return np.stack(list(value.frames()))
    if medium.part == "rows":
        records = medium.read(media.Source(value))
        return np.frombuffer(records.original(), np.uint8)
    return np.asarray(value)


def check_options(name: str, sample: Any, options: dict[str, Any]) -> None:
    """Values out of range, rates it has not, options of other codecs, unknown words."""
    codec = registry.get(name.partition(":")[0])
    own = declared(codec.options)
    for option in own.values():
        for wrong in (object(), option.low - 1 if option.low is not None else object()):
            refused(ParameterError, sample, codec=name, **{**options, option.name: wrong})
    for rate in RATES:
        if rate not in codec.rates:
            refused(ParameterError, sample, codec=name, **{**options, rate: 10})
    for other in registry.options():
        if other not in own:
            refused(ParameterError, sample, codec=name, **{**options, other: 1})
    refused(TypeError, sample, codec=name, **options, no_such_option=1)


def refused(kind: type[Exception], sample: Any, **keywords: Any) -> None:
    """Assert that an encoding is refused."""
    try:
        toolkit.encode(sample, **keywords)
    except kind:
        return
    raise AssertionError(f"encode took {keywords} without {kind.__name__}")


def check_prefixes(data: bytes, count: int | None) -> None:
    """No prefix of a file decodes, and none raises anything but a documented error."""
    lengths = range(len(data))
    if count is not None and count < len(data):
        lengths = sorted(random.Random(3).sample(lengths, count))  # type: ignore[assignment] # noqa: S311
    for length in lengths:
        found_out(data[:length], f"the first {length} of {len(data)} bytes")


def check_damage(data: bytes, count: int) -> None:
    """A changed byte anywhere is found."""
    rng = random.Random(5)  # noqa: S311
    for at in sorted(rng.sample(range(len(data)), min(count, len(data)))):
        damaged = bytearray(data)
        damaged[at] ^= 1 << rng.randrange(8)
        found_out(bytes(damaged), f"a flipped bit of byte {at}")


def found_out(data: bytes, what: str) -> None:
    """Assert that a damaged file is refused with a documented error, by decode and verify."""
    for read in (toolkit.verify, lambda d: np.asarray(toolkit.decode(d))):
        try:
            read(data)  # type: ignore[operator]
        except LaconicError:
            continue
        raise AssertionError(f"{what}: the damage was not noticed")


def check_parts(codec: Codec, medium: Medium, data: bytes) -> None:
    """The part that its medium has can be asked for, those of others not."""
    whole = plain(medium, toolkit.decode(data))
    if medium.is_lazy and len(whole) > 1:
        part = np.asarray(toolkit.decode(data, frames=(1, len(whole))))
        assert np.array_equal(part, whole[1:]), f"{codec.name}: frames differ from the whole's"
    for other in media.MEDIA:
        if other.part != medium.part:
            asked: Any = (0, 0, 1, 1) if other.part == "region" else (0, 1)
            try:
                toolkit.decode(data, **{other.part: asked})
            except ParameterError:
                continue
            raise AssertionError(f"{codec.name}: decode took {other.part}, which is not its own")


def write_sample(folder: Path, sample: Any, kind: Media) -> Path:
    """A file of a sample that the command line can read."""
    from laconic.formats.audio_writer import write_audio
    from laconic.formats.image import write_image
    from laconic.formats.video_writer import Output, write_video

    if isinstance(sample, Image):
        write_image(sample, folder / "sample.png")
        return folder / "sample.png"
    if isinstance(sample, Audio):
        write_audio(sample, folder / "sample.wav")
        return folder / "sample.wav"
    if isinstance(sample, np.ndarray):
        header = VideoArray(sample).scan().header
        output = Output(sample, header.timing, header)
        write_video(output, folder / "sample.mkv", "mkv")
        return folder / "sample.mkv"
    if isinstance(sample, Records):
        np.save(folder / "sample.npy", np.asarray(sample.array))
        return folder / "sample.npy"
    (folder / "sample.csv").write_bytes(sample.text)
    return folder / "sample.csv"


def laconic(arguments: Sequence[str]) -> str:
    """Run ``laconic`` in a process; raises ``AssertionError`` with what it says."""
    command = [sys.executable, "-m", "laconic.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, f"laconic {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def check_command_line(
    name: str, codec: Codec, original: Path, options: dict[str, Any], run_with: Run
) -> None:
    """``laconic encode``, ``info``, ``verify`` and ``decode``."""

    def run(*arguments: object) -> str:
        return run_with([str(a) for a in arguments])

    coded, back = original.with_suffix(".lac"), original.with_name("back" + original.suffix)
    row = json.loads(run("encode", original, "--codec", name, *spelled(codec, options), "--json"))
    assert (row["codec"], row["bytes"]) == (codec.name, coded.stat().st_size)
    assert codec.name in run("info", coded)
    assert json.loads(run("verify", coded, "--json"))["result"] == "ok"
    row = json.loads(run("decode", coded, "-o", back, "--json"))
    assert back.stat().st_size > 0
    if codec.lossless:
        medium = media.of(codec.media)
        first, second = (medium.read(media.Source(p)) for p in (original, back))
        assert np.array_equal(plain(medium, first), plain(medium, second))


def spelled(codec: Codec, options: dict[str, Any]) -> list[str]:
    """Options as flags."""
    flags = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        elif declared(codec.options)[name].flag:
            flags += [f"--{flag}", str(value)]
    return flags


def check_evaluation(name: str, codec: Codec, original: Path) -> None:
    """A run of ``laconic.codec.evaluate`` at one point."""
    from laconic.codec.evaluate import Config, evaluate

    plain_name, _, variant = name.partition(":")
    point = codec.points[len(codec.points) // 2]
    spec = plain_name + (f"@{variant}" if variant else "")
    spec += "" if point is None else f":{point:g}"
    metrics = tuple(media.of(codec.media).metrics[-1:])
    run = evaluate(Config((str(original),), (spec,), metrics), original.parent / "run")
    assert not run.failures, f"{name}: {run.failures[0][2]}"
    assert run.rows[0][media.of(codec.media).rate] > 0
    if codec.lossless:
        assert run.rows[0].get("exact", True)


def check_imports(module: str) -> None:
    """The module of a codec's class imports no torch, which every help would have to wait for."""
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False)  # noqa: S603
    assert done.returncode == 0, f"{module} imports torch at its top: import it where it is used"

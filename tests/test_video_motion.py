"""Films predicted from their own frames: round trips, any frame first, sizes, damage, resuming."""

from pathlib import Path
from typing import Any

import films
import numpy as np
import pytest
from numpy.typing import NDArray

from laconic.codec.video.chunk import Fit, FitSettings, decode
from laconic.codec.video.motion import fit as fitting
from laconic.codec.video.motion import mixing, smoothing
from laconic.codec.video.motion.blocks import (
    chroma_planes,
    low_cells,
    luma_plane,
    quarter_cells,
    whole_cells,
)
from laconic.codec.video.motion.head import Head
from laconic.codec.video.motion.mixing import Model, Reader, Writer, code_numbers
from laconic.codec.video.motion.order import coding_order, needed
from laconic.codec.video.motion.picture import Scale
from laconic.codec.video.motion.recode import ideal_bits
from laconic.codec.video.motion.warp import Reference
from laconic.codec.video.stream.work import Work, load
from laconic.formats.errors import FormatError, LimitError, ParameterError
from laconic.formats.limits import Limits


@pytest.fixture(autouse=True)
def _few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fitting.PASSES, "fast", 1)
    monkeypatch.setattr(fitting, "PROBE", 4)


def film(frames: int, rows: int, columns: int, gray: bool = False) -> NDArray[np.uint8]:
    """A soft pattern that moves, with a block of its own way."""
    t, y, x = np.mgrid[0:frames, 0:rows, 0:columns].astype(np.float64)
    planes = [np.sin((x + 2 * t) / 5 + c * (not gray)) * np.cos((y - t) / 7) for c in range(3)]
    found = np.uint8(np.stack(planes, -1) * 100 + 128)
    for n in range(frames):
        found[n, rows // 3 : rows // 2, (3 * n) % columns : (3 * n) % columns + 9] //= 2
    return found


def fitted(clip: NDArray[np.uint8], **chosen: Any) -> Any:
    fit = Fit(clip, FitSettings(network="motion-1", preset="fast", **chosen))
    assert fit.run()
    return fit


def read(payload: bytes, clip: NDArray[np.uint8], limits: Limits | None = None) -> Any:
    frames, rows, columns = clip.shape[:3]
    return decode(payload, frames, columns, rows, limits or Limits())


def test_frames_decode_alone_as_they_do_together_and_as_they_were_measured() -> None:
    clip = film(7, 40, 56)
    fit = fitted(clip, quality=60)

    together = read(fit.payload(), clip).batch(0, 7)

    error = np.mean((together.astype(float) - clip) ** 2) / 255**2
    assert error == pytest.approx(fit.best_error, rel=1e-3)
    assert error < 2e-3
    for index in (5, 0, 6, 2):
        assert np.array_equal(read(fit.payload(), clip).frame(index), together[index])
    decoder = read(fit.payload(), clip)
    for index in (6, 1, 3, 0):
        assert np.array_equal(decoder.frame(index), together[index])


def test_few_references_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from laconic.codec.video.motion import decoder as module

    clip = film(9, 16, 24)
    payload = fitted(clip).payload()
    whole = read(payload, clip).batch(0, 9)
    monkeypatch.setattr(module, "KEPT", 2)
    decoder = read(payload, clip)

    for index in range(8, -1, -1):
        assert np.array_equal(decoder.frame(index), whole[index])
        assert len(decoder._kept) <= 2


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 5, 3), (3, 17, 23), (1, 33, 16)])
def test_any_size_is_fitted(size: tuple[int, int, int]) -> None:
    clip = film(*size)

    assert read(fitted(clip).payload(), clip).batch(0, size[0]).shape == clip.shape


def test_gray_stays_gray_and_costs_no_colour() -> None:
    clip = film(3, 32, 32, gray=True)
    decoder = read(fitted(clip).payload(), clip)

    frames = decoder.batch(0, 3).astype(int)

    assert np.abs(frames - frames.mean(3, keepdims=True)).max() <= 1
    assert all(not packed.unpack().chroma.any() for packed in decoder.packed)


def test_quality_buys_a_better_picture() -> None:
    clip = film(3, 32, 48)
    errors = [fitted(clip, quality=q).best_error for q in (10, 50, 90)]

    assert errors[0] > errors[1] > errors[2]


def test_a_moving_picture_costs_little_after_its_first_frame() -> None:
    random = np.random.default_rng(0)
    wide = np.uint8(random.integers(0, 255, (48, 96, 3)))
    pan = np.stack([wide[:, 2 * t : 2 * t + 64] for t in range(8)])

    one = len(fitted(pan[:1], quality=50).payload())
    all_ = len(fitted(pan, quality=50).payload())

    assert all_ < 2 * one


def test_a_target_is_met_and_never_exceeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fitting.PASSES, "fast", 4)
    clip = film(6, 48, 64)
    free = len(fitted(clip, quality=60).payload())

    payload = fitted(clip, target_bytes=free * 2 // 3).payload()

    assert 0.8 * free * 2 // 3 < len(payload) <= free * 2 // 3
    read(payload, clip)


def test_an_impossible_target_is_refused() -> None:
    with pytest.raises(ParameterError, match="need at least"):
        fitted(film(2, 16, 16), target_bytes=15).payload()


@pytest.mark.parametrize("steps", [3, 11])  # in the first probe, in the last pass
def test_a_fit_that_was_killed_goes_on_to_the_same_payload(steps: int, tmp_path: Path) -> None:
    clip = film(5, 24, 32)
    chosen = FitSettings(network="motion-1", preset="fast")
    whole = fitted(clip)
    part = Fit(clip, chosen)
    for _ in range(steps):
        part.run(seconds=0)
    Work("key", tmp_path / "film.work", states={0: part.state()}).save()

    again = Fit.resume(clip, chosen, load(tmp_path / "film.work").states[0])

    assert again.run()
    assert again.payload() == whole.payload()


def test_a_stopped_fit_writes_what_it_has_and_can_go_on() -> None:
    clip = film(3, 24, 32)
    fit = Fit(clip, FitSettings(network="motion-1", preset="fast", target_bytes=900))
    heard: list[tuple[int, int]] = []

    finished = fit.run(stop=lambda: True, progress=lambda done, all_: heard.append((done, all_)))

    assert not finished
    assert heard == [(1, 9)]
    payload = fit.payload()
    assert len(payload) <= 900
    assert read(payload, clip).batch(0, 3).shape == clip.shape
    assert fit.run()


def test_the_next_chunk_starts_from_the_last() -> None:
    clip = film(6, 24, 32)
    first = fitted(clip[:3], target_bytes=700)
    chosen = FitSettings(network="motion-1", preset="fast", target_bytes=700)

    assert Fit(clip[3:], chosen, first.warm()).now.scale.step == pytest.approx(
        first.tried[-1][0], abs=12
    )


def test_damage_is_an_error_or_other_symbols_and_never_a_crash() -> None:
    clip = film(3, 16, 32)
    payload = fitted(clip).payload()
    true = read(payload, clip).symbols_check
    random = np.random.default_rng(0)
    noticed = 0
    for _ in range(60):
        mutant = films.damaged(payload, random)
        try:
            decoder = read(mutant, clip)
        except FormatError:
            noticed += 1
            continue
        if decoder.symbols_check == true:  # only the head, which symbols do not depend on
            assert mutant[20:] == payload[20:]
        assert decoder.batch(0, 3).shape == clip.shape
    assert noticed > 40


def test_absurd_claims_are_refused_before_memory_is_taken() -> None:
    clip = film(1, 16, 16)
    payload = fitted(clip).payload()

    with pytest.raises(LimitError):
        read(payload, clip, Limits(pixels=100))
    with pytest.raises(LimitError, match="blocks"):
        decode(payload, 5, 4000, 4000, Limits(cells=1 << 20))
    with pytest.raises(FormatError):
        read(b"\4", clip)
    with pytest.raises(FormatError, match="gap"):
        read(b"\4\0" + payload[2:], clip)


def test_frames_outside_the_chunk_are_refused() -> None:
    clip = film(2, 16, 16)
    decoder = read(fitted(clip).payload(), clip)

    with pytest.raises(IndexError):
        decoder.frame(2)


def test_the_stream_has_the_size_of_its_decisions() -> None:
    clip = film(5, 48, 64)
    payload = fitted(clip, quality=70).payload()

    decoder = read(payload, clip)

    assert len(payload) * 8 < ideal_bits(decoder) * 1.002 + 8 * len(decoder.head.pack()) + 64


def test_references_come_before_the_frames_that_need_them() -> None:
    for frames in (1, 2, 3, 9, 26):
        for gap in (1, 4, 8):
            order = coding_order(frames, gap)
            assert sorted(p.index for p in order) == list(range(frames))
            seen: set[int] = set()
            for place in order:
                assert seen >= set(place.refs)
                seen.add(place.index)
            chain = needed(order, {frames - 1}, set())
            assert chain[0].index == 0
            assert chain[-1].index == frames - 1


def test_transforms_are_orthonormal() -> None:
    import torch

    torch.manual_seed(0)
    plane = torch.randn(32, 48)
    for forward, quarters in ((whole_cells, False), (quarter_cells, True)):
        cells = forward(plane)
        back = luma_plane(cells, torch.full((2, 3), quarters))
        assert torch.allclose(back, plane, atol=1e-4)
        assert float(cells.square().sum()) == pytest.approx(float(plane.square().sum()), rel=1e-4)
    low = low_cells(torch.randn(2, 32, 48))
    assert torch.allclose(low_cells(chroma_planes(low)), low, atol=1e-4)


def test_whole_samples_are_copied_and_large_references_give_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from laconic.codec.video.motion import warp

    torch.manual_seed(1)
    planes = torch.randn(3, 32, 48)
    vectors = np.zeros((2, 4, 6), np.int64)
    vectors[0], vectors[1] = -8, 12
    moved = Reference(planes).moved(vectors)
    assert torch.equal(moved[:, 2:, :-3], planes[:, :-2, 3:])
    vectors += np.arange(24).reshape(4, 6) % 5
    kept = Reference(planes).moved(vectors)
    monkeypatch.setattr(warp, "KEPT_SAMPLES", 0)
    assert torch.allclose(Reference(planes).moved(vectors), kept, atol=1e-6)


def test_decisions_survive_whatever_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    sizes = (3, 5)
    steps = [random.integers(0, 2, int(n)) for n in random.integers(0, 40, 60)]
    contexts = [np.stack([random.integers(0, s, len(b)) for s in sizes]) for b in steps]
    numbers = np.rint(random.standard_cauchy(50) * 3).clip(-500, 500).astype(np.int64)
    streams = []
    for few in (mixing.FEW, 0):  # number by number or as arrays: the same
        monkeypatch.setattr(mixing, "FEW", few)
        writer, model = Writer(), Model(sizes)
        for bits, context in zip(steps, contexts, strict=True):
            writer.code(model, bits, context)
        prefix = [Model((1,)) for _ in range(6)]
        code_numbers(writer, prefix, numbers, np.zeros((1, 50), np.int64), 500)
        streams.append(writer.finish())
    assert streams[0] == streams[1]
    reader, model = Reader(streams[0]), Model(sizes)
    for bits, context in zip(steps, contexts, strict=True):
        assert np.array_equal(reader.code(model, None, context), bits)
    prefix = [Model((1,)) for _ in range(6)]
    found = code_numbers(reader, prefix, None, np.zeros((1, 50), np.int64), 500)
    assert np.array_equal(found, numbers)
    reader.finish()


def test_models_learn_what_is_likely() -> None:
    random = np.random.default_rng(3)
    writer, model = Writer(), Model((2, 7))
    for _ in range(100):
        context = np.stack([random.integers(0, 2, 64), random.integers(0, 7, 64)])
        writer.code(model, (random.random(64) < 0.05 + 0.9 * context[0]).astype(np.int64), context)

    assert writer.bits / 6400 < 0.32  # 0.286 is the entropy


def test_the_filter_learns_to_undo_noise() -> None:
    import torch

    torch.manual_seed(4)
    clip = film(1, 48, 48)
    code = read(fitted(clip, quality=40).payload(), clip).packed[0].unpack()
    code.luma[..., 0] = 1
    target = torch.zeros(3, 48, 48)
    noisy = 0.02 * torch.randn(3, 48, 48)
    normal = smoothing.Normal()
    normal.add(noisy, target, code, 0, 0.2)

    better = smoothing.smoothed(noisy, code, 0, 0.2, normal.shares())

    assert float(better[0].square().mean()) < 0.6 * float(noisy[0].square().mean())


def test_heads_come_back() -> None:
    head = Head(8, Scale(-70, (3, 9), (1, 0, 2, 1)), np.array([[37, 37, 37], [45, 0, -45]]))
    found, offset = Head.unpack(head.pack() + b"rest")

    assert offset == len(head.pack())
    assert (found.gap, found.scale) == (head.gap, head.scale)
    assert np.array_equal(found.units, head.units)

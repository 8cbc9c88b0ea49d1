"""Tokens: lossless coding of grids, equal everywhere, and the interface for programs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_audio import NAME, TinyTones, install, melody
from tiny_prior import VOCABULARIES, prior_tensors

from laconic import codec
from laconic.entropy import token_grid, token_loops
from laconic.entropy.short import (
    AdaptiveCounts,
    ShortDecoder,
    ShortEncoder,
    equal_chances,
    normalised,
)
from laconic.entropy.token_grid import Grid, TokenCoder, TokenPrior, exponentials
from laconic.formats.errors import FormatError, ModelError, ParameterError

PRIOR = TokenPrior.from_tensors(prior_tensors(), "tables.prior")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    install(tmp_path, monkeypatch)
    return tmp_path


def coders() -> list[TokenCoder]:
    return [
        TokenCoder(VOCABULARIES, 4, PRIOR),
        TokenCoder(VOCABULARIES, 4, None),
        TokenCoder(VOCABULARIES, 4, None, plain=True),
    ]


def grid(columns: int, streams: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, v, (columns, 4)) for v in VOCABULARIES[:streams]], -1)


@given(
    st.integers(0, 12), st.integers(1, 3), st.integers(0, 2), st.integers(0, 2**32), st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_any_grid_comes_back(columns: int, streams: int, kind: int, seed: int, flat: bool) -> None:
    tokens = grid(columns, streams, seed)
    if flat:
        tokens[:] = tokens[:1]
    coder, encoder = coders()[kind], ShortEncoder()

    coder.encode(encoder, tokens)
    data = encoder.finish()
    decoder = ShortDecoder(data)

    assert np.array_equal(coder.decode(decoder, columns, streams), tokens)
    decoder.finish()


@given(st.lists(st.tuples(st.integers(1, 2**32), st.integers(0), st.integers(0)), max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_intervals_come_back(rows: list[tuple[int, int, int]]) -> None:
    steps = [(a % t, 1 + b % (t - a % t), t) for t, a, b in rows]
    encoder = ShortEncoder()
    for start, width, total in steps:
        encoder.push(start, width, total)
    data = encoder.finish()

    decoder = ShortDecoder(data)
    for start, width, total in steps:
        assert start <= decoder.slot(total) < start + width
        decoder.advance(start, width)
    decoder.finish()
    bits = sum(np.log2(t / w) for _, w, t in steps)
    assert len(data) <= bits / 8 + 1.2


def test_damage_gives_other_tokens_or_an_error() -> None:
    coder, encoder = coders()[0], ShortEncoder()
    coder.encode(encoder, grid(8, 3))
    data = encoder.finish()
    rng = np.random.default_rng(1)
    for _ in range(60):
        broken = bytes(rng.integers(0, 256, int(rng.integers(0, 2 * len(data))), np.uint8))
        try:
            decoder = ShortDecoder(broken)
            tokens = coder.decode(decoder, 8, 3)
        except FormatError:
            continue
        assert (tokens < np.array(VOCABULARIES)).all()
    with pytest.raises(FormatError):
        ShortDecoder(data + b"\0")
    longer = ShortDecoder(data + b"12345678")
    coder.decode(longer, 8, 3)
    with pytest.raises(FormatError):
        longer.finish()


def test_repetition_is_cheap_and_noise_costs_no_more_than_its_alphabet() -> None:
    sizes = {}
    for name, tokens in (("steady", np.tile(grid(1, 3), (60, 1, 1))), ("noise", grid(60, 3))):
        encoder, plain = ShortEncoder(), ShortEncoder()
        coders()[1].encode(encoder, tokens)
        coders()[2].encode(plain, tokens)
        sizes[name] = len(encoder.finish()) / len(plain.finish())
    assert sizes["steady"] < 0.15
    assert sizes["noise"] < 1.1


def predicted(framed: Grid, stream: int, column: int, position: int) -> np.ndarray:
    """The base distribution that the loops see."""
    assert PRIOR is not None
    net = PRIOR.net(framed, stream)
    active, value = np.zeros(99, np.int64), np.zeros(99, np.int64)
    base = np.zeros(VOCABULARIES[stream], np.int64)
    at, logits = framed.at(column, position), np.zeros(base.size, np.int32)
    token_loops.predict(framed.flat, at, position, net, active, value, logits, base)
    return base


def by_arrays(framed: Grid, stream: int, column: int, position: int) -> np.ndarray:
    """The equations of `token_grid` with matrix products."""
    assert PRIOR is not None
    part, slots = PRIOR.streams[stream], PRIOR._slots(stream)
    at = framed.at(column, position)
    near = [framed.flat[at + framed.offset(*slot)] for slot in slots]
    rows = [PRIOR.streams[slot[0]].embedding[n] for slot, n in zip(slots, near, strict=True)]
    sums = (np.concatenate(rows) @ part.weight + part.place[position]).astype(np.int64)
    hidden = np.clip(sums >> token_grid.SHIFT, 0, 127)
    logits = (hidden @ part.head + part.bias).astype(np.int64)
    table = exponentials()
    shift = token_grid.LOGIT_SCALE - token_grid.TABLE_STEP
    return normalised(table[np.minimum(logits.max() - logits >> shift, len(table) - 1)])


def test_the_loops_predict_what_arrays_predict() -> None:
    assert PRIOR is not None
    framed = PRIOR.grid(9, 3)
    framed.tokens[:] = grid(9, 3).transpose(2, 0, 1)
    for stream in range(3):
        for n in range(36):
            place = stream, *divmod(n, 4)
            assert np.array_equal(predicted(framed, *place), by_arrays(framed, *place))


def test_predictions_see_nothing_that_is_coded_later() -> None:
    assert PRIOR is not None
    framed = PRIOR.grid(6, 3)
    framed.tokens[:] = grid(6, 3).transpose(2, 0, 1)
    before = predicted(framed, 1, 3, 2)
    framed.tokens[1, 3, 2:] = 0
    framed.tokens[1, 4:] = 0
    framed.tokens[2] = 0
    assert np.array_equal(predicted(framed, 1, 3, 2), before)


def test_the_exponential_is_what_every_machine_computes() -> None:
    table = exponentials()
    exact = np.round(2.0**20 * np.exp(-np.arange(len(table)) / 64))
    assert np.abs(table - exact).max() <= 1
    assert table[0] == 1 << 20
    assert table[-1] == 0


def test_counts_learn() -> None:
    model, encoder = AdaptiveCounts(), ShortEncoder()
    for n in range(200):
        model.encode(encoder, equal_chances(1000), n % 2, 0, 5 + n % 2)
    assert len(encoder.finish()) < 20
    assert abs(int(normalised(np.array([1, 3, 4])).sum()) - (1 << 20)) < 3


STREAM = """
import sys, hashlib
sys.path.insert(0, {tests!r})
import numpy as np
from tiny_prior import VOCABULARIES, prior_tensors
from laconic.entropy.short import ShortEncoder
from laconic.entropy.token_grid import TokenCoder
from laconic.entropy.token_grid import Grid, TokenPrior
rng = np.random.default_rng(0)
tokens = np.stack([rng.integers(0, v, (30, 4)) for v in VOCABULARIES], -1)
encoder = ShortEncoder()
TokenCoder(VOCABULARIES, 4, TokenPrior.from_tensors(prior_tensors(), "tables.prior")).encode(
    encoder, tokens)
print(hashlib.sha256(encoder.finish()).hexdigest())
"""


def test_streams_are_equal_whatever_the_threads_and_kernels() -> None:
    import os

    seen = set()
    for threads, kernels in ((1, "Haswell"), (2, "Nehalem")):
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": str(threads),
            "OPENBLAS_CORETYPE": kernels,
        }
        code = STREAM.format(tests=str(Path(__file__).parent))
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env=environment,
        )  # fmt: skip
        seen.add(done.stdout)
    assert len(seen) == 1


def test_priors_that_could_round_are_refused() -> None:
    tensors = prior_tensors()
    for name, value in (("bias", 1 << 24), ("place", 1 << 24)):
        changed = {k: v.copy() for k, v in tensors.items()}
        changed[f"tables.prior.1.{name}"] = np.full_like(
            changed[f"tables.prior.1.{name}"], value, dtype=np.int32
        )
        with pytest.raises(ModelError, match="too large to be exact"):
            TokenPrior.from_tensors(changed, "tables.prior")
    for name in ("head", "embedding", "weight"):
        changed = dict(tensors)
        changed[f"tables.prior.0.{name}"] = changed[f"tables.prior.0.{name}"][1:]
        with pytest.raises(ModelError, match="fit"):
            TokenPrior.from_tensors(changed, "tables.prior")
    del tensors["tables.prior.2.place"]
    with pytest.raises(ModelError, match="lacks"):
        TokenPrior.from_tensors(tensors, "tables.prior")


@pytest.mark.parametrize("channels", [1, 2])
def test_tokens_to_a_program_and_back(store: Path, channels: int) -> None:
    sound = melody(21, 16000, channels)

    tokens = codec.audio.tokens(sound, model=NAME)
    again = codec.audio.from_tokens(tokens, model=NAME, steps=0, samples=sound.samples.shape[1])

    about = codec.audio.alphabet(NAME)
    columns = -(-21 * 16000 // 2560)
    shape = (columns * about.positions, len(about.vocabularies))
    assert tokens.shape == (shape if channels == 1 else (2, *shape))
    assert about.rate == 25
    assert (tokens < np.array(about.vocabularies)).all()
    stereo = codec.encode(
        sound, codec="semanticodec", model=NAME, quality=100, steps=0, stereo="dual"
    )
    assert np.array_equal(codec.decode(stereo).samples, again.samples)
    assert np.array_equal(codec.audio.tokens(stereo), tokens)


def test_a_file_of_tokens_holds_them(store: Path) -> None:
    tokens = codec.audio.tokens(melody(12), streams=2, model=NAME)

    data = codec.audio.pack(tokens, model=NAME)

    assert np.array_equal(codec.audio.tokens(data), tokens)
    assert np.array_equal(codec.audio.tokens(data, streams=1), tokens[:, :1])


def test_silence_in_a_file_has_tokens_too(store: Path) -> None:
    sound = melody(20)
    sound.samples[:, : 16000 * 10] = 0
    data = codec.encode(sound, codec="semanticodec", model=NAME, quality=100)

    tokens = codec.audio.tokens(data)

    assert np.array_equal(tokens, codec.audio.tokens(sound, model=NAME))


def test_wrong_tokens_are_named(store: Path) -> None:
    for tokens, sentence in (
        (np.zeros((5, 3), int), "a multiple of 4"),
        (np.zeros((4, 3)), "expected integers"),
        (np.full((4, 3), 99), "expected 0 to 23"),
        (np.zeros((4, 9), int), "has 1 to 3"),
    ):
        with pytest.raises(ParameterError, match=sentence):
            codec.audio.from_tokens(tokens, model=NAME)
    with pytest.raises(ParameterError, match="columns"):
        codec.audio.from_tokens(np.zeros((4, 3), int), model=NAME, samples=99999)
    with pytest.raises(ParameterError, match="4 streams"):
        codec.audio.tokens(melody(1), streams=4, model=NAME)


def test_a_trained_prior_saves_bits_and_is_exact(store: Path) -> None:
    from laconic.codec.audio.loading import load
    from laconic.codec.train.token_prior import PriorRecipe, train, write_with_prior

    sounds = [melody(9.6, seed=n) for n in range(12)]
    grids = [codec.audio.tokens(s, model=NAME).reshape(-1, 4, 3) for s in sounds]
    recipe = PriorRecipe(steps=150, batch=256, width=8, hidden=16, rate=1e-2)

    prior = train(grids, TinyTones.vocabularies, recipe)
    info = write_with_prior(
        load(NAME, "semanticodec").info, prior, store.parent / "better.safetensors"
    )

    sound = melody(9.6, seed=99)
    trained = codec.encode(sound, model=str(info.path), quality=100)
    untrained = codec.encode(sound, model=NAME, quality=100)
    assert len(trained) < 0.9 * len(untrained)
    assert info.id != load(NAME, "semanticodec").info.id

"""Tokens of recordings for programs, such as language models of audio; recordings in blocks.

Nothing here imports torch before a function is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laconic.codec import registry
from laconic.codec.audio.header import AudioDecodeOptions, AudioOptions
from laconic.codec.audio.side_information import MOST as MOST_GAIN
from laconic.codec.audio.side_information import STEPS as PITCH_STEPS
from laconic.formats.audio import Audio, AudioHeader
from laconic.formats.audio_stream import AudioSource
from laconic.formats.container import Container, Header, Media
from laconic.formats.container_reader import ContainerReader, ContainerStream
from laconic.formats.errors import DEFAULT_LIMITS, Limits, ParameterError, UnsupportedError

if TYPE_CHECKING:
    from laconic.codec.audio.codec import SemantiCodec, Written
    from laconic.codec.audio.loading import LoadedModel
    from laconic.codec.audio.segments import SegmentTokens

Source = str | PathLike[str] | bytes | BinaryIO
CODEC = "semanticodec"


@dataclass(frozen=True)
class Alphabet:
    """What the tokens of a model mean.

    Attributes:
        vocabularies: symbols of each stream: the semantic one, then the acoustic stages.
        positions: tokens of each stream in a column, from low to high frequencies.
        column: seconds that a column lasts.
        model: name.
    """

    vocabularies: tuple[int, ...]
    positions: int
    column: float
    model: str

    @property
    def rate(self) -> float:
        """Tokens of each stream per second."""
        return self.positions / self.column


@dataclass(frozen=True)
class Prosody:
    """What files have beside the tokens: where the voice lies and how loud it is.

    Attributes:
        pitch: ``[C, knots]``, every 32 ms: 0 without a voice, else 1 + 36 log2(f / 50 Hz), rounded.
        gains: ``[C, columns]``: by how many steps of 2 dB the decoded tokens are to be raised.
    """

    pitch: NDArray[np.int64]
    gains: NDArray[np.int64]


def alphabet(model: str | None = None) -> Alphabet:
    """The alphabets of a model (default: the codec's)."""
    loaded = _codec().load(model)
    net = loaded.network
    return Alphabet(net.vocabularies, net.positions, net.hop / net.rate, loaded.info.name)


def tokens(
    source: Source | Audio, *, streams: int | None = None, model: str | None = None
) -> NDArray[np.int64]:
    """The tokens of a recording, ``[T, streams]``, of several channels ``[C, T, streams]``.

    Row t is position ``t % positions`` of column ``t // positions``; see :func:`alphabet`.

    Args:
        source: path, bytes or binary stream of any audio, or an :class:`Audio`. The bytes or the
            path of a ``.lac`` file give the tokens in it, without any network but for silence.
        streams: take the first so many; all that there are by default.
        model: name, id or path.

    Raises ``ParameterError`` for a number of streams that the model has not.
    """
    from laconic.codec.audio.encoding import AudioEncoder

    if _is_lac(source):
        return _stored(source, streams)
    loaded = _codec().load(model)
    count = _streams(loaded, streams)
    with AudioSource(source) as sound:
        encoder = AudioEncoder(0, loaded, AudioOptions(stereo="dual"))
        grids = [s.tokens for s in encoder.tokens(sound, count, silence=False)]
    return _flat(np.concatenate(grids, axis=1))


def prosody(
    source: Source | Audio, *, streams: int | None = None, model: str | None = None
) -> Prosody:
    """Pitch and gains of a recording, or those in a ``.lac`` file; arguments as in :func:`tokens`.

    The gains belong to the given number of streams. Raises ``ParameterError`` for a model whose
    files have neither.
    """
    from laconic.codec.audio.encoding import AudioEncoder

    if _is_lac(source):
        segments, network, _ = _segments(source)
    else:
        loaded = _codec().load(model)
        network = loaded.network
        count = _streams(loaded, streams)
        with AudioSource(source) as recording:
            encoder = AudioEncoder(0, loaded, AudioOptions(stereo="dual"))
            found = encoder.tokens(recording, count, silence=False)
            segments = [encoder.levelled(segment, count) for segment in found]
    if not network.knots:
        raise ParameterError("the model's files have no pitch and no gains: use its tokens alone")
    channels = _coded(segments)
    pitch, gains = [], []
    for s in segments:
        empty = np.zeros((channels, s.columns), np.int64)
        pitch.append(empty.repeat(network.knots, axis=1) if s.pitch is None else s.pitch)
        gains.append(empty if s.gains is None else s.gains)
    return Prosody(np.concatenate(pitch, axis=1), np.concatenate(gains, axis=1))


def from_tokens(
    tokens: ArrayLike,
    *,
    prosody: Prosody | None = None,
    model: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    samples: int | None = None,
) -> Audio:
    """The audio of tokens ``[T, streams]`` or ``[C, T, streams]`` at the model's rate.

    Args:
        prosody: as :func:`prosody` gives it; without it low voices may whisper.
        model: name, id or path.
        steps: evaluations of the refiner; 0 is the fast deterministic mode.
        seed: of its noise.
        samples: length of the result; None keeps whole columns.

    Raises ``ParameterError`` for tokens that are not of this model.
    """
    from laconic.codec.audio.decoding import AudioDecoder

    data = pack(tokens, prosody=prosody, model=model, steps=steps, seed=seed, samples=samples)
    reader = ContainerReader(data)
    loaded = _codec().load(model)
    return AudioDecoder(reader, loaded, AudioDecodeOptions()).whole()


def pack(
    tokens: ArrayLike,
    *,
    prosody: Prosody | None = None,
    model: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    samples: int | None = None,
) -> bytes:
    """The bytes of a ``.lac`` file that holds these tokens; arguments as in
    :func:`from_tokens`."""
    from laconic.codec.audio.encoding import DEFAULT_STEPS
    from laconic.codec.audio.header import CODEC_ID, CODEC_VERSION, AudioCodecHeader, Geometry
    from laconic.codec.audio.segments import SegmentCoder, SegmentTokens

    loaded = _codec().load(model)
    net = loaded.network
    grid = _grid(tokens, loaded)
    length = grid.shape[1] * net.hop if samples is None else samples
    geometry = Geometry(net.rate, net.rate, net.hop, loaded.segment, net.window, length)
    if samples is not None and geometry.total != grid.shape[1]:
        raise ParameterError(
            f"{samples} samples are {geometry.total} columns: the tokens have {grid.shape[1]}"
        )
    coder = SegmentCoder(net.vocabularies, net.positions, loaded.prior, len(grid), net.knots)
    count = geometry.count or 0
    streams = grid.shape[-1]
    pitch, gains = (None, None) if prosody is None else _checked(prosody, grid, net.knots)
    segments = []
    for first, end in map(geometry.own, range(count)):
        part = SegmentTokens(
            grid[:, first:end],
            pitch=None if pitch is None else pitch[:, net.knots * first : net.knots * end],
            gains=None if gains is None else gains[:, first:end],
        )
        segments.append(coder.pack(part, streams))
    used = getattr(net, "advised_steps", DEFAULT_STEPS) if steps is None else steps
    header = Header(
        Media.AUDIO,
        CODEC_ID,
        CODEC_VERSION if net.knots else 1,
        bytes.fromhex(loaded.info.id),
        int(loaded.numerics),
        AudioHeader(
            net.rate, len(grid), {1: "mono", 2: "stereo"}.get(len(grid), ""), length
        ).pack(),
        AudioCodecHeader(streams, loaded.segment, used, seed).pack(),
    )
    return Container(header, segments).to_bytes()


def encode_to(source: Source | Audio, fp: BinaryIO, **settings: Any) -> Written:
    """Encode into a binary stream, segment by segment, while the audio comes in.

    Args:
        source: path, bytes, binary stream (a pipe is read as it comes) or :class:`Audio`.
        fp: where to; need not be seekable.
        settings: fields of :class:`laconic.codec.audio.header.AudioOptions`; ``codec`` names
            another codec.
    """
    codec: Any = registry.get(settings.pop("codec", None) or CODEC)
    with AudioSource(source) as sound:
        written: Written = codec.encode_to(sound, fp, AudioOptions(**settings))
    return written


def blocks(
    source: BinaryIO, settings: AudioDecodeOptions | None = None, limits: Limits = DEFAULT_LIMITS
) -> Any:
    """A decoder of a file or a pipe, for recordings of any length in bounded memory.

    Its ``audio`` says rate, channels and layout, ``tags`` the tags, and ``blocks()`` yields float32
    ``[C, n]`` one after the other. See :class:`laconic.codec.audio.decoding.AudioDecoder`.
    """
    used = settings or AudioDecodeOptions(limits=limits)
    file: ContainerReader | ContainerStream
    if source.seekable():
        file = ContainerReader(source, limits, partial=used.partial)
    else:
        file = ContainerStream(source, limits)
    if file.header.media != Media.AUDIO:
        raise UnsupportedError(f"the file holds {file.header.media.name.lower()}, not a recording")
    codec: Any = registry.get(registry.name_of(file.header.codec))
    return codec.decoder(file, used)


def _codec() -> SemantiCodec:
    codec: Any = registry.get(CODEC)
    return codec


def _is_lac(source: Any) -> bool:
    if isinstance(source, bytes):
        return source[:4] == b"\x8fLAC"
    return isinstance(source, str | PathLike) and str(source).lower().endswith(".lac")


def _segments(source: Any) -> tuple[list[SegmentTokens], Any, int]:
    """What a file holds, the network it names and its streams."""
    if isinstance(source, bytes):
        return _segments_of(ContainerReader(source))
    with open(source, "rb") as file:
        return _segments_of(ContainerReader(file))


def _segments_of(reader: ContainerReader) -> tuple[list[SegmentTokens], Any, int]:
    codec: Any = registry.get(registry.name_of(reader.header.codec))
    decoder = codec.decoder(reader, AudioDecodeOptions())
    segments = [segment for _, segment, _ in decoder.tokens()]
    if len({len(s.tokens) for s in segments if not s.silent}) > 1:
        raise UnsupportedError("the file changes between joint and independent channels")
    return segments, decoder.model.network, decoder.header.streams


def _coded(segments: list[SegmentTokens]) -> int:
    """Channels that have tokens; 1 where all is silent."""
    return max((len(s.tokens) for s in segments), default=1) or 1


def _stored(source: Any, streams: int | None) -> NDArray[np.int64]:
    segments, network, most = _segments(source)
    coded = _coded(segments)
    count = min(most, streams or most)
    grids = []
    for segment in segments:
        grid = segment.tokens
        if segment.silent:
            grid = np.repeat(_silence(network, segment.columns, count), coded, axis=0)
        grids.append(grid[..., :count])
    return _flat(np.concatenate(grids, axis=1))


def _silence(network: Any, columns: int, streams: int) -> NDArray[np.int64]:
    import torch

    with torch.inference_mode():
        found = network.encode(torch.zeros(1, columns * network.hop), streams)
    grid: NDArray[np.int64] = found.cpu().numpy().reshape(1, columns, network.positions, streams)
    return grid


def _checked(
    prosody: Prosody, grid: NDArray[np.int64], knots: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pitch and gains of ``grid``; raises ``ParameterError`` for those of other tokens."""
    if not knots:
        raise ParameterError("the model's files have no pitch and no gains: leave prosody out")
    channels, columns = grid.shape[:2]
    checked = []
    for name, values, count, least, most in (
        ("pitch", prosody.pitch, knots * columns, 0, PITCH_STEPS),
        ("gains", prosody.gains, columns, -MOST_GAIN, MOST_GAIN),
    ):
        array = np.asarray(values)
        if array.shape != (channels, count) or array.dtype.kind not in "iu":
            raise ParameterError(
                f"{name} of shape {list(array.shape)} and type {array.dtype}: expected integers"
                f" [{channels}, {count}] for these tokens"
            )
        if array.size and not least <= int(array.min()) <= int(array.max()) <= most:
            raise ParameterError(
                f"{name} from {array.min()} to {array.max()}: expected {least} to {most}"
            )
        checked.append(array.astype(np.int64))
    return checked[0], checked[1]


def _streams(loaded: LoadedModel, streams: int | None) -> int:
    most = len(loaded.network.vocabularies)
    count = most if streams is None else streams
    if not 1 <= count <= most:
        raise ParameterError(f"{count} streams: {loaded.info.name} has 1 to {most}")
    return count


def _flat(grid: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[C, columns, positions, streams]`` -> ``[T, streams]`` or ``[C, T, streams]``."""
    rows = grid.reshape(len(grid), -1, grid.shape[-1])
    return rows[0] if len(rows) == 1 else rows


def _grid(tokens: ArrayLike, loaded: LoadedModel) -> NDArray[np.int64]:
    array = np.asarray(tokens)
    if array.dtype.kind not in "iu":
        raise ParameterError(f"tokens are {array.dtype}: expected integers")
    rows = array[None] if array.ndim == 2 else array
    positions = loaded.network.positions
    if rows.ndim != 3 or 0 in rows.shape or rows.shape[1] % positions:
        raise ParameterError(
            f"tokens have shape {list(array.shape)}: expected [T, streams] or [C, T, streams] with"
            f" T a multiple of {positions}"
        )
    _streams(loaded, rows.shape[2])
    return rows.reshape(len(rows), -1, positions, rows.shape[2]).astype(np.int64)

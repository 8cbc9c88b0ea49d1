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
from laconic.formats.audio import Audio, AudioHeader
from laconic.formats.audio_stream import AudioSource
from laconic.formats.container import Container, Header, Media
from laconic.formats.container_reader import ContainerReader
from laconic.formats.container_stream import ContainerStream
from laconic.formats.errors import ParameterError, UnsupportedError
from laconic.formats.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from laconic.codec.audio.codec import SemantiCodec, Written
    from laconic.codec.audio.loading import LoadedModel

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


def from_tokens(
    tokens: ArrayLike,
    *,
    model: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    samples: int | None = None,
) -> Audio:
    """The audio of tokens ``[T, streams]`` or ``[C, T, streams]`` at the model's rate.

    Args:
        model: name, id or path.
        steps: evaluations of the refiner; 0 is the fast deterministic mode.
        seed: of its noise.
        samples: length of the result; None keeps whole columns.

    Raises ``ParameterError`` for tokens that are not of this model.
    """
    from laconic.codec.audio.decoding import AudioDecoder

    data = pack(tokens, model=model, steps=steps, seed=seed, samples=samples)
    reader = ContainerReader(data)
    loaded = _codec().load(model)
    return AudioDecoder(reader, loaded, AudioDecodeOptions()).whole()


def pack(
    tokens: ArrayLike,
    *,
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
    parts = [grid[:, slice(*geometry.own(n))] for n in range(count)]
    segments = [coder.pack(SegmentTokens(part), streams) for part in parts]
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


def _stored(source: Any, streams: int | None) -> NDArray[np.int64]:
    if isinstance(source, bytes):
        return _tokens_of(ContainerReader(source), streams)
    with open(source, "rb") as file:
        return _tokens_of(ContainerReader(file), streams)


def _tokens_of(reader: ContainerReader, streams: int | None) -> NDArray[np.int64]:
    codec: Any = registry.get(registry.name_of(reader.header.codec))
    decoder = codec.decoder(reader, AudioDecodeOptions())
    segments = [segment for _, segment, _ in decoder.tokens()]
    coded = {len(s.tokens) for s in segments if not s.silent} or {1}
    if len(coded) > 1:
        raise UnsupportedError("the file changes between joint and independent channels")
    count = min(decoder.header.streams, streams or decoder.header.streams)
    network = decoder.model.network
    grids = []
    for segment in segments:
        grid = segment.tokens
        if segment.silent:
            grid = np.repeat(_silence(network, segment.columns, count), next(iter(coded)), axis=0)
        grids.append(grid[..., :count])
    return _flat(np.concatenate(grids, axis=1))


def _silence(network: Any, columns: int, streams: int) -> NDArray[np.int64]:
    import torch

    with torch.inference_mode():
        found = network.encode(torch.zeros(1, columns * network.hop), streams)
    grid: NDArray[np.int64] = found.cpu().numpy().reshape(1, columns, network.positions, streams)
    return grid


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

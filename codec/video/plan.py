"""What determines a fitted network: the head of a chunk's payload.

    varint  kind of network, see KINDS
    varint  width of the published networks' stem, or base width of the grids
    varint  number of stages, then one varint each: stride (published) or latent channels (grids)

Everything else (blocks, kernels, ladders) follows from these by the rules of the kind, which never
change for a kind once it is written here. Kinds 4, "motion-1", and 5, "motion", have heads of their
own: `laconic.codec.video.motion.head` and `laconic.codec.video.hybrid.clip`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from laconic.formats.errors import FormatError, UnsupportedError
from laconic.formats.varint import read_varint, write_varint

KINDS: Mapping[str, int] = {"hnerv": 1, "hnerv-boost": 2, "grids": 3, "motion-1": 4, "motion": 5}
FITTED = ("hnerv-boost", "hnerv", "grids")
PREDICTED = ("motion-1", "motion")  # kinds with heads of their own
MAX_WIDTH = 1024
MAX_STAGES = 8
MAX_STAGE = 64


@dataclass(frozen=True)
class Plan:
    """A network of one of the kinds for one picture size.

    Attributes:
        network: a key of ``KINDS`` that is not in ``PREDICTED``.
        width: channels, see above.
        stages: strides of the published networks, coarsest first; for "grids" the channels of the
            latents of each level, coarsest first.
        frames, rows, columns: of the chunk; known from the film's header, not in the payload.
    """

    network: str
    width: int
    stages: tuple[int, ...]
    frames: int
    rows: int
    columns: int

    def to_bytes(self) -> bytes:
        """The head of the payload."""
        numbers = [KINDS[self.network], self.width, len(self.stages), *self.stages]
        return b"".join(map(write_varint, numbers))

    @classmethod
    def read(cls, data: bytes, frames: int, rows: int, columns: int) -> tuple[Plan, int]:
        """The plan of a payload and where its head ends.

        Raises:
            FormatError: damaged. UnsupportedError: a kind that this version does not know.
        """
        kind, offset = read_varint(data, 0)
        names = {number: name for name, number in KINDS.items() if name not in PREDICTED}
        if kind not in names:
            raise UnsupportedError(
                f"the film uses network kind {kind}; this version knows {sorted(names)}: install"
                " a newer version"
            )
        width, offset = read_varint(data, offset)
        count, offset = read_varint(data, offset)
        if not 1 <= width <= MAX_WIDTH or not 1 <= count <= MAX_STAGES:
            raise FormatError(
                f"a film chunk claims {count} stages of width {width}; expected at most"
                f" {MAX_STAGES} and {MAX_WIDTH}: the file is damaged"
            )
        stages = []
        lowest = 0 if names[kind] == "grids" else 1
        for _ in range(count):
            stage, offset = read_varint(data, offset)
            if not lowest <= stage <= MAX_STAGE:
                raise FormatError(f"a film chunk claims a stage of {stage}: the file is damaged")
            stages.append(stage)
        return cls(names[kind], width, tuple(stages), frames, rows, columns), offset

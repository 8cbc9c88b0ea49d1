"""Configurations of PSCodec: three ways to use prompts, each at two sizes.

``base`` weighs content, voiceprint and mel prompt and adds them; ``drl-ict`` is the same network,
trained on from ``base`` with a loss that keeps prompts and content apart; ``casan`` lets the
content attend to the prompts in a cascade; ``speaker`` is a Base whose voiceprint is a speaker
network's. In all of them the encoder knows the prompts, so that tokens need not repeat what they
say. Sizes: ``full`` has HiFi-Codec's waveform encoder and HiFi-GAN decoder, ``small`` replaces both
by spectra and an inverse STFT, which a CPU trains.
Papers: Pan et al., PSCodec (arXiv 2404.02702); Yang et al., HiFi-Codec (arXiv 2305.02765). What
is ours and what the paper's is told in docs/design/pscodec.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from laconic.codec.building import from_values, to_values
from laconic.formats.errors import ModelError

RATE = 16_000
STRIDES = (2, 4, 5, 8)  # of the waveform encoder
HOP = 320
WINDOW = 512  # columns, 10.24 s
PROMPT_BINS = 64  # of the spectrogram that prompt encoders read
PROMPT_COLUMNS = 500  # at most 10 s of it

LATER = {"told": False, "speaker": False}  # what older model files do not name


@dataclass(frozen=True)
class PromptConfig:
    """Numbers that fix the tensors of a model."""

    fusion: str = "weighted"  # "weighted", "cascade", or "none": no prompts at all
    disentangled: bool = False  # trained on with the SSIM term
    spectral: bool = True  # spectra and inverse STFT instead of strided convolutions
    width: int = 256  # of the code Z, of both prompts and of the decoder
    encoder_width: int = 128  # of the spectral encoder; first layer of the waveform encoder
    encoder_blocks: int = 4
    decoder_width: int = 192  # of the ISTFT decoder; first layer of HiFi-GAN
    decoder_blocks: int = 6
    groups: int = 2  # of GRVQ
    layers: int = 1  # residual layers of GRVQ
    entries: int = 1024
    prompt_width: int = 64  # of the prompt encoders
    voice_codes: int = 8  # bytes of the voiceprint
    mel_codes: int = 8  # bytes of the mel prompt
    prompt_entries: int = 256  # at most: files have a byte for each code
    told: bool = False  # the encoder knows the prompts too, so tokens need not repeat them
    speaker: bool = False  # the voiceprint is a speaker network's vector, not learned here

    def __post_init__(self) -> None:
        widths = (self.width, self.encoder_width, self.decoder_width, self.prompt_width)
        sensible = (
            self.fusion in ("weighted", "cascade", "none")
            and all(1 <= w <= 4096 for w in widths)
            and 1 <= self.groups <= 8
            and 1 <= self.layers <= 16
            and 2 <= self.entries <= 1 << 16
            and 2 <= self.prompt_entries <= 256
            and 1 <= self.voice_codes <= 64
            and 1 <= self.mel_codes <= 64
            and all(self.width % n == 0 for n in (4, self.groups, self.voice_codes, self.mel_codes))
            and 1 <= self.encoder_blocks <= 64
            and 1 <= self.decoder_blocks <= 64
            and (self.spectral or self.decoder_width % 16 == 0)
            and not (self.fusion == "none" and (self.told or self.speaker))
            and not (self.disentangled and self.speaker)
        )
        if not sensible:
            raise ModelError(
                f"no PSCodec has {self.groups} groups of {self.layers} layers of {self.entries}"
                f" entries, prompts of {self.voice_codes} + {self.mel_codes} codes, layers of"
                f" {', '.join(map(str, widths))} channels and the fusion {self.fusion!r}"
            )

    @property
    def prompts(self) -> tuple[int, ...]:
        """Alphabet of each prompt code: voiceprint, then mel; empty without prompts."""
        count = 0 if self.fusion == "none" else self.voice_codes + self.mel_codes
        return (self.prompt_entries,) * count

    @property
    def vocabularies(self) -> tuple[int, ...]:
        """Alphabet of each content stream: layers outside, groups inside."""
        return (self.entries,) * (self.groups * self.layers)

    def to_dict(self) -> dict[str, Any]:
        values = to_values(self)
        return {k: v for k, v in values.items() if k not in LATER or v}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PromptConfig:
        """Inverse of :meth:`to_dict`; raises ``ModelError`` for unknown or missing entries."""
        return from_values(cls, {**LATER, **values})


SMALL = PromptConfig(encoder_width=160, encoder_blocks=5, decoder_width=256, decoder_blocks=8)
FULL = PromptConfig(
    spectral=False,
    width=512,
    encoder_width=32,
    decoder_width=512,
    layers=2,
    prompt_width=256,
)
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {"fusion": "weighted", "told": True},
    "drl-ict": {"fusion": "weighted", "told": True, "disentangled": True},
    "casan": {"fusion": "cascade", "told": True},
    "speaker": {"fusion": "weighted", "told": True, "speaker": True},
    # For comparison: no prompts, and codebooks larger by what the prompts of 5 s would cost.
    "plain": {"fusion": "none", "entries": 1223},
}


def config_of(variant: str, *, full: bool = False) -> PromptConfig:
    """The configuration named ``base``, ``drl-ict``, ``casan`` or ``plain``."""
    return replace(FULL if full else SMALL, **VARIANTS[variant])

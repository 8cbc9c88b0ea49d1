"""Who speaks, as a vector: the network of Wan et al., "Generalized end-to-end loss for speaker
verification" (ICASSP 2018, arXiv 1710.10467), with the weights of the package Resemblyzer
(Apache 2.0).

Recordings of one speaker have a similarity of about .85, of two about .55. ``laconic eval -m
speaker`` compares decoded voices with it; PSCodec may tell its decoder who speaks by it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.audio.semanticodec_small.mae import mel_bank
from laconic.formats.errors import UnsupportedError

FFT, HOP, BANDS = 400, 160, 40
FRAMES, STEP = 160, 77  # of a part: 1.6 s, and from one part to the next
WIDTH, LAYERS = 256, 3
LEVEL = 10 ** (-30 / 20)  # root mean square to which quieter recordings are raised


class SpeakerNetwork(nn.Module):
    """Frozen."""

    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(BANDS, WIDTH, LAYERS, batch_first=True)
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("bank", mel_bank(BANDS, FFT), persistent=False)  # [201, 40]
        self.requires_grad_(False)

    @torch.no_grad()
    def vector(self, wave: Tensor) -> Tensor:
        """Samples at 16 kHz ``[B, samples]`` -> unit vectors ``[B, 256]``: the mean over parts of
        1.6 s."""
        level = wave.square().mean(1, keepdim=True).sqrt().clamp_min(1e-7)
        wave = wave * (LEVEL / level).clamp_min(1.0)
        wave = F.pad(wave, (0, max(0, FRAMES * HOP - wave.shape[1])))
        window = torch.hann_window(FFT, device=wave.device)
        spectrum = torch.stft(
            wave, FFT, HOP, window=window, pad_mode="constant", return_complex=True
        )
        mel = spectrum.abs().square().transpose(1, 2) @ self.bank  # [B, T, 40]
        parts = mel.unfold(1, FRAMES, STEP).transpose(2, 3)  # [B, N, 160, 40]
        _, (hidden, _) = self.lstm(parts.flatten(0, 1))
        vectors = F.normalize(self.linear(hidden[-1]).relu(), dim=1)
        return F.normalize(vectors.unflatten(0, parts.shape[:2]).mean(1), dim=1)


def packaged_weights() -> dict[str, Tensor]:
    """Those of the installed package, by the names of :class:`SpeakerNetwork`; its code and its
    dependencies are not needed.

    Raises ``UnsupportedError`` when it is not installed.
    """
    found = find_spec("resemblyzer")
    if found is None or found.origin is None:
        raise UnsupportedError(
            "speaker vectors need the weights in the package Resemblyzer: pip install --no-deps"
            " Resemblyzer"
        )
    path = Path(found.origin).with_name("pretrained.pt")
    state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    return {k: v for k, v in state.items() if k.startswith(("lstm.", "linear."))}

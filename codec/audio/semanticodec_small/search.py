"""Better tokens for a recording than the encoder's: latents are searched by what is heard.

The encoder is one guess for all recordings. Here the latents of a window are moved on the loss that
the networks were trained with (``heard.py``), through the decoder and the quantiser: decoding sees
the nearest entries, gradients pass them by ("straight through", van den Oord et al. 2017, arXiv
1711.00937; the same is done for images in ``codec/image/refine.py``). Files and decoding stay what
they are. Only models with short frames gain by it: where frames are long, spectrograms come nearer
to the original and sounds do not.

Its end is a beam search of the entries, whose stages are chosen one by one otherwise.

Gradients need all of a window. A step takes about as long as decoding its spectrogram three times.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from laconic.codec import devices
from laconic.codec.audio.semanticodec_small.heard import Heard
from laconic.codec.audio.semanticodec_small.tokens import TokenAutoencoder

STEPS = (0, 4, 8, 16, 24, 40, 60, 100, 150, 200)  # by effort; even
RATE = 0.1  # of Adam at first, in searches of at most
FEW = 16  # steps; in longer ones it falls with the square root of their number
BETAS = (0.9, 0.95)


def searched(
    tokens: TokenAutoencoder,
    heard: Heard,
    start: tuple[Tensor, Tensor],
    target: Tensor,
    track: Tensor,
    streams: int,
    effort: int,
) -> Tensor:
    """Latents ``[B, N, latent]`` of a window.

    Args:
        start: semantic tokens ``[B, N]``, which stay, and the encoder's latents.
        target: log-mel ``[B, T, 80]`` of the recording.
        track: its pitch.
        streams: acoustic ones that files will have.
        effort: 1 to 9.
    """
    semantic, latents = start
    centroids = tokens.semantic.centroids[semantic]
    moving = latents.detach().clone().requires_grad_()
    steps = STEPS[effort]
    rate = RATE * min(1.0, math.sqrt(FEW / steps))
    used = tokens.used(torch.full(latents.shape[:2], streams, device=latents.device))
    emphasis, passing = tokens.decoder.emphasis(track, used), tokens.quantiser.passing(used)
    mixed = devices.has_bfloat16(latents.device)
    optimiser = torch.optim.Adam([moving], lr=rate, betas=BETAS)
    least, best = math.inf, latents
    for step in range(steps + 1):
        with torch.no_grad():
            entries = tokens.quantiser(moving, used)
        passed = entries + passing * (moving - moving.detach())
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=mixed):
            mel = tokens.decoder(centroids, passed, track)
        loss, _ = heard(mel, target, emphasis, step)
        if step % 2 == 0 and float(loss.detach()) < least:
            least, best = float(loss.detach()), moving.detach().clone()
        if step < steps:
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.param_groups[0]["lr"] = rate * (1 - step / steps)
            optimiser.step()
    return best

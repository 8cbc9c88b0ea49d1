"""What is heard of the difference of two spectrograms, as losses of log-mel ``[B, T, 80]``: what
trainings minimise, and searches for better tokens (``search.py``).

A distance of logarithms treats a weak sound between words like the middle of a vowel; listeners do
not. Two terms are closer to them:

* :func:`envelope_distance`: the correlation of third-octave envelopes, on which it depends whether
  speech is understood (Taal et al., "An algorithm for intelligibility prediction of time-frequency
  weighted noisy speech", IEEE TASLP 2011, equation 5 without its clipping);
* :class:`Disturbance`: the differences of loudness that the perceptual model of ITU-T P.862 (PESQ,
  clause 10.2) counts, made differentiable as in PMSQE (Martin-Donas et al., "A deep learning loss
  function based on the perceptual evaluation of the speech quality", IEEE SPL 2018): delays are
  not searched and bands not equalised. Here the mel bands take the place of the Bark bands, with
  their widths in Bark as weights. The second, asymmetric disturbance of P.862, of what is added, is
  left out: minimised, it takes away more of a voice than it adds quality.

Both look like measures of quality, so what was trained with them is judged by others as well.
:class:`Heard` joins them with plain distances:

    L = |w (mel - decoded mel)|_1 + 0.6 |difference of bands below 2 kHz|_1 + (1 - r)
        + 0.3 log max(d, 0.1) + 0.5 |difference of levels|_1

w is twice as large below 1 kHz as above, with mean 1: there lies what tells a low voice from its
whisper. The second term asks for the ripple of the harmonics, which the first lets go cheaply. r is
the correlation of envelopes, d the disturbance. Its logarithm makes a tenth less worth the same in
every sample; the least that is asked for keeps samples that are right already from drowning the
others. Levels are those of frames less than 60 dB below the loudest: regressions decode too little
energy, and gains that a file adds later step from column to column. Disturbance and levels are
taken from what files decode to, with the harmonics brought out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.audio.semanticodec_small.config import MEL_BANDS, RATE, SmallConfig
from laconic.codec.audio.semanticodec_small.mae import energies, mel_bank
from laconic.codec.audio.side_information import RANGE

LOW_BANDS, LOW_WEIGHT = 28, 2.0  # bands up to 1 kHz, and how much more they weigh
RIPPLE, RIPPLE_BANDS = 0.6, 44  # weight, bands below 2 kHz
ENVELOPE = 1.0  # weight of what the envelopes' correlation lacks
WRONG, WRONG_LEAST = 0.3, 0.1  # weight of the disturbance, the least that is asked for
LEVEL = 0.5  # weight of the difference of levels, in nepers
OCTAVE_THIRDS, LOWEST = 15, 150.0  # bands, Hz of the first one's centre
SEGMENT, SEGMENT_STEP = 24, 6  # frames: 384 ms, and from one segment to the next
QUIET = 0.01  # of the loudest segment's deviation; what is below is not compared

SPEECH = 10**7.9  # power of speech, 79 dB
TELEPHONE = (300.0, 3250.0)  # Hz, the band whose level is aligned
ACTIVE = 1e-3  # of the loudest frame's power, above which a frame counts for the level
GAIN_FLOOR, GAINS = 5e3, (3e-4, 5.0)  # of the gains of frames that are compensated
FORGET, TAPS = 0.2, 10  # of the smoothing of these gains; 0.2 ** 10 is nothing
LOUDNESS_POWER = 0.23  # Zwicker's law
MASKED = 0.25  # of the smaller loudness: smaller differences are not heard
SOFT_FLOOR, SOFT_SCALE, SOFT_POWER = 1e5, 1e7, 0.04  # emphasis on soft frames
TOGETHER, APART = 20, 10  # frames of a split second, 320 ms, and from one to the next
WITHIN = 3.0  # power of the mean in a split second; 6 in P.862, whose gradient sees one frame alone
SMALL = 1e-8  # keeps the slopes of roots finite
SILENT = 1e-12  # energy of a frame


def band_centres() -> Tensor:
    """``[80]``: centres of gravity of the mel bands in Hz."""
    bank = mel_bank(MEL_BANDS)
    bins = torch.linspace(0, RATE / 2, len(bank))
    return (bins[:, None] * bank).sum(0) / bank.sum(0)


def third_octaves() -> Tensor:
    """``[80, 15]``: which mel bands each third octave collects."""
    third = torch.round(3 * torch.log2(band_centres() / LOWEST))
    return (third[:, None] == torch.arange(OCTAVE_THIRDS)).float()


def envelope_distance(mel: Tensor, target: Tensor, thirds: Tensor) -> Tensor:
    """One minus the mean correlation of third-octave envelopes of log-mel ``[B, T, 80]``, in
    segments of 384 ms."""

    def deviations(x: Tensor) -> Tensor:
        power = (2 * x.float()).exp() @ thirds
        segments = (power + 1e-10).sqrt().unfold(1, SEGMENT, SEGMENT_STEP)  # [B, S, 15, 24]
        return segments - segments.mean(-1, keepdim=True)

    with torch.autocast(mel.device.type, enabled=False):
        ours, theirs = deviations(mel), deviations(target)
    size = theirs.norm(dim=-1)  # [B, S, 15]
    heard = (size > QUIET * size.amax((1, 2), keepdim=True)).float()
    alike = (ours * theirs).sum(-1) / (ours.norm(dim=-1) * size + 1e-8)  # equation 5
    return 1 - (heard * alike).sum() / heard.sum().clamp_min(1.0)


def bark(hertz: Tensor) -> Tensor:
    """Critical-band rate (Schroeder et al. 1979)."""
    return 6 * torch.asinh(hertz / 600)


def smoothed(gain: Tensor) -> Tensor:
    """One-pole smoothing over time of ``[B, T]``, at rest before: 0.2 of the value before and 0.8
    of the new one, cut to ten taps."""
    kernel = FORGET ** torch.arange(TAPS - 1, -1, -1, dtype=gain.dtype, device=gain.device)
    padded = F.pad(gain[:, None], (TAPS - 1, 0), mode="replicate")
    return F.conv1d(padded, (kernel / kernel.sum())[None, None])[:, 0]


def over_time(frames: Tensor) -> Tensor:
    """``[B, T]`` -> ``[B]``: a power mean in every split second, whose worst frames are noticed,
    then the root of the mean square."""
    parts = frames.unfold(1, TOGETHER, APART) if frames.shape[1] >= TOGETHER else frames[:, None]
    split = (parts.pow(WITHIN).mean(-1) + SMALL).pow(1 / WITHIN)
    return (split.square().mean(-1) + SMALL).sqrt()


class Disturbance(nn.Module):
    """How much of a decoded log-mel is heard as wrong.

    With powers P' of the decoded and P of the true spectrogram in band b of width w Bark, both
    brought to 79 dB, and P0 the threshold in quiet (Terhardt 1979):

        S = (P0 / 0.5)^0.23 ((0.5 + 0.5 P / P0)^0.23 - 1)                   loudness
        D = max(0, |S' - S| - min(S', S) / 4)                               what is not masked
        d = (sum w)^0.5 (sum w D^2)^0.5 m                                   of a frame
        m = ((sum P + 1e5) / 1e7)^-0.04 / 10                                soft frames weigh more

    Gains that change slowly are compensated before, without gradient: that would reward a decoder
    for moving them, not for being right.
    """

    width: Tensor
    hertz: Tensor
    threshold: Tensor
    telephone: Tensor

    def __init__(self) -> None:
        super().__init__()
        centre = band_centres()
        between = (centre[1:] + centre[:-1]) / 2
        edges = torch.cat([torch.zeros(1), between, torch.full((1,), RATE / 2)])
        kilo = centre.clamp_min(50.0) / 1000
        quiet = 3.64 * kilo**-0.8 - 6.5 * torch.exp(-0.6 * (kilo - 3.3) ** 2) + 1e-3 * kilo**4
        low, high = TELEPHONE
        for name, value in {
            "width": bark(edges).diff(),
            "hertz": edges.diff(),
            "threshold": 10 ** (quiet.clamp_max(60.0) / 10),
            "telephone": ((centre > low) & (centre < high)).float(),
        }.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, mel: Tensor, target: Tensor) -> Tensor:
        """Disturbance ``[B]`` of log-mel ``[B, T, 80]``, 0 where nothing is heard."""
        with torch.autocast(mel.device.type, enabled=False):
            decoded, true = self.power(mel), self.power(target)
            loudness = true.sum(-1)  # [B, T]
            gain = ((loudness + GAIN_FLOOR) / (decoded.sum(-1) + GAIN_FLOOR)).clamp(*GAINS)
            decoded = decoded * smoothed(gain.detach())[..., None]
            ours, theirs = self.loudness(decoded), self.loudness(true)
            masked = MASKED * torch.minimum(ours, theirs)
            heard = ((ours - theirs).abs() - masked).clamp_min(0)  # [B, T, 80]
            total = self.width.sum().sqrt()
            wrong = ((self.width * heard.square()).sum(-1) + SMALL).sqrt() * total
            soft = ((loudness + SOFT_FLOOR) / SOFT_SCALE) ** -SOFT_POWER / 10
            return over_time(wrong * soft)

    def power(self, mel: Tensor) -> Tensor:
        """Power in every band, the active frames at 79 dB."""
        power = (2 * mel.float()).exp() * self.hertz
        frames = (power * self.telephone).sum(-1)
        active = frames > ACTIVE * frames.amax(1, keepdim=True)
        level = (frames * active).sum(1) / active.sum(1).clamp_min(1)
        return power * (SPEECH / level.clamp_min(1e-12))[:, None, None]

    def loudness(self, power: Tensor) -> Tensor:
        """Sone per Bark, 0 below the threshold in quiet."""
        scale = (self.threshold / 0.5) ** LOUDNESS_POWER
        return scale * ((0.5 + 0.5 * power / self.threshold) ** LOUDNESS_POWER - 1).clamp_min(0)


class Heard(nn.Module):
    """The whole loss of a model's spectrograms."""

    weights: Tensor
    thirds: Tensor
    bank: Tensor

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.split = config.split
        weights = torch.ones(MEL_BANDS)
        weights[:LOW_BANDS] = LOW_WEIGHT
        self.register_buffer("weights", weights / weights.mean(), persistent=False)
        self.register_buffer("thirds", third_octaves(), persistent=False)
        self.register_buffer("bank", mel_bank(MEL_BANDS), persistent=False)
        self.disturbance = Disturbance()

    def envelope(self, mel: Tensor, target: Tensor, first: int = 0) -> Tensor:
        """:func:`envelope_distance` of every frame of 16 ms from ``first`` on; 0 of sounds that are
        shorter than a segment."""
        mel, target = (x[:, first :: self.split] for x in (mel, target))
        if mel.shape[1] < SEGMENT:
            return mel.new_zeros(())
        return envelope_distance(mel, target, self.thirds)

    def level(self, mel: Tensor, target: Tensor) -> Tensor:
        """Mean difference of the levels of frames in nepers, of those that are not silent."""
        with torch.autocast(mel.device.type, enabled=False):
            ours, theirs = (
                energies(x.float(), self.bank).clamp_min(SILENT).log() / 2 for x in (mel, target)
            )
        loud = (theirs > theirs.amax(1, keepdim=True) - RANGE).float()
        return ((ours - theirs).abs() * loud).sum() / loud.sum().clamp_min(1.0)

    def forward(
        self, mel: Tensor, target: Tensor, emphasis: Tensor, step: int = 0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of log-mel ``[B, T, 80]`` and its parts. ``emphasis`` is what files bring out of
        harmonics; where frames are shorter than 16 ms the ``step`` says which are compared."""
        distance = (self.weights * (mel - target).abs()).mean()
        ours, theirs = (x[..., :RIPPLE_BANDS].diff(dim=-1) for x in (mel, target))
        ripple = F.l1_loss(ours, theirs)
        first = step % self.split
        envelope = self.envelope(mel, target, first)
        sounding, true = (x[:, first :: self.split] for x in (mel + emphasis, target))
        wrong = self.disturbance(sounding, true).clamp_min(WRONG_LEAST).log().mean()
        level = self.level(mel + emphasis, target)
        loss = distance + RIPPLE * ripple + ENVELOPE * envelope + WRONG * wrong + LEVEL * level
        parts = {"mel": distance, "ripple": ripple, "envelope": envelope, "wrong": wrong}
        return loss, {**parts, "level": level}

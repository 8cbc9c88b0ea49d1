"""Networks that are fitted to videos: HNeRV, HNeRV-Boost and grids of latents.

The published decoders, HNeRV and HNeRV-Boost, with their state-dict names.

A frame is ``decoder(embedding, time)``; HNeRV ignores the time. Choose HNeRV to compare with the
literature, HNeRV-Boost for fewer bits at the same quality, and `grids` for short clips, whose bits
are mostly weights. Chen et al., "HNeRV", CVPR 2023 (arXiv 2304.02633); Zhang et al., "Boosting
Neural Representations for Videos with a Conditional Decoder", CVPR 2024 (arXiv 2402.18152).

The toolkit's own decoder: a Laplacian pyramid of latents, and very few weights.

On a short clip the weights of HNeRV are most of the file, and they cost the same for one frame as
for a hundred. Here a frame is a pyramid of small latent maps, coded against those of the frame
before. An image is built from coarse to fine: upsample bilinearly, add the latents of the level,
add what a few convolutions make of them. The convolutions start at zero, so that a fit starts from
Burt and Adelson's pyramid ("The Laplacian Pyramid as a Compact Image Code", 1983) and not from
noise. Fitted latents at several resolutions come from COOL-CHIC (Ladune et al., ICCV 2023) and C3
(Kim et al., CVPR 2024), bilinear upsampling between residual blocks from HiNeRV (Kwan et al.,
NeurIPS 2023). Nothing but the last addition works at full resolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.video.plan import (
    EMBEDDING_CHANNELS,
    LOWEST_WIDTH,
    PUBLISHED_KERNELS,
    REDUCTION,
    Kernels,
    ladder,
)
from laconic.codec.video.training import ConvNextEncoder

TIME_WAVES = 80  # sines, and as many cosines
TIME_RATIO = 1.25
TIME_HIDDEN, TIME_CHANNELS = 64, 32
HEAD = 2  # pixels along each side that one position of the finest level makes
COLOURS = 3
# Luma and two colour differences of BT.601 at full range, as JPEG has them.
TO_COLOUR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
FROM_COLOUR = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


@dataclass(frozen=True)
class Shape:
    """What determines a published network.

    Attributes:
        width: channels of the stem.
        strides: of the decoder stages.
        blocks: blocks of each stage; HNeRV has one.
        encoder_strides: where they differ, the stem widens the embedding.
        reduction: of the channels from stage to stage.
        waves, ratio: sines of HNeRV-Boost's time encoding, and that of one frequency to the next.
        condition: channels of what its blocks know of the time.
    """

    width: int
    strides: tuple[int, ...]
    blocks: tuple[int, ...] = ()
    encoder_strides: tuple[int, ...] = ()
    kernels: Kernels = PUBLISHED_KERNELS
    channels: int = EMBEDDING_CHANNELS
    lowest: int = LOWEST_WIDTH
    sigmoid: bool = False
    reduction: float = REDUCTION
    waves: int = TIME_WAVES
    ratio: float = TIME_RATIO
    condition: int = TIME_CHANNELS

    @property
    def widening(self) -> int:
        """How much larger the stem's map is than the embedding, along each side."""
        return math.prod(self.encoder_strides or self.strides) // math.prod(self.strides)


class Stem(nn.Module):
    """1 x 1 convolution of the embedding, widened ``factor`` times along each side."""

    def __init__(self, channels: int, width: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.downconv = nn.Conv2d(channels, width * factor * factor, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, q = self.downconv(x), self.factor
        if q == 1:
            return x
        b, c, h, w = x.shape
        x = x.view(b, c // (q * q), q, q, h, w).permute(0, 1, 4, 2, 5, 3)
        return x.reshape(b, c // (q * q), h * q, w * q)


class UpConv(nn.Module):
    """Convolution to s^2 times the channels, then PixelShuffle(s): the HNeRV block."""

    def __init__(self, before: int, after: int, stride: int, kernel: int) -> None:
        super().__init__()
        conv = nn.Conv2d(before, after * stride * stride, kernel, padding=kernel // 2)
        self.upconv = nn.Sequential(conv, nn.PixelShuffle(stride))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.upconv(x)
        return out


class HnervBlock(nn.Module):
    """A stem or an upsampling convolution, and GELU."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, time: Tensor | None) -> Tensor:
        return F.gelu(self.conv(x))


class AffineTransform(nn.Module):
    """TAT: x (1 + gamma(t)) + beta(t), per channel (arXiv 2402.18152, eq. 3)."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.SFT_scale_conv0 = nn.Conv2d(condition, condition, 1)
        self.SFT_scale_conv1 = nn.Conv2d(condition, channels, 1)
        self.SFT_shift_conv0 = nn.Conv2d(condition, condition, 1)
        self.SFT_shift_conv1 = nn.Conv2d(condition, channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        gamma = self.SFT_scale_conv1(F.relu(self.SFT_scale_conv0(time)))  # [B, C, 1, 1]
        beta = self.SFT_shift_conv1(F.relu(self.SFT_shift_conv0(time)))
        return x * (1 + gamma) + beta


class TatResidual(nn.Module):
    """Residual block of two 3 x 3 convolutions, each after a TAT."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.sft0 = AffineTransform(channels, condition)
        self.conv0 = nn.Conv2d(channels, channels, 3, padding=1)
        self.sft1 = AffineTransform(channels, condition)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        y = F.gelu(self.conv0(self.sft0(x, time)))
        return x + self.conv1(self.sft1(y, time))


class BoostBlock(nn.Module):
    """SNeRV block: a convolution and sine; then a residual block that knows the time."""

    def __init__(self, conv: nn.Module, channels: int, condition: int) -> None:
        super().__init__()
        self.conv = conv
        self.sft_block = TatResidual(channels, condition)

    def forward(self, x: Tensor, time: Tensor | None) -> Tensor:
        assert time is not None
        out: Tensor = self.sft_block(torch.sin(self.conv(x)), time)
        return out


class PublishedNetwork(nn.Module):
    """Encoder, decoder and head of HNeRV, and the parts that HNeRV-Boost adds.

    Args:
        shape: widths and strides.
        boost: HNeRV-Boost instead of HNeRV.
        bases: the frequencies of the time encoding, one a wave; by default :func:`time_bases`.
        encoder: with the encoder.
    """

    def __init__(
        self, shape: Shape, boost: bool, bases: Tensor | None = None, encoder: bool = True
    ) -> None:
        super().__init__()
        self.shape, self.boost = shape, boost
        strides, kernels = shape.strides, shape.kernels
        encoder_strides = shape.encoder_strides or strides
        if encoder:
            self.encoder = ConvNextEncoder(encoder_strides, shape.channels)
        widths = ladder(shape.width, len(strides), shape.reduction, shape.lowest)
        stem = Stem(shape.channels, shape.width, shape.widening)
        convs: list[tuple[nn.Module, int]] = [(stem, shape.width)]
        before = shape.width
        for stage, (stride, width) in enumerate(zip(strides, widths[1:], strict=True)):
            count = shape.blocks[stage] if boost else 1
            kernel = min(kernels.at(stage), 3) if boost else kernels.at(stage)
            for block in range(count):
                convs.append((UpConv(before, width, 1 if block else stride, kernel), width))
                before = width
        if boost:
            self.stem_t = nn.Sequential(
                nn.Conv2d(2 * shape.waves, TIME_HIDDEN, 1),
                nn.Identity(),
                nn.Conv2d(TIME_HIDDEN, shape.condition, 1),
            )
            frequencies = time_bases(shape.ratio, shape.waves) if bases is None else bases
            self.register_buffer("bases", frequencies.double(), persistent=False)
        self.decoder = nn.ModuleList(
            BoostBlock(conv, width, shape.condition) if boost else HnervBlock(conv)
            for conv, width in convs
        )
        self.head_layer = nn.Conv2d(before, 3, 3, padding=1)

    def time_encoding(self, times: Tensor) -> Tensor:
        """Sines and cosines of times in (0, 1], 80 of each as published: [B] -> [B, 160, 1, 1]."""
        bases = self.bases
        assert isinstance(bases, Tensor)
        phase = times.double()[:, None] * bases  # [B, 80]
        waves = torch.cat([phase.sin(), phase.cos()], 1).float()
        return waves.to(self.head_layer.weight.dtype)[:, :, None, None]

    def condition(self, times: Tensor) -> Tensor:
        """What every block knows of the time: ``[B]`` -> ``[B, 32, 1, 1]``."""
        first, _, second = self.stem_t
        return torch.sin(second(torch.sin(first(self.time_encoding(times)))))

    def stages(self, embedding: Tensor, times: Tensor) -> list[Tensor]:
        """Outputs of the stem and of every block."""
        condition = self.condition(times) if self.boost else None
        outputs, x = [], embedding
        for block in self.decoder:
            x = block(x, condition)
            outputs.append(x)
        return outputs

    def forward(self, embedding: Tensor, times: Tensor) -> Tensor:
        """Frames ``[B, 3, H, W]`` in (0, 1) from embeddings ``[B, d, h, w]`` and times ``[B]``."""
        x = self.head_layer(self.stages(embedding, times)[-1])
        return torch.sigmoid(x) if self.shape.sigmoid else 0.5 * torch.tanh(x) + 0.5


def time_bases(ratio: float = TIME_RATIO, count: int = TIME_WAVES) -> Tensor:
    """The published frequencies pi ratio^k in float32, ``[count]``.

    From k = 41 on one unit in the last place changes the encoding visibly, and libraries differ by
    one: files use a smaller ratio, whose frequencies stay small.
    """
    powers = torch.tensor([ratio**k for k in range(count)], dtype=torch.float32)
    return powers * torch.pi


def boost_blocks(stages: int) -> tuple[int, ...]:
    """Blocks of each stage as published: one in the first two, then two."""
    return tuple(1 if stage < 2 else 2 for stage in range(stages))


def embedding_size(height: int, width: int, strides: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of an embedding; the padded image is that times the strides.

    >>> embedding_size(180, 320, (5, 4, 2, 2))
    (3, 4)
    """
    step = math.prod(strides)
    return -(-height // step), -(-width // step)


def level_sizes(rows: int, columns: int, levels: int) -> list[tuple[int, int]]:
    """Rows and columns of each level, coarsest first; the finest is at half resolution.

    >>> level_sizes(181, 320, 3)
    [(23, 40), (46, 80), (91, 160)]
    """
    sizes = []
    for _ in range(levels):
        rows, columns = -(-rows // 2), -(-columns // 2)
        sizes.append((rows, columns))
    return sizes[::-1]


def pyramid(
    frames: Tensor, channels: Sequence[int], sizes: Sequence[tuple[int, int]]
) -> list[Tensor]:
    """Laplacian pyramids of frames ``[B, 3, H, W]`` in 0..1: where a fit starts.

    Args:
        channels, sizes: of each level, coarsest first.

    Returns:
        ``[B, d, h, w]`` of each level that has latents; channels beyond luma and the two colour
        differences are zero.
    """
    matrix = frames.new_tensor(TO_COLOUR)
    image = torch.einsum("ij,bjhw->bihw", matrix, frames - 0.5)
    found, built = [], None
    for d, size in zip(channels, sizes, strict=True):
        wanted = F.adaptive_avg_pool2d(image, size)
        before = torch.zeros_like(wanted) if built is None else _resize(built, size)
        built = before.clone()
        if d:
            kept = min(d, COLOURS)
            latent = wanted.new_zeros(wanted.shape[0], d, *size)
            latent[:, :kept] = (wanted - before)[:, :kept]
            built[:, :kept] = wanted[:, :kept]
            found.append(latent)
    return found


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with GELU between them, added to the input; starts as identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv1.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv1(F.gelu(self.conv0(x)))
        return out


class GridNetwork(nn.Module):
    """Latent pyramids to frames.

    Args:
        width: feature channels.
        channels: latent channels of each level, coarsest first; 0 for a level without.
        rows, columns: of the image.
    """

    def __init__(self, width: int, channels: Sequence[int], rows: int, columns: int) -> None:
        super().__init__()
        self.size = (rows, columns)
        self.channels = tuple(channels)
        self.sizes = level_sizes(rows, columns, len(channels))
        self.reads = nn.ModuleList(nn.Conv2d(COLOURS + d, width, 1) for d in channels)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in channels)
        self.writes = nn.ModuleList(nn.Conv2d(width, COLOURS, 1) for _ in channels)
        self.head = nn.Conv2d(width, COLOURS * HEAD * HEAD, 3, padding=1)
        for conv in (self.head, *self.writes):
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)
        self.register_buffer("to_rgb", torch.tensor(FROM_COLOUR), persistent=False)

    def forward(self, latents: Sequence[Tensor]) -> Tensor:
        """Frames ``[B, 3, H, W]``, unclipped, from ``[B, d, h, w]`` of each level that has any."""
        batch = latents[0].shape[0]
        image = latents[0].new_zeros(batch, COLOURS, *self.sizes[0])
        features: Tensor | None = None
        maps = iter(latents)
        for level, (d, size) in enumerate(zip(self.channels, self.sizes, strict=True)):
            if level:
                assert features is not None
                image, features = _resize(image, size), _resize(features, size)
            seen = image
            if d:
                latent = next(maps)
                added = latent[:, :COLOURS]
                if d < COLOURS:
                    added = F.pad(added, (0, 0, 0, 0, 0, COLOURS - d))
                image = image + added
                seen = torch.cat([image, latent], 1)
            read = self.reads[level](seen)
            features = self.blocks[level](read if features is None else features + read)
            image = image + self.writes[level](features)
        rows, columns = self.sizes[-1]
        full = _resize(image, (HEAD * rows, HEAD * columns))
        full = full + F.pixel_shuffle(self.head(features), HEAD)
        full = full[..., : self.size[0], : self.size[1]]
        assert isinstance(self.to_rgb, Tensor)
        return torch.einsum("ij,bjhw->bihw", self.to_rgb, full) + 0.5

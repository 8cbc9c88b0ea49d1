"""What an image model offers to the file-level code: the plug between networks and files.

Every model here has latents at 1/16 of the resolution and hyper-latents at 1/64 or coarser in
whole fractions of 64 pixels; images arrive padded to multiples of 64. Everything is channels-last
at this boundary. A model whose transforms reach further than its margins would show seams between
tiles; one whose ``decode`` depended on float rounding would be found out by the symbol check.

Transforms run on a device, entropy coding on the processor. Images and latents may be anywhere:
each method moves what it is given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from laconic.codec.image.coding import Coded, LatentCoder
from laconic.codec.image.postfilter import Chosen
from laconic.codec.image.steps import Detail
from laconic.codec.models import ModelInfo
from laconic.formats.errors import FormatError, ParameterError


class ImageModel(ABC):
    """A loaded model. ``quality`` is 0..100, or None for models of a single rate."""

    info: ModelInfo
    coder: LatentCoder
    device = torch.device("cpu")  # of the transforms
    channels: int  # of y
    variable = False  # whether the quality can be chosen
    visual = 0.0  # share of MS-SSIM in the distortion that it was trained for
    analysis_margin: int  # pixels around a tile that its latents depend on
    synthesis_margin: int  # pixels around a region whose latents it depends on

    @abstractmethod
    def analyse(self, x: Tensor, quality: float | None) -> Tensor:
        """``[1, H, W, 3]`` in [0, 1] -> y ``[1, H/16, W/16, M]``, in quantisation steps."""

    @abstractmethod
    def synthesise(self, y: Tensor, quality: float | None, *, fast: bool = False) -> Tensor:
        """y_hat ``[1, H/16, W/16, M]`` -> ``[1, H, W, 3]``, not clipped. ``fast`` says that an
        error of less than one level of 8 bits does not matter."""

    def after_filter(self, x: Tensor, quality: float | None, chosen: Chosen | None) -> Tensor:
        """A synthesis without detail layer after a filter (``postfilter.py``), which models of the
        codec mlic have. Raises ``FormatError`` for others."""
        if chosen is not None:
            raise FormatError("a tile has a filter, which its model does not have: it is damaged")
        return x

    def restored(
        self, y: Tensor, quality: float | None, chosen: Chosen | None, *, fast: bool = False
    ) -> Tensor:
        """As :meth:`synthesise`, with a filter before the detail layer."""
        return self.after_filter(self.synthesise(y, quality, fast=fast), quality, chosen)

    def synthesise_exactly(self, y: Tensor, quality: float | None) -> Tensor:
        """As :meth:`synthesise` in float64, where machines differ by about 1e-12 of a level.
        Raises ``ParameterError`` for models that do not offer it."""
        raise ParameterError(
            f"the model {self.info.name} cannot make the preview of a lossless file: choose one of"
            " the codec mlic"
        )

    @abstractmethod
    def hyper(self, y: Tensor, quality: float | None) -> Tensor | None:
        """z of a tile's latent, channels-last; None for models without a hyperprior."""

    @abstractmethod
    def relaxed(self) -> LatentCoder:
        """A coder whose walk serves gradients with respect to latents (``refine.py``)."""

    @abstractmethod
    def multiplier(self, quality: float | None) -> float:
        """lambda of 255^2 * MSE + bits per pixel. Raises ``ParameterError`` if it is unknown."""

    @abstractmethod
    def filters(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights that make and read each channel of y, for ``reorder.py``: last layer of g_a
        ``[M, K]``, its bias ``[M]``, first dense layer of g_s ``[M, L]``."""

    @abstractmethod
    def indivisible(self) -> list[int]:
        """Channels of each part of y that is coded as a whole, in the model's own order: ones where
        channels are independent of each other given z. Raises ``ModelError`` where y is coded
        position after position, all channels at once."""

    def latent_quality(self, quality: float | None) -> float | None:
        """The quality of the latents: where a detail layer begins, they stay."""
        return quality

    def has_detail(self, quality: float | None) -> bool:
        """Whether a detail layer follows the latents (``model.py``)."""
        return False

    def detail(self, difference: Tensor, quality: float | None) -> Tensor:
        """Coefficients of the detail layer ``[1, H/16, W/16, 768]``, in steps and less a dead zone,
        of what synthesis leaves over ``[1, H, W, 3]``."""
        raise NotImplementedError(f"the model {self.info.name} has no detail layer")

    def encode(
        self, y: Tensor, z: Tensor | None, quality: float | None, detail: Detail | None = None,
        mixing: bool = False,
    ) -> Coded:  # fmt: skip
        """Entropy coding of a tile's latent; H/16 and W/16 are multiples of 4. ``detail`` gives
        the coefficients of the detail layer for a decoded latent, where there is one. ``mixing``
        asks for context mixing (``grids.py``), which models of the codec mlic have."""
        return self.coder.encode(y, z, quality, detail, mixing)

    def decode(
        self, payload: bytes, height: int, width: int, quality: float | None, mixing: bool = False
    ) -> Coded:
        """Inverse of :meth:`encode` for a latent of ``height`` x ``width``. Raises
        ``FormatError``."""
        return self.coder.decode(payload, height, width, quality, mixing)


def stored_multiplier(info: ModelInfo) -> float:
    """lambda of a model of one rate, as given when it was imported."""
    value = info.training.get("lambda")
    if value is None:
        raise ParameterError(
            f"the model {info.name} does not say for which lambda it was trained, which effort"
            " above 0 needs: import its checkpoint again with --lambda"
        )
    return float(value)

"""Which model of the zoo a checkpoint is, from the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping

from laconic.codec.image.zoo.networks import ZooConfig
from laconic.formats.errors import ModelError

Shapes = Mapping[str, tuple[int, ...]]
KINDS = (
    "bmshj2018-factorized",
    "bmshj2018-hyperprior",
    "mbt2018-mean",
    "mbt2018",
    "cheng2020-anchor",
    "cheng2020-attn",
)


def kind_of(shapes: Shapes) -> str | None:
    """Name of the model with such tensors, or None."""
    if "entropy_bottleneck.quantiles" not in shapes:
        return None
    if "g_a.0.conv1.weight" in shapes:
        attention = "g_a.3.conv_a.0.conv.0.weight" in shapes
        return "cheng2020-attn" if attention else "cheng2020-anchor"
    if "g_a.0.weight" not in shapes:
        return None
    if "h_a.0.weight" not in shapes:
        return "bmshj2018-factorized"
    if "context_prediction.weight" in shapes:
        return "mbt2018"
    outputs, latent = shapes.get("h_s.4.weight", (0,))[0], shapes.get("g_a.6.weight", (-1,))[0]
    return "bmshj2018-hyperprior" if outputs == latent else "mbt2018-mean"


def recognise(shapes: Shapes, kind: str) -> ZooConfig:
    """Widths of a model of that kind; raises ``ModelError``."""
    modern = kind.startswith("cheng2020")
    keys = ("g_a.0.conv1.weight",) * 2 if modern else ("g_a.0.weight", "g_a.6.weight")
    sizes = []
    for key in keys:
        shape = shapes.get(key)
        if shape is None or len(shape) != 4:
            raise ModelError(
                f"the checkpoint is no {kind}: {key} is {shape or 'missing'}, expected a tensor of"
                " 4 dimensions"
            )
        sizes.append(shape[0])
    return ZooConfig(kind, *sizes)

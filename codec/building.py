"""Model files as networks: their configurations, and whether the weights can be what they say.

A model file may come from anywhere, so a network is judged before a weight is allocated. Torch is
imported by :func:`build` alone; configurations are read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from laconic.codec.models import TABLE_PREFIX, ModelInfo
from laconic.formats.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

Config = TypeVar("Config")
Network = TypeVar("Network", bound="nn.Module")
SLACK = 1 << 20  # values that a network has besides its file: buffers, what only training needs
IMPOSSIBLE = (
    RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError,
    AssertionError, NotImplementedError,
)  # fmt: skip


def to_values(config: Any) -> dict[str, Any]:
    """The fields of a dataclass; tuples become lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}


def from_values(kind: type[Config], values: Mapping[str, Any], advice: str = "") -> Config:
    """Inverse of :func:`to_values`; lists become tuples.

    Raises ``ModelError``, with ``advice`` at its end, for unknown or missing entries.
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if set(values) != names:
        raise ModelError(
            f"the model's configuration differs in {sorted(set(values) ^ names)}: it is of"
            f" another version of Laconic{advice}"
        )
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _unfilled() -> AbstractContextManager[Any]:
    """Within it networks leave their parameters as they are allocated: drawing random weights that
    a file replaces takes most of the time of making a network, and the caller's random numbers."""
    from torch.overrides import TorchFunctionMode

    class Unfilled(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if getattr(func, "__module__", "") == "torch.nn.init":
                return args[0] if args else kwargs["tensor"]
            return func(*args, **(kwargs or {}))

    return Unfilled()


def build(
    make: Callable[[], Network],
    stored: Mapping[str, NDArray[Any]],
    info: ModelInfo,
    scale: str | None = None,
) -> Network:
    """The network that ``make`` makes, if the tensors of a model file can be its weights. Its
    parameters hold nothing until they are loaded: all of them have to be.

    It is first made without memory. Raises ``ModelError`` for a configuration that is impossible or
    asks for many more weights than the file holds, and for weights that are no floats. Integers are
    weights if their name with ``scale`` at its end names a tensor too.
    """
    import torch

    complaint = f"the model {info.name} cannot be used"
    weights = {k: v for k, v in stored.items() if TABLE_PREFIX not in k}
    for key, array in weights.items():
        scaled = scale is not None and key + scale in weights
        if array.dtype.kind != "f" and not (array.dtype.kind == "i" and scaled):
            raise ModelError(f"{complaint}: its tensor {key} is {array.dtype}, expected floats")
    try:
        with torch.device("meta"), _unfilled():
            plan = make().state_dict()
    except IMPOSSIBLE as error:
        raise ModelError(
            f"{complaint}: its configuration is impossible ({type(error).__name__}: {error})"
        ) from error
    wanted = sum(v.numel() for v in plan.values())
    held = sum(v.size for v in weights.values())
    if wanted > 2 * held + SLACK:
        raise ModelError(
            f"{complaint}: its configuration asks for {wanted} weights, its file holds {held}"
        )
    with _unfilled():
        return make()

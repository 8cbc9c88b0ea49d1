"""A model by name, id or path, as an object: ``codec.from_pretrained("mlic-base")``.

For programs that work with one model: it encodes and decodes, and research code gets at the network
itself. Choose ``codec.encode(..., model=...)`` where each call may take another model, and
``models.find`` for facts alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laconic.codec import api, models, registry
from laconic.codec.models import SUFFIX, ModelInfo
from laconic.formats.errors import ModelError, ParameterError

if TYPE_CHECKING:
    from torch.nn import Module


@dataclass(frozen=True)
class Pretrained:
    """A model and its codec; nothing is loaded before it is used.

    Attributes:
        info: name, id, codec, configuration and training of the model.
    """

    info: ModelInfo

    def encode(self, source: Any, **options: Any) -> bytes:
        """The bytes of a ``.lac`` file; as :func:`laconic.codec.encode` with this model."""
        model = str(self.info.path)
        return api.encode(source, codec=self.info.codec, model=model, **options)

    def decode(self, data: Any, **options: Any) -> Any:
        """As :func:`laconic.codec.decode`, of files of any model."""
        return api.decode(data, **options)

    @property
    def network(self) -> Module:
        """The network in float32, in evaluation mode and without gradients.

        It is the one that encodes and decodes: work on a ``copy.deepcopy`` of it. Raises
        ``ParameterError`` for models of codecs without torch (``photo``, ``records``).
        """
        load: Callable[[str], Any] | None = getattr(registry.get(self.info.codec), "load", None)
        if load is None:
            raise ParameterError(
                f"models of the codec {self.info.codec} are no networks of torch: read the tensors"
                " with laconic.codec.models.read_tensors"
            )
        network: Module = load(str(self.info.path)).network
        return network


def from_pretrained(model: str | PathLike[str]) -> Pretrained:
    """A model of the package, of ``laconic-models-extra``, of the user's store, or of a file.

    Args:
        model: name ("mlic-small"), id (12 hexadecimal digits), path of a ``.safetensors`` file, or
            folder that holds one such file. Files that name it decode from now on in this process,
            wherever it lies.

    Raises:
        ModelError: there is no such model, the file is none, or it is a checkpoint that has to be
            imported first.
    """
    name = fspath(model)
    path = Path(name)
    if "\0" not in name and path.exists():
        if path.is_dir():
            inside = sorted(path.glob(f"*{SUFFIX}"))
            if len(inside) != 1:
                raise ModelError(
                    f"{path} holds {len(inside)} files *{SUFFIX}: expected one; give the file"
                )
            name = str(inside[0])
        elif path.suffix != SUFFIX:
            raise ModelError(
                f"{path} is no {SUFFIX} file: turn a published checkpoint into a model with laconic"
                " models import, one of a training with laconic models export"
            )
    models.use(name)
    return Pretrained(models.find(name))

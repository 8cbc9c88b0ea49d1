"""Child process that turns a PyTorch checkpoint into safetensors: ``python -m
laconic.codec.image.unpack CHECKPOINT OUT BYTES``.

It limits its own memory before it reads anything, unpickles tensors and inert settings only, and
says in one line on stderr why it could not.
"""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path
from typing import Any


def main(source: Path, out: Path, limit: int) -> str | None:
    """Write the tensors of ``source``; returns what is wrong with it, or None."""
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import torch
    from safetensors.torch import save_file

    # What training scripts keep beside the weights: plain attributes, which are not looked at.
    torch.serialization.add_safe_globals([argparse.Namespace])
    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True)
        tensors = _tensors(loaded)
        # Float16 and bfloat16 become float32 here, as numpy has no bfloat16.
        plain = {
            k: (v.detach().float() if v.is_floating_point() else v.detach()).clone().contiguous()
            for k, v in tensors.items()
        }
        save_file(plain, str(out))
    except MemoryError:
        return f"it needs more than {limit >> 20} MiB of memory"
    except Exception as error:  # whatever a hostile file provokes
        return _short(error)
    return None


def _tensors(loaded: Any) -> dict[str, Any]:
    import torch

    for key in ("state_dict", "model", "ema", "net"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict):
        raise TypeError(f"it holds a {type(loaded).__name__} and not a state dict")
    strange = [k for k, v in loaded.items() if not isinstance(v, torch.Tensor)]
    if strange or not loaded:
        what = f"the entry {strange[0]!r} is no tensor" if strange else "it is empty"
        raise TypeError(f"its state dict cannot be used: {what}")
    return {str(k): v for k, v in loaded.items()}


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "Weights only load failed" in text or "Unsupported global" in text:
        return "it contains more than tensors (code or objects), which is never loaded"
    return f"{text[:160] or 'nothing more is known'} ({type(error).__name__})"


if __name__ == "__main__":
    complaint = main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    if complaint is not None:
        print(complaint, file=sys.stderr)
        sys.exit(1)

"""Weights and images from a short public rule, so that published networks can be compared number
for number without their checkpoints: splitmix64 noise keyed by the state-dict name.
"""

import math
import zlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

GOLDEN_RATIO = 0x9E3779B97F4A7C15


def noise(key: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    """Uniform noise of mean 0 and variance 1."""
    count = math.prod(shape)
    base = np.uint64((zlib.crc32(key.encode()) + (seed << 32)) & (2**64 - 1))
    with np.errstate(over="ignore"):
        z = base + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN_RATIO)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return ((2 * u - 1) * math.sqrt(3)).reshape(shape)


def _common(parts: list[str], n: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any] | None:
    last, before = parts[-1], parts[-2] if len(parts) > 1 else ""
    if before == "matrices":
        return math.log(math.expm1(1 / (10 ** (1 / 5) * shape[1]))) + 0.1 * n
    if before == "biases":
        return 0.25 * n
    if before == "factors":
        return 0.1 * n
    if last == "Gain":  # a quantisation step is no noise: about 10 to 1
        return 0.1 ** (1 - np.arange(n.size) / (n.size - 1)) * (1 + 0.01 * n)
    if last == "quantiles":
        return np.array([-8.0, 0.0, 8.0]) + 0.3 * n
    if last == "beta":
        return 1 + 0.1 * n
    if last == "gamma" and len(shape) == 2:
        return 0.3 * np.eye(shape[0]) + 0.03 * np.abs(n)
    if last == "gamma" and len(shape) == 1:
        return 0.5 + 0.1 * n
    if last == "relative_position_table":
        return 0.5 * n
    return None


def _shifted(n: NDArray[Any], shift: float) -> NDArray[Any]:
    return 0.05 * n + np.where(np.arange(n.size) < n.size // 2, shift, 0.0)


def _mlicpp(key: str, n: NDArray[Any], std: NDArray[Any]) -> NDArray[Any] | None:
    parts = key.split(".")
    if parts[0].startswith("entropy_parameters_"):
        if key.endswith("fusion.6.bias"):
            return _shifted(n, 4)
        if key.endswith("fusion.6.weight"):
            return 1.5 * std
    if parts[0].startswith("lrp_") and key.endswith("lrp_transform.4.weight"):
        return 0.2 * std
    if key == "g_s.synthesis_transform.7.0.bias":
        return 0.5 + 0.05 * n
    if key == "g_s.synthesis_transform.7.0.weight":
        return 0.2 * std
    if key == "g_a.analysis_transform.6.weight":
        return 0.8 * std
    gains = {"g_s": 0.7, "g_a": 1.4, "h_a": 1.4, "h_s": 1.4}
    if parts[0] in gains and key.endswith("weight"):
        return gains[parts[0]] * std
    return None


def _mbt2018_mean(key: str, n: NDArray[Any], std: NDArray[Any]) -> NDArray[Any] | None:
    exact = {
        "h_s.4.bias": lambda: _shifted(n, 3),
        "g_s.6.weight": lambda: 0.05 * std,
        "g_s.6.bias": lambda: 0.5 + 0.05 * n,
        "g_a.6.weight": lambda: 3.0 * std,
    }
    if key in exact:
        return exact[key]()
    gains = {"g_s": 1.0, "g_a": 1.4, "h_a": 1.4, "h_s": 1.4}
    if key.split(".")[0] in gains and key.endswith("weight"):
        return gains[key.split(".")[0]] * std
    return None


def _cheng2020_attn(key: str, n: NDArray[Any], std: NDArray[Any]) -> NDArray[Any] | None:
    exact = {
        "entropy_parameters.4.bias": lambda: _shifted(n, 3),
        "g_s.9.0.weight": lambda: 0.06 * std,
        "g_s.9.0.bias": lambda: 0.5 + 0.05 * n,
    }
    if key in exact:
        return exact[key]()
    gains = {"g_s": 0.5, "g_a": 1.0, "h_a": 1.2, "h_s": 1.2}
    if key.split(".")[0] in gains and key.endswith("weight"):
        return gains[key.split(".")[0]] * std
    return None


def _elic2022(key: str, n: NDArray[Any], std: NDArray[Any]) -> NDArray[Any] | None:
    """Scales come first."""
    exact = {
        "g_s.14.weight": lambda: 0.03 * std,
        "g_s.14.bias": lambda: 0.5 + 0.05 * n,
        "g_a.13.weight": lambda: 3.0 * std,
    }
    if key in exact:
        return exact[key]()
    if key.endswith("entropy_parameters.4.bias"):
        return _shifted(n, 3)
    if key.startswith(("g_a", "g_s")) and key.endswith("weight"):
        return (0.6 if "conv" in key else 1.0) * std
    return None


def _elic2022_means_first(key: str, n: NDArray[Any], std: NDArray[Any]) -> NDArray[Any] | None:
    if key.endswith("entropy_parameters.4.bias"):
        return _shifted(n, 3)[::-1]
    return _elic2022(key, n, std)


def _checkerboard(key: str, n: NDArray[Any], std: NDArray[Any]) -> NDArray[Any] | None:
    if key.endswith("entropy_parameters.4.bias"):
        return _shifted(n, 3)
    return _cheng2020_attn(key.replace("g_s.7.", "g_s.9."), n, std)


def _mlicv2(key: str, n: NDArray[Any], std: NDArray[Any]) -> NDArray[Any] | None:
    """As MLIC++; the selection keeps about half of the elements."""
    if key.endswith("log_theta"):
        return np.log(1e4) + 0.1 * n
    return _mlicpp(key, n, std)


def _semanticodec(key: str, n: NDArray[Any], std: NDArray[Any]) -> NDArray[Any] | None:
    """Encoder and vocoder; the diffusion network and the autoencoder are filled by default."""
    if key.endswith(("cls_token", "mask_token")):
        return 0.5 * n
    gains = {
        "conv_post.weight": 0.3,
        "encoder_output_linear.weight": 3.0,
        "attn.proj.weight": 0.4,
        "mlp.fc2.weight": 0.4,
        "patch_embed.proj.weight": 4.0,
    }
    for ending, gain in gains.items():
        if key.endswith(ending):
            return gain * std
    parts = key.split(".")
    if parts[0] == "ups" and parts[-1] == "weight":
        return 1.5 * std
    if parts[0] == "encoder" and len(parts) == 2:  # the LSTM
        kinds = {"weight_ih": 3.0 * std, "weight_hh": 1.0 * std, "bias_ih": 0.05 * n}
        return next((v for k, v in kinds.items() if parts[1].startswith(k)), 0.05 * n)
    return None


def _hnerv(key: str, n: NDArray[Any], std: NDArray[Any]) -> NDArray[Any] | None:
    if key == "head_layer.weight":
        return std
    return 1.4 * std if key.startswith("decoder.") and key.endswith("weight") else None


def _hnerv_boost(key: str, n: NDArray[Any], std: NDArray[Any]) -> NDArray[Any] | None:
    quiet = ("SFT_scale_conv1.weight", "SFT_shift_conv1.weight", "sft_block.conv1.weight")
    if key == "head_layer.weight" or key.endswith(quiet):
        return 0.5 * std
    return 1.2 * std if key.startswith("decoder.") and key.endswith("weight") else None


def _plain(key: str, n: NDArray[Any], std: NDArray[Any]) -> NDArray[Any] | None:
    return None


RULES = {
    "mlic": _plain,
    "semanticodec": _semanticodec,
    "mlicpp": _mlicpp,
    "mlicv2": _mlicv2,
    "mbt2018-mean": _mbt2018_mean,
    "cheng2020-attn": _cheng2020_attn,
    "hnerv": _hnerv,
    "hnerv-boost": _hnerv_boost,
    "cheng2020-checkerboard": _checkerboard,
    "elic2022-official": _elic2022,
    "elic2022-chandelier": _elic2022_means_first,
}


def weight(network: str, key: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """The value of one parameter."""
    n = noise(key, shape, seed)
    fan = math.prod(shape[1:])
    std = n / math.sqrt(fan)
    value = _common(key.split("."), n, shape)
    if value is None:
        value = RULES[network](key, n, std)
    if value is None:
        norm = std if len(shape) >= 2 else 1 + 0.1 * n
        value = 0.05 * n if key.endswith("bias") else norm
    return value.astype(np.float32)


def fill(module: nn.Module, network: str, seed: int = 0) -> nn.Module:
    """Set every parameter of a network by the rule; buffers stay as constructed."""
    with torch.no_grad():
        for key, parameter in module.named_parameters():
            if key.endswith("pos_embed"):
                continue
            value = weight(network, key, tuple(parameter.shape), seed)
            parameter.copy_(torch.from_numpy(value))
    return module.eval().requires_grad_(False)


def rule_picture(height: int, width: int, seed: int, element: int = 0) -> torch.Tensor:
    """``[1, 3, H, W]`` in [0, 1], float32 values."""
    t = seed + 10 * element
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for c in range(3):
        v = 0.5 + 0.22 * np.sin(
            2 * np.pi * ((1.5 + c) * x / width + (2 + 0.5 * t) * y / height) + 0.7 * c + t
        )
        v += 0.14 * np.cos(0.37 * x - 0.21 * y + 1.3 * c + 0.5 * t)
        v += 0.10 * np.sin(0.9 * x + 1.1 * y + c) * np.cos(0.05 * x * (1 + c) + t)
        planes.append(np.clip(v, 0, 1))
    return torch.from_numpy(np.stack(planes)[None].astype(np.float32))


def rule_sound(samples: int, seed: int) -> torch.Tensor:
    """``[1, samples]`` at 16 kHz, float32: a gliding voice, chirps and bursts of noise."""
    q = np.arange(samples) / 16000
    phase = (
        2 * np.pi * ((180 + 40 * seed) * q + 60 / (2 * np.pi * 0.7) * np.sin(2 * np.pi * 0.7 * q))
    )
    voice = sum(np.sin(k * phase + 0.3 * k * seed) / k for k in range(1, 13))
    envelope = 0.15 + 0.85 * (0.5 + 0.5 * np.sin(2 * np.pi * (2.3 + 0.2 * seed) * q)) ** 2
    chirp = np.where(q % 3 < 1.2, np.sin(2 * np.pi * (300 * q + 350 * q**2)), 0)
    bursts = np.where(q % 2 > 1, noise("test.audio.noise", (samples,), seed), 0)
    sound = 0.25 * (0.5 * envelope * voice + 0.2 * chirp + 0.05 * bursts)
    return torch.from_numpy(sound.astype(np.float32))[None]

"""Rate-distortion evaluation: measures, Bjontegaard deltas and whole runs, importable for anybody's
own scripts.

``evaluate`` measures codecs on files, ``write_outputs`` makes tables, plots and the report; the
rest are the functions they are made of.
"""

from laconic.codec.evaluate.audio_measures import mel_distance, si_sdr, stft_distance
from laconic.codec.evaluate.metrics import (
    BdResult,
    bd_psnr,
    bd_rate,
    ms_ssim,
    psnr,
    psnr_y,
    ssimulacra2,
)
from laconic.codec.evaluate.runner import Config, Run, evaluate

__all__ = [
    "BdResult",
    "Config",
    "Run",
    "bd_psnr",
    "bd_rate",
    "evaluate",
    "mel_distance",
    "ms_ssim",
    "psnr",
    "psnr_y",
    "si_sdr",
    "ssimulacra2",
    "stft_distance",
    "write_outputs",
]


def __getattr__(name: str) -> object:
    if name == "write_outputs":  # pulls in Pillow and plotting
        from laconic.codec.evaluate.outputs import write_outputs

        return write_outputs
    raise AttributeError(name)

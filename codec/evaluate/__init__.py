"""Distortion measures and rate-distortion comparison, importable for anybody's evaluation
scripts."""

from laconic.codec.evaluate.bd_rate import BdResult, bd_psnr, bd_rate
from laconic.codec.evaluate.distortion import ms_ssim, psnr

__all__ = ["BdResult", "bd_psnr", "bd_rate", "ms_ssim", "psnr"]

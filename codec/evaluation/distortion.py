"""Pixels, and how far decoded ones are from the original: PSNR and MS-SSIM."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# uint8 [H, W, 3], RGB.
Pixels = NDArray[np.uint8]

# MS-SSIM halves a picture four times, and its window of 11 must still fit.
MS_SSIM_LEAST = 161
# Decibels of a picture that is equal to its original, in place of infinity.
EQUAL_DB = 100.0
# The least distance of an MS-SSIM to 1: keeps its logarithm at most EQUAL_DB.
MS_SSIM_GAP = 1e-10


def psnr(a: Pixels, b: Pixels) -> float:
    """Peak signal-to-noise ratio over all samples.

    Args:
        a: uint8 [H, W, 3].
        b: uint8 [H, W, 3].

    Returns:
        Decibels, 10 log10(255^2 / mean squared error); 100 for equal pictures.
    """
    error = float(np.square(a.astype(np.float32) - b.astype(np.float32)).mean())
    return 10 * float(np.log10(255.0**2 / error)) if error else EQUAL_DB


def ms_ssim(a: Pixels, b: Pixels) -> float | None:
    """Multi-scale structural similarity (Wang, Simoncelli and Bovik, 2003).

    Args:
        a: uint8 [H, W, 3].
        b: uint8 [H, W, 3].

    Returns:
        0..1; None where a side is shorter than 161 pixels.
    """
    # Here, because importing this module must not import torch.
    import torch
    from pytorch_msssim import ms_ssim as measure

    if min(a.shape[:2]) < MS_SSIM_LEAST:
        return None
    x, y = (torch.from_numpy(np.array(v)).permute(2, 0, 1)[None].float() for v in (a, b))
    return float(measure(x, y, data_range=255))


def in_db(similarity: float) -> float:
    """MS-SSIM in decibels.

    Args:
        similarity: MS-SSIM, 0..1.

    Returns:
        -10 log10(1 - similarity), at most 100.
    """
    return -10 * math.log10(max(1 - similarity, MS_SSIM_GAP))

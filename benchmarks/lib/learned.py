"""Learned codecs of compressai, for their cost only: random weights (none can be had offline) change neither their layers nor their
number of symbols. And the multiplications of any of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

Call = Callable[[], Any]


@dataclass(frozen=True)
class Coder:
    """encode and decode of one picture, and the networks' parameters (None where there is no network)."""

    encode: Call
    decode: Call
    parameters: int | None


def _mbt2018_mean() -> Any:
    from compressai.zoo import mbt2018_mean

    return mbt2018_mean(4, pretrained=False)


def _elic() -> Any:
    from compressai.models import Elic2022Official

    return Elic2022Official()


LEARNED: dict[str, Callable[[], Any]] = {"mbt2018-mean": _mbt2018_mean, "ELIC": _elic}


def learned(name: str, x: Tensor) -> Coder:
    """One of LEARNED, ready for a picture [1, 3, H, W] in 0..1, sides multiples of 64."""
    torch.manual_seed(0)
    model = (
        LEARNED[name]().eval().requires_grad_(False)
    )  # the counter of multiplications follows gradients otherwise
    model.update(force=True)
    compress = torch.inference_mode()(model.compress)
    decompress = torch.inference_mode()(model.decompress)
    coded = compress(x)
    count = sum(p.numel() for p in model.parameters())
    return Coder(lambda: compress(x), lambda: decompress(coded["strings"], coded["shape"]), count)


def kmac_per_pixel(call: Call, pixels: int) -> float:
    """Thousands of multiply-accumulates of convolutions and matrix products in a call, per pixel of the picture."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2 / pixels / 1000

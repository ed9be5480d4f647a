"""The sizes of one codec network; the same code serves every size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

QP_COUNT = 64
STRIDE_Y = 16
STRIDE_Z = 64
PRIOR_STEPS = 4
RATE_WEIGHT = 0.06  # see codec.coding.rdoq; weights may have another one
# Positions of z that a 3x3 layer at each scale from 1/64 to 1/16 looks beyond: of hyper-analysis, features and steps.
PRIOR_MARGIN = 2


@dataclass(frozen=True)
class LatentLayer:
    """Channels start..stop-1 of y, coded as one: the preview's come first and can be decoded alone."""

    index: int
    start: int
    stop: int


def split_layers(low: int, m: int) -> tuple[LatentLayer, ...]:
    """The layers of a latent of m channels, the first `low` of which are the preview's (0: one layer)."""
    return (LatentLayer(0, 0, low), LatentLayer(1, low, m)) if low else (LatentLayer(0, 0, m),)


def margins(config: Mapping[str, Any]) -> tuple[int, int]:
    """How far analysis and synthesis look beyond a latent position, in latent positions: 3x3 layers at 1/16, and at 1/8."""
    return -(-config["blocks_a8"] // 2) + config["blocks_a16"], config["blocks_s16"] + -(
        -config["blocks_s8"] // 2
    )


@dataclass(frozen=True)
class ModelConfig:
    """Widths and depths of a codec.

    n: channels at 1/8 of the picture; c: channels at 1/16; m: channels of the latent y (a multiple of 4);
    h: channels of the hyper-analysis; z: channels of the hyper-latent; p: channels of the prior's features;
    blocks_*: residual blocks at that stage of the analysis (g_a) or synthesis (g_s); hidden8: channels inside those at 1/8
    (0: 2 n); hidden_a16: inside those of the analysis at 1/16 (0: 2 c); low: the channels of y, coded first, that the preview is
    made of (a multiple of 4; 0: none); p_low: channels of the features of their prior; step_block: a residual block in each step
    of the prior, or, for speed, a depthwise layer alone.
    """

    name: str = "small"
    n: int = 128
    c: int = 256
    m: int = 192
    h: int = 160
    z: int = 64
    p: int = 256
    blocks_a8: int = 2
    blocks_a16: int = 2
    blocks_s16: int = 2
    blocks_s8: int = 3
    low: int = 0
    p_low: int = 128
    hidden8: int = 0
    step_block: bool = True
    hidden_a16: int = 0

    def __post_init__(self) -> None:
        if self.m % PRIOR_STEPS or self.m > self.c or self.c > 4 * self.n or self.n > 192:
            raise ValueError("a codec needs m divisible by 4 and m <= c <= 4 n, n <= 192")
        if self.low % PRIOR_STEPS or not 0 <= self.low < self.m:
            raise ValueError("low must be divisible by 4 and below m")

    @property
    def layers(self) -> tuple[LatentLayer, ...]:
        """What y is coded in, in this order."""
        return split_layers(self.low, self.m)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

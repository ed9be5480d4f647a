"""The sizes of one codec network, and the constants of the learned tool. No torch here.

The constants are defined here only, because code with and without torch needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

QP_MAX = 63  # the finest quantization step; the coarsest is QP 0
QP_COUNT = QP_MAX + 1
T_LIMIT = 1.8  # QP 0..QP_MAX spans -T_LIMIT..T_LIMIT in t, the negative log of the step in nats
STRIDE_Y = 16  # pixels per position of the latent y, along a side
STRIDE_Z = 64  # pixels per position of the hyper-latent z, along a side
Z_LIMIT = 31  # z is clipped to -Z_LIMIT..Z_LIMIT
PRIOR_STEPS = 4  # of the four-step prior; the checkerboard prior has two
SCALE_COUNT = 64  # scale indexes, each with its own entropy table
LEAK = 0.1  # slope below zero of the transforms' leaky ReLU
ANCHORS = 8  # rows of a stored table of gains; QPs between them are interpolated
# The integer prior's arithmetic (networks.integer).
FRACTION_BITS = 6  # of an activation
ACTIVATION_MAX = 511  # in units of 2^-FRACTION_BITS
EXACT_LIMIT = 1 << 24  # float32 holds all integers up to this one
# Its inputs and outputs (networks.prior).
Z_UNIT = 1 / 4  # activation of a z of 1
MEAN_UNIT = 1 / 16  # quantization steps; means are multiples of it
MEAN_LIMIT = 2048.0  # quantization steps
SCALE_OFFSET = 20.0  # scale index of a network output of 0
SCALE_GAIN = 8.0  # scale indexes per unit of the network's output
# What a bit is worth in RDOQ, in squared quantization steps: best of the values tried on six
# training photos (docs/decisions.md, 5). A checkpoint may store another value.
RATE_WEIGHT = 0.06
# Positions of z that the 3x3 layers of hyper-analysis, features and prior steps look beyond a
# tile, summed over the scales 1/64 to 1/16. Tiles of the prior overlap by this much.
PRIOR_MARGIN = 2


@dataclass(frozen=True)
class LatentLayer:
    """A group of y's channels that is entropy-coded as one stack.

    The preview's channels come first and can be decoded without the rest.

    Attributes:
        index: 0 for the first layer in the file.
        start: the layer's first channel of y.
        stop: one past the layer's last channel of y.
    """

    index: int
    start: int
    stop: int


def split_layers(low: int, m: int) -> tuple[LatentLayer, ...]:
    """Divide the channels of y into layers.

    Args:
        low: channels of the preview's layer; 0 for a codec without a preview.
        m: channels of y.

    Returns:
        The layers in coding order: two with a preview, otherwise one.
    """
    if low:
        return LatentLayer(0, 0, low), LatentLayer(1, low, m)
    return (LatentLayer(0, 0, m),)


def margins(config: Mapping[str, Any]) -> tuple[int, int]:
    """Compute how far the transforms look beyond a latent position.

    Each residual block has one 3x3 layer: it looks one position further at 1/16 of the picture,
    half a position further at 1/8.

    Args:
        config: the fields of a ModelConfig by name.

    Returns:
        Margins of (analysis, synthesis), in latent positions.
    """
    analysis = _half_up(config["blocks_a8"]) + config["blocks_a16"]
    synthesis = config["blocks_s16"] + _half_up(config["blocks_s8"])
    return analysis, synthesis


def _half_up(count: int) -> int:
    return -(-count // 2)


@dataclass(frozen=True)
class ModelConfig:
    """Widths and depths of a codec.

    Attributes:
        name: name of the weights.
        n: channels at 1/8 of the picture, at most 192.
        c: channels at 1/16 of the picture, at most 4 n.
        m: channels of the latent y, a multiple of 4, at most c.
        h: channels of the hyper-analysis.
        z: channels of the hyper-latent z.
        p: channels of the prior's features.
        blocks_a8: residual blocks of the analysis at 1/8.
        blocks_a16: residual blocks of the analysis at 1/16.
        blocks_s16: residual blocks of the synthesis at 1/16.
        blocks_s8: residual blocks of the synthesis at 1/8.
        low: channels of y that form the preview's layer, a multiple of 4 below m; 0 for no preview.
        p_low: channels of the features of the preview layer's prior.
        hidden8: channels inside the residual blocks at 1/8; 0 for 2 n.
        step_block: whether each prior step has a residual block. Without one it has a single
            depthwise layer, which is faster.
        hidden_a16: channels inside the analysis' residual blocks at 1/16; 0 for 2 c.

    Raises:
        ValueError: the widths do not fit each other.
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
        """The layers of y in coding order."""
        return split_layers(self.low, self.m)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as checkpoints store them."""
        return asdict(self)

"""Analysis, synthesis and hyper-analysis: picture <-> latent y, and y -> hyper-latent z.

These are real-valued and need not be exact: the encoder alone computes y and z, and z is stored in
the file.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.blocks import LEAK, HalvingLayer, blocks
from codec.networks.config import ModelConfig
from codec.networks.gains import Gain
from codec.networks.tensors import in_float32


def repeat2(qp: Tensor) -> Tensor:
    """Double the resolution of a QP field by repetition.

    Args:
        qp: [B, H, W], or [B, 1, 1] for one QP per picture.

    Returns:
        [B, 2 H, 2 W]; one QP per picture is returned unchanged.
    """
    if qp.shape[-2:] == (1, 1):
        return qp
    return qp.repeat_interleave(2, 1).repeat_interleave(2, 2)


class Analysis(nn.Module):
    """g_a: picture x -> latent y, in units of the quantization step.

    ::

        x -> unshuffle 8 -> 1x1 -> gain(QP) -> blocks -> unshuffle 2 -> 1x1 -> blocks (A)
             (DCT at first)       at 1/8                 (Hadamard)     at 1/16
        (A) -> 1x1 -> gain(QP) -> y

    Args:
        config: widths and depths.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.stem = nn.Conv2d(192, config.n, 1)
        self.gain8 = Gain(config.n)
        self.blocks8 = blocks(config.n, config.blocks_a8, config.hidden8)
        self.down = HalvingLayer(config.n, config.c)
        self.blocks16 = blocks(config.c, config.blocks_a16, config.hidden_a16)
        self.head = nn.Conv2d(config.c, config.m, 1)
        # Steps are proportional to exp(-t), so y in steps grows as exp(t).
        self.gain = Gain(config.m, slope=1.0)

    def forward(self, x: Tensor, qp: Tensor) -> Tensor:
        """Transform pictures.

        Args:
            x: [B, 3, 16 h, 16 w] in 0..1.
            qp: QPs 0..63, [B, h, w] or [B, 1, 1].

        Returns:
            y [B, M, h, w].
        """
        return self.after_stem(self.stem(F.pixel_unshuffle(x - 0.5, 8)), qp)

    def after_stem(self, x: Tensor, qp: Tensor) -> Tensor:
        """Map the first layer's output [B, n, 2 h, 2 w] to y [B, M, h, w]."""
        x = self.blocks8(self.gain8(x, repeat2(qp)))
        x = self.blocks16(self.down(x))
        return self.gain(in_float32(self.head, x), qp)


class Synthesis(nn.Module):
    """g_s: decoded latent y_hat, in quantization steps -> picture.

    ::

        y_hat -> gain(QP) -> 1x1 -> blocks -> 1x1 -> shuffle 2 -> blocks -> gain(QP) (A)
                                    at 1/16    (Hadamard)         at 1/8
        (A) -> 1x1 -> shuffle 8 -> x_hat
             (DCT at first)

    Args:
        config: widths and depths.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gain = Gain(config.m, slope=-1.0)
        self.stem = nn.Conv2d(config.m, config.c, 1)
        self.blocks16 = blocks(config.c, config.blocks_s16)
        self.up = nn.Conv2d(config.c, 4 * config.n, 1)
        self.blocks8 = blocks(config.n, config.blocks_s8, config.hidden8)
        self.gain8 = Gain(config.n)
        self.head = nn.Conv2d(config.n, 192, 1)

    def forward(self, y_hat: Tensor, qp: Tensor) -> Tensor:
        """Reconstruct pictures.

        Args:
            y_hat: [B, M, h, w].
            qp: QPs 0..63, [B, h, w] or [B, 1, 1].

        Returns:
            x_hat [B, 3, 16 h, 16 w], about 0..1, not clipped.
        """
        # With these layers in bfloat16, too, 1.6 % of the samples changed by more than 1/255 and
        # 0.09 dB were lost at quality 100 (docs/decisions.md, 12).
        x = self.blocks16(in_float32(self.stem, self.dequantised(y_hat, qp)))
        x = self.blocks8(F.pixel_shuffle(in_float32(self.up, x), 2))
        return F.pixel_shuffle(in_float32(self.head, self.gain8(x, repeat2(qp))), 8) + 0.5

    def dequantised(self, y_hat: Tensor, qp: Tensor) -> Tensor:
        """Bring latents to units that do not depend on the QP.

        Args:
            y_hat: [B, C, h, w], all or the first channels of y_hat.
            qp: QPs 0..63, [B, h, w] or [B, 1, 1].

        Returns:
            [B, C, h, w].
        """
        return self.gain(y_hat, qp)


class HyperAnalysis(nn.Module):
    """h_a: latent y -> hyper-latent z, not rounded.

    Args:
        config: widths.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.down2 = HalvingLayer(config.m, config.h)
        self.blocks2 = blocks(config.h, 1)
        self.down4 = HalvingLayer(config.h, config.h)
        self.blocks4 = blocks(config.h, 1)
        self.head = nn.Conv2d(config.h, config.z, 1)

    def forward(self, y: Tensor) -> Tensor:
        """Map y [B, M, 4 a, 4 b], zero-padded to multiples of 4, to z [B, Z, a, b]."""
        compressed = y / (1 + 0.1 * y.abs())  # in -10..10 whatever the QP
        x = self.blocks2(F.leaky_relu(self.down2(compressed), LEAK))
        x = self.blocks4(F.leaky_relu(self.down4(x), LEAK))
        return self.head(x)


def pad_to_multiple(v: Tensor, multiple: int) -> Tensor:
    """Add zeros below and to the right.

    Args:
        v: [..., h, w].
        multiple: what both spatial sides of the result are multiples of.

    Returns:
        The padded tensor, or v where no padding is needed.
    """
    h, w = v.shape[-2:]
    if h % multiple == 0 and w % multiple == 0:
        return v
    return F.pad(v, (0, -w % multiple, 0, -h % multiple))

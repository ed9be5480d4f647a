"""The guidance student: a tiny network that predicts where a vision tower would look.

It sees a small copy of the picture (guidance.student.small_copy).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.blocks import LEAK, blocks


@dataclass(frozen=True)
class StudentConfig:
    """Sizes of a student.

    Attributes:
        widths: channels at 1/4, 1/8 and 1/16 of the input.
        depths: residual blocks at 1/4, 1/8 and 1/16 of the input.
    """

    widths: tuple[int, int, int] = (32, 64, 96)
    depths: tuple[int, int, int] = (1, 1, 3)


class Student(nn.Module):
    r"""A distilled vision tower with two maps and one score as outputs.

    ::

        x -> 4x4/4 -> block -> 2x2/2 -> block -> 2x2/2 -> blocks -> + context -> 1x1 -> two maps
             1/4              1/8               1/16           \-> mean over the picture -> document

    `context` is a layer on the mean over the picture.

    Args:
        config: sizes.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        a, b, c = config.widths
        self.stem = nn.Conv2d(3, a, 4, stride=4)
        self.blocks4 = blocks(a, config.depths[0])
        self.down8 = nn.Conv2d(a, b, 2, stride=2)
        self.blocks8 = blocks(b, config.depths[1])
        self.down16 = nn.Conv2d(b, c, 2, stride=2)
        self.blocks16 = blocks(c, config.depths[2])
        self.context = nn.Conv2d(c, c, 1)
        self.head = nn.Conv2d(c, 2, 1)
        self.document = nn.Linear(c, 1)
        for layer in (self.stem, self.down8, self.down16):
            nn.init.kaiming_normal_(layer.weight, LEAK)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Look at pictures.

        Args:
            x: [B, 3, 16 h, 16 w] in 0..1.

        Returns:
            attention: [B, h, w], log of the tower's shallow [CLS] attention, up to a constant.
            sensitivity: [B, h, w], log of how strongly the tower's last tokens react to errors at
                a place, up to a constant.
            document: [B], log-odds that the picture shows text or a plot.
        """
        x = self.features(x)
        mean = x.mean((2, 3), keepdim=True)
        attention, sensitivity = self.head(F.leaky_relu(x + self.context(mean), LEAK)).unbind(1)
        return attention, sensitivity, self.document(mean[..., 0, 0])[:, 0]

    def features(self, x: Tensor) -> Tensor:
        """Map [B, 3, 16 h, 16 w] in 0..1 to features [B, c, h, w]."""
        x = self.blocks4(F.leaky_relu(self.stem(4 * x - 2), LEAK))
        x = self.blocks8(F.leaky_relu(self.down8(x), LEAK))
        return self.blocks16(F.leaky_relu(self.down16(x), LEAK))

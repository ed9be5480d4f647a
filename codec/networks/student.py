"""The guidance student: a tiny network that looks at a small copy of the picture and says where a vision tower would look."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.blocks import LEAK, blocks

STRIDE = 16


@dataclass(frozen=True)
class StudentConfig:
    """Channels at 1/4, 1/8 and 1/16 of its input, and residual blocks at each."""

    widths: tuple[int, int, int] = (32, 64, 96)
    depths: tuple[int, int, int] = (1, 1, 3)


class Student(nn.Module):
    r"""Picture [B, 3, 16 h, 16 w] in 0..1 -> (attention [B, h, w], sensitivity [B, h, w], document [B]).

    attention: a tower's shallow [CLS] attention; sensitivity: how strongly its last tokens react to errors at a place; both
    logs up to a constant. document: the log-odds that this is a picture of text or a plot.

    ::

        x -> 4x4/4 -> block -> 2x2/2 -> block -> 2x2/2 -> blocks -> + context (mean over the picture) -> 1x1 -> two maps
             1/4              1/8               1/16            \-> mean over the picture -> document
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
        x = self.features(x)
        mean = x.mean((2, 3), keepdim=True)
        attention, sensitivity = self.head(F.leaky_relu(x + self.context(mean), LEAK)).unbind(1)
        return attention, sensitivity, self.document(mean[..., 0, 0])[:, 0]

    def features(self, x: Tensor) -> Tensor:
        """[B, 3, 16 h, 16 w] -> [B, c, h, w]."""
        x = self.blocks4(F.leaky_relu(self.stem(4 * x - 2), LEAK))
        x = self.blocks8(F.leaky_relu(self.down8(x), LEAK))
        return self.blocks16(F.leaky_relu(self.down16(x), LEAK))

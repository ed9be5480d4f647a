"""The distilled student as a guide: offline, a few milliseconds."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from codec.errors import UnknownModel
from codec.guidance.files import SHIPPED, read
from codec.guidance.importance import Importance, Pixels, Rule
from codec.networks.precision import has_bfloat16
from codec.networks.student import STRIDE, Student, StudentConfig

SHORT_SIDE = 256
LONGEST = 4 * SHORT_SIDE
LEAST_TRUST = 0.1


def small_copy(pixels: Pixels) -> Pixels:
    """The picture with a short side of at most 256 and a long one of at most 1024 pixels, both multiples of 16."""
    height, width = pixels.shape[:2]
    scale = min(1.0, SHORT_SIDE / min(height, width), LONGEST / max(height, width))
    target = [max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in (width, height)]
    image = Image.fromarray(pixels)
    factor = int(min(image.width / target[0], image.height / target[1]))
    image = image.reduce(factor) if factor > 1 else image
    return np.asarray(image.resize((target[0], target[1]), Image.Resampling.BILINEAR))


class StudentGuide:
    r"""Importance from codec.networks.student.

    preset `default`: sensitivity; `paper`, `attention`: attention. Text and plots are not for `default`: a tower's sensitivity,
    seen on a small copy, says nothing about letters, so the surer the student is of a document, the less it trusts itself.

    ::

        pixels -> small copy -> Student -> log attention, log sensitivity -> importance, a cell per 16x16 of the small copy
                                       \-> document -> trust
    """

    def __init__(self, network: Student, preset: str = "default") -> None:
        self.network = network
        self.bfloat16 = has_bfloat16(torch.device("cpu"))
        self.preset = preset

    @torch.inference_mode()
    def __call__(self, pixels: Pixels) -> Importance | None:
        x = torch.from_numpy(np.array(small_copy(pixels))).permute(2, 0, 1)[None].float() / 255
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            attention, sensitivity, document = (v.float() for v in self.network(x))
        if self.preset == "default":
            values = torch.softmax(sensitivity[0].flatten(), 0).view(sensitivity.shape[1:]).numpy()
            trust = 1 - float(document.sigmoid())
            return Importance(values, "value", trust if trust > LEAST_TRUST else 0.0)
        rule: Rule = "paper" if self.preset == "paper" else "zscore"
        return Importance(torch.softmax(attention[0].flatten(), 0).view(attention.shape[1:]).numpy(), rule)


@lru_cache(maxsize=4)
def load_student(path: Path = SHIPPED) -> tuple[Student, dict[str, Any]]:
    """(network, metadata) of a student's file; the shipped one by default. Raises UnknownModel."""
    arrays, metadata = read(path)
    try:
        network = Student(StudentConfig(**metadata["config"]))
        network.load_state_dict({n: torch.from_numpy(arrays[f"student.{n}"]) for n in network.state_dict()})
    except (KeyError, TypeError, RuntimeError) as error:
        raise UnknownModel(f"{path} holds no guidance student ({type(error).__name__})") from None
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last), metadata

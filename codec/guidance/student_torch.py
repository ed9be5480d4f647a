"""The student's network in PyTorch."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codec.errors import UnknownModel
from codec.guidance.files import SHIPPED, read
from codec.guidance.importance import Floats, Pixels
from codec.guidance.student import Look
from codec.host_state import exact_arithmetic, unfilled
from codec.networks.student import Student, StudentConfig
from codec.networks.tensors import as_batch, has_bfloat16


def look(network: Student | None = None) -> Look:
    """Make a guidance.student.Look from a network.

    Args:
        network: the student. Default: the shipped one.

    Returns:
        A function from a small copy's pixels to the student's outputs.

    Raises:
        UnknownModel: the shipped student cannot be loaded.
    """
    student = load_student()[0] if network is None else network
    bfloat16 = has_bfloat16(torch.device("cpu"))

    @torch.inference_mode()
    def by_network(pixels: Pixels) -> tuple[Floats, Floats, float]:
        x = as_batch(torch.from_numpy(np.array(pixels))).float() / 255
        with exact_arithmetic(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            attention, sensitivity, document = (v.float() for v in student(x))
        return attention[0].numpy(), sensitivity[0].numpy(), float(document)

    return by_network


@lru_cache(maxsize=4)
def load_student(path: Path = SHIPPED) -> tuple[Student, dict[str, Any]]:
    """Load a student.

    Args:
        path: its file. Default: the shipped one.

    Returns:
        network: frozen, channels-last.
        metadata: the file's metadata.

    Raises:
        UnknownModel: the file holds no student.
    """
    arrays, metadata = read(path)
    try:
        config = StudentConfig(**metadata["config"])
        network = unfilled(lambda: Student(config))
        network.load_state_dict(
            {n: torch.from_numpy(arrays[f"student.{n}"]) for n in network.state_dict()}
        )
    except (KeyError, TypeError, RuntimeError) as error:
        raise UnknownModel(f"{path} holds no guidance student ({type(error).__name__})") from None
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last), metadata

"""The shipped feature network."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from codec.errors import UnknownModel
from codec.host_state import unfilled
from codec.tuning.features import FeatureConfig, FeatureNetwork
from codec.weights import safetensors_file
from codec.weights.shipped import FEATURES

SHIPPED_NAME = "features"
FORMAT = "cotam-features-1"


def read_features(path: Path) -> tuple[FeatureNetwork, dict[str, Any]]:
    """Read a feature network.

    Args:
        path: its file.

    Returns:
        network: frozen, float32.
        metadata: the file's metadata: configuration, the fingerprint of the codec whose files it
            was trained on, and how it was trained.

    Raises:
        UnknownModel: the file holds no feature network.
    """
    arrays, metadata = safetensors_file.read(path, FORMAT, "feature network")
    try:
        config = FeatureConfig(**metadata["config"])
        network = unfilled(lambda: FeatureNetwork(config))
        network.load_state_dict({n: torch.from_numpy(arrays[n]) for n in network.state_dict()})
    except (KeyError, TypeError, RuntimeError) as error:
        raise UnknownModel(f"{path} holds no feature network ({type(error).__name__})") from None
    return network.eval().requires_grad_(False), metadata


@lru_cache(maxsize=2)
def load_features(device: str = "cpu") -> FeatureNetwork:
    """The shipped network on a device. Raises UnknownModel where it cannot be read."""
    return read_features(FEATURES)[0].to(device)

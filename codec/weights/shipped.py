"""The folder of the shipped weights: in an installed package, or at the top of a clone."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = _PACKAGE / "checkpoints"
CLONE = _PACKAGE.parent / "checkpoints"
CHECKPOINTS = INSTALLED if INSTALLED.is_dir() else CLONE
# The feature network that tuning uses where no tower is named.
FEATURES = CHECKPOINTS / "features" / "deit_tiny-small.safetensors"

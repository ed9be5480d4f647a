"""Where weights lie: the folder of the shipped ones, in an installed package or in a clone."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = _PACKAGE / "checkpoints"
CLONE = _PACKAGE.parent / "checkpoints"
CHECKPOINTS = INSTALLED if INSTALLED.is_dir() else CLONE
# In the folder of an exported half (codec.backends.manifest).
MANIFEST = "manifest.json"

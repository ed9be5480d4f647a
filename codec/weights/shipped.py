"""Where weights are found: in this package, in the package cotam-models, and in a user's files.

::

    codec/checkpoints (or checkpoints/ of a clone) -> cotam_models -> COTAM_WEIGHTS, register
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = _PACKAGE / "checkpoints"
CLONE = _PACKAGE.parent / "checkpoints"
CHECKPOINTS = INSTALLED if INSTALLED.is_dir() else CLONE
# The feature network that tuning uses where no tower is named.
FEATURES = CHECKPOINTS / "features" / "deit_tiny-small.safetensors"
# In the folder of an exported half (codec.backends.manifest).
MANIFEST = "manifest.json"
# Environment variable: folders and files of a user's own weights, separated as in PATH.
VARIABLE = "COTAM_WEIGHTS"
MORE = "cotam_models"
SUFFIX = ".safetensors"
_registered: list[Path] = []


def folders() -> list[Path]:
    """The folders of weights that are installed, in the order in which a name is looked up."""
    return [CHECKPOINTS, *_more()]


@lru_cache(maxsize=1)
def _more() -> list[Path]:
    spec = find_spec(MORE)
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []


def register(path: Path) -> None:
    """Add a file or a folder of weights for this process, before all earlier ones."""
    _registered.insert(0, path.resolve())


def own_files() -> list[Path]:
    """Files of a user's own weights: registered ones first, then those of COTAM_WEIGHTS."""
    listed = [Path(item) for item in os.environ.get(VARIABLE, "").split(os.pathsep) if item]
    files: list[Path] = []
    for path in (*_registered, *listed):
        files += sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    return [path for path in files if path.is_file()]

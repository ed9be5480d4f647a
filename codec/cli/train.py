"""The command `cotam-train`: it trains in a clone, and elsewhere explains why it cannot."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import codec

CLONE = Path(codec.__file__).resolve().parents[1]
# What every run imports.
NEEDED = ("torch", "hydra", "omegaconf", "pytorch_lightning")


def main() -> None:
    """Run training/train.py of the clone that `codec` was imported from.

    A wheel holds `codec` alone. `training` is imported by name, because no module of `codec`
    depends on it.

    Raises:
        SystemExit: With a sentence and status 1 where there is no clone or no training extra.
    """
    if not (CLONE / "training" / "train.py").is_file():
        sys.exit(
            "cotam-train: training needs a clone of the repository: "
            "run `pip install -e '.[train]'` there"
        )
    for name in NEEDED:
        if find_spec(name) is None:
            sys.exit(
                f"cotam-train: {name} is missing: run `pip install -e '.[train]'` in the clone"
            )
    sys.path.insert(0, str(CLONE))
    import_module("training.train").main()


if __name__ == "__main__":
    main()

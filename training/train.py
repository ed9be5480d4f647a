"""The Hydra entry: `python -m training.train experiment=base`.

`resume=RUN_DIR/checkpoints/last.ckpt` continues a run. `start=FILE` begins a new run from the
weights of such a checkpoint, or from exported weights (.safetensors).
"""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from codec.errors import CodecError
from training import CONF_FOLDER


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="train")
def main(config: DictConfig) -> None:
    """Train, or exit with a one-line error if pictures or weights are missing."""
    # Importing Lightning takes seconds, which a wrong setting or `--cfg job` need not wait for.
    from training.trainer import train

    try:
        train(config)
    except (FileNotFoundError, CodecError) as error:
        sys.exit(f"cotam-train: {error}")


if __name__ == "__main__":
    main()

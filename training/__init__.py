"""Training: Lightning modules, data, losses and the Hydra entry. The codec never imports this."""

from pathlib import Path

CONF_FOLDER = Path(__file__).resolve().parents[1] / "conf"

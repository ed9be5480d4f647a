"""Vision towers: the attention and the tokens of open_clip and timm vision transformers behind one interface."""

from codec.towers.loading import load_tower
from codec.towers.tower import LAST, Repairs, Tower

__all__ = ["LAST", "Repairs", "Tower", "load_tower"]

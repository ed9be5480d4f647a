"""Vision towers: the attention and the tokens of open_clip and timm vision transformers behind one interface."""

from codec.towers.loading import load_tower
from codec.towers.tower import LAST, Tower

__all__ = ["LAST", "Tower", "load_tower"]

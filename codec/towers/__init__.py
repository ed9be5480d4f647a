"""Vision towers: vision transformers of open_clip and timm behind one interface.

It gives access to their attention, their tokens and their classes.
"""

from codec.towers.loading import load_tower
from codec.towers.tower import LAST, Repairs, Tower

__all__ = ["LAST", "Repairs", "Tower", "load_tower"]

"""A model's vision tower: its blocks, and whether its patches lie on a fixed grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

# Towers whose grid of patches depends on the picture.
FLEXIBLE = ("pixtral",)
# Towers that their models call `vision_model`. Other towers of this name differ: Llama 4's class
# token comes after the patches.
NAMED_MODEL = ("idefics3_vision",)
BLOCK_LISTS = ("layers", "layer", "blocks")
# Families with one view per picture whose language model takes any number of tokens for it.
SHORTENED = ("llava",)


@dataclass(frozen=True)
class VisionTower:
    """A tower that sees pictures of one size.

    Attributes:
        module: the tower.
        blocks: its blocks.
        grid: rows and columns of its patches.
    """

    module: nn.Module
    blocks: nn.ModuleList
    grid: tuple[int, int]


def tower_of(model: Any) -> VisionTower | None:
    """A model's vision tower; None if latents cannot be placed on its patches."""
    inner = getattr(model, "model", model)
    tower = getattr(inner, "vision_tower", None)
    named = getattr(inner, "vision_model", None)
    if tower is None and getattr(getattr(named, "config", None), "model_type", "") in NAMED_MODEL:
        tower = named
    config = getattr(tower, "config", None)
    if not isinstance(tower, nn.Module) or getattr(config, "model_type", "") in FLEXIBLE:
        return None
    sizes = _pair(getattr(config, "image_size", None))
    patches = _pair(getattr(config, "patch_size", None))
    blocks = _blocks(tower)
    if sizes is None or patches is None or blocks is None:
        return None
    return VisionTower(tower, blocks, (sizes[0] // patches[0], sizes[1] // patches[1]))


def takes_budget(model: Any) -> bool:
    """Whether the language model can work with a part of each picture's tokens."""
    config = getattr(model, "config", None)
    return (
        getattr(config, "model_type", "") in SHORTENED
        and hasattr(getattr(model, "model", None), "multi_modal_projector")
        and tower_of(model) is not None
    )


def _pair(value: Any) -> tuple[int, int] | None:
    if isinstance(value, int):
        return value, value
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return int(value[0]), int(value[1])
    return None


def _blocks(tower: nn.Module) -> nn.ModuleList | None:
    for name, module in tower.named_modules():
        if isinstance(module, nn.ModuleList) and name.split(".")[-1] in BLOCK_LISTS:
            return module
    return None

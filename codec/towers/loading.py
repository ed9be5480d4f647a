"""Towers by name: an open_clip model's vision part or a timm vision transformer.

::

    name -> configuration -> trunk, without weights
    weights -> file (a path, the local cache or the hub) -> state dict -> loaded strictly -> Tower
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from codec.errors import BadArgument, GuideUnavailable, UnknownModel, UnsupportedTower
from codec.towers.anatomy import Anatomy, open_clip_anatomy, timm_anatomy
from codec.towers.pretrained import (
    OFFLINE,
    fill,
    from_hub,
    is_path,
    need,
    open_clip_file,
    read_state,
)
from codec.towers.tower import Tower

TIMM = "timm:"  # prefix of the names of timm's models
RANDOM = "random"  # untrained weights
PRETRAINED = "pretrained"  # timm's published weights
DEFAULT_LAYERS = 12  # of open_clip's vision transformers
DEFAULT_PATCH = 16  # pixels; of open_clip's vision transformers


def load_tower(
    name: str,
    weights: str | None = None,
    layers: int | None = None,
    size: int | tuple[int, int] | None = None,
) -> Tower:
    """Load a frozen vision tower in float32 on the CPU.

    Only the vision part of an open_clip model is built.

    Args:
        name: an open_clip model ("ViT-L-14-336", "ViT-B-16-SigLIP"), or "timm:" and a timm model
            ("timm:deit_tiny_patch16_224"). For OpenAI's weights as a file, the name must say
            QuickGELU ("ViT-L-14-336-quickgelu"); a tag selects GELU or QuickGELU automatically.
        weights: a tag of open_clip's published weights ("openai"), "pretrained" for timm's,
            "random", or the path of a state dict (safetensors or PyTorch, loaded strictly, without
            unpickling code). Default: the first published ones.
        layers: how many of the first blocks to keep. Default: all.
        size: input size in pixels, a side or (rows, columns), multiples of the patch. The position
            embeddings are interpolated. Default: the model's.

    Returns:
        The tower.

    Raises:
        UnknownModel: the name is unknown, a file is missing, or it belongs to another model.
        GuideUnavailable: a package is not installed, or published weights cannot be downloaded.
        UnsupportedTower: the trunk is of another kind or cannot take this size.
        BadArgument: `layers` is out of range.
    """
    input_size = (size, size) if isinstance(size, int) else size
    if name.startswith(TIMM):
        tower = _timm_tower(name, weights or PRETRAINED, input_size)
    else:
        tower = _open_clip_tower(name, weights, layers, input_size)
    return tower if layers is None else tower.keep(layers)


def _timm_tower(name: str, weights: str, size: tuple[int, int] | None) -> Tower:
    timm = need("timm")
    model = name.removeprefix(TIMM)
    if not timm.is_model(model):
        raise UnknownModel(f"timm has no model {model}, see timm.list_models('*vit*')")
    path = _timm_path(model, weights)
    try:
        trunk = timm.create_model(model, pretrained=False)
    except RuntimeError as error:  # the model does not have the tag in its name
        raise UnknownModel(f"timm has no weights {model}, see timm.list_pretrained()") from error
    timm_anatomy(trunk)
    if path is not None:
        state = read_state(path)
        if not is_path(weights):
            # Published files may use the parameter names of other projects.
            state = need("timm.models.vision_transformer").checkpoint_filter_fn(state, trunk)
        fill(trunk, state, path, name)
    config = timm.data.resolve_data_config(model=trunk)
    return Tower(name, trunk, _resized_timm(name, trunk, size), config["mean"], config["std"])


def _timm_path(model: str, weights: str) -> Path | None:
    """Return the file of the weights; None for random ones."""
    if weights == RANDOM:
        return None
    return Path(weights) if is_path(weights) else _timm_file(model, weights)


def _timm_file(model: str, weights: str) -> Path:
    """Return the file of published weights. Raises GuideUnavailable."""
    if weights != PRETRAINED:
        raise GuideUnavailable(
            f"timm: towers take the weights pretrained, random or a path, not {weights}; {OFFLINE}"
        )
    try:
        config = need("timm.models").get_pretrained_cfg(model)
    except RuntimeError:
        config = None
    if config is None or not config.hf_hub_id:
        raise GuideUnavailable(f"timm publishes no weights {model}; {OFFLINE}")
    if config.hf_hub_filename:
        return from_hub(config.hf_hub_id, [config.hf_hub_filename])
    return from_hub(config.hf_hub_id, ["model.safetensors", "pytorch_model.bin"])


def _resized_timm(name: str, trunk: nn.Module, size: tuple[int, int] | None) -> Anatomy:
    """Give a timm trunk another input size. Raises UnsupportedTower."""
    anatomy = timm_anatomy(trunk)
    if size is None or size == anatomy.size:
        return anatomy
    _check_size(name, size, anatomy.patch)
    changeable: Any = trunk
    changeable.set_input_size(img_size=size)
    return timm_anatomy(trunk)


def _check_size(name: str, size: tuple[int, int], patch: int) -> None:
    if min(size) < patch or size[0] % patch or size[1] % patch:
        raise UnsupportedTower(
            f"{name} takes sizes in multiples of {patch} pixels, not {size[0]} x {size[1]}"
        )


def _open_clip_tower(
    name: str, weights: str | None, layers: int | None, size: tuple[int, int] | None
) -> Tower:
    open_clip = need("open_clip")
    if name not in open_clip.list_models():
        raise UnknownModel(
            f"open_clip has no model {name}, see open_clip.list_models(), "
            "and timm's are called timm:NAME"
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    path, published = _open_clip_weights(name, weights, tags)
    visual = _open_clip_trunk(name, published, layers, size)
    trunk: nn.Module = getattr(visual, "trunk", visual)
    anatomy = open_clip_anatomy(visual) if trunk is visual else timm_anatomy(trunk)
    if path is not None:
        state = read_state(path, "visual.")
        if trunk is visual:
            state = _fit_state(visual, state, anatomy, size)
        fill(visual, state, path, name)
    if trunk is not visual:
        anatomy = _resized_timm(name, trunk, size)
    colours = published or (open_clip.get_pretrained_cfg(name, tags[0]) if tags else {})
    mean = colours.get("mean", open_clip.OPENAI_DATASET_MEAN)
    std = colours.get("std", open_clip.OPENAI_DATASET_STD)
    return Tower(name, trunk, anatomy, mean, std)


def _open_clip_trunk(
    name: str,
    published: Mapping[str, Any],
    layers: int | None,
    size: tuple[int, int] | None,
) -> nn.Module:
    """Build the vision part of an open_clip model, without weights."""
    config = need("open_clip").get_model_config(name)
    vision = config["vision_cfg"]
    if "timm_model_name" not in vision:
        _fit_config(name, vision, layers, size)
    quick_gelu = (published or config).get("quick_gelu", False)
    vision["timm_model_pretrained"] = False
    return need("open_clip.model")._build_vision_tower(config["embed_dim"], vision, quick_gelu)


def _open_clip_weights(
    name: str, weights: str | None, tags: list[str]
) -> tuple[Path | None, Mapping[str, Any]]:
    """Find the weights of an open_clip model.

    Returns:
        path: the file; None for random weights.
        published: the entry of open_clip's table; empty for other weights.
    """
    if weights == RANDOM:
        return None, {}
    if weights is not None and is_path(weights):
        return Path(weights), {}
    tag = weights or (tags[0] if tags else "")
    published = need("open_clip").get_pretrained_cfg(name, tag)
    if not published:
        alternatives = f"it has {', '.join(tags)}" if tags else "there are none"
        raise GuideUnavailable(
            f"open_clip publishes no weights {tag or 'at all'} for {name} "
            f"({alternatives}); {OFFLINE}"
        )
    return open_clip_file(published, f"{name} ({tag})"), published


def _fit_config(
    name: str, vision: dict[str, Any], layers: int | None, size: tuple[int, int] | None
) -> None:
    """Write depth and size into an open_clip configuration, so that no other block is built."""
    depth = vision.get("layers", DEFAULT_LAYERS)
    if not isinstance(depth, int):
        raise UnsupportedTower(
            f"the vision part of {name} is not a vision transformer, choose another tower"
        )
    if layers is not None:
        if not 1 <= layers <= depth:
            raise BadArgument(f"{name} has blocks 1..{depth}, so it cannot keep {layers}")
        vision["layers"] = layers
    if size is not None:
        _check_size(name, size, vision.get("patch_size", DEFAULT_PATCH))
        vision["image_size"] = size


def _fit_state(
    visual: nn.Module, state: dict[str, Tensor], anatomy: Anatomy, size: tuple[int, int] | None
) -> dict[str, Tensor]:
    """Drop the blocks that were not built; interpolate the position embeddings to `size`."""
    depth = len(list(visual.get_submodule(anatomy.blocks).children()))
    start = f"{anatomy.blocks}."
    kept = {
        k: v
        for k, v in state.items()
        if not k.startswith(start) or int(k.removeprefix(start).split(".")[0]) < depth
    }
    if size is not None and "positional_embedding" in kept:
        boxed = {"visual.positional_embedding": kept["positional_embedding"]}
        need("open_clip.model").resize_pos_embed(boxed, SimpleNamespace(visual=visual))
        kept["positional_embedding"] = boxed["visual.positional_embedding"]
    return kept

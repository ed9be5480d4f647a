"""Where the parts of a vision transformer are, and how to read its attention.

For the transformers of open_clip and of timm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from codec.errors import UnsupportedTower

Receive = Callable[[Tensor], None]
Catch = Callable[[nn.Module, Receive], AbstractContextManager[None]]


@dataclass(frozen=True)
class Anatomy:
    """What `Tower` needs to know about a trunk.

    Attributes:
        blocks: name of the submodule that holds the blocks.
        norm: name of the final norm.
        prefix: tokens before the patches; the class token, if there is one, comes first.
        class_token: whether there is a class token.
        size: (rows, columns) of the input in pixels.
        grid: (rows, columns) of the input in patches.
        patch: side of a patch in pixels.
        width: channels of a token.
        classes: outputs of the classifier; 0 without one.
        pool: maps the trunk and its input to the pooled feature, projected where the trunk
            projects, without the classifier.
        catch: while its context is open, passes a block's attention [B, N, N], averaged over the
            heads, to a receiver.
    """

    blocks: str
    norm: str
    prefix: int
    class_token: bool
    size: tuple[int, int]
    grid: tuple[int, int]
    patch: int
    width: int
    classes: int
    pool: Callable[[nn.Module, Tensor], Tensor]
    catch: Catch


@contextmanager
def catch_multihead(block: nn.Module, receive: Receive) -> Iterator[None]:
    """Read the attention of an open_clip block.

    Args:
        block: the block.
        receive: gets the attention [B, N, N] of each forward pass.

    Raises:
        UnsupportedTower: the attention is not torch's MultiheadAttention.
    """
    attn = getattr(block, "attn", block)
    if not isinstance(attn, nn.MultiheadAttention):
        raise UnsupportedTower(
            f"the attention of a {type(attn).__name__} cannot be read, choose another tower"
        )

    # MultiheadAttention returns no weights unless it is asked for them.
    def ask(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs | {"need_weights": True, "average_attn_weights": True}

    def take(module: nn.Module, args: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        receive(output[1])

    handles = [
        attn.register_forward_pre_hook(ask, with_kwargs=True),
        attn.register_forward_hook(take),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def catch_timm(block: nn.Module, receive: Receive) -> Iterator[None]:
    """Read the attention of a timm block.

    Args:
        block: the block.
        receive: gets the attention [B, N, N] of each forward pass.

    Raises:
        UnsupportedTower: the attention is not timm's standard Attention.
    """
    from timm.models import vision_transformer

    timm: Any = vision_transformer
    attn: Any = getattr(block, "attn", block)
    if not isinstance(attn, timm.Attention):
        raise UnsupportedTower(
            f"the attention of a {type(attn).__name__} cannot be read, choose another tower"
        )
    handle = attn.attn_drop.register_forward_hook(
        lambda module, args, output: receive(output.mean(1))
    )
    # The fused kernel never forms the attention matrix.
    fused = attn.fused_attn
    attn.fused_attn = False
    try:
        yield
    finally:
        attn.fused_attn = fused
        handle.remove()


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    rows, columns = (value, value) if isinstance(value, int) else value
    return int(rows), int(columns)


def _square(patch: int | tuple[int, int]) -> int:
    rows, columns = _pair(patch)
    if rows != columns:
        raise UnsupportedTower(
            f"patches of {rows} x {columns} pixels are not square, choose another tower"
        )
    return rows


def open_clip_anatomy(visual: nn.Module) -> Anatomy:
    """Describe an open_clip trunk.

    Args:
        visual: the vision part of an open_clip model.

    Returns:
        Its anatomy.

    Raises:
        UnsupportedTower: it is not an `open_clip.transformer.VisionTransformer`.
    """
    from open_clip.transformer import VisionTransformer

    if not isinstance(visual, VisionTransformer):
        raise UnsupportedTower(
            f"a {type(visual).__name__} is not a vision transformer, choose another tower"
        )
    return Anatomy(
        blocks="transformer.resblocks",
        norm="ln_post",
        prefix=1,
        class_token=True,
        size=_pair(visual.image_size),
        grid=_pair(visual.grid_size),
        patch=_square(visual.patch_size),
        width=visual.conv1.out_channels,
        classes=0,
        pool=lambda trunk, x: trunk(x),
        catch=catch_multihead,
    )


def _timm_pool(trunk: Any, x: Tensor) -> Tensor:
    return trunk.forward_head(trunk.forward_features(x), pre_logits=True)


def timm_anatomy(trunk: nn.Module) -> Anatomy:
    """Describe a timm trunk (ViT, DeiT, SigLIP).

    Args:
        trunk: a timm model.

    Returns:
        Its anatomy.

    Raises:
        UnsupportedTower: it is not a timm VisionTransformer.
    """
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(trunk, VisionTransformer):
        raise UnsupportedTower(
            f"a {type(trunk).__name__} is not a plain vision transformer, choose another tower"
        )
    embed: Any = trunk.patch_embed
    return Anatomy(
        blocks="blocks",
        norm="norm",
        prefix=trunk.num_prefix_tokens,
        class_token=trunk.cls_token is not None,
        size=_pair(embed.img_size),
        grid=_pair(embed.grid_size),
        patch=_square(embed.patch_size),
        width=trunk.embed_dim,
        classes=trunk.num_classes,
        pool=_timm_pool,
        catch=catch_timm,
    )

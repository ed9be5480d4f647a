"""Files as a vision tower's tokens, repaired from the latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from codec.coding.backend import Backend
from codec.coding.latent_grid import STRIDE
from codec.errors import BadArgument
from codec.networks.adapter import sample
from codec.networks.tensors import as_batch
from codec.results import Decoded
from codec.tokens.adapters import Adapter, repaired
from codec.towers import Repairs, Tower
from codec.towers.tower import squashed


def latent_tensors(backend: Backend, decoded: Decoded) -> tuple[Tensor, Tensor]:
    """Return a file's latents and QPs as TokenAdapter takes them.

    Args:
        backend: dequantises the latents.
        decoded: the file.

    Returns:
        latents: dequantised, [1, M, h, w].
        qp: QPs 0..63, [1, h, w], or [1, 1, 1] for one QP.
    """
    latents = backend.dequantised(decoded.y_hat, decoded.qp)
    qp = (
        torch.full((1, 1, 1), decoded.qp)
        if isinstance(decoded.qp, int)
        else torch.from_numpy(decoded.qp)[None]
    )
    return as_batch(torch.from_numpy(latents)), qp


@torch.inference_mode()
def tokens(
    backend: Backend,
    files: Sequence[Decoded],
    tower: Tower,
    adapter: Adapter | None,
    tiles: tuple[int, int] | None = None,
    layer: int = 0,
) -> Tensor:
    r"""Compute the tokens of files.

    ::

        file -> picture -> tower's size (and tiles) -> embedding -+-> blocks -+-> ... -> tokens
            \-> latents, QPs -> the same boxes -> adapter --------+-----------+

    Args:
        backend: dequantises the latents.
        files: the decoded files.
        tower: the vision tower.
        adapter: repairs the tokens; None leaves them unchanged.
        tiles: for towers that tile: (rows, columns) of tower-sized pieces to cut the picture into.
        layer: the layer of the tower (Tower.tokens); 0 is the input of the first block.

    Returns:
        [B, prefix + rows * columns, width] for the rows and columns of the tower's grid. With
        `tiles`, [B, 1 + tiles, prefix + ..., width], the whole picture first.

    Raises:
        BadArgument: `tiles` or `layer` is out of range.
    """
    if tiles is not None and min(tiles) < 1:
        raise BadArgument(f"tiles are (rows, columns), each at least 1, not {tiles}")
    batch = []
    for decoded in files:
        picture = decoded.to("tensor")[None]
        views = tower.normalize(torch.cat(_views(picture, tower.size, tiles)))
        height, width = picture.shape[-2:]
        repair = adapter if decoded.has_latents else None
        boxes = _boxes(height, width, tiles)
        embedding, repairs = embedded(backend, decoded, tower, repair, views, boxes)
        view_tokens = tower.continued(embedding, [layer], repairs=repairs)[layer]
        batch.append(view_tokens if tiles is None else view_tokens[None])
    return torch.cat(batch)


def embedded(
    backend: Backend,
    decoded: Decoded,
    tower: Tower,
    adapter: Adapter | None,
    views: Tensor,
    boxes: Tensor,
) -> tuple[Tensor, Repairs]:
    """Embed any views of a picture and repair the embedding.

    Args:
        backend: dequantises the latents.
        decoded: the file.
        tower: the vision tower.
        adapter: None for no repair.
        views: [N, 3, h, w], normalized, at the tower's size.
        boxes: [N, 4], what the views show: left, top, right, bottom in pixels.

    Returns:
        tokens: [N, prefix + patches, width], the input of the tower's first block.
        repairs: the repairs of later layers, for Tower.continued.
    """
    embedding = tower.tokens(views, [0])[0]
    if adapter is None:
        return embedding, {}
    latents, qp = latent_tensors(backend, decoded)
    # roi_align wants the number of the picture first; there is only one.
    latent_boxes = torch.cat([boxes.new_zeros(len(boxes), 1), boxes / STRIDE], 1)
    samples = sample(latents, qp, tower.grid, latent_boxes)
    return repaired(adapter.networks, samples, embedding)


def _views(picture: Tensor, size: tuple[int, int], tiles: tuple[int, int] | None) -> list[Tensor]:
    """Return the picture at the tower's size, then its tiles, row by row."""
    views = [squashed(picture, size)]
    if tiles is not None:
        # Tiles are cut from one enlarged picture, so that they meet without gaps.
        large = squashed(picture, (size[0] * tiles[0], size[1] * tiles[1]))
        views += [tile for row in large.split(size[0], 2) for tile in row.split(size[1], 3)]
    return views


def _boxes(height: int, width: int, tiles: tuple[int, int] | None) -> Tensor:
    """Return what the views show: left, top, right, bottom in pixels, [N, 4]."""
    boxes = [(0.0, 0.0, float(width), float(height))]
    rows, columns = tiles or (0, 0)
    for i in range(rows):
        for j in range(columns):
            left = j * width / columns
            right = (j + 1) * width / columns
            boxes.append((left, i * height / rows, right, (i + 1) * height / rows))
    return torch.tensor(boxes, dtype=torch.float32)

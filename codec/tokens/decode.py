"""Files as a vision tower's tokens: its embedding of the decoded picture and what it makes of that, repaired from the latents."""

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
    """(dequantised latents [1, M, h, w], QPs [1, h, w] or [1, 1, 1]), as TokenAdapter takes them."""
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
    """Each file's tokens of a layer of the tower (Tower.tokens) [B, prefix + rows * columns, width]; 0: for its first block.

    adapter: None leaves them as they are. tiles: (rows, columns) of tower-sized pieces that the picture is cut into, for
    towers that tile: [B, 1 + rows * columns, prefix + ..., width], the whole picture first.

    ::

        file -> decoded picture -> squashed to the tower's size (and to tiles) -> embedding -+-> blocks -+-> ... -> tokens
             \\-> latents, QPs -> the same boxes ------------------------> adapter -----------+-----------+
    """
    if tiles is not None and min(tiles) < 1:
        raise BadArgument(f"tiles are (rows, columns), each at least 1, not {tiles}")
    found = []
    for decoded in files:
        picture = decoded.to("tensor")[None]
        views = tower.normalize(torch.cat(_views(picture, tower.size, tiles)))
        height, width = picture.shape[-2:]
        repair = adapter if decoded.has_latents else None
        boxes = _boxes(height, width, tiles)
        entering, repairs = embedded(backend, decoded, tower, repair, views, boxes)
        seen = tower.continued(entering, [layer], repairs=repairs)[layer]
        found.append(seen if tiles is None else seen[None])
    return torch.cat(found)


def embedded(
    backend: Backend,
    decoded: Decoded,
    tower: Tower,
    adapter: Adapter | None,
    views: Tensor,
    boxes: Tensor,
) -> tuple[Tensor, Repairs]:
    """What enters the tower's first block of any views of a picture, and how later layers are repaired (Tower.continued).

    views: [N, 3, h, w] as the tower takes them; boxes: [N, 4], what they show, in pixels.
    """
    seen = tower.tokens(views, [0])[0]
    if adapter is None:
        return seen, {}
    latents, qp = latent_tensors(backend, decoded)
    placed = torch.cat([torch.zeros(len(boxes), 1), boxes / STRIDE], 1)
    return repaired(adapter.networks, sample(latents, qp, tower.grid, placed), seen)


def _views(picture: Tensor, size: tuple[int, int], tiles: tuple[int, int] | None) -> list[Tensor]:
    """The picture at the tower's size, then its tiles, row by row."""
    views = [squashed(picture, size)]
    if tiles is not None:
        large = squashed(picture, (size[0] * tiles[0], size[1] * tiles[1]))
        views += [tile for row in large.split(size[0], 2) for tile in row.split(size[1], 3)]
    return views


def _boxes(height: int, width: int, tiles: tuple[int, int] | None) -> Tensor:
    """What the views show, left, top, right, bottom in pixels [N, 4]."""
    boxes = [(0.0, 0.0, float(width), float(height))]
    rows, columns = tiles or (0, 0)
    for i in range(rows):
        for j in range(columns):
            boxes.append(
                (
                    j * width / columns,
                    i * height / rows,
                    (j + 1) * width / columns,
                    (i + 1) * height / rows,
                )
            )
    return torch.tensor(boxes)

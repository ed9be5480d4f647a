"""Which of a vision tower's tokens to keep, told by what the file spent where. No network, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from codec.coding.latent_grid import STRIDE
from codec.errors import BadArgument

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
QP_WEIGHT = 0.05


class Spent(Protocol):
    """What `api.Decoded` and `api.Encoded` know of a file: bits [h, w] per latent position, its QPs [h, w], height and width."""

    @property
    def bits(self) -> Floats | None: ...

    @property
    def qp(self) -> Any: ...

    @property
    def size(self) -> tuple[int, int]: ...


@dataclass(frozen=True)
class Selection:
    """The kept tokens of a grid of rows x columns, in reading order, without the tower's prefix.

    indexes: int64 [k], positions row * columns + column; owner: int64 [rows * columns], which kept token stands for each
    position; weights: float32 [rows * columns], of each position in its owner's mean (they sum to 1 for each owner).
    """

    indexes: Ints
    owner: Ints
    weights: Floats
    grid: tuple[int, int]

    def merged(self, tokens: Any) -> Any:
        """tokens [..., rows * columns, width], array or tensor -> [..., k, width]: weighted means of what each stands for."""
        matrix = np.zeros((len(self.indexes), len(self.owner)), np.float32)
        matrix[self.owner, np.arange(len(self.owner))] = self.weights
        return (tokens.new_tensor(matrix) if hasattr(tokens, "new_tensor") else matrix) @ tokens


def density(spent: Spent, grid: tuple[int, int]) -> Floats:
    """Information per position of a tower's grid [rows, columns] that covers the whole picture; positive, mean 1.

    The bits of the latent positions below it, times exp(0.05 (QP - mean QP)): finer steps were put where it matters.
    Raises BadArgument where the bits were not counted (want_bits).
    """
    if spent.bits is None:
        raise BadArgument("tokens are chosen by the bits per position: decode with want_bits=True")
    return spent_at(spent, grid, (0, 0, spent.size[1], spent.size[0]))


def spent_at(spent: Spent, grid: tuple[int, int], box: Sequence[float]) -> Floats:
    """As `density`, of a grid over a part of the picture: left, top, right, bottom in pixels, inside it."""
    assert spent.bits is not None
    qp = np.broadcast_to(np.asarray(spent.qp, np.float32), spent.bits.shape)
    left, top, right, bottom = (side / STRIDE for side in box)
    over_rows = _coverage(qp.shape[0], grid[0], top, bottom)
    over_columns = _coverage(qp.shape[1], grid[1], left, right)
    bits, finer = (
        over_rows @ values.astype(np.float32) @ over_columns.T
        for values in (spent.bits, qp - qp.mean())
    )
    here = (bits + 1e-3) * np.exp(QP_WEIGHT * finer)
    return (here / here.mean()).astype(np.float32)


def select_tokens(
    spent: Spent, budget: float = 0.25, grid: tuple[int, int] = (24, 24)
) -> Selection:
    """The tokens that carry most of a picture: round(budget * rows * columns) of them, at least one.

    spent: a file's `Decoded` (or `Encoded`) with its bits. The grid is quartered again and again, each part getting tokens by
    its share of the information (`density`), never more than it has; a part with one token is represented by its densest
    position (quadtree allocation as in QPID, arXiv 2601.20742). Raises BadArgument.
    """
    if not 0 < budget <= 1 or min(grid) < 1:
        raise BadArgument(
            f"budget must be above 0 and at most 1, and the grid not empty, not {budget} and {grid}"
        )
    return quadtree(density(spent, grid), max(1, round(budget * grid[0] * grid[1])))


def quadtree(information: Floats, count: int) -> Selection:
    """`count` positions of information [rows, columns] > 0; see `select_tokens`."""
    rows, columns = information.shape
    count = min(count, rows * columns)
    table = np.zeros((rows + 1, columns + 1))
    table[1:, 1:] = information.cumsum(0, dtype=np.float64).cumsum(1)
    parts = np.array([[0, 0, rows, columns]])
    tokens = np.array([count])
    done = [np.zeros((0, 4), np.int64)]
    while len(parts):
        ready = (tokens == 1) | (_area(parts) == 1)
        done.append(parts[ready])
        children = _quarters(parts[~ready])
        shares = _share(_sums(table, children), _area(children), tokens[~ready])
        # a part without any joins the nearest leaf in the end
        parts = children[shares > 0]
        tokens = shares[shares > 0]
    return _selection(information, np.concatenate(done))


def _area(parts: Ints) -> Ints:
    return np.asarray((parts[..., 2] - parts[..., 0]) * (parts[..., 3] - parts[..., 1]), np.int64)


def _sums(table: NDArray[np.float64], parts: Ints) -> NDArray[np.float64]:
    top, left, bottom, right = (parts[..., side] for side in range(4))
    return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]


def _quarters(parts: Ints) -> Ints:
    """[n, 4] -> [n, 4, 4]; a side of one is not halved: two of the four are then empty."""
    top, left, bottom, right = parts.T
    children = parts.repeat(4, 0).reshape(-1, 4, 4)
    row = (top + bottom + 1) // 2
    column = (left + right + 1) // 2
    children[:, :2, 2] = children[:, 2:, 0] = row[:, None]
    children[:, ::2, 3] = children[:, 1::2, 1] = column[:, None]
    return children


def _share(information: NDArray[np.float64], room: Ints, tokens: Ints) -> Ints:
    """Tokens [n] over four parts [n, 4] by their information, at most `room`: whole shares first, the rest by largest remainder."""
    given = np.zeros_like(room)
    left = tokens.copy()
    while left.any():
        open_ = given < room
        wanted = information.clip(1e-12) * open_
        wanted *= (left / wanted.sum(1).clip(1e-12))[:, None]
        whole = np.minimum(np.floor(wanted).astype(np.int64), room - given)
        given += whole
        left = left - whole.sum(1)
        rank = np.argsort(
            np.argsort(-np.where(given < room, wanted - whole, -1.0), 1, kind="stable"),
            1,
            kind="stable",
        )
        one = (rank < left[:, None]) & (given < room)
        given += one
        left = left - one.sum(1)
    return given


def _selection(information: Floats, leaves: Ints) -> Selection:
    rows, columns = information.shape
    flat = information.ravel()
    cells, leaf, first = _cells(leaves, columns)
    leaf_of = np.full(rows * columns, -1)
    leaf_of[cells] = leaf
    indexes = cells[
        np.lexsort((-flat[cells], leaf))[first]
    ]  # the densest of each, the first where there are several
    order = indexes.argsort()
    indexes = indexes[order]
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    owner = np.where(leaf_of >= 0, rank[leaf_of], -1)
    alone = np.flatnonzero(owner < 0)
    away = np.abs(alone[:, None] // columns - indexes // columns) + np.abs(
        alone[:, None] % columns - indexes % columns
    )
    owner[alone] = away.argmin(1) if len(alone) else alone
    return Selection(
        indexes, owner, (flat / np.bincount(owner, flat)[owner]).astype(np.float32), (rows, columns)
    )


def _cells(parts: Ints, columns: int) -> tuple[Ints, Ints, Ints]:
    """Positions of all parts, one part after another, each in reading order; the part each belongs to; where each part begins."""
    area = _area(parts)
    width = parts[:, 3] - parts[:, 1]
    part = np.arange(len(parts)).repeat(area)
    first = area.cumsum() - area
    within = np.arange(area.sum()) - first[part]
    rows = parts[part, 0] + within // width[part]
    return rows * columns + parts[part, 1] + within % width[part], part, first


def _coverage(size: int, wanted: int, start: float, end: float) -> Floats:
    """[wanted, size]: the share of each of `size` unit intervals in each of `wanted` equal ones from start to end; rows sum to 1
    where these lie within the former.
    """
    edges = np.linspace(start, end, wanted + 1)
    overlap = np.minimum(edges[1:, None], np.arange(1, size + 1)) - np.maximum(
        edges[:-1, None], np.arange(size)
    )
    return (overlap.clip(0) * (wanted / (end - start))).astype(np.float32)

"""Which of a vision tower's tokens to keep, by where the file spent its bits.

No network and no torch.

::

    bits, QPs per latent position --+-> density (on the tower's grid) -> quadtree -> Selection
    latents -> predicted share -----+   (only where `redundancy` is above 0)
"""

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
QP_WEIGHT = 0.05  # nats of information per QP: a finer step was chosen where it matters
LEAST_DEVIATION = 1e-6  # of a latent channel; a smaller one counts as this
LEAST_BITS = 1e-3  # added to each place's bits, so that the information is positive everywhere


class Spent(Protocol):
    """What token selection reads of a `Decoded` or `Encoded` file."""

    @property
    def bits(self) -> Floats | None:
        """Bits per latent position [h, w]; None if they were not counted."""

    @property
    def qp(self) -> Any:
        """QPs per latent position [h, w], or one QP."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""

    @property
    def y_hat(self) -> Floats:
        """Latents [h, w, M]; read only where redundancy counts."""


@dataclass(frozen=True)
class Selection:
    """The kept tokens of a grid, in reading order, without the tower's prefix.

    Attributes:
        indexes: int64 [k], positions row * columns + column of the kept tokens.
        owner: int64 [rows * columns], the kept token that represents each position.
        weights: float32 [rows * columns], each position's weight in its owner's mean; the weights
            of an owner sum to 1.
        grid: (rows, columns).
    """

    indexes: Ints
    owner: Ints
    weights: Floats
    grid: tuple[int, int]

    def merged(self, tokens: Any) -> Any:
        """Average tokens instead of dropping them.

        Args:
            tokens: [..., rows * columns, width], an array or a tensor.

        Returns:
            [..., k, width], weighted means over the positions that each kept token represents.
        """
        matrix = np.zeros((len(self.indexes), len(self.owner)), np.float32)
        matrix[self.owner, np.arange(len(self.owner))] = self.weights
        return (tokens.new_tensor(matrix) if hasattr(tokens, "new_tensor") else matrix) @ tokens


def density(spent: Spent, grid: tuple[int, int], redundancy: float = 0.0) -> Floats:
    """Estimate the information per position of a grid over the whole picture.

    It is the bits of the latent positions below a grid position, times exp(0.05 (QP - mean QP)).

    Args:
        spent: a file's `Decoded` or `Encoded`.
        grid: (rows, columns) of the tower.
        redundancy: 0..1, how much less a place is worth that its neighbours predict; see
            `predicted`.

    Returns:
        [rows, columns], positive, of mean 1.

    Raises:
        BadArgument: the bits were not counted, or the redundancy is out of range.
    """
    if not 0 <= redundancy <= 1:
        raise BadArgument(f"redundancy must be between 0 and 1, not {redundancy:g}")
    if spent.bits is None:
        raise BadArgument("tokens are chosen by the bits per position: decode with want_bits=True")
    return spent_at(spent, grid, (0, 0, spent.size[1], spent.size[0]), redundancy)


def predicted(y_hat: Floats) -> Floats:
    """Compute how well its neighbours predict each latent position.

    The prediction is the mean of the four neighbours, channels are scaled to the same deviation,
    and the result is 1 - |error|^2 / |value|^2, at least 0. This is the redundancy term of QPID
    (arXiv 2508.13460), on latents in the place of tokens.

    Args:
        y_hat: latents [h, w, M].

    Returns:
        [h, w], 0..1.
    """
    values = y_hat - y_hat.mean((0, 1))
    values = values / np.maximum(values.std((0, 1)), LEAST_DEVIATION)
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)), "edge")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    error = np.square(values - around / 4).sum(2)
    energy = np.maximum(np.square(values).sum(2), LEAST_DEVIATION)
    return np.clip(1 - error / energy, 0, 1).astype(np.float32)


def spent_at(
    spent: Spent, grid: tuple[int, int], box: Sequence[float], redundancy: float = 0.0
) -> Floats:
    """Estimate the information per position of a grid over a part of the picture.

    Args:
        spent: as `density` takes it, with its bits.
        grid: (rows, columns) of the tower.
        box: left, top, right, bottom in pixels, inside the picture.
        redundancy: as `density` takes it.

    Returns:
        [rows, columns], positive, of mean 1.
    """
    assert spent.bits is not None
    qp = np.broadcast_to(np.asarray(spent.qp, np.float32), spent.bits.shape)
    left, top, right, bottom = (side / STRIDE for side in box)
    over_rows = _coverage(qp.shape[0], grid[0], top, bottom)
    over_columns = _coverage(qp.shape[1], grid[1], left, right)
    worth = spent.bits
    # Files of tools without latents have bits, too, and nothing to predict from.
    if redundancy and spent.y_hat.size:
        worth = worth * (1 - redundancy * predicted(spent.y_hat))
    bits, finer = (
        over_rows @ values.astype(np.float32) @ over_columns.T for values in (worth, qp - qp.mean())
    )
    information = (bits + LEAST_BITS) * np.exp(QP_WEIGHT * finer)
    return (information / information.mean()).astype(np.float32)


def select_tokens(
    spent: Spent,
    budget: float = 0.25,
    grid: tuple[int, int] = (24, 24),
    redundancy: float = 0.0,
) -> Selection:
    """Choose the tokens that carry most of a picture.

    The grid is divided into quarters recursively. Each part gets tokens by its share of the
    information (`density`), never more than it has positions. A part with one token is represented
    by its densest position. (Quadtree allocation as in QPID, arXiv 2601.20742.)

    Args:
        spent: a file's `Decoded` or `Encoded`, with its bits.
        budget: the share of tokens to keep, above 0 and at most 1.
        grid: (rows, columns) of the tower.
        redundancy: as `density` takes it.

    Returns:
        round(budget * rows * columns) tokens, at least one.

    Raises:
        BadArgument: an argument is out of range, or the bits were not counted.
    """
    if not 0 < budget <= 1 or min(grid) < 1:
        raise BadArgument(
            f"budget must be above 0 and at most 1, and the grid not empty, not {budget} and {grid}"
        )
    return quadtree(density(spent, grid, redundancy), max(1, round(budget * grid[0] * grid[1])))


def quadtree(information: Floats, count: int) -> Selection:
    """Choose positions by information; see `select_tokens`.

    Args:
        information: [rows, columns], positive.
        count: how many positions to choose, at least 1; at most all are.

    Returns:
        The selection.
    """
    rows, columns = information.shape
    count = min(count, rows * columns)
    table = np.zeros((rows + 1, columns + 1))
    table[1:, 1:] = information.cumsum(0, dtype=np.float64).cumsum(1)
    parts = np.array([[0, 0, rows, columns]])
    tokens = np.array([count])
    leaves = [np.zeros((0, 4), np.int64)]
    while len(parts):
        ready = (tokens == 1) | (_area(parts) == 1)
        leaves.append(parts[ready])
        children = _quarters(parts[~ready])
        shares = _share(_sums(table, children), _area(children), tokens[~ready])
        # A part without tokens joins the nearest leaf at the end.
        parts = children[shares > 0]
        tokens = shares[shares > 0]
    return _selection(information, np.concatenate(leaves))


def _area(parts: Ints) -> Ints:
    """Return the positions in parts [..., 4] of (top, left, bottom, right)."""
    return np.asarray((parts[..., 2] - parts[..., 0]) * (parts[..., 3] - parts[..., 1]), np.int64)


def _sums(table: NDArray[np.float64], parts: Ints) -> NDArray[np.float64]:
    """Sum over parts [..., 4] by a summed-area table."""
    top, left, bottom, right = (parts[..., side] for side in range(4))
    return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]


def _quarters(parts: Ints) -> Ints:
    """Quarter parts, [n, 4] -> [n, 4, 4]; a side of one stays whole and leaves two empty."""
    top, left, bottom, right = parts.T
    children = parts.repeat(4, 0).reshape(-1, 4, 4)
    row = (top + bottom + 1) // 2
    column = (left + right + 1) // 2
    children[:, :2, 2] = children[:, 2:, 0] = row[:, None]
    children[:, ::2, 3] = children[:, 1::2, 1] = column[:, None]
    return children


def _share(information: NDArray[np.float64], room: Ints, tokens: Ints) -> Ints:
    """Divide tokens among four parts by information, with the largest-remainder method.

    Args:
        information: [n, 4].
        room: [n, 4], the most that each part can take.
        tokens: [n].

    Returns:
        Tokens [n, 4].
    """
    shares = np.zeros_like(room)
    left = tokens.copy()
    while left.any():
        open_ = shares < room
        quota = information.clip(1e-12) * open_
        quota *= (left / quota.sum(1).clip(1e-12))[:, None]
        whole = np.minimum(np.floor(quota).astype(np.int64), room - shares)
        shares += whole
        left = left - whole.sum(1)
        remainder = np.where(shares < room, quota - whole, -1.0)
        rank = np.argsort(np.argsort(-remainder, 1, kind="stable"), 1, kind="stable")
        one = (rank < left[:, None]) & (shares < room)
        shares += one
        left = left - one.sum(1)
    return shares


def _selection(information: Floats, leaves: Ints) -> Selection:
    """Represent each leaf [n, 4] by its densest position."""
    rows, columns = information.shape
    flat = information.ravel()
    cells, leaf, first = _cells(leaves, columns)
    leaf_of = np.full(rows * columns, -1)
    leaf_of[cells] = leaf
    # Among equally dense positions the first one wins.
    indexes = cells[np.lexsort((-flat[cells], leaf))[first]]
    order = indexes.argsort()
    indexes = indexes[order]
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    owner = np.where(leaf_of >= 0, rank[leaf_of], -1)
    alone = np.flatnonzero(owner < 0)
    owner[alone] = _nearest(alone, indexes, columns)
    weights = (flat / np.bincount(owner, flat)[owner]).astype(np.float32)
    return Selection(indexes, owner, weights, (rows, columns))


def _nearest(positions: Ints, indexes: Ints, columns: int) -> Ints:
    """Return, for each position, the number of the nearest of `indexes` in city-block distance."""
    if not len(positions):
        return positions
    rows_apart = np.abs(positions[:, None] // columns - indexes // columns)
    columns_apart = np.abs(positions[:, None] % columns - indexes % columns)
    return (rows_apart + columns_apart).argmin(1)


def _cells(parts: Ints, columns: int) -> tuple[Ints, Ints, Ints]:
    """List the positions of parts [n, 4], one part after another, each in reading order.

    Returns:
        positions: row * columns + column.
        part: the part that each position belongs to.
        first: [n], where each part begins in the list.
    """
    area = _area(parts)
    width = parts[:, 3] - parts[:, 1]
    part = np.arange(len(parts)).repeat(area)
    first = area.cumsum() - area
    within = np.arange(area.sum()) - first[part]
    rows = parts[part, 0] + within // width[part]
    return rows * columns + parts[part, 1] + within % width[part], part, first


def _coverage(size: int, count: int, start: float, end: float) -> Floats:
    """Compute how intervals cover unit intervals.

    Args:
        size: number of unit intervals, from 0.
        count: number of equal intervals between start and end.
        start: where the first interval begins.
        end: where the last interval ends.

    Returns:
        [count, size], the share of each unit interval in each interval. Rows sum to 1 where an
        interval lies within the unit intervals.
    """
    edges = np.linspace(start, end, count + 1)
    first = np.maximum(edges[:-1, None], np.arange(size))
    last = np.minimum(edges[1:, None], np.arange(1, size + 1))
    overlap = last - first
    return (overlap.clip(0) * (count / (end - start))).astype(np.float32)

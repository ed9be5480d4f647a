"""Ways to select a tower's tokens: by a file's bits, by attention, or at random.

::

    bits of the file ------> quadtree               ours (QPID's, arXiv 2508.13460)
    class attention -------> largest, rest merged   as LLaVA-PruMerge (arXiv 2403.15388)
    attention received ----> largest                as FastV (arXiv 2403.06764)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from codec.tokens.selection import quadtree

Floats = NDArray[np.float32]
# Hidden channels of a block's MLP per channel of its tokens.
EXPANSION = 4


@dataclass(frozen=True)
class Seen:
    """The inputs of a way to select tokens after a block.

    Attributes:
        bits: bits that the file spent on each patch [rows, columns].
        novel: the same, but lower if neighbours predict the patch.
        class_attention: attention of the class token to each patch in the block [rows, columns].
        received: attention that each patch receives in the block [rows, columns].
        patches: tokens after the block, without the class token [1, patches, width].
        seed: seed of random selections.
    """

    bits: Floats
    novel: Floats
    class_attention: Floats
    received: Floats
    patches: Tensor
    seed: int

    def some(self, places: NDArray[np.int64]) -> Tensor:
        """The tokens at some positions, in reading order."""
        return self.patches[:, torch.from_numpy(np.sort(places))]


Way = Callable[[Seen, int], Tensor]


def largest(values: Floats, count: int) -> NDArray[np.int64]:
    """Positions of the largest values."""
    return np.argsort(-values.ravel(), kind="stable")[:count]


def random_places(seen: Seen, count: int) -> Tensor:
    """Tokens at random positions."""
    generator = np.random.default_rng(seen.seed)
    return seen.some(generator.permutation(seen.bits.size)[:count])


def merged_into_nearest(seen: Seen, count: int) -> Tensor:
    """Keep the tokens with the most class attention, and merge each other token into the nearest.

    A kept token becomes the mean of its group, weighted by class attention. PruMerge derives the
    number of tokens from the attention; here it is an argument, so that ways can be compared.
    """
    kept = np.sort(largest(seen.class_attention, count))
    tokens = seen.patches[0]
    similarity = F.normalize(tokens, dim=1) @ F.normalize(tokens[torch.from_numpy(kept)], dim=1).T
    owner = similarity.argmax(1)
    owner[torch.from_numpy(kept)] = torch.arange(count)
    weight = torch.from_numpy(seen.class_attention.ravel().copy())
    sums = torch.zeros(count, tokens.shape[1]).index_add(0, owner, weight[:, None] * tokens)
    total = torch.zeros(count).index_add(0, owner, weight)
    return (sums / total[:, None])[None]


# Name in the table -> function that selects tokens.
WAYS: dict[str, Way] = {
    "bits": lambda seen, count: seen.some(quadtree(seen.bits, count).indexes),
    "bits, merged": lambda seen, count: quadtree(seen.bits, count).merged(seen.patches),
    "bits, redundancy": lambda seen, count: seen.some(quadtree(seen.novel, count).indexes),
    "bits, no quadtree": lambda seen, count: seen.some(largest(seen.bits, count)),
    "quadtree, no density": lambda seen, count: seen.some(
        quadtree(np.ones_like(seen.bits), count).indexes
    ),
    "class attention": lambda seen, count: seen.some(largest(seen.class_attention, count)),
    "class attention, merged": merged_into_nearest,
    "attention received": lambda seen, count: seen.some(largest(seen.received, count)),
    "random": random_places,
}


def multiply_adds(width: int, depth: int, tokens: int, kept: int, block: int) -> float:
    """Multiply-adds of a tower's blocks if tokens are dropped after one of them.

    A block computes N (4 + 2 EXPANSION) width^2 for its layers and 2 N^2 width for attention.

    Args:
        width: channels of a token.
        depth: number of blocks.
        tokens: number of tokens before, including the class token.
        kept: number of tokens afterwards, including the class token.
        block: the block after which tokens are dropped.

    Returns:
        The number of multiply-adds.
    """

    def of(count: int) -> float:
        return count * (4 + 2 * EXPANSION) * width**2 + 2 * count**2 * width

    return block * of(tokens) + (depth - block) * of(kept)

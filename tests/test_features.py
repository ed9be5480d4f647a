"""Feature losses on real tower classes with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.errors import BadArgument
from codec.towers import LAST
from training.losses.features import Code, MultiLevel, Paper, level_layer

DEIT, SIGLIP = "timm:deit_tiny_patch16_224", "ViT-B-16-SigLIP"


@pytest.fixture
def pair(photo: NDArray[np.uint8]) -> tuple[Tensor, Tensor, Tensor]:
    """(x, x_hat, which is x with noise, a QP field with two values)."""
    torch.manual_seed(0)
    x = (
        torch.from_numpy(np.stack([photo[:256, :256], photo[40:296, 190:446]]))
        .permute(0, 3, 1, 2)
        .float()
        / 255
    )
    qp = torch.full((2, 16, 16), 20)
    qp[:, :, 8:] = 40
    return x, (x + 0.1 * torch.randn_like(x)).clamp(0, 1).requires_grad_(True), qp


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multi", "paper", "code"])
def test_nothing_is_lost_in_a_perfect_picture_and_gradients_reach_the_decoded_one_only(
    kind: str, pair: tuple[Tensor, Tensor, Tensor]
) -> None:
    x, x_hat, qp = pair
    loss = {
        "multi": lambda: MultiLevel(DEIT, "random", {"embedding": 1.0, "middle": 0.5, "last": 1.0}),
        "paper": lambda: Paper(DEIT, "random"),
        "code": lambda: Code(DEIT, "random"),
    }[kind]()
    assert float(loss(x, x, qp)[0].abs().max()) == 0
    seen, parts = loss(x, x_hat, qp)
    assert seen.shape == (2,)
    assert all(torch.isfinite(v) for v in parts.values())
    seen.sum().backward()
    assert x_hat.grad is not None
    assert float(x_hat.grad.abs().sum()) > 0
    assert all(p.grad is None for p in loss.tower.parameters())
    assert not list(loss.parameters())


def test_the_papers_loss_by_hand(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    x, x_hat, qp = pair
    loss = Paper(DEIT, "random")
    a, b = (loss.tower.tokens(loss.tower.prepare(v), [0, LAST]) for v in (x, x_hat))
    by_hand = 0.1 * (a[0] - b[0])[:, 1:].square().mean((1, 2)) + (a[LAST] - b[LAST]).square().mean(
        (1, 2)
    )
    torch.testing.assert_close(loss(x, x_hat, qp)[0], by_hand)


@pytest.mark.slow
def test_the_codes_loss_by_hand(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    x, x_hat, qp = pair
    loss = Code(DEIT, "random")
    tower = loss.tower
    a, b = (tower.tokens(tower.prepare(v), [1])[1][:, 1:] for v in (x, x_hat))
    whole = (tower.pooled(tower.prepare(x)) - tower.pooled(tower.prepare(x_hat))).square().mean(1)
    even = 11.52 * (0.1 * (a - b).square().mean((1, 2)) + whole)
    torch.testing.assert_close(loss(x, x_hat, torch.full_like(qp, 30))[0], even)
    assert not torch.allclose(loss(x, x_hat, qp)[0], even, rtol=1e-3)


@pytest.mark.slow
def test_levels_mean_the_same_for_any_scale_of_tokens(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    """For an unrelated picture, the error is about twice the variance: 2. Weights are linear."""
    x, x_hat, qp = pair
    loss = MultiLevel(DEIT, "random", {"shallow": 1.0, "last": 1.0})
    _, parts = loss(x, x.flip(0).flip(3), qp)
    assert all(0.2 < float(v) < 4 for v in parts.values())
    double = MultiLevel(DEIT, "random", {"shallow": 2.0, "last": 2.0})
    double.frozen = loss.frozen
    torch.testing.assert_close(double(x, x_hat, qp)[0], 2 * loss(x, x_hat, qp)[0])


def test_levels_by_depth() -> None:
    assert [level_layer(level, 12) for level in ("embedding", "shallow", "middle", "last")] == [
        0,
        3,
        8,
        LAST,
    ]
    assert (level_layer("shallow", 24), level_layer("middle", 24)) == (6, 16)
    assert [level_layer(level, 24) for level in (23, "1", "24")] == [23, 1, 24]
    with pytest.raises(BadArgument):
        level_layer("deep", 12)
    for number in (0, 13, "-1"):
        with pytest.raises(BadArgument, match=r"1\.\.12"):
            level_layer(number, 12)


@pytest.mark.slow
def test_a_tower_without_a_class_token(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    x, x_hat, qp = pair
    seen, _ = Paper(SIGLIP, "random")(x, x_hat, qp)
    assert bool((seen > 0).all())

"""Pruning of a wide codec to a narrow one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from codec.networks.config import ModelConfig
from codec.networks.integer import IntegerBlock, integer_layers
from codec.networks.model import Networks
from training.losses.rate import RateModel
from training.surgery.prune import before_narrowing, narrowed

WIDE = ModelConfig(
    n=16,
    c=48,
    m=40,
    h=16,
    z=8,
    p=24,
    blocks_a8=1,
    blocks_a16=1,
    blocks_s16=1,
    blocks_s8=1,
    low=8,
    p_low=16,
)
NARROW = replace(WIDE, m=24, p=16, p_low=8, hidden_a16=64)
GONE_OF_Y = torch.tensor(
    [8, 13, 14, 15, 20, 25, 26, 27, 36, 29, 30, 31, 32, 37, 38, 39]
)  # four of each residue modulo 4
QP = torch.full((2, 8, 8), 40)


def crops() -> Tensor:
    return torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(5))


def silence(networks: Networks) -> None:
    """Remove the influence of some channels of y and of the last features of each prior."""

    def left(width: int) -> int:
        return {WIDE.p: NARROW.p, WIDE.p_low: NARROW.p_low}[width]

    networks.g_a.blocks16[0].expand.weight[::3] = 0  # type: ignore[union-attr,index,operator]
    networks.g_a.blocks16[0].project.weight.normal_()  # type: ignore[union-attr,operator]
    networks.g_a.blocks16[0].project.weight[:, ::3] = 0  # type: ignore[union-attr,index,operator]
    networks.g_a.head.weight[GONE_OF_Y] = 0
    networks.g_a.head.bias[GONE_OF_Y] = 0  # type: ignore[index]
    prior = networks.prior
    for layer in prior.layers:
        for step in prior.steps_of(layer):
            step.head.weight[:, left(step.head.weight.shape[1]) :] = 0
    for module in prior.modules():
        if isinstance(module, IntegerBlock):
            kept = left(len(module.project.weight))
            module.expand.weight[:, kept:] = 0
            module.expand.weight[kept:] = 0
            module.project.weight[:, kept:] = 0
    prior.hyper.up.weight[:, NARROW.p :] = 0
    for index, step in enumerate(prior.steps_of(prior.layers[-1])):
        for before in range(index):
            assert step.context is not None
            step.context.weight[
                :, 4 * WIDE.low + before * (WIDE.m - WIDE.low) + GONE_OF_Y - WIDE.low
            ] = 0


@pytest.fixture
def wide() -> Networks:
    torch.manual_seed(2)
    networks = Networks(WIDE)
    with torch.no_grad():
        for layer in integer_layers(networks.prior).values():
            layer.weight.mul_(1.5)
            layer.bias.normal_(0, 0.2)
        for step in [
            step for layer in networks.prior.layers for step in networks.prior.steps_of(layer)
        ]:
            step.head.weight.normal_(0, 0.2)
        for block in networks.prior.modules():
            if isinstance(block, IntegerBlock):
                block.project.weight.normal_(0, 0.3)
    return networks


@torch.no_grad()
def test_what_had_no_influence_is_not_missed(wide: Networks) -> None:
    silence(wide)
    small = narrowed(wide, NARROW, crops)
    x = crops()
    classes = [[c for c in range(WIDE.low + k, WIDE.m, 4) if c not in GONE_OF_Y] for k in range(4)]
    y, kept = wide.g_a(x, QP), [*range(WIDE.low), *(c for row in zip(*classes) for c in row)]
    assert len(kept) == NARROW.m
    torch.testing.assert_close(small.g_a(x, QP), y[:, kept])
    z = wide.h_a(y)
    torch.testing.assert_close(small.h_a(y[:, kept]), z)
    rate = RateModel(WIDE.z)
    ours, bits = rate.code_latent(small, y[:, kept], z, QP, rounded=True)
    theirs, _ = rate.code_latent(wide, y, z, QP, rounded=True)
    assert torch.equal(ours, theirs[:, kept])
    assert bits.std() > 0
    alone, _ = rate.code_latent(
        narrowed(wide, replace(NARROW, step_block=False), crops), y[:, kept], z, QP, rounded=True
    )
    assert not torch.equal(alone, ours)


@torch.no_grad()
def test_the_mean_of_what_goes_is_kept(wide: Networks) -> None:
    """Pruning a constant feature does not change outputs, even if they depend on it."""
    step, hyper = wide.prior.steps_of(wide.prior.layers[0])[0], wide.prior.low_hyper
    for layer, rows in (
        (hyper.up, slice(-4, None)),
        (hyper.qp_in, slice(-1, None)),
        (hyper.block2.project, slice(-1, None)),
    ):
        layer.weight[rows] = 0
        layer.bias[rows] = 0
    hyper.qp_in.bias[-1] = 0.5
    assert isinstance(step.block, IntegerBlock)
    for block in (hyper.block2, step.block):
        block.expand.weight[:, -1] = 0
        block.project.weight[:, -1] = 0
    step.block.project.weight[-1] = 0
    step.block.project.bias[-1] = 0
    step.head.weight[:, -1] = 1e-3
    small = narrowed(wide, replace(WIDE, p_low=WIDE.p_low - 1), crops)
    bias = small.prior.steps_of(small.prior.layers[0])[0].head.bias
    torch.testing.assert_close(bias, step.head.bias + 0.5e-3)


def test_only_what_is_narrower_is_narrowed() -> None:
    assert before_narrowing(WIDE, WIDE) is None
    assert before_narrowing(replace(WIDE, blocks_s16=3), WIDE) is None
    assert before_narrowing(NARROW, WIDE) == WIDE
    assert before_narrowing(replace(NARROW, blocks_a8=0), WIDE) == replace(WIDE, blocks_a8=0)
    assert before_narrowing(replace(WIDE, step_block=False), WIDE) == WIDE
    assert before_narrowing(WIDE, NARROW) is None
    assert before_narrowing(replace(NARROW, h=8), WIDE) is None

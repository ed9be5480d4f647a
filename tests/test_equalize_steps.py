"""Equalized step sizes: the codec stays the same, and estimated costs match measured ones."""

from __future__ import annotations

import copy

import hydra
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from torch import Tensor

from codec.networks.config import PRIOR_STEPS, SCALE_COUNT
from codec.networks.gains import qp_to_t
from codec.networks.integer import round_half_up
from codec.networks.model import Networks
from codec.networks.prior import SCALE_MAX, SCALE_MIN
from codec.weights.checkpoint import load
from codec.weights.networks import trainable_from_checkpoint
from tests.test_training import CONF
from training.losses.joint import RateDistortion
from training.surgery.equalize_steps import costs, equalize_steps, rescale

QP = 30


@pytest.fixture(scope="module")
def trained() -> Networks:
    return trainable_from_checkpoint(load("tiny")).eval()


@pytest.fixture(scope="module")
def x(photo: NDArray[np.uint8]) -> Tensor:
    return (
        torch.from_numpy(np.stack([photo[:256, :256], photo[40:296, 190:446]]))
        .permute(0, 3, 1, 2)
        .float()
        / 255
    )


def field(x: Tensor) -> Tensor:
    return torch.full((len(x), x.shape[2] // 16, x.shape[3] // 16), QP)


def foretold(networks: Networks, y: Tensor, z: Tensor, qp: Tensor) -> tuple[Tensor, Tensor]:
    """Predicted means and scale indexes of all sets, given exact earlier sets; channels first."""
    found: list[tuple[Tensor, Tensor]] = []

    def code_set(values: Tensor, mean: Tensor, index: Tensor) -> Tensor:
        found.append((mean.transpose(0, 1).flatten(1), index.transpose(0, 1).flatten(1)))
        return values

    networks.prior.code(y, z, qp, code_set)
    layers = [found[i : i + PRIOR_STEPS] for i in range(0, len(found), PRIOR_STEPS)]
    means, indexes = (
        torch.cat([torch.cat([step[part] for step in layer], 1) for layer in layers])
        for part in (0, 1)
    )
    return means, indexes


@torch.no_grad()
def test_other_steps_leave_the_codec_what_it_was(trained: Networks, x: Tensor) -> None:
    torch.manual_seed(0)
    logs = 0.5 * torch.randn(trained.config.m)
    factors = logs.exp().view(1, -1, 1, 1)
    other = copy.deepcopy(trained)
    rescale(other, logs)
    y, y_other = trained.g_a(x, field(x)), other.g_a(x, field(x))
    torch.testing.assert_close(y_other, y * factors)
    torch.testing.assert_close(other.g_s(y_other, field(x)), trained.g_s(y, field(x)))
    z = round_half_up(trained.h_a(y))
    assert (round_half_up(other.h_a(y_other)) - z).abs().mean() < 0.1 * z.abs().mean()
    mean, index = foretold(trained, y, z, field(x))
    mean_other, index_other = foretold(other, y_other, z, field(x))
    assert (mean_other - factors.view(-1, 1) * mean).abs().mean() < 0.1 * mean_other.abs().mean()
    per_index = np.log(SCALE_MAX / SCALE_MIN) / (SCALE_COUNT - 1)
    inside = (index > 8) & (index < SCALE_COUNT - 8)
    assert (index_other - index - logs.view(-1, 1) / per_index)[inside].abs().mean() < 1


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["base", "joint"])
def test_costs_are_what_a_measurement_finds(trained: Networks, x: Tensor, experiment: str) -> None:
    torch.manual_seed(0)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [f"experiment={experiment}", "tower.weights=random"])
    loss = hydra.utils.instantiate(config.loss)
    found = torch.stack([costs(trained, loss, x, QP) for _ in range(24)]).mean(0)
    with torch.no_grad():
        y_hat = round_half_up(trained.g_a(x, field(x)))
        x_hat = trained.g_s(y_hat, field(x))
        t = qp_to_t(torch.tensor(float(QP)))
        for channel in (0, 20, 60):
            noisy = y_hat.clone()
            noise = 0.1 * torch.randn_like(noisy[:, channel])
            noisy[:, channel] += noise
            moved = trained.g_s(noisy, field(x))
            cost = loss.base * torch.exp(loss.slope * t) * 255**2 * (moved - x_hat).square().mean()
            if experiment == "joint":
                seen = loss.features(x_hat, moved, field(x))[0].mean()
                cost = loss.pixel_share * cost + loss.mu * torch.exp(loss.mu_slope * t) * seen
            measured = cost / (noise.square().mean() * noise[0].numel())
            assert 0.7 < float(found[channel] / measured) < 1.4, channel


@pytest.mark.slow
def test_equalized_steps_cost_alike(trained: Networks, x: Tensor) -> None:
    torch.manual_seed(0)
    loss = RateDistortion()
    networks = copy.deepcopy(trained)

    def unevenness() -> float:
        return float(
            torch.stack([costs(networks, loss, x, QP) for _ in range(8)]).mean(0).log().std()
        )

    before = unevenness()
    factors = equalize_steps(networks, loss, lambda: x, 0.8)
    assert factors.shape == (networks.config.m,)
    torch.testing.assert_close(factors.log().mean(), torch.tensor(0.0), atol=1e-4, rtol=0)
    assert unevenness() < 0.7 * before
    with pytest.raises(ValueError, match="share"):
        equalize_steps(networks, loss, lambda: x, 1.5)

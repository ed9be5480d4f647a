"""Fits codec.guidance.rate_estimate to the bits that real files spend per latent position."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor, nn

from codec.api import Codec
from codec.guidance.rate_estimate import FEATURES, LOG_STEP_PER_QP, STEP_AT_MIDDLE, energies

log = logging.getLogger(__name__)
HIDDEN = 24
FLOOR = 2.0


def collect(codec: Codec, pictures: list[np.ndarray], random: np.random.Generator, fields: int) -> tuple[Tensor, Tensor, Tensor]:
    """(energies [n, FEATURES], QP [n], bits [n]) of all positions of pictures [H, W, 3] coded with `fields` random maps each."""
    found: list[list[np.ndarray]] = [[], [], []]
    for pixels in pictures:
        blocks = energies(pixels)
        grid = blocks.shape[:2]
        for _ in range(fields):
            coarse = random.uniform(2, 56) + random.choice([0, 5]) * random.normal(size=(min(6, grid[0]), min(6, grid[1])))
            field = np.clip(np.rint(coarse), 0, 63).astype(np.int64)
            spent = codec.encode_full(pixels, qp_map=field, want_bits=True).bits
            assert spent is not None
            rows, cols = np.arange(grid[0]) * len(field) // grid[0], np.arange(grid[1]) * field.shape[1] // grid[1]
            for values, new in zip(found, (blocks.reshape(-1, FEATURES), field[rows[:, None], cols].ravel(), spent.ravel())):
                values.append(new)
    energy, qp, bits = (torch.from_numpy(np.concatenate(values)).float() for values in found)
    return energy, qp, bits


def fit(codec: Codec, pictures: list[np.ndarray], fields: int = 4, steps: int = 1500, seed: int = 1) -> dict[str, np.ndarray]:
    """Arrays `rate.*` for a student's file. The loss weighs a relative error by the bits it concerns."""
    torch.manual_seed(seed)
    energy, qp, bits = collect(codec, pictures, np.random.default_rng(seed), fields)
    t = (qp * LOG_STEP_PER_QP - 1.8)[:, None]
    inputs = torch.cat([torch.log2(1 + energy * (torch.exp(2 * t) / STEP_AT_MIDDLE**2)), t], 1)
    network = nn.Sequential(nn.Linear(FEATURES + 1, HIDDEN), nn.LeakyReLU(0.1), nn.Linear(HIDDEN, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        pick = torch.randint(len(bits), (8192,))
        guess = network(inputs[pick])[:, 0].clamp(-8, 12).exp()
        loss = ((guess - bits[pick]).square() / (guess.detach() + bits[pick] + FLOOR)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    log.info("rate estimate: %d positions, last loss %.3f", len(bits), float(loss))
    first, second = network[0], network[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    arrays = {"first": first.weight.T, "bias": first.bias, "second": second.weight[0], "offset": second.bias[0]}
    return {f"rate.{name}": v.detach().numpy().copy() for name, v in arrays.items()}

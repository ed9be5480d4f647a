"""Fits codec.guidance.rate_estimate to the bits that real files spend per latent position."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor, nn

from codec.api import Codec
from codec.bitstream.qp_map import expand
from codec.guidance.rate_estimate import FEATURES, RateEstimate, energies, regression_inputs
from codec.networks.config import QP_COUNT

log = logging.getLogger(__name__)
# Hidden units of the estimate's network.
HIDDEN = 24
# Added to the loss's denominator, in bits, so that cheap positions do not dominate.
FLOOR = 2.0
# Latent positions per step of the fit.
BATCH = 8192


def collect(
    codec: Codec, pictures: list[np.ndarray], random: np.random.Generator, fields: int
) -> tuple[Tensor, Tensor]:
    """Code pictures with random maps.

    Args:
        codec: The codec whose bits are estimated.
        pictures: [H, W, 3] each.
        random: Draws the maps.
        fields: Number of maps per picture.

    Returns:
        Inputs [n, FEATURES + 1] and bits [n] of all positions.
    """
    rows: list[list[np.ndarray]] = [[], []]
    for pixels in pictures:
        blocks = energies(pixels)
        grid = blocks.shape[:2]
        for _ in range(fields):
            # Half of the fields have one QP, half vary: a slope uses the estimate at one QP, a map
            # at several.
            coarse = random.uniform(2, 56) + random.choice([0, 5]) * random.normal(
                size=(min(6, grid[0]), min(6, grid[1]))
            )
            field = np.clip(np.rint(coarse), 0, 63).astype(np.int64)
            spent = codec.encode_full(pixels, qp_map=field, want_bits=True).bits
            assert spent is not None
            inputs_of_field = regression_inputs(blocks, expand(field, *grid))
            rows[0].append(inputs_of_field.reshape(-1, FEATURES + 1))
            rows[1].append(spent.ravel())
    inputs, bits = (torch.from_numpy(np.concatenate(values)).float() for values in rows)
    return inputs, bits


def fit(
    codec: Codec, pictures: list[np.ndarray], fields: int = 4, steps: int = 1500, seed: int = 1
) -> dict[str, np.ndarray]:
    """Fit the estimate. The loss weights the relative error of a position by its bits.

    Args:
        codec: The codec whose bits are estimated.
        pictures: [H, W, 3] each.
        fields: Number of random maps per picture.
        steps: Number of steps of Adam.
        seed: The seed of maps and batches.

    Returns:
        The arrays `rate.*` of a student's file.
    """
    torch.manual_seed(seed)
    inputs, bits = collect(codec, pictures, np.random.default_rng(seed), fields)
    network = nn.Sequential(
        nn.Linear(FEATURES + 1, HIDDEN), nn.LeakyReLU(0.1), nn.Linear(HIDDEN, 1)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        pick = torch.randint(len(bits), (BATCH,))
        # RateEstimate clips in the same way (LOG_BITS_RANGE).
        guess = network(inputs[pick])[:, 0].clamp(-8, 12).exp()
        # The denominator is detached: a larger estimate must not lower the loss by enlarging it.
        loss = ((guess - bits[pick]).square() / (guess.detach() + bits[pick] + FLOOR)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    log.info("rate estimate: %d positions, last loss %.3f", len(bits), float(loss.detach()))
    first = network[0]
    second = network[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    arrays = {
        "first": first.weight.T,
        "bias": first.bias,
        "second": second.weight[0],
        "offset": second.bias[0],
    }
    stored = {f"rate.{name}": v.detach().numpy().copy() for name, v in arrays.items()}
    return stored | {"rate.usual": usual_costs(RateEstimate.from_arrays(stored), pictures)}


def usual_costs(estimate: RateEstimate, pictures: list[np.ndarray]) -> np.ndarray:
    """`RateEstimate.usual`: the median estimated cost of pictures [H, W, 3] at each QP, [64]."""
    blocks = [energies(pixels) for pixels in pictures]
    return np.array(
        [np.median([estimate.log_bits(b, qp) for b in blocks]) for qp in range(QP_COUNT)],
        np.float32,
    )

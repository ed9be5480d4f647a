"""Makes a checkpoint of trained networks: fits the entropy tables and the preview."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from codec.networks.model import Networks
from codec.weights.checkpoint import Checkpoint
from codec.weights.networks import to_arrays
from training.fit.preview import fit_preview
from training.fit.tables import fit_tables

# Scale indexes below this are not coded.
DEFAULT_SKIP = 7


def make_checkpoint(
    networks: Networks, name: str, fit_on: Path, count: int, skip_below: int = DEFAULT_SKIP
) -> Checkpoint:
    """Export networks in memory.

    Args:
        networks: On the CPU.
        name: The name of the weights.
        fit_on: The folder of pictures that tables and the preview are fitted to.
        count: How many of them to use.
        skip_below: Scale indexes below this are not coded.

    Returns:
        A checkpoint with all metadata that decoding needs.
    """
    # The QPs of the fit are random; seeded, so that a run is always exported to the same bytes.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        frequencies, lengths = fit_tables(networks, fit_on, count)
        if networks.config.low:
            fit_preview(networks, fit_on, count)
    arrays = to_arrays(networks) | {
        "tables.frequencies": frequencies,
        "tables.lengths": lengths.astype(np.int32),
    }
    return Checkpoint(
        arrays, {"name": name, "config": networks.config.to_dict(), "skip_below": skip_below}
    )

"""Fits the student's detector of documents: a logistic regression on its mean features."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from codec.guidance.student import small_copy
from codec.networks.student import Student
from training.data.pictures import list_pictures, read_picture

log = logging.getLogger(__name__)
# One picture in this many is left out of the fit.
HELD_OUT = 5
# The weight of the squared coefficients in the loss.
SHRINK = 1e-3


@torch.no_grad()
def mean_features(network: Student, root: Path) -> tuple[Tensor, Tensor]:
    """Compute the mean features of each picture below a folder.

    Args:
        network: The student.
        root: The folder; documents are the pictures below root/text.

    Returns:
        The features [n, c], and labels [n]: 1 for documents, 0 for other pictures.
    """
    features = []
    labels = []
    for path in list_pictures(root):
        pixels = read_picture(path)
        if pixels is not None:
            x = torch.from_numpy(np.array(small_copy(pixels))).permute(2, 0, 1)[None].float() / 255
            features.append(network.features(x).mean((2, 3))[0])
            labels.append(float(path.relative_to(root).parts[0] == "text"))
    return torch.stack(features), torch.tensor(labels)


def fit_documents(network: Student, root: Path) -> tuple[float, int]:
    """Fit the detector. Documents and other pictures have the same total weight.

    Args:
        network: The student; its layer `document` is set.
        root: The folder of training pictures.

    Returns:
        The accuracy on the pictures that were left out of the fit, 0..1, and their number.
    """
    network.requires_grad_(False).eval()
    features, labels = mean_features(network, root)
    centre = features.mean(0)
    spread = features.std(0) + 1e-6
    inputs = (features - centre) / spread
    held = torch.arange(len(labels)) % HELD_OUT == 0
    share = labels[~held].mean().clamp(0.01, 0.99)
    weights = torch.where(labels > 0, 0.5 / share, 0.5 / (1 - share))
    layer = torch.zeros(inputs.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([layer], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        odds = inputs[~held] @ layer[:-1] + layer[-1]
        wrong = F.binary_cross_entropy_with_logits(odds, labels[~held], weights[~held])
        total = wrong + SHRINK * layer[:-1].square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    # The standardisation of the features becomes part of the layer.
    network.document.weight.copy_((layer.detach()[:-1] / spread)[None])
    network.document.bias.copy_(layer.detach()[-1:] - (layer.detach()[:-1] / spread * centre).sum())
    answers = network.document(features[held])[:, 0] > 0
    right = float((answers == (labels[held] > 0)).float().mean())
    log.info("documents: %.1f%% right on %d held out", 100 * right, int(held.sum()))
    return right, int(held.sum())

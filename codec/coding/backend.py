"""The interface of networks and weights, as the pipeline uses them. No torch here."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.rans import Tables
from codec.coding.latent_grid import Floats
from codec.networks.config import LatentLayer

QpField = int | NDArray[np.int64]


class Weights(Protocol):
    """The properties of weights that the pipeline reads.

    See checkpoint.Checkpoint and backends.manifest.Exported.
    """

    @property
    def name(self) -> str: ...
    @property
    def skip_below(self) -> int: ...
    @property
    def layers(self) -> tuple[LatentLayer, ...]: ...
    @property
    def margins(self) -> tuple[int, int]: ...
    @property
    def rate_weight(self) -> float: ...
    @property
    def guide(self) -> str | None: ...
    @property
    def slope(self) -> float: ...
    @property
    def tables(self) -> Tables: ...
    @property
    def fingerprint(self) -> bytes: ...


def coding_of(weights: Weights) -> tuple[str, float, float, str | None]:
    """(fingerprint, slope, rate_weight, guide); weights that agree in all four encode alike."""
    return weights.fingerprint.hex(), weights.slope, weights.rate_weight, weights.guide


class Backend(Protocol):
    """The calls that need a network.

    Features may have any type; everything else is an array on the host. `qp` is one QP, or int64
    [rows, cols] on the grid of the array that it is passed with.
    """

    @property
    def checkpoint(self) -> Weights: ...

    def analysis(self, pixels: NDArray[np.uint8], qp: QpField) -> Floats:
        """[16 h, 16 w, 3] -> y [h, w, M]."""

    def hyper_analysis(self, y: Floats) -> Floats:
        """[4 a, 4 b, M] -> z [a, b, Z], not rounded."""

    def features(self, layer: LatentLayer, z: Floats, qp: QpField) -> Any:
        """Compute the features that the prior of a layer starts from, integer-exact.

        Args:
            layer: the layer of y.
            z: integers [a, b, Z].
            qp: one QP, or QPs [4 a, 4 b].

        Returns:
            What `prior_step` takes.
        """

    def prior_step(
        self, layer: LatentLayer, step: int, features: Any, decoded: list[Floats]
    ) -> tuple[Floats, NDArray[np.uint8]]:
        """Predict a step's set of a layer with C channels, integer-exact.

        Args:
            layer: the layer of y.
            step: 0..3.
            features: from `features`.
            decoded: y_hat of all earlier sets, earlier layers first, [2 a, 2 b, C'] each.

        Returns:
            Means [2 a, 2 b, C] in multiples of 1/16, and scale indexes 0..63 of the same shape.
        """

    def dequantised(self, y_hat: Floats, qp: QpField) -> Floats:
        """[h, w, M] -> the same in units that do not depend on the QP."""

    def synthesis(self, y_hat: Floats, qp: QpField) -> NDArray[np.uint8]:
        """[h, w, M] -> [16 h, 16 w, 3]."""

    def preview(self, y_hat: Floats, qp: QpField) -> NDArray[np.uint8]:
        """The first layer's [h, w, C] -> [2 h, 2 w, 3]."""

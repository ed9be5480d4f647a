"""The tuner: from backend, pixels and QPs to the function that moves y."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray

from codec.backends.torch import TorchBackend
from codec.coding.backend import Backend, QpField
from codec.coding.latent_grid import Floats
from codec.coding.pipeline import Refine
from codec.errors import BadArgument, TooLarge
from codec.guidance.clip import DEFAULT_TOWER, DEFAULT_WEIGHTS
from codec.host_state import exact_arithmetic
from codec.networks.tensors import as_array, as_batch
from codec.towers import LAST, Tower, load_tower
from codec.tuning.descent import VIEWS, Pace, Search, pace_of
from codec.tuning.eyes import Eye, FeatureEye, TowerEye, watch
from codec.tuning.picture import CodedPicture
from codec.tuning.shipped import SHIPPED_NAME, load_features

STEPS = 20
# Steps for the feature network, which only approximates a tower: on training photos 3, 6, 9 and 12
# steps saved 9.0, 14.7, 10.9 and 11.0 % at equal last tokens of DeiT-Tiny (docs/tuning.md).
FEATURE_STEPS = 6
# More views help it, unlike more steps: six steps saved 10.7 % with two views, 13.3 % with four.
FEATURE_VIEWS = 4
MOST_STEPS = 1000
CAREFUL = 10  # fewer steps are judged by their first look, which saves a tenth of their time
TUNE_BYTES = 1000  # per pixel; up to 855 were measured in float32, 610 in bfloat16


def check_steps(steps: int) -> None:
    """Check a number of steps. Raises BadArgument outside 1..1000."""
    if not 1 <= steps <= MOST_STEPS:
        raise BadArgument(f"tuning takes 1 to {MOST_STEPS} steps, not {steps}")


def needs_gradients(backend: Backend) -> TorchBackend:
    """The backend whose networks have gradients. Raises BadArgument for an exported half."""
    backend = getattr(backend, "torch", backend)
    if not isinstance(backend, TorchBackend):
        raise BadArgument(
            "an exported encoder has no gradients to tune by; encode with the weights themselves"
        )
    return backend


def obstacle(backend: Backend, area: int, limit_memory: int) -> str | None:
    """Why a picture of `area` pixels cannot be tuned, in a few words; None where it can be."""
    try:
        needs_gradients(backend)
    except BadArgument:
        return "an exported encoder has no gradients to tune by"
    if area * TUNE_BYTES > limit_memory:
        return f"tuning needs {area * TUNE_BYTES / 1e9:.1f} GB of memory, more than the limit"
    return None


@dataclass(frozen=True)
class Tuner:
    """Moves y so that a network's features change less at the same bytes (tuning.descent).

    Neither the format nor the decoder depends on it.

    Attributes:
        tower: any Tower with its last block, or an eye.
        steps: 1..1000.
        layer: the layer whose tokens count (Tower.tokens); only for a tower.
        pace: how fast y moves; None for the usual one.

    Raises:
        BadArgument: the number of steps is out of range.
    """

    tower: Tower | Eye
    steps: int = STEPS
    layer: int = LAST
    pace: Pace | None = None

    def __post_init__(self) -> None:
        check_steps(self.steps)

    @property
    def eye(self) -> Eye:
        """The network whose tokens count."""
        return TowerEye(self.tower, self.layer) if isinstance(self.tower, Tower) else self.tower

    def refine(
        self, backend: Backend, pixels: NDArray[np.uint8], qp: QpField, limit_memory: int
    ) -> Refine:
        """Make the function that `Pipeline.encode` calls to tune y.

        Args:
            backend: with the weights; exported halves have no gradients.
            pixels: uint8 [H, W, 3].
            qp: one QP, or the QPs of the latent grid.
            limit_memory: bytes.

        Returns:
            A function from y and z to the tuned y.

        Raises:
            BadArgument: the weights have no gradients.
            TooLarge: tuning needs more memory.
        """
        backend = needs_gradients(backend)
        needed = pixels.shape[0] * pixels.shape[1] * TUNE_BYTES
        if needed > limit_memory:
            raise TooLarge(
                f"tuning a picture of {pixels.shape[1]}x{pixels.shape[0]} pixels needs about "
                f"{needed / 1e9:.1f} GB of memory; the limit is {limit_memory / 1e9:.1f} GB "
                "(raise limit_memory, or encode without tuning)"
            )
        return partial(self._tuned, CodedPicture(backend, pixels, qp))

    def _tuned(self, picture: CodedPicture, y: Floats, z: Floats) -> Floats:
        """Tune y [4 a, 4 b, M] for z [a, b, Z]; return y itself if the objective did not fall."""
        # Tensors made in the caller's inference mode could not take part in gradients.
        with torch.inference_mode(False), exact_arithmetic():
            start, z_hat = (
                as_batch(torch.from_numpy(np.array(v)).to(picture.x.device)) for v in (y, z)
            )
            eye = self.eye
            pace = self.pace or pace_of(self.steps)
            search = Search(picture, z_hat, watch(eye, picture.x), eye.size, pace)
            moved, before = search.descend(start, self.steps)
            look = 0
            with torch.no_grad():
                if self.steps >= CAREFUL:
                    look = MOST_STEPS  # a look that the search did not use
                    before = float(search.value(start, look))
                after = float(search.value(moved, look))
            return as_array(moved).cpu().numpy() if after < before else y


@lru_cache(maxsize=4)
def load_tuner(
    name: str,
    weights: str | None = None,
    steps: int | None = None,
    device: str = "cpu",
    views: int | None = None,
) -> Tuner:
    """Make a tuner by name; the last four are kept.

    Args:
        name: `features` (the shipped feature network), `clip` (ViT-L-14-336 with OpenAI's
            weights), or a tower's name as towers.load_tower takes it.
        weights: as towers.load_tower takes them.
        steps: 1..1000; None for the usual number.
        device: where the network runs.
        views: parts of the picture that each step looks at; None for the usual number.

    Returns:
        The tuner.

    Raises:
        BadArgument: the number of steps is out of range, or weights are given for `features`.
        CodecError: as towers.load_tower raises.
    """
    usual = (FEATURE_STEPS, FEATURE_VIEWS) if name == SHIPPED_NAME else (STEPS, VIEWS)
    steps = usual[0] if steps is None else steps
    views = usual[1] if views is None else views
    check_steps(steps)
    with torch.inference_mode(False):  # the network is kept, also for calls without that mode
        if name == SHIPPED_NAME:
            if weights is not None:
                raise BadArgument("the feature network has its own weights: name a tower for yours")
            return Tuner(FeatureEye(load_features(device)), steps, pace=pace_of(steps, views))
        if name == "clip":
            name = DEFAULT_TOWER
            weights = weights or DEFAULT_WEIGHTS
        return Tuner(load_tower(name, weights).to(device), steps, pace=pace_of(steps, views))


def tuner_of(tune: str | Tower | Tuner, device: str = "cpu") -> Tuner:
    """Make a tuner of the argument of `Codec.encode`.

    Args:
        tune: a name, a tower or a tuner.
        device: where a network given by name runs.

    Returns:
        The tuner.

    Raises:
        CodecError: as `load_tuner` raises.
    """
    if isinstance(tune, str):
        return load_tuner(tune, device=device)
    return tune if isinstance(tune, Tuner) else Tuner(tune)

"""Latents tuned to the tower that will look, by gradient descent through decoder and tower."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from codec.backends.torch import TorchBackend
from codec.coding.backend import Backend, QpField
from codec.coding.latent_grid import Floats, latent_grid, pad
from codec.coding.pipeline import Refine
from codec.errors import BadArgument, TooLarge
from codec.guidance.clip import DEFAULT_TOWER, DEFAULT_WEIGHTS
from codec.host_state import exact_arithmetic
from codec.networks.gains import qp_to_t
from codec.networks.integer import round_half_up
from codec.networks.prior import scale_of
from codec.networks.tensors import as_array, as_batch, has_bfloat16
from codec.towers import LAST, Tower, load_tower
from codec.towers.tower import squashed

STEPS = 20
MOST_STEPS = 1000
# a(QP) = 1.24 exp(-0.49 t): percent of rate that one percent of D costs on the curve of uniform
# steps, read off training photos.
EXCHANGE = 1.24
FALL = 0.49
# What follows was chosen on training photos (docs/tuning.md).
STEP = 0.04
LAST_STEP = 0.1
NOISE = 0.5
PIXEL_SHARE = 0.1
VIEWS = 2
ZOOM = 1.34
LEAST_LIKELIHOOD = 1e-9
TINY = 1e-12
TUNE_BYTES = 1000  # per pixel; up to 855 were measured in float32, 610 in bfloat16


def exchange(qp: float) -> float:
    """The exchange rate a(QP); see EXCHANGE."""
    return EXCHANGE * math.exp(-FALL * float(qp_to_t(torch.tensor(qp, dtype=torch.float32))))


def check_steps(steps: int) -> None:
    """Check a number of steps. Raises BadArgument outside 1..1000."""
    if not 1 <= steps <= MOST_STEPS:
        raise BadArgument(f"tuning takes 1 to {MOST_STEPS} steps, not {steps}")


def gaussian_bits(symbols: Tensor, index: Tensor) -> Tensor:
    """Estimate the bits of symbols, differentiably.

    Args:
        symbols: any shape, in quantization steps.
        index: their scale indexes, of the same shape.

    Returns:
        Bits under Gaussians of mean zero, of the same shape; the tables cost nearly as much.
    """
    scale = scale_of(index)
    away = symbols.abs()
    likelihood = torch.special.ndtr((0.5 - away) / scale) - torch.special.ndtr(
        (-0.5 - away) / scale
    )
    return -likelihood.clamp(min=LEAST_LIKELIHOOD).log2()


class _Picture:
    """One picture and its QP field, whose latents are decoded differentiably.

    Tensors are on the backend's device.
    """

    def __init__(self, backend: TorchBackend, pixels: NDArray[np.uint8], qp: QpField) -> None:
        self.backend = backend
        self.height, self.width = pixels.shape[:2]
        self.x = as_batch(torch.from_numpy(np.array(pixels)).to(backend.device)).float() / 255
        self.qp = qp
        self.exchange = exchange(float(np.mean(qp)))

    def decoded(self, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Decode latents.

        Args:
            y: [1, M, 4 a, 4 b].
            z: [1, Z, a, b], whole numbers.

        Returns:
            x_hat [1, 3, H, W] in 0..1, and the bits of y.
        """
        backend = self.backend
        bits = []

        def code_set(values: Tensor, mean: Tensor, index: Tensor) -> Tensor:
            symbols = round_half_up(values - mean) * (
                index.detach() >= backend.checkpoint.skip_below
            )
            bits.append(gaussian_bits(symbols, index).sum())
            return symbols + mean

        rows, cols = latent_grid(self.height, self.width)
        y_hat = backend.networks.prior.code(y, z, self._field(*y.shape[2:]), code_set)[
            ..., :rows, :cols
        ]
        with torch.autocast(backend.device.type, torch.bfloat16, enabled=backend.bfloat16):
            x_hat = backend.networks.g_s(y_hat, self._field(rows, cols))
        return x_hat.float()[..., : self.height, : self.width].clamp(0, 1), torch.stack(bits).sum()

    def _field(self, rows: int, cols: int) -> Tensor:
        """The QPs on a grid at least as large as the picture's, with the edge repeated."""
        field = self.qp if isinstance(self.qp, int) else pad(self.qp, rows, cols, "edge")
        return torch.as_tensor(field, device=self.backend.device).expand(1, rows, cols)


@dataclass(frozen=True)
class Tuner:
    """Moves y so that a tower's tokens change less at the same bytes.

    Neither the format nor the decoder depends on it.

    ::

        Adam on d lowers log R + a (0.9 log D + 0.1 log P):
        y (of g_a) + d -> rounded, prior -> bits R
                              \\-> g_s -> x_hat -+-> views -> tower -> D
        x --------------------------------------+-> the same views
                                                \\-> squared error P

    D: mean squared error of the tower's tokens; a: what D costs in rate (EXCHANGE). Each step
    shows the tower other views, random crops between all of the picture's short side and three
    quarters of it, so that nothing is learned that helps in one crop alone.

    Attributes:
        tower: any Tower with its last block.
        steps: 1..1000.
        layer: the layer whose tokens count (Tower.tokens).

    Raises:
        BadArgument: the number of steps is out of range.
    """

    tower: Tower
    steps: int = STEPS
    layer: int = LAST

    def __post_init__(self) -> None:
        check_steps(self.steps)

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
        backend = getattr(backend, "torch", backend)
        if not isinstance(backend, TorchBackend):
            raise BadArgument(
                "an exported half has no gradients to tune by; encode with the weights themselves"
            )
        needed = pixels.shape[0] * pixels.shape[1] * TUNE_BYTES
        if needed > limit_memory:
            raise TooLarge(
                f"tuning a picture of {pixels.shape[1]}x{pixels.shape[0]} pixels needs about "
                f"{needed / 1e9:.1f} GB of memory; the limit is {limit_memory / 1e9:.1f} GB "
                "(raise limit_memory, or encode without tuning)"
            )
        return partial(self._tuned, _Picture(backend, pixels, qp))

    def _tuned(self, picture: _Picture, y: Floats, z: Floats) -> Floats:
        """Tune y [4 a, 4 b, M] for z [a, b, Z]; y stays unless other views also improve."""
        # Tensors made in the caller's inference mode could not take part in gradients.
        with torch.inference_mode(False), exact_arithmetic():
            start, z_hat = (
                as_batch(torch.from_numpy(np.array(v)).to(picture.x.device)) for v in (y, z)
            )
            moved = self._descend(picture, start, z_hat)
            with torch.no_grad():
                # One seed for both, so that they are compared on the same views, other ones than
                # those of the search (seed 0).
                before, after = (
                    float(self._objective(picture, v, z_hat, np.random.default_rng(1)))
                    for v in (start, moved)
                )
            return as_array(moved).cpu().numpy() if after < before else y

    def _descend(self, picture: _Picture, start: Tensor, z: Tensor) -> Tensor:
        rows, cols = latent_grid(picture.height, picture.width)
        around = (0, start.shape[3] - cols, 0, start.shape[2] - rows)
        inside = start[..., :rows, :cols].clone().requires_grad_()
        optimizer = torch.optim.Adam([inside], STEP, (0.9, 0.99))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, self.steps, LAST_STEP * STEP
        )
        random = np.random.default_rng(0)  # the same file each time
        for step in range(self.steps):
            with torch.enable_grad():
                value = self._objective(picture, F.pad(inside, around), z, random)
                (inside.grad,) = torch.autograd.grad(value, inside)
            if not step:
                # Plain Adam moves every value alike, also those whose gradient is only noise:
                # zeros that cost nothing would start to cost bits (docs/tuning.md).
                optimizer.param_groups[0]["eps"] = (
                    NOISE * float(inside.grad.square().mean().sqrt()) + TINY
                )
            optimizer.step()
            schedule.step()
        return F.pad(inside.detach(), around)

    def _objective(
        self, picture: _Picture, y: Tensor, z: Tensor, random: np.random.Generator
    ) -> Tensor:
        """log R + a (0.9 log D + 0.1 log P), with D on randomly drawn views."""
        x_hat, bits = picture.decoded(y, z)
        zoom = random.uniform(1, ZOOM)
        places = random.random((VIEWS, 2))
        with torch.no_grad():
            original = self._tokens(self._views(picture.x, zoom, places))
        errors = (self._tokens(self._views(x_hat, zoom, places)) - original), x_hat - picture.x
        d, p = (error.square().mean().add(TINY).log() for error in errors)
        return bits.clamp(min=1).log() + picture.exchange * (
            (1 - PIXEL_SHARE) * d.to(bits.device) + PIXEL_SHARE * p
        )

    def _tokens(self, views: Tensor) -> Tensor:
        device = self.tower.mean_values.device
        with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
            return self.tower.tokens(self.tower.normalize(views.to(device)), [self.layer])[
                self.layer
            ].float()

    def _views(self, picture: Tensor, zoom: float, places: NDArray[np.float64]) -> Tensor:
        """Cut crops out of a picture.

        Args:
            picture: [1, 3, H, W].
            zoom: 1 for crops of the whole short side; larger for smaller crops.
            places: [n, 2], where each crop lies along both sides, 0..1.

        Returns:
            [n, 3, h, w], at the tower's size.
        """
        size = self.tower.size
        sides = picture.shape[2:]
        scale = zoom * max(target / side for target, side in zip(size, sides))
        resized = squashed(
            picture, (max(size[0], round(sides[0] * scale)), max(size[1], round(sides[1] * scale)))
        )
        corners = [
            [int(at * (side - crop + 1)) for at, side, crop in zip(place, resized.shape[2:], size)]
            for place in places
        ]
        return torch.cat(
            [resized[..., top : top + size[0], left : left + size[1]] for top, left in corners]
        )


@lru_cache(maxsize=2)
def load_tuner(
    name: str, weights: str | None = None, steps: int = STEPS, device: str = "cpu"
) -> Tuner:
    """Make a tuner for a tower by name; the last two are kept.

    Args:
        name: `clip` (ViT-L-14-336 with OpenAI's weights), or as towers.load_tower takes it.
        weights: as towers.load_tower takes them.
        steps: 1..1000.
        device: where the tower runs.

    Returns:
        The tuner.

    Raises:
        BadArgument: the number of steps is out of range.
        CodecError: as towers.load_tower raises.
    """
    check_steps(steps)
    if name == "clip":
        name = DEFAULT_TOWER
        weights = weights or DEFAULT_WEIGHTS
    with torch.inference_mode(False):  # the tower is kept for calls outside of this one's mode
        return Tuner(load_tower(name, weights).to(device), steps)


def tuner_of(tune: str | Tower | Tuner, device: str = "cpu") -> Tuner:
    """Make a tuner of the argument of `Codec.encode`.

    Args:
        tune: a name, a tower or a tuner.
        device: where a tower given by name runs.

    Returns:
        The tuner.

    Raises:
        CodecError: as `load_tuner` raises.
    """
    if isinstance(tune, str):
        return load_tuner(tune, device=device)
    return tune if isinstance(tune, Tuner) else Tuner(tune)

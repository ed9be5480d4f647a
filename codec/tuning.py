"""Latents tuned to the tower that will look.

A few steps of gradient descent through decoder and tower, before they are coded.
"""

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
    """a(QP), see EXCHANGE."""
    return EXCHANGE * math.exp(-FALL * float(qp_to_t(torch.tensor(qp, dtype=torch.float32))))


def check_steps(steps: int) -> None:
    """Raises BadArgument outside 1..1000."""
    if not 1 <= steps <= MOST_STEPS:
        raise BadArgument(f"tuning takes 1 to {MOST_STEPS} steps, not {steps}")


def gaussian_bits(symbols: Tensor, index: Tensor) -> Tensor:
    """Bits of symbols under normal distributions around zero of these scale indexes, as the tables
    cost, about; differentiable.
    """
    scale = scale_of(index)
    away = symbols.abs()
    likelihood = torch.special.ndtr((0.5 - away) / scale) - torch.special.ndtr(
        (-0.5 - away) / scale
    )
    return -likelihood.clamp(min=LEAST_LIKELIHOOD).log2()


class _Picture:
    """One picture and its QP field.

    Decodes latents, differentiably. Tensors are on the backend's device.
    """

    def __init__(self, backend: TorchBackend, pixels: NDArray[np.uint8], qp: QpField) -> None:
        self.backend = backend
        self.height, self.width = pixels.shape[:2]
        self.x = as_batch(torch.from_numpy(np.array(pixels)).to(backend.device)).float() / 255
        self.qp = qp
        self.exchange = exchange(float(np.mean(qp)))

    def decoded(self, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """y [1, M, 4 a, 4 b] and z [1, Z, a, b], whole numbers -> x_hat [1, 3, H, W] in 0..1 and
        the bits of y.
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
        """The QPs on a grid that is no smaller than the picture's, its edge repeated."""
        wanted = self.qp if isinstance(self.qp, int) else pad(self.qp, rows, cols, "edge")
        return torch.as_tensor(wanted, device=self.backend.device).expand(1, rows, cols)


@dataclass(frozen=True)
class Tuner:
    """Moves y so that a tower sees less of the coding error at the same bytes; format and decoder
    know nothing of it.

    ::

        Adam on d lowers log R + a (0.9 log D + 0.1 log P):
        y (of g_a) + d -> rounded, prior -> bits R
                              \\-> g_s -> x_hat -+-> views -> tower -> D
        x --------------------------------------+-> the same views
                                                \\-> squared error P

    D: mean squared error of the tower's tokens; a: what D costs in rate (EXCHANGE). Each step
    shows the tower other views, random
    crops between all of the picture's short side and three quarters of it: what helps in one crop
    alone is not learned.

    tower: any Tower with its last block; steps: 1..1000; layer: whose tokens count, as of
    Tower.tokens. Raises BadArgument.
    """

    tower: Tower
    steps: int = STEPS
    layer: int = LAST

    def __post_init__(self) -> None:
        check_steps(self.steps)

    def refine(
        self, backend: Backend, pixels: NDArray[np.uint8], qp: QpField, limit_memory: int
    ) -> Refine:
        """For `Pipeline.encode`.

        Y, z -> y tuned. Raises BadArgument for weights without gradients, TooLarge.
        """
        backend = getattr(backend, "inner", backend)
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
        """y [4 a, 4 b, M], z [a, b, Z] whole numbers.

        What does not win on views that tuning did not see is not taken.
        """
        with torch.inference_mode(False), exact_arithmetic():
            start, z_hat = (
                as_batch(torch.from_numpy(np.array(v)).to(picture.x.device)) for v in (y, z)
            )
            moved = self._descend(picture, start, z_hat)
            with torch.no_grad():
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
            if (
                not step
            ):  # plain Adam moves every value alike, also those whose gradient is nothing but noise
                optimizer.param_groups[0]["eps"] = (
                    NOISE * float(inside.grad.square().mean().sqrt()) + TINY
                )
            optimizer.step()
            schedule.step()
        return F.pad(inside.detach(), around)

    def _objective(
        self, picture: _Picture, y: Tensor, z: Tensor, random: np.random.Generator
    ) -> Tensor:
        """log R + a (0.9 log D + 0.1 log P), D on views of the moment."""
        x_hat, bits = picture.decoded(y, z)
        zoom = random.uniform(1, ZOOM)
        places = random.random((VIEWS, 2))
        with torch.no_grad():
            wanted = self._tokens(self._views(picture.x, zoom, places))
        errors = (self._tokens(self._views(x_hat, zoom, places)) - wanted), x_hat - picture.x
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
        """Crops [n, 3, h, w] of a picture [1, 3, H, W].

        Zoom 1: as large as fits; places [n, 2]: in 0..1 of the room.
        """
        size = self.tower.size
        sides = picture.shape[2:]
        scale = zoom * max(own / side for own, side in zip(size, sides))
        resized = squashed(
            picture, (max(size[0], round(sides[0] * scale)), max(size[1], round(sides[1] * scale)))
        )
        corners = [
            [int(at * (side - own + 1)) for at, side, own in zip(place, resized.shape[2:], size)]
            for place in places
        ]
        return torch.cat(
            [resized[..., top : top + size[0], left : left + size[1]] for top, left in corners]
        )


@lru_cache(maxsize=2)
def load_tuner(
    name: str, weights: str | None = None, steps: int = STEPS, device: str = "cpu"
) -> Tuner:
    """name.

    `clip` (ViT-L-14-336, openai) or a tower's, weights: as in towers.load_tower, which says what
    is raised, too.
    """
    check_steps(steps)
    if name == "clip":
        name = DEFAULT_TOWER
        weights = weights or DEFAULT_WEIGHTS
    with torch.inference_mode(False):  # kept for later calls, whatever this one stands in
        return Tuner(load_tower(name, weights).to(device), steps)


def tuner_of(tune: str | Tower | Tuner, device: str = "cpu") -> Tuner:
    """What `Codec.encode` was given.

    A tower by name is put on the device. Raises as `load_tuner` does.
    """
    return (
        load_tuner(tune, device=device)
        if isinstance(tune, str)
        else tune
        if isinstance(tune, Tuner)
        else Tuner(tune)
    )

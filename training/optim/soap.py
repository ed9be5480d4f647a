"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner.

Vyas et al., arXiv 2409.11321, algorithm 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from codec.networks.tensors import has_bfloat16

# A side that is more than this many times as long as the other side gets no basis: its statistics
# would have a low rank (depthwise kernels, tables of gains).
MOST_OF_OTHER = 8
SIDES = ("left", "right")
States = dict[Tensor, dict[str, Tensor]]


def as_matrix(shape: torch.Size) -> tuple[int, ...]:
    """A parameter's shape as a matrix, (outputs, product of the others); (length,) for a vector."""
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (math.prod(shape),)


def eigenvectors(gg: Tensor) -> Tensor:
    """Compute the eigenvectors of symmetric matrices, largest eigenvalue first.

    Computes in float64 on matrices scaled to trace 1, because squared gradients may be close to the
    smallest float32 numbers.

    Args:
        gg: [n, a, a].

    Returns:
        [n, a, a], a vector in each column, in the dtype of gg.
    """
    exact = gg.double()
    trace = exact.diagonal(dim1=1, dim2=2).sum(-1)[:, None, None]
    scaled = exact / trace.clamp_min(torch.finfo(torch.float64).tiny)
    return torch.linalg.eigh(scaled).eigenvectors.flip(-1).to(gg.dtype).contiguous()


class _Batch:
    """Parameters of one shape, with their optimizer states stacked.

    A step needs a few batched matrix products instead of many small ones::

        gradients g -> left' g right -> exp_avg, exp_avg_sq
                    -> exp_avg / sqrt(exp_avg_sq) -> left (..) right' -> parameters
        gradients g -> g g', g' g -> left_gg, right_gg -> every few steps: left, right

    exp_avg and exp_avg_sq are [n, rows, columns] in the eigenbasis, or [n, length] for vectors.
    left and left_gg are [n, rows, rows], right and right_gg are [n, columns, columns]; a side
    without a basis has none.
    """

    def __init__(
        self, parameters: list[Tensor], states: States, most: int, products: torch.dtype
    ) -> None:
        self.parameters = parameters
        self.products = products
        self.shape = shape = as_matrix(parameters[0].shape)
        most = min(most, MOST_OF_OTHER * min(shape))
        self.sides = [
            side
            for side, length in zip(SIDES, shape, strict=False)
            if len(shape) == 2 and length <= most
        ]
        if states[parameters[0]]:
            self.state = {
                name: torch.stack([states[p][name] for p in parameters])
                for name in states[parameters[0]]
            }
        else:
            self.state = {
                name: self.gradients().zero_() for name in ("exp_avg", "exp_avg_sq")
            } | self.first_bases()
        for i, parameter in enumerate(parameters):
            states[parameter] = {name: stacked[i] for name, stacked in self.state.items()}
        self.bases = self.bases_in(products)

    def gradients(self) -> Tensor:
        return torch.stack(
            [p.grad.reshape(self.shape).float() for p in self.parameters if p.grad is not None]
        )

    def bases_in(self, numbers: torch.dtype) -> dict[str, Tensor]:
        """The bases by side. In float32, these are the state's tensors and not copies."""
        return {side: self.state[side].to(numbers) for side in self.sides}

    def rotated(self, x: Tensor, bases: dict[str, Tensor], back: bool = False) -> Tensor:
        """Rotate x [n, rows, columns] into the eigenbasis, or back."""
        if not bases:
            return x
        x = x.to(bases[self.sides[0]].dtype)
        if "left" in bases:
            x = (bases["left"] if back else bases["left"].mT) @ x
        if "right" in bases:
            x = x @ (bases["right"].mT if back else bases["right"])
        return x.float()

    def outer(self, g: Tensor, side: str) -> Tensor:
        return (g @ g.mT if side == "left" else g.mT @ g).float()

    def first_bases(self) -> dict[str, Tensor]:
        """The first gradients' statistics and their eigenvectors, largest eigenvalue first."""
        state = {}
        g = self.gradients()
        for side in self.sides:
            state[f"{side}_gg"] = self.outer(g, side)
            state[side] = eigenvectors(state[f"{side}_gg"])
        return state

    def step(self, betas: tuple[float, float], eps: float, size: float, refresh: bool) -> None:
        """Take a step of Adam in the eigenbasis; `refresh` then updates it from the statistics."""
        g = self.gradients()
        state = self.state
        projected = self.rotated(g, self.bases)
        state["exp_avg"].lerp_(projected, 1 - betas[0])
        state["exp_avg_sq"].lerp_(projected.square_(), 1 - betas[1])
        direction = state["exp_avg"] / state["exp_avg_sq"].sqrt().add_(eps)
        moves = self.rotated(direction, self.bases, back=True)
        torch._foreach_add_(
            self.parameters,
            [m.view(p.shape) for m, p in zip(moves, self.parameters, strict=True)],
            alpha=-size,
        )
        low = g.to(self.products) if self.sides else g
        for side in self.sides:
            state[f"{side}_gg"].lerp_(self.outer(low, side), 1 - betas[1])
        if refresh and self.sides:
            self.refresh()

    def refresh(self) -> None:
        """Update each basis by one power iteration and QR, and convert the moments to it."""
        state = self.state
        exact = self.bases_in(torch.float32)
        # The first moment is linear in the gradients and can be rotated to another basis. The
        # second moment cannot: it is only reordered with the eigenvectors.
        momentum = self.rotated(state["exp_avg"], exact, back=True)
        for side in self.sides:
            product = state[f"{side}_gg"] @ state[side]
            order = (state[side] * product).sum(1).argsort(descending=True)
            state[side].copy_(torch.linalg.qr(product.take_along_dim(order[:, None, :], 2)).Q)
            places = order[:, :, None] if side == "left" else order[:, None, :]
            state["exp_avg_sq"].copy_(
                state["exp_avg_sq"].take_along_dim(places, 1 if side == "left" else 2)
            )
        state["exp_avg"].copy_(self.rotated(momentum, exact))
        self.bases = self.bases_in(self.products)


class Soap(torch.optim.Optimizer):
    """SOAP that processes parameters of the same shape in batches.

    The first step only initialises the bases. If the device supports bfloat16, gradients have that
    precision, and products with the bases are computed in it. Statistics, moments and bases are
    kept in float32.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.95, 0.98),
        eps: float = 1e-8,
        precondition_frequency: int = 10,
        max_precondition_dim: int = 256,
    ) -> None:
        """Prepare an optimizer.

        Args:
            params: Parameters, or groups of them.
            lr: The learning rate.
            betas: Decay of the first and of the second moment.
            eps: Added to the square root of the second moment.
            precondition_frequency: Steps between two updates of the bases.
            max_precondition_dim: A side of a parameter's matrix (`as_matrix`) that is longer
                than this has no basis.
        """
        settings = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "precondition_frequency": precondition_frequency,
            "step": 0,
        }
        super().__init__(params, settings | {"max_precondition_dim": max_precondition_dim})
        self._batches: dict[int, tuple[list[Tensor], list[_Batch]]] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # The batches hold views of the state that has just been replaced.
        self._batches = {}

    def batches(self, number: int) -> list[_Batch]:
        """Stack a group's parameters that have gradients.

        Batches are rebuilt if the set of parameters with gradients has changed since the last step.
        """
        group = self.param_groups[number]
        parameters = [p for p in group["params"] if p.grad is not None]
        previous, batches = self._batches.get(number, ([], []))
        if len(previous) != len(parameters) or any(
            a is not b for a, b in zip(previous, parameters, strict=True)
        ):
            alike: dict[Any, list[Tensor]] = {}
            for p in parameters:
                # Parameters without moments cannot be stacked with parameters that have moments.
                alike.setdefault((p.shape, p.device, bool(self.state[p])), []).append(p)
            most = group["max_precondition_dim"]
            batches = [
                _Batch(ps, self.state, most, products_on(ps[0].device)) for ps in alike.values()
            ]
            self._batches[number] = (parameters, batches)
        return batches

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; return the closure's loss if there is a closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for number, group in enumerate(self.param_groups):
            batches = self.batches(number)
            past = group["step"]
            group["step"] += 1
            if past:
                beta1, beta2 = group["betas"]
                # Adam's bias correction (arXiv 1412.6980, section 2).
                size = group["lr"] * math.sqrt(1 - beta2**past) / (1 - beta1**past)
                for batch in batches:
                    batch.step(
                        group["betas"],
                        group["eps"],
                        size,
                        past % group["precondition_frequency"] == 0,
                    )
        return loss


def products_on(device: torch.device) -> torch.dtype:
    """The dtype of products with the bases."""
    # With bfloat16, the losses of 160 steps stayed within 0.1 % of another implementation's
    # (checkpoints/TRAINING.md).
    return torch.bfloat16 if has_bfloat16(device) else torch.float32

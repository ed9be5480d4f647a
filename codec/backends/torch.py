"""PyTorch on CPU or CUDA."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec import memory
from codec.coding.backend import QpField
from codec.coding.latent_grid import Floats
from codec.errors import BadArgument
from codec.host_state import exact_arithmetic
from codec.networks.byte_stem import ByteStem
from codec.networks.config import PRIOR_STEPS, LatentLayer
from codec.networks.tensors import as_array, as_batch, has_bfloat16
from codec.weights.checkpoint import Checkpoint
from codec.weights.networks import from_checkpoint

Method = TypeVar("Method", bound=Callable[..., Any])


def _apart(method: Method) -> Method:
    """Run a method without gradients and without the host program's switches (host_state)."""

    @functools.wraps(method)
    def apart(*arguments: Any, **named: Any) -> Any:
        with torch.inference_mode(), exact_arithmetic():
            return method(*arguments, **named)

    return cast(Method, apart)


def pick_device(device: str) -> torch.device:
    """Find a device by a name that torch accepts; `auto` is CUDA if there is a GPU.

    Raises:
        BadArgument: the device is unknown or absent.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise BadArgument(
            f"device must be auto or a name that torch accepts, not '{device}'"
        ) from None
    if chosen.type not in ("cpu", "cuda"):
        raise BadArgument(f"the codec runs on cpu and cuda, not on '{device}'")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise BadArgument(f"the device '{device}' is not available; choose cpu")
    return chosen


@dataclass
class PriorState:
    """A layer's features, and the contexts of the sets decoded so far."""

    tensor: Tensor
    context: list[Tensor]


class TorchBackend:
    """See coding.backend.Backend.

    Arrays [rows, cols, channels] become channels-last tensors without a copy. Analysis and
    synthesis run in bfloat16 where the device has it, as they were trained; what the entropy coder
    depends on never does.

    Attributes:
        checkpoint: the weights.
        device: where the networks are.
        networks: the networks, without gradients for their weights.
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        memory.keep_freed_memory()
        self.checkpoint = checkpoint
        self.wanted_device = device
        self.device = pick_device(device)
        # Tuning needs gradients through the networks, even if they are loaded in inference mode.
        with torch.inference_mode(False), exact_arithmetic():
            self.networks = from_checkpoint(checkpoint).to(self.device).requires_grad_(False)
            self.stem = ByteStem(self.networks.g_a.stem)
        self.bfloat16 = has_bfloat16(self.device)

    def __repr__(self) -> str:
        return f"TorchBackend({self.checkpoint.name!r}, {self.wanted_device!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as the weights alone, so that the bytes do not depend on earlier use."""
        weights = Checkpoint(self.checkpoint.arrays, self.checkpoint.metadata)
        return TorchBackend, (weights, self.wanted_device)

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(self.device)

    def _in(self, array: NDArray[np.generic]) -> Tensor:
        return as_batch(self._tensor(array))

    @staticmethod
    def _out(tensor: Tensor) -> NDArray[Any]:
        return as_array(tensor).contiguous().cpu().numpy()

    def _qp(self, qp: QpField) -> Tensor:
        if isinstance(qp, int):
            return torch.full((1, 1, 1), qp, device=self.device)
        return torch.from_numpy(np.ascontiguousarray(qp)).to(self.device)[None]

    def _transforms(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    @_apart
    def analysis(self, pixels: NDArray[np.uint8], qp: QpField) -> Floats:
        x = self.stem(self._tensor(pixels), torch.bfloat16 if self.bfloat16 else torch.float32)
        with self._transforms():
            return self._out(self.networks.g_a.after_stem(x, self._qp(qp)))

    @_apart
    def hyper_analysis(self, y: Floats) -> Floats:
        return self._out(self.networks.h_a(self._in(y)))

    @_apart
    def features(self, layer: LatentLayer, z: Floats, qp: QpField) -> PriorState:
        return PriorState(self.networks.prior.features(layer, self._in(z), self._qp(qp)), [])

    @_apart
    def prior_step(
        self, layer: LatentLayer, step: int, features: PriorState, decoded: list[Floats]
    ) -> tuple[Floats, NDArray[np.uint8]]:
        prior = self.networks.prior
        # Earlier sets become contexts once; each step adds only those of the step before.
        for number in range(len(features.context), len(decoded)):
            coded_layer = prior.layers[number // PRIOR_STEPS]
            features.context.append(prior.as_context(coded_layer, self._in(decoded[number])))
        mean, index = prior.step(layer, step, features.tensor, features.context)
        return self._out(mean), self._out(index.to(torch.uint8))

    @_apart
    def dequantised(self, y_hat: Floats, qp: QpField) -> Floats:
        return self._out(self.networks.g_s.dequantised(self._in(y_hat), self._qp(qp)))

    @_apart
    def synthesis(self, y_hat: Floats, qp: QpField) -> NDArray[np.uint8]:
        with self._transforms():
            x = self.networks.g_s(self._in(y_hat), self._qp(qp))
        # In place: passes over memory count (docs/decisions.md, 14).
        return self._out(x.mul_(255).add_(0.5).clamp_(0, 255).to(torch.uint8))

    @_apart
    def preview(self, y_hat: Floats, qp: QpField) -> NDArray[np.uint8]:
        latents = self.networks.g_s.dequantised(self._in(y_hat), self._qp(qp))
        return self._out(
            self.networks.preview(latents).mul_(255).add_(0.5).clamp_(0, 255).to(torch.uint8)
        )

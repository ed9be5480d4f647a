"""Weights that are read only when a picture needs them; files of screen tools need none.

::

    load("small") -> LazyBackend --checkpoint--> arrays and metadata
                                \\--first call--> the backend that backends.runtime chooses
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec import forks
from codec.backends import runtime as runtimes
from codec.backends.manifest import read_manifest
from codec.coding.backend import Backend, QpField, Weights
from codec.coding.latent_grid import Floats
from codec.errors import BadArgument
from codec.networks.config import LatentLayer
from codec.weights import checkpoint
from codec.weights.checkpoint import Checkpoint
from codec.weights.shipped import MANIFEST

_LOADING = forks.Lock()


class LazyBackend:
    """A backend by the name, path or folder of its weights; see coding.backend.Backend."""

    def __init__(
        self, name_or_path: str | Path, device: str = "auto", runtime: str = "auto"
    ) -> None:
        """Name the weights.

        Args:
            name_or_path: a name, a .safetensors file, or a folder of `cotam export`.
            device: `auto` or a name that torch accepts.
            runtime: one of runtimes.RUNTIMES.

        Raises:
            UnknownModel: there are no such weights.
            BadArgument: the device or the runtime is unknown or absent.
        """
        self.name_or_path = str(name_or_path)
        self.exported = (Path(name_or_path) / MANIFEST).is_file()
        if not self.exported:
            checkpoint.find(name_or_path)
        self.wanted_device = device
        runtimes.check(runtime)
        self.wanted_runtime = runtime
        if device not in runtimes.USUAL_DEVICES and not self.exported:
            _check_device(device)
        self._reset()
        if self.exported or Path(name_or_path).is_file():
            # A worker that receives this object may run in another folder.
            self.name_or_path = str(Path(name_or_path).absolute())
            _ = self.inner  # a user's file is checked at once; tests cover the shipped weights

    def _reset(self) -> None:
        self._weights: Weights | None = None
        self._gradients: Backend | None = None
        self._inner: Backend | None = None

    def __repr__(self) -> str:
        return f"LazyBackend({self.name_or_path!r}, {self.wanted_device!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if not key.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    @property
    def checkpoint(self) -> Weights:
        """The weights' arrays and metadata; reads them without PyTorch."""
        with _LOADING:
            if self._weights is None:
                if self.exported:
                    self._weights = read_manifest(Path(self.name_or_path))
                else:
                    self._weights = checkpoint.load(self.name_or_path)
            return self._weights

    @property
    def inner(self) -> Backend:
        """The backend itself. Raises BadArgument where its runtime is not installed."""
        with _LOADING:
            if self._inner is None:
                runtime = runtimes.chosen(self.wanted_runtime, self.wanted_device)
                if runtime == "torch" and not self.exported:
                    self._inner = self.torch
                else:
                    self._inner = self._on_graphs(runtime)
            return self._inner

    def _on_graphs(self, runtime: str) -> Backend:
        source = Path(self.name_or_path) if self.exported else self._whole_weights()
        if runtime == "openvino":
            from codec.backends.openvino import OpenVinoBackend

            return OpenVinoBackend(source, self.wanted_device)
        from codec.backends.onnx import OnnxBackend

        return OnnxBackend(source, self.wanted_device)

    def _torch(self) -> Backend:
        try:
            from codec.backends.torch import TorchBackend
        except ImportError as error:
            raise BadArgument(
                f"this needs PyTorch, which is missing ({error}): pip install 'cotam[torch]'"
            ) from None
        return TorchBackend(self._whole_weights(), self.wanted_device)

    def _whole_weights(self) -> Checkpoint:
        """The weights of encoder and decoder; must not be called for exported graphs."""
        weights = self.checkpoint
        assert isinstance(weights, Checkpoint)
        return weights

    @property
    def torch(self) -> Backend:
        """The same weights in PyTorch, for gradients.

        Raises:
            BadArgument: PyTorch is not installed, or these are exported graphs.
        """
        if self.exported:
            raise BadArgument("an exported half has no gradients; load its checkpoint")
        with _LOADING:
            if self._gradients is None:
                self._gradients = self._torch()
            return self._gradients

    def __getattr__(self, name: str) -> Any:
        """Attributes of the backend beyond the protocol, such as `device` and `look`."""
        # copy and pickle look names up before __init__ has run, which would recurse without end.
        if name.startswith("_") or name == "exported":
            raise AttributeError(name)
        return getattr(self.inner, name)

    def analysis(self, pixels: NDArray[np.uint8], qp: QpField) -> Floats:
        return self.inner.analysis(pixels, qp)

    def hyper_analysis(self, y: Floats) -> Floats:
        return self.inner.hyper_analysis(y)

    def features(self, layer: LatentLayer, z: Floats, qp: QpField) -> Any:
        return self.inner.features(layer, z, qp)

    def prior_step(
        self, layer: LatentLayer, step: int, features: Any, decoded: list[Floats]
    ) -> tuple[Floats, NDArray[np.uint8]]:
        return self.inner.prior_step(layer, step, features, decoded)

    def dequantised(self, y_hat: Floats, qp: QpField) -> Floats:
        return self.inner.dequantised(y_hat, qp)

    def synthesis(self, y_hat: Floats, qp: QpField) -> NDArray[np.uint8]:
        return self.inner.synthesis(y_hat, qp)

    def preview(self, y_hat: Floats, qp: QpField) -> NDArray[np.uint8]:
        return self.inner.preview(y_hat, qp)


def _check_device(device: str) -> None:
    try:
        from codec.backends.torch import pick_device
    except ImportError as error:
        raise BadArgument(
            f"the device '{device}' needs PyTorch, which is missing ({error})"
        ) from None
    pick_device(device)

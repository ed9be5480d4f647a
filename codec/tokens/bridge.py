"""A receiver that never decodes pixels: latents to a vision tower's tokens after an early block.

The idea is Bridge's (arXiv 2407.19651); the network is a token adapter, not Bridge's own.

::

    file -> prior, entropy decoder -> y_hat, QPs -> the tower's patches -> TokenAdapter
         -> tokens after block `layer` -> the tower's later blocks -> tokens
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from codec.coding.backend import Backend
from codec.coding.latent_grid import STRIDE
from codec.errors import UnknownModel, WrongAdapter
from codec.host_state import unfilled
from codec.info import inspect, qp_field_of
from codec.networks.adapter import AdapterConfig, TokenAdapter, sample
from codec.networks.tensors import as_batch
from codec.towers import Tower
from codec.weights import safetensors_file

FORMAT = "cotam-bridge-1"
KIND = "bridge from latents to tokens"  # in errors


class LatentDecoder(Protocol):
    """What `bridged` needs of a codec.Codec."""

    @property
    def backend(self) -> Backend:
        """Dequantises latents."""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the weights, in hexadecimal."""

    def decode(self, data: bytes, *, level: Any) -> Any:
        """Decode a file; return its latents [h, w, M] if the level is `latents`."""


@dataclass(frozen=True)
class Bridge:
    """A trained bridge.

    Attributes:
        network: frozen; it maps latents to tokens.
        layer: the tower's layer whose tokens these are.
        codec: fingerprint, in hexadecimal, of the codec weights whose latents the network reads.
        tower: name of the tower.
        signature: signature of the tower's weights (towers.signature).
        metadata: what else the file says.
    """

    network: TokenAdapter
    layer: int
    codec: str
    tower: str
    signature: str
    metadata: dict[str, Any]


def save_bridge(path: Path, network: TokenAdapter, metadata: dict[str, Any]) -> None:
    """Write a bridge.

    Args:
        path: the file.
        network: see Bridge.
        metadata: layer, codec, tower, signature and how the network was trained.
    """
    arrays = {name: v.detach().cpu().numpy() for name, v in network.state_dict().items()}
    safetensors_file.write(path, FORMAT, arrays, metadata | {"config": asdict(network.config)})


def load_bridge(path: Path) -> Bridge:
    """Load a bridge.

    Args:
        path: its file.

    Returns:
        The bridge, frozen.

    Raises:
        UnknownModel: the file holds no bridge.
    """
    arrays, metadata = safetensors_file.read(path, FORMAT, KIND)
    try:
        config = AdapterConfig(**metadata["config"])
        network = unfilled(lambda: TokenAdapter(config))
        network.load_state_dict(
            {name: torch.from_numpy(arrays[name]) for name in network.state_dict()}
        )
        return Bridge(
            network.eval().requires_grad_(False),
            metadata["layer"],
            metadata["codec"],
            metadata["tower"],
            metadata["signature"],
            metadata,
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UnknownModel(f"{path} holds no {KIND} ({type(error).__name__})") from None


@torch.inference_mode()
def bridged(
    cotam: LatentDecoder,
    data: bytes,
    tower: Tower,
    bridge: Bridge,
    layer: int,
    box: Tensor | None = None,
) -> Tensor:
    """Compute a tower's tokens of a file without decoding its pixels.

    Args:
        cotam: the codec of the file.
        data: the file.
        tower: the vision tower.
        bridge: of this codec and this tower.
        layer: whose tokens are returned (Tower.tokens), at least the bridge's.
        box: what the tower sees, [1, 4]: left, top, right, bottom in pixels; the whole picture if
            not given.

    Returns:
        [1, prefix + patches, width].

    Raises:
        WrongAdapter: the bridge belongs to another codec or another tower.
        NoLatents: the file's tool has no latents.
        CodecError: as Codec.decode raises.
    """
    if (bridge.codec, bridge.signature) != (cotam.fingerprint, tower.signature):
        raise WrongAdapter(
            f"the bridge is for the weights {bridge.codec} and the tower {bridge.tower}; "
            "choose another"
        )
    y_hat = cotam.decode(data, level="latents")
    qp = qp_field_of(data)
    latents = as_batch(torch.from_numpy(cotam.backend.dequantised(y_hat, qp)))
    if box is None:
        about = inspect(data)
        box = torch.tensor([[0.0, 0.0, float(about.width), float(about.height)]])
    # roi_align wants the number of the picture first; there is only one.
    boxes = torch.cat([box.new_zeros(1, 1), box / STRIDE], 1)
    samples = sample(latents, torch.from_numpy(qp)[None], tower.grid, boxes)
    tokens = bridge.network(samples, samples)
    return tower.continued(tokens, [layer], after=bridge.layer)[layer]

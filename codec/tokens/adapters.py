"""Adapter weights: each belongs to one tower and to one codec, and says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.errors import AdapterUnavailable, UnknownModel, WrongAdapter
from codec.networks.adapter import AdapterConfig, TokenAdapter
from codec.networks.host_state import unfilled
from codec.towers import Repairs
from codec.weights import safetensors_file
from codec.weights.shipped import CHECKPOINTS

FOLDER = CHECKPOINTS / "adapters"
FORMAT = "cotam-adapter-1"


@dataclass(frozen=True)
class Adapter:
    """networks: frozen, by the layer of the tower whose tokens each repairs (0: the embedding; Tower.tokens); codec: fingerprint
    (hexadecimal) of the weights whose latents they read; tower: the name of the tower; signature: that tower's (towers.signature).
    """

    networks: Mapping[int, TokenAdapter]
    codec: str
    tower: str
    signature: str
    metadata: dict[str, Any]

    def training(self, layer: int) -> dict[str, Any]:
        """How a layer's repair was trained."""
        return (
            self.metadata["training"] if layer == 0 else self.metadata["later_training"][str(layer)]
        )

    def check(self, fingerprint: str, signature: str) -> Adapter:
        """Itself. Raises WrongAdapter where it was made for another codec or another tower."""
        if self.codec != fingerprint:
            raise WrongAdapter(
                f"the adapter reads latents of the weights {self.codec}, not of {fingerprint}; choose another"
            )
        if self.signature != signature:
            raise WrongAdapter(
                f"the adapter was trained for the tower {self.tower}, this one has other weights; choose another"
            )
        return self


def repaired(
    networks: Mapping[int, TokenAdapter], samples: Tensor, embedded: Tensor
) -> tuple[Tensor, Repairs]:
    """What enters a tower's first block, and how later layers are repaired on the way (Tower.continued).

    networks: as Adapter's; samples: latents at the tower's patches (networks.adapter.sample); embedded: the tower's embedding.
    """
    repairs = {layer: partial(network, samples) for layer, network in networks.items()}
    first = repairs.pop(0, None)
    return embedded if first is None else embedded + first(embedded), repairs


def is_adapter(path: Path) -> bool:
    """Whether a file is an adapter's and not, say, a codec's weights."""
    try:
        safetensors_file.read(path, FORMAT, "token adapter")
    except UnknownModel:
        return False
    return True


def load_adapter(path: Path) -> Adapter:
    """An adapter's file. Raises UnknownModel."""
    arrays, metadata = safetensors_file.read(path, FORMAT, "token adapter")
    try:
        configs = {int(layer): config for layer, config in metadata.get("later", {}).items()}
        if metadata["config"] is not None:
            configs = {0: metadata["config"]} | configs
        networks = {}
        for layer, config in configs.items():
            settings = AdapterConfig(**config)
            network = unfilled(partial(TokenAdapter, settings))
            network.load_state_dict(
                {
                    name: torch.from_numpy(arrays[_stored(layer) + name])
                    for name in network.state_dict()
                }
            )
            networks[layer] = network.eval().requires_grad_(False)
        return Adapter(
            networks, metadata["codec"], metadata["tower"], metadata["signature"], metadata
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UnknownModel(f"{path} holds no token adapter ({type(error).__name__})") from None


def save_adapter(
    path: Path, networks: Mapping[int, TokenAdapter], metadata: dict[str, Any]
) -> dict[str, Any]:
    """networks: as Adapter's; metadata: codec, tower, signature and how they were trained. Returns it with the networks' shapes."""
    configs = {layer: asdict(network.config) for layer, network in networks.items()}
    made = metadata | {
        "config": configs.pop(0, None),
        "later": {str(layer): config for layer, config in configs.items()},
    }
    arrays = {
        _stored(layer) + name: tensor.detach().cpu().numpy()
        for layer, network in networks.items()
        for name, tensor in network.state_dict().items()
    }
    safetensors_file.write(path, FORMAT, arrays, made)
    return made


def _stored(layer: int) -> str:
    """What the names of a layer's arrays begin with."""
    return f"later.{layer}." if layer else ""


def find_adapter(fingerprint: str, signature: str, tower: str) -> Adapter:
    """The shipped adapter of a codec and a tower. Raises AdapterUnavailable."""
    for path in sorted(FOLDER.glob("*.safetensors")):
        adapter = load_adapter(path)
        if (adapter.codec, adapter.signature) == (fingerprint, signature):
            return adapter
    raise AdapterUnavailable(
        f"there is no adapter for the tower {tower} and the weights {fingerprint}; train one (experiment=adapter) or take pixels"
    )

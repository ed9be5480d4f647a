"""Adapter weights. Each file belongs to one tower and one set of codec weights, and names both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.errors import AdapterUnavailable, UnknownModel, WrongAdapter
from codec.host_state import unfilled
from codec.networks.adapter import AdapterConfig, TokenAdapter
from codec.towers import Repairs
from codec.weights import safetensors_file
from codec.weights.shipped import SUFFIX, folders

FOLDER_NAME = "adapters"
FORMAT = "cotam-adapter-1"
KIND = "token adapter"  # in errors


@dataclass(frozen=True)
class Adapter:
    """A trained adapter.

    Attributes:
        networks: frozen networks, by the layer of the tower whose tokens each repairs (0: the
            embedding; see Tower.tokens).
        codec: fingerprint, in hexadecimal, of the codec weights whose latents the networks read.
        tower: name of the tower.
        signature: signature of the tower's weights (towers.signature).
        metadata: what else the file says, such as how the networks were trained.
    """

    networks: Mapping[int, TokenAdapter]
    codec: str
    tower: str
    signature: str
    metadata: dict[str, Any]

    def training(self, layer: int) -> dict[str, Any]:
        """Return how the network of a layer was trained."""
        if layer == 0:
            return self.metadata["training"]
        return self.metadata["later_training"][str(layer)]

    def check(self, fingerprint: str, signature: str) -> Adapter:
        """Check that the adapter belongs to a codec and a tower.

        Args:
            fingerprint: of the codec's weights, in hexadecimal.
            signature: of the tower's weights.

        Returns:
            The adapter itself.

        Raises:
            WrongAdapter: it was trained for another codec or another tower.
        """
        if self.codec != fingerprint:
            raise WrongAdapter(
                f"the adapter is for the weights {self.codec}, not for {fingerprint}; "
                "choose another"
            )
        if self.signature != signature:
            raise WrongAdapter(
                f"the adapter is for the tower {self.tower}, and this tower has other weights; "
                "choose another"
            )
        return self


def repaired(
    networks: Mapping[int, TokenAdapter], samples: Tensor, embedded: Tensor
) -> tuple[Tensor, Repairs]:
    """Prepare a tower's tokens and repairs for Tower.continued.

    Args:
        networks: as in Adapter.
        samples: latents at the tower's patches, from networks.adapter.sample.
        embedded: the tower's embedding of the decoded picture, [N, prefix + patches, width].

    Returns:
        tokens: the embedding, repaired if the adapter repairs layer 0.
        repairs: the repairs of later layers.
    """
    repairs = {layer: partial(network, samples) for layer, network in networks.items()}
    first = repairs.pop(0, None)
    return embedded if first is None else embedded + first(embedded), repairs


def is_adapter(path: Path) -> bool:
    """Whether a file holds an adapter and not, for example, a codec's weights."""
    try:
        safetensors_file.read(path, FORMAT, KIND)
    except UnknownModel:
        return False
    return True


def load_adapter(path: Path) -> Adapter:
    """Load an adapter.

    Args:
        path: its file.

    Returns:
        The adapter, frozen.

    Raises:
        UnknownModel: the file holds no adapter.
    """
    arrays, metadata = safetensors_file.read(path, FORMAT, KIND)
    try:
        networks = {
            layer: _network(config, arrays, _prefix(layer))
            for layer, config in _configs(metadata).items()
        }
        return Adapter(
            networks, metadata["codec"], metadata["tower"], metadata["signature"], metadata
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UnknownModel(f"{path} holds no {KIND} ({type(error).__name__})") from None


def _configs(metadata: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the networks' configurations by layer, the embedding's first."""
    later = {int(layer): config for layer, config in metadata.get("later", {}).items()}
    if metadata["config"] is None:
        return later
    return {0: metadata["config"]} | later


def _network(config: dict[str, Any], arrays: Mapping[str, Any], prefix: str) -> TokenAdapter:
    settings = AdapterConfig(**config)
    network = unfilled(lambda: TokenAdapter(settings))
    network.load_state_dict(
        {name: torch.from_numpy(arrays[prefix + name]) for name in network.state_dict()}
    )
    return network.eval().requires_grad_(False)


def save_adapter(
    path: Path, networks: Mapping[int, TokenAdapter], metadata: dict[str, Any]
) -> dict[str, Any]:
    """Write an adapter.

    Args:
        path: the file.
        networks: as in Adapter.
        metadata: codec, tower, signature and how the networks were trained.

    Returns:
        The metadata as written, with the networks' configurations.
    """
    configs = {layer: asdict(network.config) for layer, network in networks.items()}
    complete = metadata | {
        "config": configs.pop(0, None),
        "later": {str(layer): config for layer, config in configs.items()},
    }
    arrays = {
        _prefix(layer) + name: tensor.detach().cpu().numpy()
        for layer, network in networks.items()
        for name, tensor in network.state_dict().items()
    }
    safetensors_file.write(path, FORMAT, arrays, complete)
    return complete


def _prefix(layer: int) -> str:
    """Return what the names of a layer's arrays start with in the file."""
    return f"later.{layer}." if layer else ""


def shipped_files() -> list[Path]:
    """Files of installed adapters, sorted, so that every machine finds the same one of several."""
    return [
        path for folder in folders() for path in sorted((folder / FOLDER_NAME).glob(f"*{SUFFIX}"))
    ]


def find_adapter(fingerprint: str, signature: str, tower: str) -> Adapter:
    """Find the shipped adapter of a codec and a tower.

    Args:
        fingerprint: of the codec's weights, in hexadecimal.
        signature: of the tower's weights.
        tower: name of the tower, for the error's message.

    Returns:
        The adapter.

    Raises:
        AdapterUnavailable: no shipped adapter matches.
    """
    for path in shipped_files():
        adapter = load_adapter(path)
        if (adapter.codec, adapter.signature) == (fingerprint, signature):
            return adapter
    raise AdapterUnavailable(
        f"there is no adapter for the tower {tower} and the weights {fingerprint}; "
        "train one (experiment=adapter) or use the decoded pixels"
    )

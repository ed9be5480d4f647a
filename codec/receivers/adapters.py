"""Adapter weights: each belongs to one tower and to one codec, and says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from codec import weights_file
from codec.errors import AdapterUnavailable, UnknownModel, WrongAdapter
from codec.networks.adapter import AdapterConfig, TokenAdapter

FOLDER = Path(__file__).resolve().parents[2] / "checkpoints" / "adapters"
FORMAT = "cotam-adapter-1"


@dataclass(frozen=True)
class Adapter:
    """network: frozen; codec: fingerprint (hexadecimal) of the weights whose latents it reads; tower: the name of the tower it
    repairs; signature: that tower's (towers.signature).
    """

    network: TokenAdapter
    codec: str
    tower: str
    signature: str
    metadata: dict[str, Any]

    def check(self, fingerprint: str, signature: str) -> Adapter:
        """Itself. Raises WrongAdapter where it was made for another codec or another tower."""
        if self.codec != fingerprint:
            raise WrongAdapter(f"the adapter reads latents of the weights {self.codec}, not of {fingerprint}; choose another")
        if self.signature != signature:
            raise WrongAdapter(f"the adapter was trained for the tower {self.tower}, this one has other weights; choose another")
        return self


def load_adapter(path: Path) -> Adapter:
    """An adapter's file. Raises UnknownModel."""
    arrays, metadata = weights_file.read(path, FORMAT, "token adapter")
    try:
        network = TokenAdapter(AdapterConfig(**metadata["config"]))
        network.load_state_dict({name: torch.from_numpy(arrays[name]) for name in network.state_dict()})
        network.eval().requires_grad_(False)
        return Adapter(network, metadata["codec"], metadata["tower"], metadata["signature"], metadata)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UnknownModel(f"{path} holds no token adapter ({type(error).__name__})") from None


def save_adapter(path: Path, network: TokenAdapter, metadata: dict[str, Any]) -> None:
    """metadata: config, codec, tower, signature and how it was trained."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    weights_file.write(path, FORMAT, arrays, metadata)


def find_adapter(fingerprint: str, signature: str, tower: str) -> Adapter:
    """The shipped adapter of a codec and a tower. Raises AdapterUnavailable."""
    for path in sorted(FOLDER.glob("*.safetensors")):
        adapter = load_adapter(path)
        if (adapter.codec, adapter.signature) == (fingerprint, signature):
            return adapter
    raise AdapterUnavailable(
        f"there is no adapter for the tower {tower} and the weights {fingerprint}; train one (experiment=adapter) or take pixels"
    )

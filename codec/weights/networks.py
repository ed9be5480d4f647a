"""Networks <-> checkpoint arrays: float16 transforms, int8 weights of the prior, proved bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codec.errors import UnknownModel
from codec.host_state import unfilled
from codec.networks.block_transform import start_as_block_transform
from codec.networks.config import ModelConfig
from codec.networks.gains import ANCHOR_DISTANCE, Gain, IntegerQpTable
from codec.networks.integer import ACTIVATION_MAX, EXACT_LIMIT, UNIT, integer_layers
from codec.networks.model import Networks
from codec.weights.checkpoint import Arrays, Checkpoint

TRANSFORMS = ("g_a", "h_a", "g_s", "preview")  # stored as float16
ENTROPY = ("h_a.", "prior.")  # prefixes of the parameters whose sizes may change between trainings


def to_arrays(networks: Networks) -> Arrays:
    """Convert trained networks to the arrays of a checkpoint.

    Args:
        networks: not frozen.

    Returns:
        Every tensor by name: float16 transforms and the prior in integers.

    Raises:
        ValueError: the bound of an integer layer does not hold.
    """
    arrays: Arrays = {}
    for part in TRANSFORMS:
        for name, tensor in getattr(networks, part).state_dict().items():
            arrays[f"{part}.{name}"] = tensor.detach().cpu().numpy().astype(np.float16)
    for name, layer in integer_layers(networks.prior).items():
        w_int, b_int, k = (v.detach().cpu().numpy() for v in layer.quantized())
        arrays[f"prior.{name}.weight"] = w_int.astype(np.int8)
        arrays[f"prior.{name}.bias"] = b_int.astype(np.int32)
        arrays[f"prior.{name}.exponent"] = k.astype(np.int8)
    for name, embedding in _qp_tables(networks).items():
        arrays[name] = embedding.table().detach().cpu().numpy().astype(np.int16)
    exponents = networks.prior.mean_scale.flatten().log2().round()
    arrays["prior.mean_exponent"] = exponents.cpu().numpy().astype(np.int8)
    return arrays


def _qp_tables(networks: Networks) -> dict[str, IntegerQpTable]:
    return {
        f"prior.{name}": module
        for name, module in networks.prior.named_modules()
        if isinstance(module, IntegerQpTable)
    }


def bounds(networks: Networks) -> dict[str, int]:
    """Compute the largest partial sum of every integer layer.

    Args:
        networks: trained or frozen.

    Returns:
        Layer -> the sum in units of its accumulator; the layer is exact below 2^24.
    """
    return {name: layer.bound() for name, layer in integer_layers(networks.prior).items()}


def stored_bounds(arrays: Arrays) -> dict[str, int]:
    """Compute the same as `bounds` from a checkpoint's integers, without torch arithmetic.

    Args:
        arrays: a checkpoint's arrays.

    Returns:
        Layer -> the largest partial sum in units of its accumulator.
    """
    sums = {}
    for key in arrays:
        if key.startswith("prior.") and key.endswith(".weight"):
            rows = np.abs(arrays[key].astype(np.int64)).reshape(len(arrays[key]), -1).sum(1)
            bias = np.abs(arrays[key.removesuffix("weight") + "bias"].astype(np.int64))
            layer = key.removeprefix("prior.").removesuffix(".weight")
            sums[layer] = int((ACTIVATION_MAX * rows + bias).max())
    return sums


def _tensor(arrays: Arrays, name: str, shape: torch.Size | None = None) -> torch.Tensor:
    """Return an array as a float32 tensor. Raises UnknownModel if it is missing or misshaped."""
    if name not in arrays:
        raise UnknownModel(f"the checkpoint lacks {name}")
    array: NDArray[Any] = arrays[name]
    if shape is not None and tuple(array.shape) != tuple(shape):
        raise UnknownModel(
            f"the checkpoint's {name} has shape {array.shape}, "
            f"the configuration needs {tuple(shape)}"
        )
    return torch.from_numpy(array.astype(np.float32))


def from_checkpoint(checkpoint: Checkpoint) -> Networks:
    """Build frozen networks for inference.

    Args:
        checkpoint: the weights.

    Returns:
        Networks in float32, channels-last, without gradients.

    Raises:
        UnknownModel: an array is missing or misshaped, or a layer breaks the exactness bound.
    """
    arrays = checkpoint.arrays
    too_large = {name: b for name, b in stored_bounds(arrays).items() if b >= EXACT_LIMIT}
    if too_large:
        raise UnknownModel(f"the checkpoint breaks the exactness bound in {', '.join(too_large)}")
    config = ModelConfig(**checkpoint.metadata["config"])
    networks = unfilled(lambda: Networks(config))
    for part in TRANSFORMS:
        module = getattr(networks, part)
        state = {n: _tensor(arrays, f"{part}.{n}", t.shape) for n, t in module.state_dict().items()}
        module.load_state_dict(state)
    _load_prior(networks, arrays)
    for module in networks.modules():
        if isinstance(module, Gain):
            # exp and interpolation run once and not for every picture.
            module.freeze_table()
    return networks.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _load_prior(networks: Networks, arrays: Arrays) -> None:
    """Freeze the prior's layers and tables with a checkpoint's integers."""
    for name, layer in integer_layers(networks.prior).items():
        weight = _tensor(arrays, f"prior.{name}.weight", layer.weight.shape)
        bias = _tensor(arrays, f"prior.{name}.bias")
        layer.load_integers(weight, bias, _tensor(arrays, f"prior.{name}.exponent"))
    for name, embedding in _qp_tables(networks).items():
        embedding.load_integers(_tensor(arrays, name))
    mean_scale = torch.exp2(_tensor(arrays, "prior.mean_exponent"))
    networks.prior.mean_scale.copy_(mean_scale.view(1, -1, 1, 1))


def _entropy_shapes(state: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items() if name.startswith(ENTROPY)}


def trainable_from_checkpoint(
    checkpoint: Checkpoint, config: ModelConfig | None = None
) -> Networks:
    """Build networks that train further from stored weights.

    The float weights are the stored ones: half precision, the prior's as quantised.

    Args:
        checkpoint: the weights.
        config: other sizes, with the same widths of the transforms. Additional residual blocks
            start as the identity; if there are fewer, the first ones are kept. A hyper-analysis and
            prior of other sizes start from scratch. Default: the checkpoint's sizes.

    Returns:
        Networks in float32 with gradients.

    Raises:
        UnknownModel: the sizes differ in any other way, or as `from_checkpoint` raises.
    """
    frozen = from_checkpoint(checkpoint)
    networks = Networks(config or frozen.config)
    state = networks.state_dict()
    stored = frozen.state_dict()
    same_prior = _entropy_shapes(state) == _entropy_shapes(stored)
    if not same_prior:
        start_as_block_transform(networks)

    def is_kept(name: str) -> bool:
        if name.startswith(ENTROPY):
            return same_prior or name == "prior.mean_scale"
        return name in state or ".blocks" not in name

    kept = {name: tensor for name, tensor in stored.items() if is_kept(name)}
    if any(name not in state or state[name].shape != tensor.shape for name, tensor in kept.items()):
        raise UnknownModel(
            f"the weights of {frozen.config.name} only fit transforms of the same widths"
        )
    networks.load_state_dict(state | kept)
    if same_prior:
        for name, embedding in _qp_tables(networks).items():
            # Rows of the table at the anchors are the anchors themselves, as integers.
            embedding.anchors.data = _tensor(checkpoint.arrays, name)[::ANCHOR_DISTANCE] * UNIT
    return networks

"""Pruning: start a smaller codec from the most important channels of a trained one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from codec.networks.blocks import ResidualBlock
from codec.networks.config import PRIOR_STEPS, STRIDE_Y, ModelConfig
from codec.networks.gains import Gain
from codec.networks.integer import IntegerBlock, IntegerConv
from codec.networks.model import Networks
from codec.networks.prior import HyperSynthesis, LowFeatures, PriorStep
from codec.networks.transforms import pad_to_multiple
from codec.weights.networks import TRANSFORMS
from training.losses.rate import RateModel
from training.surgery.equalize_steps import QPS

# A channel's index modulo this determines in which step the prior codes it at a position.
CLASSES = PRIOR_STEPS
_Conv = nn.Conv2d | IntegerConv
_HyperNetwork = HyperSynthesis | LowFeatures


def before_narrowing(target: ModelConfig, trained: ModelConfig) -> ModelConfig | None:
    """Find the configuration that trained weights are loaded into before they are pruned.

    Args:
        target: The smaller configuration.
        trained: The configuration of the trained weights.

    Returns:
        `target`, but with those widths of `trained` that `narrowed` can reduce. None if there is
        nothing to prune, or if a width that cannot be pruned differs; the prior then starts from
        random weights, and the transforms must have equal sizes.
    """
    names = ("m", "p", "p_low", "step_block", "hidden_a16")
    wide = replace(target, **{name: getattr(trained, name) for name in names})
    fewer = all(_width(target, name) <= _width(wide, name) for name in names)
    fixed = ("h", "z", "low", "n", "c")
    alike = all(getattr(target, name) == getattr(trained, name) for name in fixed)
    return wide if fewer and alike and wide != target else None


def _width(config: ModelConfig, name: str) -> int:
    return int(getattr(config, name)) or (2 * config.c if name == "hidden_a16" else 0)


def narrowed(wide: Networks, config: ModelConfig, crops: Callable[[], Tensor]) -> Networks:
    """Prune networks.

    Keeps the channels of y with the largest values in quantization steps, the same number of each
    residue modulo 4. Keeps the features of the prior that contribute most to its outputs, and adds
    the mean contribution of the others to the outputs.

    Args:
        wide: Networks with more channels of y (m), inside the analysis's blocks (hidden_a16) or of
            the prior (p, p_low), or with blocks in its steps.
        config: The configuration to reach.
        crops: Returns a batch of training pictures, [B, 3, H, W] in 0..1.

    Returns:
        Networks of `config`.
    """
    networks = Networks(config)
    x = crops()
    qps = torch.tensor(QPS).repeat(-(-len(x) // len(QPS)))[: len(x), None, None]
    qp = qps.expand(-1, x.shape[2] // STRIDE_Y, x.shape[3] // STRIDE_Y)
    with torch.no_grad():
        y = wide.g_a(x, qp).float()
        kept = _channels_of_y(y, wide.config.low, config.m)
        inputs = _inputs_of_heads(wide, y, qp)
        _transforms(networks, wide, kept)
        _prior(networks, wide, kept, inputs)
    return networks


def _largest(values: Tensor, count: int) -> Tensor:
    """Indexes of the `count` largest of [n], in ascending order."""
    return values.argsort(descending=True)[:count].sort().values


def _channels_of_y(y: Tensor, low: int, m: int) -> Tensor:
    """Indexes of the channels to keep [m]; each keeps its residue modulo 4.

    All `low` channels of the preview are kept.
    """
    # Grows with the bits of a channel.
    size = (1 + y.abs()).log2().mean((0, 2, 3))[low:].view(-1, CLASSES)
    rows = torch.stack([_largest(size[:, k], (m - low) // CLASSES) for k in range(CLASSES)], 1)
    # A channel keeps its residue, so the same step of the prior codes it as before.
    return torch.cat([torch.arange(low), (low + rows * CLASSES + torch.arange(CLASSES)).flatten()])


def _inputs_of_heads(wide: Networks, y: Tensor, qp: Tensor) -> dict[PriorStep, Tensor]:
    """Means and mean squares [2, P] of the inputs to the last layer of each step of the prior."""
    moments: dict[PriorStep, Tensor] = {}

    def watch(step: PriorStep) -> torch.utils.hooks.RemovableHandle:
        def measure(_: nn.Module, arguments: tuple[Tensor]) -> None:
            (features,) = arguments
            moments[step] = torch.stack(
                [features.mean((0, 2, 3)), features.square().mean((0, 2, 3))]
            )

        return step.head.register_forward_pre_hook(measure)

    hooks = [watch(step) for layer in wide.prior.layers for step in wide.prior.steps_of(layer)]
    z = wide.h_a(pad_to_multiple(y, 4)).float()
    RateModel(wide.config.z).code_latent(wide, y, z, qp, rounded=True)
    for hook in hooks:
        hook.remove()
    return moments


def _fourfold(kept: Tensor) -> Tensor:
    """Indexes of the same channels before or after a pixel shuffle by 2."""
    return (4 * kept[:, None] + torch.arange(4)).flatten()


def _cut(new: _Conv, old: _Conv, outs: Tensor | None = None, ins: Tensor | None = None) -> None:
    """Copy a layer's weights and biases for some outputs and inputs; None means all."""
    assert old.bias is not None
    assert new.bias is not None
    weight, bias = (old.weight, old.bias) if outs is None else (old.weight[outs], old.bias[outs])
    new.weight.copy_(weight if ins is None else weight[:, ins])
    new.bias.copy_(bias)


def _cut_gain(new: Gain, old: Gain, kept: Tensor) -> None:
    new.log_gain.copy_(old.log_gain[:, kept])


def _transforms(networks: Networks, wide: Networks, kept: Tensor) -> None:
    """Copy the transforms with these channels of y only."""
    for room in TRANSFORMS:
        new = getattr(networks, room)
        old = getattr(wide, room)
        state = new.state_dict()
        same = {
            name: tensor
            for name, tensor in old.state_dict().items()
            if name in state and state[name].shape == tensor.shape
        }
        new.load_state_dict(state | same)
    for block, trained in zip(networks.g_a.blocks16, wide.g_a.blocks16):
        assert isinstance(block, ResidualBlock)
        assert isinstance(trained, ResidualBlock)
        hidden = _hidden(trained.expand, trained.project, len(block.expand.weight))
        _cut(block.expand, trained.expand, outs=hidden)
        _cut(block.project, trained.project, ins=hidden)
    _cut(networks.g_a.head, wide.g_a.head, outs=kept)
    _cut_gain(networks.g_a.gain, wide.g_a.gain, kept)
    _cut_gain(networks.g_s.gain, wide.g_s.gain, kept)
    _cut(networks.g_s.stem, wide.g_s.stem, ins=kept)
    _cut(networks.h_a.down2, wide.h_a.down2, ins=_fourfold(kept))


def _prior(
    networks: Networks, wide: Networks, kept: Tensor, inputs: dict[PriorStep, Tensor]
) -> None:
    new = networks.prior
    old = wide.prior
    low = wide.config.low
    new.mean_scale.copy_(old.mean_scale[:, kept])
    main = _features(old.steps_of(old.layers[-1]), inputs, networks.config.p)
    _hyper(new.hyper, old.hyper, main)
    _cut(new.hyper.stem, old.hyper.stem, outs=main)
    _block(new.hyper.block4, old.hyper.block4, main)
    _cut(new.hyper.up, old.hyper.up, outs=_fourfold(main), ins=main)
    steps = zip(new.steps_of(new.layers[-1]), old.steps_of(old.layers[-1]))
    channels = kept[low:] - low
    for index, (step, trained) in enumerate(steps):
        # Inputs of a step: the four channel sets of the preview layer, then those channel sets of
        # its own layer that earlier steps have decoded.
        before = _in_a_row(
            [torch.arange(low)] * 4 + [channels] * index, [low] * 4 + [wide.config.m - low] * index
        )
        _step(step, trained, main, channels, before, inputs[trained])
    if low:
        features = _features(old.steps_of(old.layers[0]), inputs, networks.config.p_low)
        _hyper(new.low_hyper, old.low_hyper, features)
        _cut(new.low_hyper.up, old.low_hyper.up, outs=_fourfold(features))
        for step, trained in zip(new.steps_of(new.layers[0]), old.steps_of(old.layers[0])):
            _step(step, trained, features, torch.arange(low), None, inputs[trained])


def _in_a_row(parts: Sequence[Tensor], widths: Iterable[int]) -> Tensor:
    """Convert indexes within parts of these widths to indexes in their concatenation."""
    starts = torch.tensor([0, *widths]).cumsum(0)
    return torch.cat([part + start for part, start in zip(parts, starts)])


def _features(steps: list[PriorStep], inputs: dict[PriorStep, Tensor], count: int) -> Tensor:
    """Indexes of the features that contribute most to the outputs of the steps."""
    return _largest(
        torch.stack([s.head.weight.square().sum((0, 2, 3)) * inputs[s][1] for s in steps]).sum(0),
        count,
    )


def _hyper(new: _HyperNetwork, old: _HyperNetwork, kept: Tensor) -> None:
    """Cut the layers that HyperSynthesis and LowFeatures share."""
    new.qp_table.load_state_dict(old.qp_table.state_dict())
    _cut(new.qp_in, old.qp_in, outs=kept)
    _block(new.block2, old.block2, kept)


def _hidden(expand: _Conv, project: _Conv, count: int) -> Tensor:
    """Indexes of the channels between two layers of a block that have the largest weights."""
    return _largest(
        project.weight.square().sum((0, 2, 3)) * expand.weight.square().sum((1, 2, 3)), count
    )


def _block(new: IntegerBlock, old: IntegerBlock, kept: Tensor) -> None:
    hidden = _hidden(old.expand, old.project, len(kept))
    _cut(new.depthwise, old.depthwise, outs=kept)
    _cut(new.expand, old.expand, outs=hidden, ins=kept)
    _cut(new.project, old.project, outs=kept, ins=hidden)


def _step(
    new: PriorStep,
    old: PriorStep,
    kept: Tensor,
    channels: Tensor,
    before: Tensor | None,
    inputs: Tensor,
) -> None:
    """Copy the kept parts of a step of the prior.

    Args:
        new: Changed in place.
        old: The trained step.
        kept: Indexes of the features to keep.
        channels: The channels that the step codes.
        before: The channels of all earlier sets, in the order of the context; None without context.
        inputs: The result of `_inputs_of_heads` for this step.
    """
    if new.context is not None and old.context is not None:
        _cut(new.context, old.context, outs=kept, ins=before)
    if isinstance(new.block, IntegerBlock) and isinstance(old.block, IntegerBlock):
        _block(new.block, old.block, kept)
    elif isinstance(new.block, IntegerBlock) == isinstance(old.block, IntegerBlock):
        _cut(new.block.depthwise, old.block.depthwise, outs=kept)
    outs = torch.cat([channels, channels + len(old.head.weight) // 2])
    _cut(new.head, old.head, outs=outs, ins=kept)
    # The mean contribution of the dropped features is added to the bias.
    mean = inputs[0].clone()
    mean[kept] = 0
    new.head.bias.add_(old.head.weight[outs, :, 0, 0] @ mean)

"""`attach`: a model of transformers takes `.ctm`, with repaired tokens if there is an adapter.

::

    .ctm --processor--> pixel_values ------> vision tower's embedding --+--> its blocks --+-->
             \\-> latents at its patches --> Adapter --------------------+-----------------+
             \\-> bits at its patches --> which tokens the language model gets (token_budget)
"""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import codec
from codec.api import Codec
from codec.errors import AdapterUnavailable, BadArgument, UnsupportedTower
from codec.integrations.transformers import budget, entries
from codec.integrations.transformers.attached import KEYS, LATENTS, Entry
from codec.integrations.transformers.registration import register
from codec.integrations.transformers.vision import VisionTower, takes_budget, tower_of
from codec.networks.adapter import TokenAdapter
from codec.tokens.adapters import Adapter, find_adapter, load_adapter
from codec.tokens.selection import Selection, quadtree
from codec.towers import LAST
from codec.towers.signature import signature

ATTACHMENT = "cotam"


def attach(
    model: nn.Module,
    cotam: Codec | None = None,
    processor: Any = None,
    adapter: str | Path | Adapter | None = None,
    token_budget: float | None = None,
) -> nn.Module:
    """Let a model take `.ctm`, and repair its tokens from the latents if there is an adapter.

    This also calls `register`. The model sees the decoded pixels. If there is an adapter for its
    tower and the codec's weights, its tokens are repaired. `model.cotam` is the attachment, and
    `detach` undoes it.

    Args:
        model: any model of transformers that takes pictures; changed in place.
        cotam: the codec. Default: the default weights with an adapter, otherwise each file's own.
        processor: the model's processor, or its image processor. It passes latents to the model, as
            `cotam_latents` and others beside `pixel_values`. It is not wrapped; copies of it pass
            pixels only.
        adapter: a file or an Adapter; the shipped one of this tower and these weights, if there is
            one.
        token_budget: share of each picture's tokens that the language model gets, above 0 to 1.
            The bits of a `.ctm` decide which; in other pictures they are spread evenly.

    Returns:
        The model.

    Raises:
        UnsupportedTower: an adapter was given, but the model's tower cannot use one.
        WrongAdapter: the adapter belongs to another tower or to other weights.
        BadArgument: the token budget is out of range, or this model cannot serve one.

    Examples:
        >>> attach(model, codec.load(), processor)  # doctest: +SKIP
        >>> inputs = processor(images=["x.ctm"], text="<image>")  # doctest: +SKIP
    """
    _check_budget(model, token_budget)
    tower = tower_of(model)
    chosen = None
    if tower is not None:
        candidate = cotam or codec.load()
        chosen = _adapter_for(tower, candidate, adapter)
        # Without an adapter, each file is decoded with its own weights.
        cotam = cotam if chosen is None else candidate
    if adapter is not None and chosen is None:
        raise UnsupportedTower(
            f"the tower of {type(model).__name__} supports no adapter; omit it to use pixels"
        )
    detach(model)
    register()
    attachment = Attachment(model, tower, chosen, token_budget)
    if processor is not None:
        needs = chosen is not None, token_budget is not None
        grid = tower.grid if tower is not None and any(needs) else (0, 0)
        entry = Entry(attachment.key, cotam, grid, *needs)
        entries.put(getattr(processor, "image_processor", processor), entry)
    return model


def detach(model: Any) -> None:
    """Undo `attach` for the model and its processor.

    They still take `.ctm`, as pixels, until `unregister` is called.
    """
    attachment = vars(model).get(ATTACHMENT)
    if not isinstance(attachment, Attachment):
        return
    attachment.detach()
    # A shallow copy shares its modules, and so their hooks, with the original; attributes are its
    # own.
    if vars(model).pop(ATTACHMENT, None) is not None:
        vars(model).pop("generate", None)


class _Call(threading.local):
    """State of the call that a thread is in: of `generate`, or of the model."""

    by: str = ""
    latents: Tensor | None = None
    pictures: Sequence[range] = ()
    chosen: Sequence[Selection] = ()


class Attachment:
    """What `attach` adds to a model: hooks, and a `generate` that prepares a call.

    All of these are bound methods of this object, which is copied and pickled with its model.
    """

    def __init__(
        self,
        model: Any,
        tower: VisionTower | None,
        adapter: Adapter | None,
        token_budget: float | None,
    ) -> None:
        """Change the model; see `attach`."""
        self.model = model
        self.adapter = adapter
        self.token_budget = token_budget
        self.grid = (0, 0) if tower is None else tower.grid
        # Identifies this attachment in `entries` without keeping the model alive.
        self.key = object()
        self.before = vars(model).get("generate")
        self.handles: list[Any] = []
        self._reset()
        setattr(model, ATTACHMENT, self)
        model.generate = self.generate
        self._hook_model()
        if tower is not None and adapter is not None:
            self._hook_tower(tower, adapter)

    def _reset(self) -> None:
        self._call = _Call()
        self._moved: dict[tuple[int, torch.device], TokenAdapter] = {}

    def __repr__(self) -> str:
        layers = [] if self.adapter is None else sorted(self.adapter.networks)
        return f"Attachment(layers={layers}, token_budget={self.token_budget})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()

    def detach(self) -> None:
        """Restore the model and its processor; see `detach`."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        vars(self.model).pop("generate", None)
        if self.before is not None:
            self.model.generate = self.before
        vars(self.model).pop(ATTACHMENT, None)
        entries.forget(self.key)

    def _hook_model(self) -> None:
        """Prepare calls of the model, and forget them afterwards, even after an error."""
        model = self.model
        self.handles += [
            model.register_forward_pre_hook(self._before_forward, with_kwargs=True, prepend=True),
            model.register_forward_hook(self._after_forward, always_call=True),
        ]
        if self.token_budget is not None:
            projector = model.model.multi_modal_projector
            self.handles.append(projector.register_forward_pre_hook(self._before_projector))

    def _hook_tower(self, tower: VisionTower, adapter: Adapter) -> None:
        """Repair the tokens of blocks. These models do not use the tokens after the final norm."""
        for layer in adapter.networks:
            if layer == 0:
                first = tower.blocks[0]
                self.handles.append(
                    first.register_forward_pre_hook(self._before_block, with_kwargs=True)
                )
            elif layer != LAST:
                # Runs before the hooks with which transformers records the output of a block.
                hook = functools.partial(self._after_block, layer)
                block = tower.blocks[layer - 1]
                self.handles.append(block.register_forward_hook(hook, prepend=True))

    def generate(self, *arguments: Any, **named: Any) -> Any:
        """As the model's own `generate`, for pictures with latents or with a token budget."""
        generate = self.before or functools.partial(type(self.model).generate, self.model)
        if self.token_budget is not None:
            arguments, named = _ids_by_name(arguments, named)
        prompt = named.get("input_ids")
        try:
            named = self._begin("generate", named)
            output = generate(*arguments, **named)
        finally:
            self._end()
        shortened = named.get("input_ids")
        if prompt is None or shortened is None or shortened is prompt:
            return output
        return budget.with_prompt(output, prompt, shortened)

    def _before_forward(
        self, model: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        # `generate` calls the model many times and has prepared the call already.
        if self._call.by:
            return None
        if arguments and self.token_budget is not None:
            named = named | {"input_ids": arguments[0]}
            arguments = (None, *arguments[1:]) if arguments[1:] else ()
        return arguments, self._begin("forward", named)

    def _after_forward(self, model: nn.Module, arguments: Any, output: Any) -> None:
        if self._call.by == "forward":
            self._end()

    def _begin(self, by: str, named: dict[str, Any]) -> dict[str, Any]:
        """Keep what our processor added, and return what the model understands.

        Raises:
            BadArgument: placeholders and pictures do not fit.
        """
        named = dict(named)
        latents, views, information = (named.pop(key, None) for key in KEYS)
        pixels = named.get("pixel_values")
        call = self._call
        call.by = by
        if self.adapter is not None and latents is not None:
            ends = torch.as_tensor(views).cumsum(0).tolist()
            call.pictures = [range(*ends) for ends in pairwise([0, *ends])]
            call.latents = torch.cat([row[: int(n)] for row, n in zip(latents, views)])
        if self.token_budget is None or pixels is None or named.get("input_ids") is None:
            return named
        if information is None:
            information = torch.ones(len(pixels), *self.grid)
        count = max(1, round(self.token_budget * self.grid[0] * self.grid[1]))
        call.chosen = [quadtree(one.float().cpu().numpy(), count) for one in information]
        return budget.shorten(named, call.chosen, self.model.config.image_token_id)

    def _end(self) -> None:
        call = self._call
        call.by = ""
        call.latents = None
        call.pictures = ()
        call.chosen = ()

    def _before_projector(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> Any:
        """Keep only the chosen ones of the tower's tokens [pictures, prefix + patches, width]."""
        if not self._call.chosen:
            return None
        return budget.kept(arguments[0], self._call.chosen), *arguments[1:]

    def _before_block(
        self, block: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self._call.latents is None:
            return None
        if arguments:
            return (self._repaired(0, arguments[0]), *arguments[1:]), named
        tokens = self._repaired(0, named["hidden_states"])
        return arguments, named | {"hidden_states": tokens}

    def _after_block(self, layer: int, block: nn.Module, arguments: Any, output: Any) -> Any:
        if self._call.latents is None:
            return None
        if isinstance(output, tuple):
            return (self._repaired(layer, output[0]), *output[1:])
        return self._repaired(layer, output)

    def _repaired(self, layer: int, tokens: Tensor) -> Tensor:
        """Add the adapter's correction to the tokens [views, prefix + patches, width] of a layer.

        The adapter computes in float32, on the tokens' device; the sum has the tokens' dtype.
        """
        call = self._call
        assert call.latents is not None
        if len(tokens) % len(call.latents):
            raise BadArgument(
                f"the tower sees {len(tokens)} views, and there are latents of "
                f"{len(call.latents)}: pass pixel_values and {LATENTS} together"
            )
        copies = len(tokens) // len(call.latents)
        # generate repeats pictures, each with all of its views, for several answers a prompt.
        order = [view for views in call.pictures for _ in range(copies) for view in views]
        latents = call.latents[order].to(tokens.device, torch.float32)
        has_latents = ~latents.isnan().flatten(1).any(1)
        network = self._network(layer, tokens.device)
        with _without_autocast(tokens.device.type):
            added = network(latents.nan_to_num(), tokens.float()) * has_latents[:, None, None]
        return tokens + added.to(tokens.dtype)

    def _network(self, layer: int, device: torch.device) -> TokenAdapter:
        """A layer's network on a device; the adapter is copied, not moved."""
        assert self.adapter is not None
        network = self.adapter.networks[layer]
        if network.positions.device == device:
            return network
        if (layer, device) not in self._moved:
            self._moved[layer, device] = copy.deepcopy(network).to(device)
        return self._moved[layer, device]


def _without_autocast(device: str) -> AbstractContextManager[Any]:
    available = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if available else nullcontext()


def _ids_by_name(
    arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Pass the prompt of `generate` as input_ids, which may be positional or called `inputs`."""
    named = dict(named)
    if arguments:
        named["input_ids"] = arguments[0]
        arguments = (None, *arguments[1:])
    if named.get("inputs") is not None:
        named["input_ids"] = named.pop("inputs")
    return arguments, named


def _check_budget(model: nn.Module, token_budget: float | None) -> None:
    """Check a token budget. Raises BadArgument."""
    if token_budget is None:
        return
    if not takes_budget(model):
        raise BadArgument(
            f"{type(model).__name__} does not support token_budget: only LLaVA models do, whose "
            "tower sees each picture once at one size; omit it"
        )
    if not 0 < token_budget <= 1:
        raise BadArgument(f"token_budget must be above 0 and at most 1, not {token_budget}")


def _adapter_for(
    tower: VisionTower, cotam: Codec, adapter: str | Path | Adapter | None
) -> Adapter | None:
    try:
        identity = signature(tower.module)
    except UnsupportedTower:
        return None
    if adapter is not None:
        loaded = adapter if isinstance(adapter, Adapter) else load_adapter(Path(adapter))
        return loaded.check(cotam.fingerprint, identity)
    try:
        return find_adapter(cotam.fingerprint, identity, type(tower.module).__name__)
    except AdapterUnavailable:
        return None

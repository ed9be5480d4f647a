"""Hugging Face transformers: `.ctm` wherever a model takes pictures.

::

    .ctm --CotamImageProcessor--> pixel_values ------------------------> vision tower's embedding --+--> its blocks --+--> ...
             \\-> latents and bits at the tower's patches --attach(model)--> Adapter ----------------+-----------------+
                                                              \\-> which of its tokens the language model gets
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

import codec
from codec.api import Codec
from codec.bitstream.container import MAGIC
from codec.coding.latent_grid import STRIDE
from codec.errors import AdapterUnavailable, BadArgument, UnsupportedTower
from codec.integrations.transformers.budget import keep_features, shorten
from codec.integrations.transformers.crop_boxes import views_of
from codec.networks.adapter import sample
from codec.results import Decoded
from codec.tokens.adapters import Adapter, find_adapter, load_adapter
from codec.tokens.decode import latent_tensors
from codec.tokens.selection import Selection, quadtree
from codec.towers import LAST
from codec.towers.signature import signature

ATTACHED = "cotam"
SEEN = "cotam_decoded"
LATENTS = "cotam_latents"
INFORMATION = "cotam_information"


class CotamImageProcessor:
    """A model's image processor that also takes `.ctm`, as bytes or path; all else about it stays as it was.

    inner: the model's own; cotam: the codec, None: by each file's own weights; grid: rows and columns of the tower's patches if
    `attach` is to get latents (it sets them itself where it is given the processor), None for pixels only.
    """

    def __init__(
        self, inner: Any, cotam: Codec | None = None, grid: tuple[int, int] | None = None
    ) -> None:
        self.inner = inner
        self.cotam = cotam
        self.grid = grid

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # a copy that is being made has none yet
            raise AttributeError(name)
        return getattr(self.inner, name)

    def fetch_images(self, images: Any) -> Any:
        """One picture, or lists of them: `.ctm` are decoded, the rest is the model's own matter. Raises CodecError, OSError."""
        if isinstance(images, (list, tuple)):
            return [self.fetch_images(image) for image in images]
        if isinstance(images, bytes) and images.startswith(MAGIC):
            return self._decoded(images)
        if (
            isinstance(images, (str, Path))
            and str(images).lower().endswith(".ctm")
            and "://" not in str(images)
        ):
            return self._decoded(Path(images).read_bytes())
        return self.inner.fetch_images(str(images) if isinstance(images, Path) else images)

    def __call__(self, images: Any, **options: Any) -> Any:
        """As the inner one, and, with a grid, cotam_latents [views, M + 1, rows, columns] and cotam_information [views, ...]."""
        fetched = self.fetch_images(images)
        made = self.inner(fetched, **options)
        if self.grid is not None:
            parts = [self._seen_by_tower(image, options) for image in _flat(fetched)]
            known = next((latents for latents, _ in parts if latents is not None), None)
            if known is not None:
                blank = torch.full((1, *known.shape[1:]), float("nan"))
                made[LATENTS] = torch.cat(
                    [blank.expand(len(i), -1, -1, -1) if x is None else x for x, i in parts]
                )
                made[INFORMATION] = torch.cat([information for _, information in parts])
        return made

    def _decoded(self, data: bytes) -> Any:
        cotam = self.cotam or codec.load_for(data)
        decoded = cotam.decode_full(data, want_bits=self.grid is not None)
        image = decoded.to("pil")
        image.info[SEEN] = (cotam, decoded)
        return image

    def _seen_by_tower(self, image: Any, options: dict[str, Any]) -> tuple[Tensor | None, Tensor]:
        """(latents or None, information) at the patches of each view of a picture."""
        assert self.grid is not None
        found: tuple[Codec, Decoded] | None = getattr(image, "info", {}).get(SEEN)
        if found is None:
            views = len(
                self.inner([image], **(options | {"return_tensors": "pt"}))["pixel_values"].flatten(
                    0, -4
                )
            )
            return None, torch.ones(views, *self.grid)
        cotam, decoded = found
        height, width = decoded.picture.pixels.shape[:2]
        boxes = views_of(self.inner, height, width, **options).nan_to_num(-1.0)
        scale = torch.tensor([width, height, width, height]) / STRIDE
        placed = torch.cat([torch.zeros(len(boxes), 1), boxes * scale], 1)
        latents, qp = latent_tensors(cotam.backend, decoded)
        assert decoded.bits is not None
        spent = roi_align(
            torch.from_numpy(decoded.bits)[None, None], placed, self.grid, aligned=True
        )[:, 0]
        return sample(latents, qp, self.grid, placed), spent + 1e-3


def attach(
    model: nn.Module,
    cotam: Codec | None = None,
    processor: Any = None,
    adapter: str | Path | Adapter | None = None,
    token_budget: float | None = None,
) -> nn.Module:
    """Let a model take `.ctm` in `generate` (and when called), prepared by a processor with a CotamImageProcessor.

    model: LLaVA, LLaVA-NeXT (by tokens where its tower has an adapter, else by pixels), Qwen2-VL, Qwen2.5-VL (by pixels), as
    transformers' classes; changed in place and returned. processor: the model's; its image processor is wrapped. adapter: a file
    or an Adapter, the shipped one of this tower and these weights if there is one. token_budget: the share of an image's tokens
    that the language model gets (LLaVA only), chosen by the bits that the file spent. Raises WrongAdapter, UnsupportedTower,
    BadArgument.
    """
    tower = getattr(getattr(model, "model", model), "vision_tower", None)
    if token_budget is not None and (tower is None or hasattr(model.model, "pack_image_features")):
        raise BadArgument("token_budget needs a LLaVA model whose tower sees each picture once")
    if token_budget is not None and not 0 < token_budget <= 1:
        raise BadArgument(f"token_budget must be above 0 and at most 1, not {token_budget}")
    chosen = None
    if tower is not None:
        own = cotam or codec.load()
        chosen = _adapter_for(tower, own, adapter)
        cotam = (
            cotam if chosen is None else own
        )  # latents of other weights are not for this adapter
    if adapter is not None and chosen is None:
        raise UnsupportedTower("this model's tower takes no adapter; leave it out to go by pixels")
    grid = None if tower is None or not (chosen or token_budget) else _grid(tower)
    if processor is not None:
        inner = processor.image_processor
        inner = inner.inner if isinstance(inner, CotamImageProcessor) else inner
        processor.image_processor = CotamImageProcessor(inner, cotam, grid)
    _Attachment(model, tower, chosen, token_budget)
    return model


class _Call(threading.local):
    """What belongs to the call that a thread is in."""

    latents: Tensor | None = None
    chosen: Sequence[Selection] = ()


class _Attachment:
    """What `attach` adds to a model: hooks at the tower's blocks, and wrappers that hand it what belongs to a call."""

    def __init__(
        self, model: Any, tower: nn.Module | None, adapter: Adapter | None, budget: float | None
    ) -> None:
        if hasattr(model, ATTACHED):
            getattr(model, ATTACHED).detach()
        self.model = model
        self.adapter = adapter
        self.budget = budget
        self.call = _Call()
        self.handles: list[Any] = []
        if tower is not None and adapter is not None:
            self._hook(_blocks(tower), adapter)
        setattr(model, ATTACHED, self)
        model.generate = self._prepared(model.generate)
        model.forward = self._prepared(model.forward)
        if budget is not None:
            model.model.get_image_features = self._selected(model.model.get_image_features)

    def _hook(self, blocks: nn.ModuleList, adapter: Adapter) -> None:
        """Tokens after the final norm stay as they are: these models take those of a block."""
        for layer, network in adapter.networks.items():
            if layer == LAST:
                continue
            network.to(next(blocks.parameters()).device)
            if layer == 0:
                self.handles.append(
                    blocks[0].register_forward_pre_hook(self._enter, with_kwargs=True)
                )
            else:  # before the hooks by which transformers records what a block puts out
                leave = functools.partial(self._leave, layer)
                self.handles.append(blocks[layer - 1].register_forward_hook(leave, prepend=True))

    def detach(self) -> None:
        """The model as it was."""
        for handle in self.handles:
            handle.remove()
        for owner, names in (
            (self.model, ("generate", "forward")),
            (self.model.model, ("get_image_features",)),
        ):
            for name in names:
                owner.__dict__.pop(name, None)

    def _prepared(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def prepared(*arguments: Any, **given: Any) -> Any:
            latents = given.pop(LATENTS, None)
            information = given.pop(INFORMATION, None)
            if latents is None and information is None:
                return call(*arguments, **given)
            try:
                self.call.latents = latents
                if self.budget is not None:
                    self.call.chosen = [
                        quadtree(i.cpu().numpy(), max(1, round(self.budget * i.numel())))
                        for i in information
                    ]
                    if arguments:
                        given["input_ids"] = arguments[0]
                        arguments = arguments[1:]
                    given = shorten(given, self.call.chosen, self.model.config.image_token_id)
                return call(*arguments, **given)
            finally:
                self.call.latents = None
                self.call.chosen = []

        return prepared

    def _selected(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def selected(*arguments: Any, **given: Any) -> Any:
            found = call(*arguments, **given)
            if self.call.chosen:
                found.pooler_output = keep_features(found.pooler_output, self.call.chosen)
            return found

        return selected

    def _enter(self, block: nn.Module, arguments: tuple[Any, ...], given: dict[str, Any]) -> Any:
        """Before the tower's first block."""
        if self.call.latents is None:
            return None
        if arguments:
            return (self._repaired(0, arguments[0]), *arguments[1:]), given
        return arguments, given | {"hidden_states": self._repaired(0, given["hidden_states"])}

    def _leave(self, layer: int, block: nn.Module, arguments: Any, output: Any) -> Any:
        """After a later block."""
        if self.call.latents is None:
            return None
        if isinstance(output, tuple):
            return (self._repaired(layer, output[0]), *output[1:])
        return self._repaired(layer, output)

    def _repaired(self, layer: int, tokens: Tensor) -> Tensor:
        """A layer's tokens with the adapter's added."""
        assert self.call.latents is not None
        assert self.adapter is not None
        network = self.adapter.networks[layer]
        latents = self.call.latents.to(network.positions.device)
        known = ~latents.isnan().flatten(1).any(1)  # pictures that were no .ctm have none
        copies = len(tokens) // len(latents)
        latents = latents.repeat_interleave(copies, 0)
        known = known.repeat_interleave(copies, 0)
        added = network(latents.nan_to_num(), tokens.to(latents.dtype)) * known[:, None, None]
        return tokens + added.to(tokens.dtype)


def _adapter_for(
    tower: nn.Module, cotam: Codec, adapter: str | Path | Adapter | None
) -> Adapter | None:
    try:
        own = signature(tower)
    except UnsupportedTower:
        return None
    if adapter is not None:
        loaded = adapter if isinstance(adapter, Adapter) else load_adapter(Path(adapter))
        return loaded.check(cotam.fingerprint, own)
    try:
        return find_adapter(cotam.fingerprint, own, type(tower).__name__)
    except AdapterUnavailable:
        return None


def _grid(tower: Any) -> tuple[int, int]:
    config = tower.config
    return (config.image_size // config.patch_size,) * 2


def _blocks(tower: nn.Module) -> nn.ModuleList:
    for name, module in tower.named_modules():
        if isinstance(module, nn.ModuleList) and name.split(".")[-1] == "layers":
            return module
    raise UnsupportedTower(
        f"{type(tower).__name__} has no list of layers that an adapter could feed"
    )


def _flat(images: Any) -> list[Any]:
    return (
        [flat for image in images for flat in _flat(image)]
        if isinstance(images, list)
        else [images]
    )

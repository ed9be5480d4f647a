"""`register`: every processor, chat template and pipeline of transformers takes `.ctm`.

transformers loads pictures in three places, and these are where `.ctm` is recognised::

    processor(images=...), chat templates -> fetch_images --+
    pipelines, load_image(s) ---------------> load_image ---+--> ctm_file -> decoded, RGB
    text sources of fast processors -> load_image_as_tensor-+

Processors and models themselves are not touched, so they are saved, printed, copied and hashed as
before. `register` needs no PyTorch, where transformers needs none.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

import codec
from codec.integrations import loaders
from codec.integrations.sources import ctm_file
from codec.integrations.transformers.entries import entry_of

LOADERS = ("load_image", "load_image_as_tensor")

_lock = threading.RLock()
_undo: list[Callable[[], None]] = []


def register() -> None:
    """Let transformers take `.ctm` wherever it takes a picture, until `unregister`.

    A file may be given as a path, a `pathlib.Path`, bytes, an http, data or file URL, or base64
    text, with or without a suffix. It is decoded with the weights that it names. Pillow, and data
    sets that look for pictures by suffix (codec.integrations.loaders), take `.ctm` from then on,
    too. Calling this again changes nothing.
    """
    with _lock:
        if not _undo:
            _prepare()


def unregister() -> None:
    """Undo `register`. Calling this again changes nothing."""
    with _lock:
        while _undo:
            _undo.pop()()


def _prepare() -> None:
    from transformers import image_processing_base, image_utils
    from transformers.image_processing_utils import BaseImageProcessor

    if loaders.register():
        _undo.append(loaders.unregister)
    wrappers = {"load_image": _image_loader, "load_image_as_tensor": _tensor_loader}
    for name in LOADERS:
        loader = getattr(image_utils, name, None)
        if loader is not None:
            _undo.append(_Replaced(name, loader, wrappers[name](loader)).put_back)
    owners = [image_processing_base.ImageProcessingMixin, *_backends()]
    for owner in owners:
        if "fetch_images" in vars(owner):
            _replace_method(owner, "fetch_images", _fetcher(vars(owner)["fetch_images"]))
    _replace_method(BaseImageProcessor, "__call__", _caller(BaseImageProcessor.__call__))


def _backends() -> list[type]:
    """Classes that override `fetch_images`, if this version of transformers has them."""
    try:
        from transformers.image_processing_backends import TorchvisionBackend
    except ImportError:
        return []
    return [TorchvisionBackend]


@dataclass
class _Replaced:
    """A function that many modules have imported by name."""

    name: str
    original: Callable[..., Any]
    ours: Callable[..., Any]

    def __post_init__(self) -> None:
        self._swap(self.original, self.ours)

    def put_back(self) -> None:
        """Restore the original in every module, including modules imported since."""
        self._swap(self.ours, self.original)

    def _swap(self, old: Callable[..., Any], new: Callable[..., Any]) -> None:
        # Modules import the function by name, so replacing it in its own module is not enough.
        for name, module in list(sys.modules.items()):
            names = getattr(module, "__dict__", {})
            if name.split(".")[0] == "transformers" and names.get(self.name) is old:
                setattr(module, self.name, new)


def _replace_method(owner: type, name: str, ours: Callable[..., Any]) -> None:
    original = vars(owner).get(name)
    setattr(owner, name, ours)
    if original is None:
        _undo.append(functools.partial(delattr, owner, name))
    else:
        _undo.append(functools.partial(setattr, owner, name, original))


def _client(timeout: float | None) -> Callable[[str], bytes]:
    """Fetch as transformers does, with the client that this version of it uses."""

    def fetch(url: str) -> bytes:
        from transformers import image_utils

        client: Any = image_utils.httpx
        data: bytes = client.get(url, timeout=timeout, follow_redirects=True).content
        return data

    return fetch


def _image_loader(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def load_image(image: Any, timeout: float | None = None) -> Any:
        file, rest = ctm_file(image, _client(timeout))
        return original(rest, timeout) if file is None else _image(file)

    return load_image


def _tensor_loader(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def load_image_as_tensor(image: Any, timeout: float | None = None) -> Any:
        file, rest = ctm_file(image, _client(timeout))
        if file is None:
            return original(rest, timeout)
        import torch

        return torch.from_numpy(np.array(_image(file)).transpose(2, 0, 1).copy())

    return load_image_as_tensor


def _fetcher(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def fetch_images(self: Any, image_url_or_urls: Any, *arguments: Any, **named: Any) -> Any:
        file, rest = ctm_file(image_url_or_urls, _client(None))
        if file is None:
            return original(self, rest, *arguments, **named)
        entry = entry_of(self)
        return _image(file) if entry is None else entry.image(file)

    return fetch_images


def _caller(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: Any, images: Any, *arguments: Any, **named: Any) -> Any:
        entry = entry_of(self)
        if entry is None:
            return original(self, images, *arguments, **named)
        # Here, and not inside the original, because the latents are in the fetched images.
        fetched = self.fetch_images(images)
        features = original(self, fetched, *arguments, **named)
        return entry.with_latents(self, fetched, features, named)

    return call


def _image(file: bytes) -> Any:
    return Image.fromarray(codec.load_for(file).decode_full(file).to("array"))

"""`register`: data sets that look for pictures by suffix find `.ctm`, and Pillow opens it.

::

    register() -> Pillow's plugin
               -> lists of suffixes: torchvision, timm, datasets
                      imported already -> extended now
                      not yet imported -> extended when the program imports them

Nothing is imported here that the program does not use. No PyTorch.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from codec import forks
from codec.bitstream.container import SUFFIX
from codec.integrations import pillow

Undo = Callable[[], None]
_lock = forks.Lock()
_undo: list[Undo] = []


def register(worker: int = 0) -> bool:
    """Let data sets and loaders take `.ctm`, until `unregister`.

    Pillow opens `.ctm`. torchvision's ImageFolder, timm's ImageDataset, and `imagefolder` and
    `webdataset` of Hugging Face's datasets find files that end in it. Calling this again changes
    nothing.

    Args:
        worker: not used; with it, this function can be the `worker_init_fn` of a DataLoader.

    Returns:
        Whether this call registered anything.

    Examples:
        >>> register()
        True
        >>> unregister()
    """
    pillow.register()
    with _lock:
        if _undo:
            return False
        waiting = {}
        for name, extend in HOSTS.items():
            if name in sys.modules:
                _undo.append(extend(sys.modules[name]))
            else:
                waiting[name] = extend
        watcher = _Watcher(waiting)
        sys.meta_path.insert(0, watcher)
        _undo.append(watcher.stop)
        return True


def unregister() -> None:
    """Restore the lists of suffixes. Pillow still opens `.ctm`."""
    with _lock:
        while _undo:
            _undo.pop()()


def _extend_torchvision(folder: Any) -> Undo:
    before = folder.IMG_EXTENSIONS
    folder.IMG_EXTENSIONS = (*before, SUFFIX)
    return lambda: setattr(folder, "IMG_EXTENSIONS", before)


def _extend_timm(extensions: Any) -> Undo:
    extensions.add_img_extensions(SUFFIX)
    return lambda: extensions.del_img_extensions(SUFFIX)


def _extend_datasets(modules: Any) -> Undo:
    """Extend the lists of datasets in place, because its other modules share them."""
    kinds: dict[str, Any] = modules._EXTENSION_TO_MODULE
    lists = {
        id(one): one
        for one in (
            modules._MODULE_TO_EXTENSIONS["imagefolder"],
            modules.imagefolder.ImageFolder.EXTENSIONS,
            modules._ALL_EXTENSIONS,
            getattr(modules, "_ALL_ALLOWED_EXTENSIONS", modules._ALL_EXTENSIONS),
        )
    }.values()
    shards = modules.webdataset.WebDataset.IMAGE_EXTENSIONS
    kinds[SUFFIX] = ("imagefolder", {})
    for one in lists:
        one.append(SUFFIX)
    shards.append(SUFFIX[1:])

    def undo() -> None:
        kinds.pop(SUFFIX)
        for one in lists:
            one.remove(SUFFIX)
        shards.remove(SUFFIX[1:])

    return undo


# The module that holds a list of suffixes, and what extends it.
HOSTS: dict[str, Callable[[Any], Undo]] = {
    "torchvision.datasets.folder": _extend_torchvision,
    "timm.data.readers.img_extensions": _extend_timm,
    "datasets.packaged_modules": _extend_datasets,
}


class _Watcher(MetaPathFinder):
    """Extends a host's list as soon as the program has imported it."""

    def __init__(self, waiting: dict[str, Callable[[Any], Undo]]) -> None:
        self.waiting = waiting
        self._looked_for: set[str] = set()

    def stop(self) -> None:
        """Stop watching."""
        sys.meta_path.remove(self)
        self.waiting.clear()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.waiting or name in self._looked_for:
            return None
        # The search for the real spec calls this finder again; this entry ends the recursion.
        self._looked_for.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._looked_for.discard(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Extending(spec.loader, self)
        return spec

    def extend(self, module: ModuleType) -> None:
        """Extend a module's list, once."""
        with _lock:
            extend = self.waiting.pop(module.__name__, None)
            if extend is not None:
                _undo.append(extend(module))


class _Extending(Loader):
    """Wraps a module's loader once: it loads the module, then has its list extended."""

    def __init__(self, inner: Any, watcher: _Watcher) -> None:
        self.inner = inner
        self.watcher = watcher

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.inner.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self.inner
        module.__loader__ = self.inner
        self.inner.exec_module(module)
        self.watcher.extend(module)

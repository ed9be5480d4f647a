"""Which processors are attached to a model: a table by identity. It imports no PyTorch."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codec.integrations.transformers.attached import Entry

_entries: weakref.WeakKeyDictionary[Any, Entry] = weakref.WeakKeyDictionary()


def entry_of(processor: Any) -> Entry | None:
    """What is attached to an image processor."""
    return _entries.get(processor)


def put(processor: Any, entry: Entry) -> None:
    """Attach an entry to an image processor, instead of an earlier one."""
    _entries[processor] = entry


def forget(owner: object) -> None:
    """Detach what belongs to an attachment."""
    for processor, entry in list(_entries.items()):
        if entry.owner is owner:
            del _entries[processor]

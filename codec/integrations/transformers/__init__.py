"""transformers: `.ctm` wherever a model takes a picture, and tokens from latents.

`register` and `unregister` need no PyTorch; `attach` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codec.integrations.transformers.registration import register, unregister

if TYPE_CHECKING:
    from codec.integrations.transformers.attachment import attach, detach

__all__ = ["attach", "detach", "register", "unregister"]


def __getattr__(name: str) -> Any:
    """Import what needs PyTorch when it is asked for."""
    if name in ("attach", "detach"):
        from codec.integrations.transformers import attachment

        return getattr(attachment, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

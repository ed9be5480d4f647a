"""Integration in transformers: `.ctm` input, tokens repaired from latents, changed tokens.

`register` and `unregister` need no PyTorch; `attach` and `changed_tokens` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codec.integrations.transformers.registration import register, unregister

if TYPE_CHECKING:
    from codec.integrations.transformers.attachment import attach, detach
    from codec.integrations.transformers.changed import changed_tokens

__all__ = ["attach", "changed_tokens", "detach", "register", "unregister"]


def __getattr__(name: str) -> Any:
    """Import what needs PyTorch when it is asked for."""
    if name in ("attach", "detach"):
        from codec.integrations.transformers import attachment

        return getattr(attachment, name)
    if name == "changed_tokens":
        from codec.integrations.transformers import changed

        return changed.changed_tokens
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""transformers: `.ctm` wherever a model takes a picture, and tokens from latents."""

from codec.integrations.transformers.attach import attach, detach
from codec.integrations.transformers.registration import register, unregister

__all__ = ["attach", "detach", "register", "unregister"]

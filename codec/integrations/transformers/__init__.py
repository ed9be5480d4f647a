"""transformers: `.ctm` files as pictures, and tokens from latents."""

from codec.integrations.transformers.attach import *  # noqa: F403

"""What a receiver gets beyond pixels: a choice of tokens, and tokens repaired from the latents."""

from codec.tokens.selection import Selection, select_tokens

__all__ = ["Selection", "select_tokens"]

"""What a receiver gets beyond pixels: which tokens to keep, and what the latents add to a vision tower's tokens."""

from codec.tokens.selection import Selection, select_tokens

__all__ = ["Selection", "select_tokens"]

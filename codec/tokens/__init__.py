"""Tokens for vision towers: selection by bits, and repair from the latents."""

from codec.tokens.selection import Selection, select_tokens

__all__ = ["Selection", "select_tokens"]

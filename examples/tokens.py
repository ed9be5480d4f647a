"""Decode a file to a tower's tokens, and keep the quarter on which the file spent the most bits.

python examples/tokens.py photo.ctm timm:deit_tiny_patch16_224 deit_tiny.safetensors

Needs pip install 'cotam[mllm]' and an adapter for the tower: one for DeiT-Tiny is in cotam-models.
The tower is a name of timm or open_clip, followed by its weights.
"""

import sys
from pathlib import Path

import codec
from codec.tokens import select_tokens
from codec.towers import load_tower

data = Path(sys.argv[1]).read_bytes()
cotam = codec.load()
tower = load_tower(sys.argv[2], sys.argv[3])

tokens = cotam.decode_tokens(data, tower, layer=-1)  # [1, prefix + patches, width]
print(f"{tokens.shape[1]} tokens of width {tokens.shape[2]}")

spent = cotam.decode_full(data, want_bits=True)
side = int((tokens.shape[1] - 1) ** 0.5)
kept = select_tokens(spent, budget=0.25, grid=(side, side))
print(f"kept {len(kept.indexes)} of {side * side} patches, the first: {kept.indexes[:5].tolist()}")

"""Spend more bits on a region: same file size, finer steps inside the box.

python examples/roi.py photo.jpg 120 40 260 210
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import codec

source = Path(sys.argv[1])
left, top, right, bottom = map(int, sys.argv[2:6])
box = (left, top, right, bottom)
cotam = codec.load()

original = np.asarray(Image.open(source).convert("RGB")).astype(float)
size = len(cotam.encode(original.astype(np.uint8), tool="learned", quality=30, guide="uniform"))
for name, options in (("everywhere alike", {"guide": "uniform"}), ("with the box", {"roi": [box]})):
    data = cotam.encode(original.astype(np.uint8), tool="learned", target_bytes=size, **options)
    decoded = cotam.decode(data, output="array").astype(float)
    error = ((decoded - original) ** 2)[top:bottom, left:right].mean()
    print(f"{name}: {len(data)} bytes, {10 * np.log10(255**2 / error):.1f} dB inside the box")

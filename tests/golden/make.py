"""How the golden streams were made: `python tests/golden/make.py NAME WEIGHTS`, or `... tools`.

Existing ones are never remade.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from skimage import data

import codec

HERE = Path(__file__).parent


def main(prefix: str, weights: str) -> None:
    """Two streams with toy weights: one QP, and a QP map over an odd size.

    v1 is of `toy`, v1-layers of `toy-layers`.
    """
    cotam = codec.load(HERE / f"{weights}.safetensors", device="cpu")
    coffee = data.coffee()
    qp_map = np.array([[10, 30, 50], [63, 0, 25]])
    cases = {
        "uniform": (coffee[:128, :192], {"quality": 50}),
        "map": (coffee[100:173, 200:315], {"qp_map": qp_map}),
    }
    for name, (pixels, options) in cases.items():
        target = HERE / f"{prefix}-{name}.ctm"
        if target.exists():
            raise SystemExit(f"{target} exists; golden streams are never remade")
        encoded = cotam.encode_full(pixels, **options)  # type: ignore[arg-type]
        target.write_bytes(encoded.data)
        digest = hashlib.sha256(np.ascontiguousarray(encoded.y_hat).tobytes()).hexdigest()
        facts = {
            "model": f"{weights}.safetensors",
            "shape": list(pixels.shape),
            "y_hat_sha256": digest,
        }
        target.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")


def of_tools() -> None:
    """Files of the screen tools; the photograph of the mixed one has the weights `toy`."""
    cotam = codec.load(HERE / "toy.safetensors", device="cpu")
    image = Image.new("RGBA", (256, 224), "white")
    draw = ImageDraw.Draw(image)
    for row in range(7):
        draw.rectangle(
            (8, 10 + 30 * row, 240 - 20 * row, 30 + 30 * row), fill=f"#20{row * 36:02x}a0"
        )
        draw.line((0, 30 * row, 255, 224 - 9 * row), fill="#c02020", width=2)
    drawing = np.asarray(image)
    page = drawing[..., :3].copy()
    page = np.concatenate([page, page])
    page[96:320, 32:224] = data.astronaut()[:224, 120:312]
    faded = drawing.copy()
    faded[:20, :, 3] = 90
    cases = {
        "palette-exact": (faded, {"lossless": True}),
        "palette": (drawing[..., :3], {"tool": "palette"}),
        "av1": (drawing[..., :3], {"tool": "av1"}),
        "av1-grey": (data.camera()[:200, 100:300], {"tool": "av1"}),
        "mixed": (page, {"tool": "mixed"}),
    }
    for name, (pixels, options) in cases.items():
        target = HERE / f"v2-{name}.ctm"
        if target.exists():
            raise SystemExit(f"{target} exists; golden streams are never remade")
        target.write_bytes(cotam.encode(Image.fromarray(pixels), **options))
        decoded = np.asarray(cotam.decode(target.read_bytes()).convert("RGBA"))
        facts = {
            "model": "toy.safetensors",
            "tool": codec.inspect(target.read_bytes()).tool,
            "shape": [*decoded.shape[:2], 3],
            "rgba_sha256": hashlib.sha256(np.ascontiguousarray(decoded).tobytes()).hexdigest(),
            "rgba_16x16": decoded[:: decoded.shape[0] // 16, :: decoded.shape[1] // 16].tolist(),
        }
        target.with_suffix(".json").write_text(json.dumps(facts) + "\n")


if __name__ == "__main__":
    of_tools() if sys.argv[1:] == ["tools"] else main(*sys.argv[1:])

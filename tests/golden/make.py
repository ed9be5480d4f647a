"""How the golden streams were made: `python tests/golden/make.py NAME WEIGHTS`.

Existing ones are never remade.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
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


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Makes the golden files: `python tests/golden/make.py NAME WEIGHTS`, `... tools`, `... streams`.

Existing golden files are never made again.
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
STREAMS = HERE / "streams"


def main(prefix: str, weights: str) -> None:
    """Write two files with toy weights: one with a single QP, one with a QP map and an odd size.

    v1 was made with `toy`, v1-layers with `toy-layers`.
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
    """Write files of the screen tools. The photograph in the mixed one is coded with `toy`."""
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


def of_streams() -> None:
    """Write messages: patches, palettes, copies, an older picture, AV1 and a photograph by `toy`.

    Some copies have changed tones, and some rectangles are shown again, in a message and later.
    """
    page = Image.new("RGB", (400, 300), "white")
    draw = ImageDraw.Draw(page)
    for row in range(40):
        width = 40 + row * 7919 % 211
        draw.rectangle((60, 40 + 13 * row, 60 + width, 47 + 13 * row), fill=f"#20{row * 6:02x}a0")
    draw.rectangle((0, 0, 400, 24), fill="#335577")
    first = np.asarray(page)
    typed = first.copy()
    typed[8:17, 30:37] = np.eye(9, 7, dtype=np.uint8)[..., None] * 200
    menu = typed.copy()
    menu[40:190, 200:330] = 240
    menu[46:190:12, 210:300:2] = (30, 60, 90)
    scrolled = typed.copy()
    scrolled[25:261] = typed[64:300]
    scrolled[261:] = 255
    photograph = scrolled.copy()
    photograph[40:264, 64:288] = data.astronaut()[:224, 120:344]
    drawn = photograph.copy()
    drawn[266:298, 8:390] = np.arange(382, dtype=np.uint8)[None, :, None] // 3 * 2
    pointed = typed.copy()
    pointed[66:76][(pointed[66:76] == 255).all(2)] = (231, 240, 250)
    dimmed = (pointed * 0.6).round().astype(np.uint8)
    texture = np.indices((16, 32)).sum(0)[..., None] % 5 * 50
    twice = pointed.copy()
    twice[100:116, 20:52] = twice[100:116, 330:362] = texture
    later = typed.copy()
    later[200:216, 330:362] = texture
    cases = {
        "tones": ("palette", (typed, pointed, dimmed, twice, later)),
        "screens": ("palette", (first, typed, menu, typed, scrolled, scrolled)),
        "mixed": ("mixed", (scrolled, photograph, drawn)),
    }
    cotam = codec.load(HERE / "toy.safetensors", device="cpu")
    for name, (tool, frames) in cases.items():
        if (STREAMS / f"{name}.json").exists():
            print(f"{name} exists; golden streams are never remade")
            continue
        encoder = codec.StreamEncoder(cotam, tool=tool, quality=60)
        decoder = codec.StreamDecoder(cotam)
        facts = []
        for number, pixels in enumerate(frames):
            message = encoder.encode(pixels)
            (STREAMS / f"{name}-{number}.ctm").write_bytes(message)
            shown = decoder.decode(message).pixels
            digest = hashlib.sha256(np.ascontiguousarray(shown).tobytes()).hexdigest()
            small = shown[:: shown.shape[0] // 16, :: shown.shape[1] // 16].tolist()
            facts.append({"rgb_sha256": digest, "rgb_16x16": small})
        (STREAMS / f"{name}.json").write_text(json.dumps(facts) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] in (["tools"], ["streams"]):
        {"tools": of_tools, "streams": of_streams}[sys.argv[1]]()
    else:
        main(*sys.argv[1:])

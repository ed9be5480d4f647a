"""What a person or a vision tower sees of a decoded picture: RGB, transparency composed on white."""

from __future__ import annotations

from PIL import Image

from codec.results import Decoded

WHITE = (255, 255, 255, 255)


def shown(decoded: Decoded) -> Image.Image:
    """A decoded file as an RGB image."""
    return on_white(decoded.to("pil"))


def on_white(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB, on white where it is transparent."""
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, WHITE)
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    return image.convert("RGB")

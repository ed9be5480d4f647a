"""What a person or a vision tower sees of a decoded picture: sRGB, transparency composed on white."""

from __future__ import annotations

import io

from PIL import Image, ImageCms

from codec.results import Decoded

WHITE = (255, 255, 255, 255)


def shown(decoded: Decoded) -> Image.Image:
    """A decoded file as an RGB image."""
    image = on_white(in_srgb(decoded.to("pil")))
    image.info = {}
    return image


def on_white(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB, on white where it is transparent."""
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, WHITE)
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    return image.convert("RGB")


def in_srgb(image: Image.Image) -> Image.Image:
    """An RGB or RGBA image with its profile's colours in sRGB; others as they are."""
    icc = image.info.get("icc_profile")
    if not icc or image.mode not in ("RGB", "RGBA"):
        return image
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, own, srgb)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return image if converted is None else converted

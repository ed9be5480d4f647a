"""Generates hostile pictures: valid files with random metadata, and all modes of Pillow.

::

    a valid JPEG, PNG, TIFF or WebP + random metadata -> bytes
"""

from __future__ import annotations

import io
import struct
import warnings
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

KINDS = ("JPEG", "PNG", "TIFF", "WEBP")
MODES = "1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr LAB HSV I F I;16 I;16L I;16B".split()
TAGS = (
    *(0x010D, 0x010E, 0x010F, 0x0110, 0x0112, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B),
    *(0x0201, 0x0202, 0x02BC, 0x8298, 0x829A, 0x8649, 0x8769, 0x8773, 0x8825, 0x83BB, 0x9003),
    *(0x927C, 0x9286, 0x935C, 0xA002, 0xA005, 0xA300, 0xC4A5, 0x014A, 0xFFFF),
)
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
COUNTS = (0, 1, 1, 1, 2, 3, 4, 9, 200, 0xFFFF, 0xFFFFFFFF)


def scene(width: int = 47, height: int = 33) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]: smooth colours with an edge, without symmetry, to detect flips and turns."""
    y, x = np.mgrid[:height, :width]
    red = 255 * x / width
    green = 255 * y / height
    blue = np.where(x + 2 * y > height, 200, 40)
    return np.stack([red, green, blue], -1).astype(np.uint8)


def directory(random: Random, start: int, order: str) -> bytes:
    """A TIFF directory with random entries, for offset `start` of its block."""
    entries = b""
    data = b""
    count = random.choice((1, 1, 2, 5))
    after = start + 2 + 12 * count + 4
    for _ in range(count):
        tag = random.choice(TAGS) if random.random() < 0.9 else random.randrange(65536)
        kind = random.choice((*SIZES, 0, 13, 99))
        length = random.choice(COUNTS)
        size = SIZES.get(kind, 1) * length
        value = random.randbytes(min(size, 400))
        if size > 4 and random.random() < 0.8:
            place = struct.pack(order + "I", after + len(data))
            data += value
        else:
            place = (value + random.randbytes(4))[:4]
        entries += struct.pack(order + "HHI", tag, kind, length) + place
    following = random.choice((0, 0, start, after, random.randrange(1 << 32)))
    head = struct.pack(order + "H", random.choice((count, count, count + 3)))
    return head + entries + struct.pack(order + "I", following) + data


def odd_exif(random: Random) -> bytes:
    """An EXIF block with random content."""
    order = random.choice("<>")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    block = mark + struct.pack(order + "I", 8) + directory(random, 8, order)
    if random.random() < 0.3:
        at = random.randrange(len(block))
        block = block[:at] + random.randbytes(4) + block[at + 4 :]
    return b"Exif\0\0" + (block if random.random() < 0.9 else random.randbytes(40))


def odd_profile(random: Random) -> bytes | None:
    """A colour profile, valid or not; None for no profile."""
    kind = random.randrange(5)
    if kind < 2:
        return None
    if kind == 2:
        return random.randbytes(random.choice((1, 127, 300)))
    sound = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if kind == 3:
        return sound + bytes(random.choice((0, 0, 70_000)))
    at = random.randrange(len(sound))
    return sound[:at] + random.randbytes(2) + sound[at + 2 :]


def with_odd_metadata(kind: str, random: Random) -> bytes:
    """A valid picture of a format with random metadata."""
    image = Image.fromarray(scene())
    if random.random() < 0.2:
        image.putalpha(120)
        image = image if kind != "JPEG" else image.convert("RGB")
    stream = io.BytesIO()
    if kind == "TIFF":
        image.save(stream, kind)
        return _second_directory(stream.getvalue(), random)
    options = {} if kind == "PNG" else {"quality": 90}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.save(stream, kind, exif=odd_exif(random), icc_profile=odd_profile(random), **options)
    return stream.getvalue()


def _second_directory(data: bytes, random: Random) -> bytes:
    """Write the directory of a little-endian TIFF again, with more entries."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    own = [data[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
    used = {struct.unpack_from("<H", entry)[0] for entry in own}
    place = len(data) + len(data) % 2
    more = directory(random, place + 4096, "<")
    (added,) = struct.unpack_from("<H", more)
    extra = [more[2 + 12 * i : 14 + 12 * i] for i in range(added)]
    extra = [e for e in extra if len(e) == 12 and struct.unpack_from("<H", e)[0] not in used]
    entries = sorted(own + extra, key=lambda entry: struct.unpack_from("<H", entry)[0])
    block = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    block += bytes(4096 - len(block)) + more
    return data[:4] + struct.pack("<I", place) + data[8:] + bytes(len(data) % 2) + block


def pillow_decodes(data: bytes) -> bool:
    """Whether Pillow can decode a picture. Other readers need not do better."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                image.convert("RGB")
        return True
    except Exception:
        return False


def in_mode(mode: str) -> tuple[Image.Image, NDArray[np.uint8]]:
    """(picture in one of Pillow's modes, how it looks on a white background: uint8 [H, W, 3])."""
    pixels = scene()
    image = Image.fromarray(pixels)
    grey = np.asarray(image.convert("L"))
    alpha = np.broadcast_to(np.linspace(0, 255, pixels.shape[1]), pixels.shape[:2])
    alpha = alpha.astype(np.uint8)
    if mode.startswith("I;16") or mode == "I":
        deep = grey.astype(np.uint16) * 257
        made = Image.fromarray(deep if mode != "I;16B" else deep.astype(">u2"))
        made = made.convert("I") if mode == "I" else made
        return made, np.repeat(grey[:, :, None], 3, 2)
    if mode == "F":
        return Image.fromarray(grey.astype(np.float32) / 255), np.repeat(grey[:, :, None], 3, 2)
    if mode in ("LA", "La"):
        made = image.convert("L")
        made.putalpha(Image.fromarray(alpha))
        return (made if mode == "LA" else made.convert("La")), _on_white(
            np.repeat(grey[:, :, None], 3, 2), alpha
        )
    if mode in ("RGBA", "RGBa"):
        image.putalpha(Image.fromarray(alpha))
        return (image if mode == "RGBA" else image.convert("RGBa")), _on_white(pixels, alpha)
    if mode == "PA":
        made = image.convert("P").convert("PA")
        made.putalpha(Image.fromarray(alpha))
        return made, _on_white(np.asarray(made.convert("RGBA"))[..., :3], alpha)
    if mode == "LAB":
        profiles = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
        made = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
        return made, np.asarray(made.convert("RGB"))
    made = image.convert(mode)
    return made, np.asarray(made.convert("RGB"))


def _on_white(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    share = alpha[:, :, None].astype(float) / 255
    return np.rint(pixels * share + 255 * (1 - share)).astype(np.uint8)

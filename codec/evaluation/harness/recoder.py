"""Pictures of a task, coded once each; their bytes are counted."""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from codec.bitstream.container import DEFAULT_LIMIT_PIXELS, MAGIC, SUFFIX
from codec.evaluation.codecs import CodecUnderTest, codec_under_test
from codec.evaluation.distortion import Pixels
from codec.integrations import pillow
from codec.io import images

# Key in the `info` of a picture that was coded already.
CODED = "cotam_coded"
OTHER_SUFFIX = ".bin"


@dataclass(frozen=True)
class Spent:
    """What the pictures of a task cost.

    Attributes:
        pictures: number of different pictures.
        bytes: total size of their files.
        pixels: total number of their pixels.
    """

    pictures: int
    bytes: int
    pixels: int

    @property
    def per_picture(self) -> float:
        """Mean bytes of a picture."""
        return self.bytes / max(1, self.pictures)

    @property
    def bpp(self) -> float:
        """Bits per pixel over all pictures."""
        return 8 * self.bytes / max(1, self.pixels)


class Recoder:
    """Codes pictures at one quality, and keeps the files in a folder.

    It may be used from several threads.
    """

    def __init__(self, name: str, quality: float, folder: Path) -> None:
        """Open a codec.

        Args:
            name: of the registry in evaluation.codecs: `cotam`, `jpeg`, ...
            quality: of the codec.
            folder: for the files; those that are there are not coded again.

        Raises:
            CodecError: there is no such codec.
        """
        self.codec: CodecUnderTest = codec_under_test(name)
        self.quality = quality
        self.folder = folder
        self._sizes: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        pillow.register()

    def spent(self) -> Spent:
        """The cost of the pictures so far."""
        with self._lock:
            sizes = list(self._sizes.values())
        return Spent(len(sizes), sum(size for size, _ in sizes), sum(area for _, area in sizes))

    def __call__(self, image: Image.Image) -> Image.Image:
        """Code a picture and open its file.

        Args:
            image: any picture; transparency is put on white.

        Returns:
            The decoded picture: for CoTAM Pillow's picture of the `.ctm` file.
        """
        if CODED in image.info:
            return image
        path = self.file(image)
        data = path.read_bytes()
        if data.startswith(MAGIC):
            opened: Image.Image = Image.open(io.BytesIO(data))
        else:
            opened = Image.fromarray(self.codec.decode(data))
        opened.info[CODED] = True
        return opened

    def file(self, image: Image.Image | str | Path) -> Path:
        """Code a picture, or a picture file.

        Returns:
            The coded file, for harnesses that hand paths to their models.
        """
        if isinstance(image, Image.Image):
            pixels = images.shown(images.from_pil(image, DEFAULT_LIMIT_PIXELS))
        else:
            pixels = images.read_shown(image, DEFAULT_LIMIT_PIXELS)
        key = _key(self.codec.identity, self.quality, pixels)
        data = self._coded(key, pixels)
        with self._lock:
            self._sizes[key] = data.stat().st_size, pixels.shape[0] * pixels.shape[1]
        return data

    def _coded(self, key: str, pixels: Pixels) -> Path:
        for suffix in (SUFFIX, OTHER_SUFFIX):
            if (self.folder / f"{key}{suffix}").is_file():
                return self.folder / f"{key}{suffix}"
        data = self.codec.encode(pixels, self.quality)
        path = self.folder / f"{key}{SUFFIX if data.startswith(MAGIC) else OTHER_SUFFIX}"
        self.folder.mkdir(parents=True, exist_ok=True)
        # Renamed when complete, so that an interrupted run leaves no partial file.
        part = path.with_suffix(f".{threading.get_ident()}.part")
        part.write_bytes(data)
        part.replace(path)
        return path


def _key(identity: str, quality: float, pixels: Pixels) -> str:
    digest = hashlib.sha256(f"{identity} {quality:g} {pixels.shape}".encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()[:32]

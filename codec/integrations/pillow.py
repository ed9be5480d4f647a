"""`.ctm` in Pillow: `Image.open("x.ctm")` and `image.save("x.ctm", quality=60)`.

Importing this module is enough; `register` does the same. Data sets: codec.integrations.loaders.
Servers of models: codec.integrations.servers.
"""

from __future__ import annotations

import mimetypes
import os
from functools import lru_cache
from typing import IO, Any

from PIL import Image, ImageFile

import codec
from codec.bitstream import container
from codec.bitstream.container import MEDIA_TYPE, SUFFIX
from codec.errors import CodecError
from codec.io import colour, images
from codec.options import OPTION_NAMES

FORMAT = "CTM"
# Number of codecs that `save` keeps; programs seldom write with more sets of weights.
MOST_ENCODERS = 2


class CtmImageFile(ImageFile.ImageFile):
    """A picture whose header is read on opening, and whose pixels are decoded when needed."""

    format = FORMAT
    format_description = "CoTAM image"
    # Copies and unpickled pictures hold their pixels, and no file.
    _undecoded = False
    _file: bytes | None = None

    def _open(self) -> None:
        """Read the header. Raises SyntaxError for a bad one, as Pillow's plugins do."""
        assert self.fp is not None
        try:
            header = container.read_header(self.fp.read(container.HEADER_LIMIT))
            extras = self._extras(header)
        except CodecError as error:
            raise SyntaxError(str(error)) from None
        self._size = (header.width, header.height)
        grey = container.EXTRA_GREY in extras
        alpha = container.EXTRA_ALPHA in extras or header.channels == 4
        self._mode = ("L" if grey else "RGB") + ("A" if alpha else "")
        if container.EXTRA_ICC in extras:
            self.info["icc_profile"] = extras[container.EXTRA_ICC]
        if container.EXTRA_EXIF in extras:
            self.info["exif"] = extras[container.EXTRA_EXIF]
        self.info["cotam_model"] = header.fingerprint.hex()
        self._opened = dict(self.info)
        self._undecoded = True

    def _extras(self, header: container.Header) -> dict[int, bytes]:
        assert self.fp is not None
        if not header.extras:
            return {}
        self.fp.seek(header.size + header.qp_map + header.latents, os.SEEK_SET)
        return container.read_extras(self.fp.read(header.extras))

    def load(self) -> Any:
        """Decode with the weights that the file names.

        Raises:
            OSError: the file is damaged, or its weights are not shipped.
        """
        if self._undecoded and self.fp is not None:
            self.fp.seek(0)
            file = self.fp.read()
            try:
                decoded = codec.decode(file)
            except CodecError as error:
                raise OSError(str(error)) from error
            self._undecoded = False
            self._file = file
            self.im = decoded.im
            self.tile = []
            if self._exclusive_fp:
                self.fp.close()
            self.fp = None
        return super().load()

    def file_if_unchanged(self) -> bytes | None:
        """The file that was opened, if pixels and metadata are still those in it; None if not."""
        self.load()
        if self._file is None or self.info != self._opened:
            return None
        exif = Image.Exif()
        exif.load(self.info.get("exif", b""))
        if self.getexif().tobytes() != exif.tobytes():
            return None
        decoded = codec.decode(self._file)
        same = decoded.mode == self.mode and decoded.tobytes() == self.tobytes()
        return self._file if same else None


def register() -> None:
    """Make Pillow read and write `.ctm`, and `mimetypes` know it; may be called again."""
    Image.register_open(FORMAT, CtmImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, SUFFIX)
    Image.register_mime(FORMAT, MEDIA_TYPE)
    # Web servers and data sets ask this module of the standard library.
    mimetypes.add_type(MEDIA_TYPE, SUFFIX)


def _accept(start: bytes) -> bool:
    return start.startswith(container.MAGIC)


def _save(image: Image.Image, stream: IO[bytes], name: str | bytes) -> None:
    """Write a picture with the options of codec.EncodeOptions and `model`.

    icc_profile and exif replace the picture's own. Options of other formats are ignored, as
    Pillow's plugins do. Without options, a `.ctm` that was opened and not changed is written as it
    is: libraries such as datasets save what they opened, and coding it again would lose quality.
    """
    arguments = dict(image.encoderinfo)
    options = {key: arguments[key] for key in OPTION_NAMES if arguments.get(key) is not None}
    asked = options or {"model", "exif", "icc_profile"} & arguments.keys()
    try:
        if isinstance(image, CtmImageFile) and not asked:
            file = image.file_if_unchanged()
            if file is not None:
                stream.write(file)
                return
        picture = images.from_pil(image, container.DEFAULT_LIMIT_PIXELS, arguments.get("exif"))
        if "icc_profile" in arguments:
            icc = arguments["icc_profile"]
            picture.icc = bytes(icc) if colour.is_sound(icc) else None
        stream.write(_encoder(str(arguments.get("model", "default"))).encode(picture, **options))
    except CodecError as error:
        raise OSError(str(error)) from error


@lru_cache(maxsize=MOST_ENCODERS)
def _encoder(model: str) -> codec.Codec:
    return codec.load(model)


register()

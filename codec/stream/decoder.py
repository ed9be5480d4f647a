"""The receiving end of a stream.

::

    message (.ctm) -> whole picture ------------------------------------------+-> Frame
                   -> changes + the kept picture that they build on -> pasted +
"""

from __future__ import annotations

from dataclasses import replace

from codec.api import Codec, Photographs, load_for
from codec.bitstream import container
from codec.errors import Corrupt, MissingReference, only_codec_errors
from codec.io import images
from codec.stream.frame import Frame
from codec.stream.pasting import built
from codec.stream.pictures import Pictures
from codec.stream.shown import Shown
from codec.tool_files import DECODE_BYTES
from codec.tools import changes


class StreamDecoder:
    """Decodes messages one after another, in the order in which they were encoded.

    Not safe to use from several threads at the same time.

    Examples:
        >>> import numpy as np
        >>> from codec import StreamEncoder
        >>> page = np.full((90, 160, 3), 255, np.uint8)
        >>> encoder, decoder = StreamEncoder(lossless=True), StreamDecoder()
        >>> decoder.decode(encoder.encode(page)).changed
        [(0, 0, 160, 90)]
        >>> page = page.copy()
        >>> page[20:30, 40:42] = 0
        >>> frame = decoder.decode(encoder.encode(page))
        >>> frame.changed, frame.changed_tokens((9, 16))
        ([(40, 20, 42, 30)], array([36]))
    """

    def __init__(
        self,
        cotam: Codec | None = None,
        *,
        device: str = "auto",
        limit_pixels: int = container.DEFAULT_LIMIT_PIXELS,
        limit_memory: int = container.DEFAULT_LIMIT_MEMORY,
    ) -> None:
        """Make a decoder.

        Args:
            cotam: the codec, with its limits; the one that each file names if not given.
            device: as for `codec.load`, where the codec is not given.
            limit_pixels: messages of larger pictures are refused.
            limit_memory: messages that need more bytes of memory are refused.
        """
        self.cotam = cotam
        self.device = device
        self.limit_pixels = limit_pixels if cotam is None else cotam.limit_pixels
        self.limit_memory = limit_memory if cotam is None else cotam.limit_memory
        self._pictures: Pictures[images.Picture] = Pictures()
        self._shown: Frame | None = None
        # Rectangles that a later message may show again.
        self.shown = Shown()

    @only_codec_errors
    def decode(self, data: bytes) -> Frame:
        """Decode the next message.

        Args:
            data: a `.ctm` file of any tool.

        Returns:
            The picture and what changed. The decoder's state changes only where this succeeds.

        Raises:
            MissingReference: the message builds on a picture that is missing, because a message was
                lost or arrived out of order. The decoder can continue with the next message that
                does not need it, such as a whole file.
            CodecError: the file is bad, as for `codec.decode`.

        Examples:
            >>> import numpy as np
            >>> from codec import StreamEncoder
            >>> data = StreamEncoder().encode(np.zeros((20, 30, 3), np.uint8))
            >>> StreamDecoder().decode(data).picture.size
            (30, 20)
        """
        content = container.read(data, self.limit_pixels)
        message = None
        if content.tool == changes.NUMBER:
            message = changes.read(content.payload, content.height, content.width)
            picture, shown = self._changed(data, content, message)
        else:
            picture = self._codec_for(data).decode_full(data).picture
            shown = Shown()
        picture.pixels.setflags(write=False)
        before = None if self._shown is None else self._shown.content
        checksum = container.checksum_of(data)
        number = 0 if message is None else message.number
        frame = Frame(picture, before, number, checksum.hex())
        if message is not None and message.forgets:
            self._pictures.forget(message.reference)
        self._pictures.add(checksum, frame.size, picture)
        self._shown = frame
        self.shown = shown
        return frame

    def _changed(
        self, data: bytes, content: container.Container, message: changes.Changes
    ) -> tuple[images.Picture, Shown]:
        last = None if self._shown is None else bytes.fromhex(self._shown.checksum)
        if last != message.follows:
            raise self._missing(message, message.follows, "follows")
        before = self._pictures.get(message.reference)
        if before is None:
            raise self._missing(message, message.reference, "builds on the picture of")
        if before.pixels.shape != (content.height, content.width, 3):
            raise Corrupt("the message builds on a picture of another size")
        container.check_memory(content.width, content.height, DECODE_BYTES, self.limit_memory)
        # Weights are read only where a rectangle needs them.
        loaded = self._codec_for(data)
        loaded.check_weights(message.fingerprint)
        photographs = Photographs(loaded)
        shown = self.shown.copy()
        pixels = built(before.pixels, message, photographs, shown)
        return replace(before, pixels=pixels, notes=[]), shown

    def _missing(self, message: changes.Changes, name: bytes, how: str) -> MissingReference:
        needed = name.hex()
        held = None if self._shown is None else self._shown.checksum
        if self._shown is None:
            here = "there is none yet"
        else:
            number = self._shown.number
            kind = f"message {number}" if number else "a whole file"
            here = f"the last one here is {held} ({kind})"
        return MissingReference(
            f"message {message.number} of the stream {how} file {needed}, and "
            f"{here}: decode the missing messages in order, or ask the sender for a whole file "
            "(StreamEncoder.key)",
            needed,
            held,
            message.number,
        )

    def _codec_for(self, data: bytes) -> Codec:
        if self.cotam is not None:
            return self.cotam
        found = load_for(data, device=self.device)
        return Codec(found.backend, self.limit_pixels, self.limit_memory)

"""The sending end of a stream.

::

    picture -> a picture that the receiver has, whose source equals most blocks -> what moved in it
      -> blocks that differ -> rule -> rectangles -> tools -> message (.ctm)
    first picture, other size, transparency, too much changed -> a whole file (.ctm)
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from codec.api import Codec, Photographs, load
from codec.bitstream import container
from codec.errors import BadArgument, only_codec_errors
from codec.io import images, metadata
from codec.io.image_like import ImageLike, size_of
from codec.options import EncodeOptions
from codec.results import Encoded
from codec.stream import blocks, shifts, tones
from codec.stream.coding import Coded, Coder
from codec.stream.decoder import StreamDecoder
from codec.stream.known import Known, Most, Source, base_of, boxes_of, leave_good_ones
from codec.stream.pasting import moved, samples_of
from codec.stream.pictures import Pictures
from codec.stream.rectangles import in_pixels, rectangles
from codec.stream.rule import LEARNED_TOLERANCE, threshold
from codec.stream.shown import Shown, name_of
from codec.tools import changes
from codec.tools.changes import AGAIN, Changes, Copy, Rectangle
from codec.tools.choosing.reasons import CHANGES
from codec.tools.interface import Pixels
from codec.tools.regions import Box, paste

# Share of the blocks that must be sent. Above it, a whole file is sent: it costs little more and
# does not depend on another file.
MOST_SENT = 0.8
# Share of the pixels. A picture in which fewer of them changed is a passing one (Known.passing).
SMALL_CHANGE = 0.04
# Where the source before is not known, a block is kept if its mean squared error is at most the
# threshold of `rule`, or this many times that of a whole file of the same quality.
AS_GOOD = 2.0
# Attributes that describe a picture besides its pixels.
DESCRIPTION = ("grey", "icc")
NOT_IN_STREAMS = ("target_bytes", "qp_map", "tune")


class StreamEncoder:
    """Encodes pictures one after another; each message holds what changed.

    Not safe to use from several threads at the same time.

    Examples:
        >>> import numpy as np
        >>> page = np.full((90, 160, 3), 255, np.uint8)
        >>> encoder = StreamEncoder(quality=50)
        >>> first = encoder.encode(page)
        >>> page = page.copy()
        >>> page[20:30, 40:42] = 0
        >>> len(encoder.encode(page)) < 60
        True
        >>> len(encoder.encode(page)) < 40
        True
    """

    @only_codec_errors
    def __init__(
        self,
        cotam: Codec | None = None,
        *,
        key_every: int | None = None,
        key_seconds: float | None = None,
        options: EncodeOptions | None = None,
        **changes: Any,
    ) -> None:
        """Make an encoder.

        Args:
            cotam: the codec; the default one if not given. Screens need neither its weights nor
                PyTorch.
            key_every: send a whole file at least once in this many messages.
            key_seconds: send a whole file if the last one was sent this many seconds ago.
            options: the settings; the defaults if not given.
            changes: fields of EncodeOptions by name, such as `quality`.

        Raises:
            BadArgument: an argument is out of range, or an option has no meaning in a stream.
        """
        self.cotam = load() if cotam is None else cotam
        self.options = EncodeOptions.of(options, changes)
        self.key_every = _whole(key_every)
        self.key_seconds = None if key_seconds is None else float(key_seconds)
        if self.key_seconds is not None and not self.key_seconds > 0:
            raise BadArgument("key_seconds must be above 0")
        for name in NOT_IN_STREAMS:
            if getattr(self.options, name) is not None:
                raise BadArgument(f"a stream has no {name}; give a quality")
        self.notes: list[str] = []
        self._coder = Coder(self.options, Photographs(self.cotam, self.options))
        self._known: Pictures[Known] = Pictures()
        self._description: tuple[Any, ...] = ()
        self._since_key = 0
        self._key_at = 0.0
        self._receiver = StreamDecoder(cotam)
        self._shown = Shown()

    @only_codec_errors
    def key(self) -> None:
        """Make the next message a whole file, for a receiver that lost a message."""
        self._known.clear()

    @only_codec_errors
    def encode(self, image: ImageLike) -> bytes:
        """Encode the next picture.

        Args:
            image: as for `Codec.encode`.

        Returns:
            A `.ctm` file: a whole picture, or what changed since one of the last pictures.
            `notes` says afterwards what was changed or ignored on the way.

        Raises:
            CodecError: as `Codec.encode` does; the stream then continues as if the picture had not
                been given.

        Examples:
            >>> import numpy as np
            >>> encoder = StreamEncoder()
            >>> data = encoder.encode(np.zeros((20, 30, 3), np.uint8))
            >>> encoder.key()
            >>> data == encoder.encode(np.zeros((20, 30, 3), np.uint8))
            True
        """
        picture = images.from_any(image, self.cotam.limit_pixels)
        picture = metadata.kept(picture, self.options.kept)
        if self._key_is_due(picture):
            # Later messages must not depend on earlier pictures.
            self._known.clear()
            return self._whole_file(picture)
        message = self._message(picture)
        return self._whole_file(picture) if message is None else message

    @only_codec_errors
    def follow(self, data: bytes, image: ImageLike | None = None) -> None:
        """Continue after a file that the receiver has, instead of after the last own message.

        Args:
            data: the file; a message is understood if it builds on a file that was followed before.
            image: the picture that the file was encoded from. Without it, encoding the next picture
                takes longer, and blocks count as unchanged where a whole file would be no better.

        Raises:
            MissingReference: the message builds on a file that was not followed.
            BadArgument: the picture has another size than the file.
            CodecError: the file is bad.

        Examples:
            >>> import numpy as np
            >>> page = np.zeros((20, 30, 3), np.uint8)
            >>> encoder = StreamEncoder()
            >>> encoder.follow(StreamEncoder().encode(page), page)
            >>> len(encoder.encode(page)) < 40
            True
        """
        frame = self._receiver.decode(data)
        picture = None if image is None else images.from_any(image, self.cotam.limit_pixels)
        if picture is not None and size_of(picture) != frame.size:
            raise BadArgument(
                f"the picture has {size_of(picture)[::-1]} pixels, the file {frame.size[::-1]}"
            )
        if frame.is_key:
            self._start(frame.content)
        self._since_key = frame.number
        source = None
        if self._coder.exact:
            # Only what the receiver sees exactly may be kept.
            source = frame.pixels
        elif picture is not None:
            source = metadata.kept(picture, self.options.kept).pixels
        self._shown = self._receiver.shown.copy()
        if frame.content.alpha is None:
            # The file does not record how its earlier pixels were coded.
            known = None if source is None else Source(np.ascontiguousarray(source))
            self._keep(data, known, frame.pixels, LEARNED_TOLERANCE)

    def _key_is_due(self, picture: images.Picture) -> bool:
        often = self.key_every is not None and self._since_key + 1 >= self.key_every
        late = self.key_seconds is not None
        late = late and time.monotonic() - self._key_at >= (self.key_seconds or 0)
        return (
            not self._known.by_checksum
            or picture.alpha is not None
            or size_of(picture) != self._known.size
            or _description(picture) != self._description
            or often
            or bool(late)
        )

    def _whole_file(self, picture: images.Picture, encoded: Encoded | None = None) -> bytes:
        encoded = encoded or self.cotam.encode_full(picture, options=self.options)
        shown = self.cotam.decode_full(encoded.data).picture.pixels
        self.notes = encoded.notes
        self._start(picture)
        if picture.alpha is None:
            learned = encoded.tool in ("learned", "mixed")
            tolerance = LEARNED_TOLERANCE if learned else 0
            self._keep(encoded.data, Source(picture.pixels), shown, tolerance)
        return encoded.data

    def _start(self, picture: images.Picture) -> None:
        self._shown = Shown()
        self._description = _description(picture)
        self._since_key = 0
        self._key_at = time.monotonic()

    def _keep(
        self,
        data: bytes,
        source: Source | None,
        shown: Pixels,
        tolerance: int,
        passing: bool = False,
        origin: blocks.Packed | None = None,
    ) -> None:
        packed = None if source is None else source.packed
        found = blocks.hashes(blocks.packed(shown)) if source is None else source.hashes
        origin = packed if origin is None else origin
        known = Known(packed, origin, shown, found, tolerance, passing)
        height, width = shown.shape[:2]
        self._known.add(container.checksum_of(data), (height, width), known)

    def _message(self, picture: images.Picture) -> bytes | None:
        """What changed; None where a whole file is better."""
        pixels = np.ascontiguousarray(picture.pixels)
        source = Source(pixels)
        checksum, base = base_of(self._known, source.hashes)
        if base.source is None:
            return self._after_unknown(picture, source, (checksum, base))
        most = Most(threshold(self._coder.quality), base.tolerance)
        copies = _copies(base.source, source, pixels, most.error)
        differ = moved(base.source, copies) != source.packed
        shown = moved(base.shown, copies)
        origin = moved(base.source if base.origin is None else base.origin, copies)
        changed = blocks.of_pixels(differ)
        leave_good_ones(changed, shown, samples_of(origin)[..., :3], pixels, most)
        if changed.mean() > MOST_SENT:
            return None
        boxes = boxes_of(changed, differ, source.lively_blocks) if changed.any() else []
        coded = self._coded(pixels, boxes)
        return self._written(source, (checksum, base), copies, coded, shown, origin)

    def _coded(self, pixels: Pixels, boxes: list[Box]) -> tuple[list[Coded], Shown]:
        """Code boxes as rectangles; also return the rectangles that can be shown again later.

        Pixels that were sent before, or earlier in this message, are shown again and not coded.
        """
        named = [(name_of(box.of(pixels)), box) for box in boxes]
        new = {name: box for name, box in named if self._shown.find(name) is None}
        done = self._shown_again(named, dict(zip(new, self._coder.code(pixels, [*new.values()]))))
        if done is None:
            # New rectangles would push an old one out before it is shown again.
            new = dict(named)
            fresh = dict(zip(new, self._coder.code(pixels, [*new.values()])))
            done = self._shown_again(named, fresh)
        assert done is not None
        return done

    def _shown_again(
        self, named: list[tuple[bytes, Box]], fresh: dict[bytes, Coded]
    ) -> tuple[list[Coded], Shown] | None:
        """Rectangles for all boxes, from sent and `fresh` ones; None if one is in neither."""
        shown = self._shown.copy()
        done = []
        for name, box in named:
            old = shown.find(name)
            if old is not None:
                done.append(Coded(Rectangle(box, AGAIN, old[0]), old[1]))
                continue
            one = fresh.get(name)
            if one is None:
                return None
            done.append(Coded(replace(one.rectangle, box=box), one.shown))
            shown.add(one.rectangle, one.shown, name)
        return done, shown

    def _after_unknown(
        self, picture: images.Picture, source: Source, base: tuple[bytes, Known]
    ) -> bytes:
        """What changed since a picture whose source is not known, or a whole file if that is less.

        Its pixels carry errors of coding, so nothing equals the source. A block is kept if it is
        about as near to the source as a whole file of the same quality would bring it.
        """
        whole = self.cotam.encode_full(picture, options=self.options)
        fresh = self.cotam.decode_full(whole.data).picture.pixels
        pixels = picture.pixels
        shown = base[1].shown
        every = np.ones(blocks.grid_of(pixels), np.bool_)
        usual = blocks.errors(fresh, pixels, every)
        error = blocks.errors(shown, pixels, every, base[1].tolerance)
        most = max(0.0, threshold(self._coder.quality))
        changed = (error > np.maximum(most, AS_GOOD * usual)).reshape(every.shape)
        boxes = [in_pixels(box, *pixels.shape[:2]) for box in rectangles(changed)]
        if changed.mean() > MOST_SENT:
            return self._whole_file(picture, whole)
        coded = self._coded(pixels, boxes)
        if sum(len(one.rectangle.payload) for one in coded[0]) >= len(whole.data):
            return self._whole_file(picture, whole)
        return self._written(source, base, [], coded, shown.copy())

    def _written(
        self,
        source: Source,
        base: tuple[bytes, Known],
        copies: list[Copy],
        parts: tuple[list[Coded], Shown],
        shown: Pixels,
        origin: blocks.Packed | None = None,
    ) -> bytes:
        coded, again = parts
        height, width = source.packed.shape
        number = self._since_key + 1
        new = [one.rectangle for one in coded]
        area = sum(one.box.area for one in copies) + sum(one.box.area for one in new)
        small = area < SMALL_CHANGE * height * width
        # When the pointer leaves a place or a menu entry, the picture from before it came is
        # shown again, so that one is kept and not the passing one.
        forgets = small and base[1].passing
        last = self._known.newest_first()[0][0]
        found = Changes(number, last, base[0], copies, new, forgets)
        data = container.write(
            container.Container(
                width,
                height,
                0,
                b"",
                changes.write(found, height, width),
                tool=changes.NUMBER,
                quality=int(self._coder.quality + 0.5),
                reason=CHANGES,
            )
        )
        for one in coded:
            paste(shown, one.rectangle.box, one.shown)
        self._shown = again
        if origin is not None:
            for box in (one.box for one in new):
                box.of(origin)[:] = box.of(source.packed)
        learned = any(one.rectangle.tool == changes.LEARNED for one in coded)
        self.notes = []
        self._since_key = number
        if forgets:
            self._known.forget(base[0])
        tolerance = LEARNED_TOLERANCE if learned else base[1].tolerance
        self._keep(data, source, shown, tolerance, small, origin)
        return data


def _copies(before: blocks.Packed, source: Source, pixels: Pixels, most: float) -> list[Copy]:
    """Copies for what moved, and for what changed its tones."""
    after = source.packed
    changed = blocks.of_pixels(before != after)
    if not changed.any():
        return []
    copies = shifts.find(before, after, changed, source.lively)
    now = moved(before, copies) if copies else before
    differ = now != after
    boxes = boxes_of(blocks.of_pixels(differ), differ, source.lively_blocks)
    views = tones.Views(samples_of(before)[..., :3], samples_of(now)[..., :3], pixels)
    ways = sorted({(copy.dx, copy.dy) for copy in copies if copy.dx or copy.dy})
    return copies + tones.find(views, boxes, ways, most)


def _description(picture: images.Picture) -> tuple[Any, ...]:
    return tuple(getattr(picture, name) for name in DESCRIPTION)


def _whole(value: Any) -> int | None:
    """A whole number of at least 1, or None. Raises BadArgument."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadArgument("key_every must be a whole number of at least 1")
    return value

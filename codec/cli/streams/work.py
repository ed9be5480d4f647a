"""What the commands do with a picture or message that builds on others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from codec import StreamDecoder, StreamEncoder
from codec.cli.jobs import Result
from codec.cli.options import AUTO, load
from codec.cli.outputs import Put, same_file
from codec.cli.printing.choices import choices_of
from codec.coding.pipeline import PREVIEW
from codec.errors import BadArgument
from codec.io import images


class Encoding:
    """Encodes a picture after given files, or pictures one after another; see jobs.Work.

    Args:
        after: files that the receiver has, in order.
        options: as for main.encode_file.

    Raises:
        BadArgument: an option has no meaning in a stream.
    """

    def __init__(self, after: Sequence[str], options: dict[str, Any]) -> None:
        if options["guide"] or options["tune"]:
            raise BadArgument("--guide and --tune cannot be combined with --after or --sequence")
        self.after = after
        loaded = load(options["model"], options["device"], options["limit"], options["memory"])
        self.encoder = StreamEncoder(loaded, options=options["encode"])
        self.written = True

    def __call__(
        self, source: bytes | Path, target: str, options: dict[str, Any]
    ) -> tuple[Put, Result]:
        start = time.perf_counter()
        for name in self.after:
            if same_file(name, target):
                raise BadArgument(f"the result would replace {name}, which it builds on")
            self.encoder.follow(Path(name).read_bytes())
        picture = options["prepare"](images.load(source, options["limit"]))
        if not self.written:
            # The last file did not reach the disk, so later files must not build on it.
            self.encoder.key()
        self.written = False
        data = self.encoder.encode(picture)
        height, width = picture.pixels.shape[:2]
        seconds = {"stream": time.perf_counter() - start}
        bpp = len(data) * 8 / (width * height)
        notes = list(self.encoder.notes)
        result = Result("", "", "", 0, 0, width, height, bpp, seconds, notes)
        if options["explain"]:
            result.choices = choices_of(data, options["limit"])

        def put(stream: IO[bytes]) -> None:
            stream.write(data)
            self.written = True

        return put, result


class Decoding:
    """Decodes a message after given files, or messages one after another; see jobs.Work.

    Args:
        after: files that come before, in order.
        options: as for main.decode_file.
    """

    def __init__(self, after: Sequence[str], options: dict[str, Any]) -> None:
        self.after = after
        limits = options["limit"], options["memory"]
        model, device = options["model"], options["device"]
        loaded = None if model == AUTO else load(model, device, *limits)
        self.decoder = StreamDecoder(
            loaded, device=device, limit_pixels=limits[0], limit_memory=limits[1]
        )

    def __call__(
        self, source: bytes | Path, target: str, options: dict[str, Any]
    ) -> tuple[Put, Result]:
        start = time.perf_counter()
        for name in self.after:
            self.decoder.decode(Path(name).read_bytes())
        data = source.read_bytes() if isinstance(source, Path) else source
        frame = self.decoder.decode(data)
        picture = frame.content
        height, width = frame.size
        bpp = len(data) * 8 / (width * height)
        if options["level"] == "preview":
            picture = images.reduced(picture, PREVIEW)
        height, width = picture.pixels.shape[:2]
        seconds = {"stream": time.perf_counter() - start}
        notes = list(picture.notes)
        result = Result("", "", "", 0, 0, width, height, bpp, seconds, notes)
        if options["explain"]:
            result.choices = choices_of(data, options["limit"])

        def put(stream: IO[bytes]) -> None:
            notes.extend(options["format"].save(picture, stream, target))

        return put, result

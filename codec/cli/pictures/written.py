"""How `cotam decode` writes a picture: format, quality, subsampling, background."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from codec.cli.outputs import STREAM
from codec.errors import BadArgument
from codec.io import compose, formats, images

DEFAULT_SUFFIX = ".png"


@dataclass(frozen=True)
class WrittenAs:
    """The options of an output.

    Attributes:
        asked: suffix of the format that the user names; empty if none is named.
        quality: 0..100; None for visually lossless.
        subsampling: of colour; None for 4:4:4 where the format has it.
        background: a colour behind transparent pixels, for formats without alpha.
    """

    asked: str
    quality: int | None
    subsampling: str | None
    background: compose.Colour

    @classmethod
    def of(cls, flags: dict[str, Any]) -> WrittenAs:
        """Read the flags of the command. Raises BadArgument."""
        name = flags["format_name"]
        asked = "" if name is None else f".{name.lower().removeprefix('.')}"
        if asked and formats.written_format(asked) is None:
            raise BadArgument(f"pictures are not written as '{name}'; use png, jpg, webp or avif")
        ground = compose.colour_of(flags["background"])
        out = cls(asked, flags["quality"], flags["subsampling"], ground)
        if asked:
            out.check(STREAM)
        return out

    @property
    def suffix(self) -> str:
        """Suffix of results whose name is not given."""
        return self.asked or DEFAULT_SUFFIX

    def suffix_for(self, target: str) -> str:
        """The suffix that names the format of a target.

        Args:
            target: a file, or '-' for stdout.

        Raises:
            BadArgument: its own suffix names no format, or another one than was asked for.
        """
        own = "" if target == STREAM else Path(target).suffix.lower()
        kind = formats.written_format(own)
        if kind is None:
            if target != STREAM and not self.asked:
                raise BadArgument(
                    f"'{target}' does not name a format; end it in .png, .jpg, .webp or .avif, "
                    "or give --format"
                )
            return self.suffix
        if self.asked and formats.written_format(self.asked) != kind:
            raise BadArgument(f"'{target}' and --format {self.asked[1:]} name different formats")
        return own

    def check(self, target: str) -> None:
        """Raises BadArgument where an option does not suit the target's format."""
        suffix = self.suffix_for(target)
        kind = formats.written_format(suffix)
        assert kind is not None
        formats.writing_options(kind, suffix, self.quality, self.subsampling)

    def save(self, picture: images.Picture, stream: IO[bytes], target: str) -> list[str]:
        """Write a picture; return notes on metadata that the format cannot hold."""
        suffix = self.suffix_for(target)
        return images.save(picture, stream, suffix, self.quality, self.background, self.subsampling)

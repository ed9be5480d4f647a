"""Options for pictures, and checks of inputs before anything is written."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.cli.main import app
from codec.cli.pictures.prepared import Preparation
from codec.errors import BadArgument, TooLarge
from codec.integrations.data_url import data_url
from codec.integrations.receivers import RECEIVERS
from codec.io import exif, formats, resize
from codec.io.images import Picture
from tests.conftest import psnr, run_cotam

LIMIT = 1 << 24
# Options with which no network is loaded.
PLAIN = ("--tool", "palette", "--effort", 0)


@pytest.fixture
def folder(tmp_path: Path, small: NDArray[np.uint8]) -> Path:
    """a.png, a photograph of 130x96; logo.png with transparency; a.ctm."""
    Image.fromarray(small).save(tmp_path / "a.png")
    (tmp_path / "a.ctm").write_bytes(codec.load().encode(small, tool="palette", quality=90))
    logo = np.zeros((40, 60, 4), np.uint8)
    logo[10:30, 10:50] = (200, 0, 0, 255)
    Image.fromarray(logo).save(tmp_path / "logo.png")
    return tmp_path


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def cotam(*arguments: object, cwd: Path) -> Result:
    """Run the command in this process, which is faster. The output has stdout and stderr."""
    with inside(cwd):
        return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def size_of(path: Path) -> tuple[int, int]:
    info = codec.inspect(path.read_bytes())
    return info.width, info.height


@pytest.mark.parametrize(
    ("asked", "size"),
    [("65", (65, 48)), ("1000", (130, 96)), ("260x192", (260, 192)), ("50x50", (50, 50))],
)
def test_resize(folder: Path, asked: str, size: tuple[int, int]) -> None:
    done = cotam("encode", "a.png", *PLAIN, "-o", "out.ctm", "--resize", asked, cwd=folder)
    assert done.exit_code == 0, done.output
    assert size_of(folder / "out.ctm") == size
    # There is a note if a picture that is not square becomes a square.
    assert ("shape was changed from 130x96 to 50x50" in done.output) == (asked == "50x50")


def test_fit_is_what_a_data_url_has(tmp_path: Path) -> None:
    page = Image.new("RGB", (3300, 140), "white")
    page.save(tmp_path / "a.png")
    file = codec.load().encode(page, tool="palette")
    for name in RECEIVERS:
        out = tmp_path / f"{name}.ctm"
        done = cotam("encode", "a.png", "--fit", name, "-o", out, *PLAIN, cwd=tmp_path)
        assert done.exit_code == 0, done.output
        assert size_of(out) == data_url(file, fit=name).size  # type: ignore[arg-type]


@given(
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    asked=st.integers(1, 6000),
    name=st.sampled_from([None, *RECEIVERS]),
)
def test_a_long_side_and_a_model_never_enlarge(
    width: int, height: int, asked: int, name: str | None
) -> None:
    preparation = Preparation(None if name else asked, name, None, LIMIT)  # type: ignore[arg-type]
    after = preparation._size((width, height))
    assert 1 <= after[0] <= width
    assert 1 <= after[1] <= height
    assert name or max(after) == min(asked, max(width, height))


@given(text=st.text("0123456789xX-. ", max_size=9))
def test_a_size_of_any_text(text: str) -> None:
    try:
        size = resize.parse(text)
    except BadArgument:
        return
    numbers = (size,) if isinstance(size, int) else size
    assert all(number >= 1 for number in numbers)
    assert "x".join(map(str, numbers)) == "x".join(str(int(n)) for n in text.lower().split("x"))


def test_invisible_colours_do_not_bleed() -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:, :20] = 250
    alpha = np.zeros((40, 40), np.uint8)
    alpha[:, :20] = 255
    small = resize.resized(Picture(pixels, alpha), (11, 11), LIMIT)
    assert small.alpha is not None
    assert small.pixels[small.alpha > 0].min() > 240
    with pytest.raises(TooLarge, match="limit_pixels"):
        resize.resized(Picture(pixels), (5000, 5000), LIMIT)


def test_resizing_is_lanczos(small: NDArray[np.uint8]) -> None:
    ours = resize.resized(Picture(small), (50, 37), LIMIT).pixels
    wanted = Image.fromarray(small).resize((50, 37), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(ours, np.asarray(wanted))


def test_a_background_ends_transparency(folder: Path) -> None:
    flags = ("--lossless", "-o", "logo.ctm")
    done = cotam("encode", "logo.png", *flags, "--background", "#0000ff", cwd=folder)
    assert done.exit_code == 0, done.output
    image = codec.decode((folder / "logo.ctm").read_bytes())
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == (0, 0, 255)
    assert image.getpixel((20, 20)) == (200, 0, 0)
    cotam("encode", "logo.png", *flags, cwd=folder)
    assert codec.decode((folder / "logo.ctm").read_bytes()).mode == "RGBA"


def test_safe_metadata_names_no_place_and_no_device(folder: Path) -> None:
    tag = Image.Exif()
    tag[0x8298] = "copyright"
    tag[exif.ORIENTATION] = 6
    tag[exif.GPS] = {1: "N"}
    inner = dict.fromkeys(exif.SERIAL_NUMBERS, "1234567") | {exif.MAKER_NOTE: b"note"}
    tag[exif.DIRECTORY] = inner | {0x9003: "2024:01:01 00:00:00"}
    profile = Image.open(folder / "a.png")
    profile.save(folder / "t.jpg", exif=tag)
    kept = {}
    for keep in ("all", "safe", "none"):
        done = cotam("encode", "t.jpg", *PLAIN, "--keep", keep, "-o", f"{keep}.ctm", cwd=folder)
        assert done.exit_code == 0, done.output
        image = codec.decode((folder / f"{keep}.ctm").read_bytes())
        assert image.size == (96, 130)  # upright
        kept[keep] = image.getexif()
    assert set(exif.SERIAL_NUMBERS) <= set(kept["all"].get_ifd(exif.DIRECTORY))
    assert set(kept["safe"].get_ifd(exif.DIRECTORY)) == {0x9003}
    assert exif.GPS not in kept["safe"]
    assert kept["safe"][0x8298] == "copyright"
    assert not kept["none"]


@pytest.mark.parametrize(
    ("flags", "layout"),
    [
        ((), [(1, 1), (1, 1), (1, 1)]),
        (("--subsampling", "4:2:2"), [(2, 1), (1, 1), (1, 1)]),
        (("--subsampling", "4:2:0", "-q", 60), [(2, 2), (1, 1), (1, 1)]),
    ],
)
def test_a_jpeg_has_the_subsampling_that_was_asked_for(
    folder: Path, flags: tuple[object, ...], layout: list[tuple[int, int]]
) -> None:
    done = cotam("decode", "a.ctm", "-o", "a.jpg", *flags, cwd=folder)
    assert done.exit_code == 0, done.output
    image = Image.open(folder / "a.jpg")
    assert [component[1:3] for component in image.layer] == layout  # type: ignore[attr-defined]


def test_quality_and_subsampling_change_avif(folder: Path) -> None:
    whole = np.asarray(codec.decode((folder / "a.ctm").read_bytes()))
    quality = {}
    for name, flags in (("444", ()), ("420", ("--subsampling", "4:2:0")), ("q20", ("-q", 20))):
        done = cotam("decode", "a.ctm", "-o", f"{name}.avif", *flags, cwd=folder)
        assert done.exit_code == 0, done.output
        quality[name] = psnr(np.asarray(Image.open(folder / f"{name}.avif")), whole)
    assert quality["444"] > quality["420"] > quality["q20"]


def test_a_format_for_stdout_and_folders(folder: Path) -> None:
    piped = run_cotam("decode", "a.ctm", "-o", "-", "--format", "webp", cwd=folder)
    assert Image.open(io.BytesIO(piped.stdout)).format == "WEBP"
    done = cotam("decode", "a.ctm", "-o", "out/", "--format", "jpg", cwd=folder)
    assert done.exit_code == 0, done.output
    assert Image.open(folder / "out" / "a.jpg").format == "JPEG"
    done = cotam("decode", "a.ctm", "-o", "plain", "--format", "avif", cwd=folder)
    assert done.exit_code == 0, done.output
    assert Image.open(folder / "plain").format == "AVIF"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-o", "b.png", "-q", 50), "no quality"),
        (("-o", "b.png", "--subsampling", "4:2:0"), "no subsampling"),
        (("-o", "b.webp", "--subsampling", "4:4:4"), "4:2:0"),
        (("-o", "b.jpg", "--subsampling", "4:1:1"), "must be one of"),
        (("-o", "b.jpg", "--format", "png"), "different formats"),
        (("--format", "ctm"), "not written"),
        (("-o", "plain"), "does not name a format"),
        (("-o", "b.txt"), "does not name a format"),
    ],
)
def test_options_that_do_not_suit_the_format(
    folder: Path, arguments: tuple[object, ...], says: str
) -> None:
    before = sorted(folder.iterdir())
    done = cotam("decode", "a.ctm", *arguments, cwd=folder)
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
    assert says in done.output
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("encode", "a.png", "gone.png"), 1, "no such file"),
        (("decode", "a.ctm", "gone.ctm"), 1, "no such file"),
        (("encode", "logo.png", "a.ctm"), 2, "name it with -o"),
        (("decode", "a.ctm", "logo.png"), 2, "name it with -o"),
        (("encode", "a.png", "--resize", "10", "--fit", "claude"), 2, "not both"),
        (("encode", "a.png", "--resize", "0x10"), 2, "WIDTHxHEIGHT"),
        (("encode", "a.png", "--fit", "nobody"), 2, "fit must be"),
        (("encode", "a.png", "--background", "nothing"), 2, "colour"),
    ],
)
def test_arguments_are_checked_before_anything_is_written(
    folder: Path, arguments: tuple[str, ...], status: int, says: str
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = cotam(*arguments, "--overwrite", cwd=folder)
    assert done.exit_code == status, done.output
    assert says in done.output
    assert done.output.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_every_lossy_format_has_options() -> None:
    for kind, options in formats.WRITING.items():
        assert formats.writing_options(kind, ".x", 3)["quality"] == 3
        assert formats.writing_options(kind, ".x", None, "4:2:0").get("subsampling") == (
            "4:2:0" if "subsampling" in options else None
        )

"""The file type `.ctm` in desktop programs: media type, magic, and thumbnails."""

from __future__ import annotations

import configparser
import mimetypes
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec
from codec.bitstream.container import MEDIA_TYPE
from codec.cli.desktop.files import HERE, thumbnailer
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"
FILES = sorted(GOLDEN.glob("v*.ctm"))


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def run(
    *command: object, home: Path, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [*map(str, command)],
        env=environment | variables,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def cotam(*arguments: object, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "codec.cli", *arguments, home=home, **variables)


def contents(home: Path) -> dict[str, str]:
    """The files of a home folder by name, without those of the MIME database."""
    names = {
        str(path.relative_to(home)): path.read_text(errors="replace")
        for path in home.rglob("*")
        if path.is_file()
    }
    return {name: text for name, text in names.items() if "/mime/" not in f"/{name}"} | {
        name: text for name, text in names.items() if "/packages/" in name
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder in which `cotam desktop install` was run."""
    folder = tmp_path_factory.mktemp("home")
    done = cotam("desktop", "install", home=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_mimetypes_know_the_suffix() -> None:
    import codec.integrations.pillow

    assert mimetypes.guess_type("a.ctm") == (MEDIA_TYPE, None)
    assert mimetypes.guess_extension(MEDIA_TYPE) == ".ctm"
    assert Image.MIME[codec.integrations.pillow.FORMAT] == MEDIA_TYPE
    assert f"`{MEDIA_TYPE}`" in (ROOT / "docs" / "format.md").read_text()


@needs("file")
def test_file_names_every_version(home: Path, tmp_path: Path) -> None:
    for path in FILES:
        bare = tmp_path / path.stem
        shutil.copy(path, bare)
        version = path.read_bytes()[3]
        said = run("file", "--brief", bare, home=home).stdout
        assert said == f"CoTAM image, format version {version}\n"
        assert run("file", "--brief", "--mime-type", bare, home=home).stdout == f"{MEDIA_TYPE}\n"
    (tmp_path / "other").write_bytes(b"\xc0TX" + bytes(20))
    assert "CoTAM" not in run("file", tmp_path / "other", home=home).stdout
    shipped = run("file", "-m", HERE / "cotam.magic", "--brief", FILES[0], home=tmp_path)
    assert "CoTAM image" in shipped.stdout


@needs("xdg-mime")
@needs("file")
def test_xdg_mime_names_the_type(home: Path, tmp_path: Path) -> None:
    shutil.copy(FILES[0], tmp_path / "bare")
    for path in (FILES[0], tmp_path / "bare"):
        said = run("xdg-mime", "query", "filetype", path, home=home)
        assert said.stdout == f"{MEDIA_TYPE}\n", said.stderr


@needs("update-mime-database")
def test_the_desktops_database_has_suffix_and_magic(home: Path) -> None:
    assert f":{MEDIA_TYPE}:*.ctm" in (home / "data" / "mime" / "globs2").read_text()
    assert MEDIA_TYPE.encode() in (home / "data" / "mime" / "magic").read_bytes()
    assert b"\xc0TM" in (home / "data" / "mime" / "magic").read_bytes()


@needs("gio")
@needs("update-mime-database")
def test_file_managers_of_glib_know_the_bytes(home: Path, tmp_path: Path) -> None:
    shutil.copy(FILES[0], tmp_path / "bare")
    said = run("gio", "info", "-a", "standard::content-type", tmp_path / "bare", home=home)
    assert f"standard::content-type: {MEDIA_TYPE}" in said.stdout


def test_installing_twice_changes_nothing_and_removing_leaves_nothing(tmp_path: Path) -> None:
    before = contents(tmp_path)
    assert cotam("desktop", "install", home=tmp_path).returncode == 0
    once = contents(tmp_path)
    assert len(once) == 3
    assert cotam("desktop", "install", home=tmp_path).returncode == 0
    assert contents(tmp_path) == once
    removed = cotam("desktop", "remove", home=tmp_path)
    assert removed.stdout.count("removed ") == 3
    assert contents(tmp_path) == before
    assert cotam("desktop", "remove", home=tmp_path).stdout == ""


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    others = {
        tmp_path / ".magic": "0 string mine My type\n",
        tmp_path / "data" / "mime" / "packages" / "other.xml": "<other/>",
        tmp_path / "data" / "thumbnailers" / "cotam.thumbnailer": "[Thumbnailer Entry]\n",
    }
    for path, text in others.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    done = cotam("desktop", "install", home=tmp_path)
    assert done.returncode == 0
    assert done.stderr.count("left alone") == 2
    assert cotam("desktop", "remove", home=tmp_path).returncode == 0
    assert {path: path.read_text() for path in others} == others


def test_without_a_place_it_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    done = cotam("desktop", "install", home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_a_relative_data_home_counts_as_none(tmp_path: Path) -> None:
    done = cotam("desktop", "install", home=tmp_path, XDG_DATA_HOME="somewhere")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".local" / "share" / "thumbnailers" / "cotam.thumbnailer").is_file()


def thumbnailed(home: Path, source: Path, target: Path, side: int) -> None:
    """Call the thumbnailer as a desktop does: fill in placeholders, and split as a shell does."""
    entry = configparser.ConfigParser(interpolation=None)
    entry.read(home / "data" / "thumbnailers" / "cotam.thumbnailer")
    section = entry["Thumbnailer Entry"]
    assert shutil.which(section["TryExec"])
    assert MEDIA_TYPE in section["MimeType"].split(";")
    values = {"i": shlex.quote(str(source)), "o": shlex.quote(str(target)), "s": str(side)}
    values |= {"u": shlex.quote(source.as_uri()), "%": "%"}
    command = re.sub("%(.)", lambda found: values[found[1]], section["Exec"])
    done = run(*shlex.split(command), home=home, cwd=target.parent)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("side", "size"), [(128, (128, 96)), (1024, (640, 480))])
def test_a_desktop_gets_a_thumbnail(
    home: Path, tmp_path: Path, side: int, size: tuple[int, int]
) -> None:
    page = np.full((480, 640, 4), 255, np.uint8)
    page[100:200, 100:400, :3] = (180, 20, 20)
    page[300:, :, 3] = 0
    source = tmp_path / "it's 100 %.ctm"
    source.write_bytes(codec.load().encode(Image.fromarray(page), quality=80))
    thumbnailed(home, source, tmp_path / "out.png", side)
    with Image.open(tmp_path / "out.png") as image:
        assert (image.format, image.size, image.mode) == ("PNG", size, "RGBA")
        red = image.getpixel((size[0] * 250 // 640, size[1] * 150 // 480))
    assert isinstance(red, tuple)
    assert np.abs(np.subtract(red[:3], (180, 20, 20))).max() < 12


def test_a_large_photograph_is_shown_by_its_preview(tmp_path: Path) -> None:
    from codec.cli.desktop.thumbnail import thumbnail

    cotam = codec.load("tiny")
    ramp = np.linspace(0, 255, 640 * 1600 * 3).reshape(640, 1600, 3).astype(np.uint8)
    path = tmp_path / "a.ctm"
    path.write_bytes(cotam.encode(ramp, tool="learned", guide="uniform"))
    small = thumbnail(path, 200).pixels
    preview = cotam.decode_preview(path.read_bytes()).picture.pixels
    np.testing.assert_array_equal(small, preview)


@pytest.mark.parametrize("damage", [b"", b"\xc0TM", b"no picture"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "a.ctm").write_bytes(damage)
    done = cotam("desktop", "thumbnail", tmp_path / "a.ctm", tmp_path / "a.png", home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "a.png").exists()


def test_a_program_in_a_folder_with_odd_signs() -> None:
    text = thumbnailer(["/opt/my 100%/cotam"])
    assert "Exec='/opt/my 100%%/cotam' desktop thumbnail %i %o --size %s\n" in text
    assert "TryExec=/opt/my 100%/cotam\n" in text


def test_gnome_users_hear_of_the_sandbox(tmp_path: Path) -> None:
    for desktop, said in (("ubuntu:GNOME", 1), ("XFCE", 0)):
        done = cotam("desktop", "install", home=tmp_path, XDG_CURRENT_DESKTOP=desktop)
        outside = not sys.executable.startswith("/usr/")
        assert done.stderr.count("sandbox") == said * outside


def convert() -> str | None:
    """ImageMagick's program; a replacement with the same name would not list delegates."""
    for name in ("magick", "convert", "/usr/bin/convert-im6.q16"):
        path = shutil.which(name)
        if path and "Delegates" in run(path, "-version", home=Path.home()).stdout:
            return path
    return None


@pytest.mark.slow
@pytest.mark.skipif(convert() is None, reason="ImageMagick is not installed")
def test_the_documented_delegate_of_imagemagick(home: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "command.md").read_text()
    (snippet,) = re.findall(r"```xml\n(<delegatemap>.*?</delegatemap>)\n```", page, re.S)
    settings = tmp_path / "settings"
    settings.mkdir()
    program = tmp_path / "bin" / "cotam"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m codec.cli "$@"\n')
    program.chmod(0o755)
    (settings / "delegates.xml").write_text(f'<?xml version="1.0"?>\n{snippet}\n')
    pixels = np.full((48, 64, 3), 255, np.uint8)
    pixels[10:30, 10:50] = (10, 120, 10)
    (tmp_path / "a.ctm").write_bytes(codec.load().encode(pixels, lossless=True))
    path = f"{program.parent}:{os.environ['PATH']}"
    variables = {"MAGICK_CONFIGURE_PATH": str(settings), "PATH": path}
    tool = convert()
    done = run(tool, "a.ctm", "-negate", "a.png", home=home, cwd=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "a.png").convert("RGB")), 255 - pixels
    )
    done = run(tool, "a.png", "b.ctm", home=home, cwd=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert codec.inspect((tmp_path / "b.ctm").read_bytes()).width == 64

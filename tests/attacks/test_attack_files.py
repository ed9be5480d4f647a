"""The command with unusual files: it overwrites nothing by accident and reports what it skips."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image

import codec
from codec.cli import jobs as batch
from codec.cli import outputs
from codec.errors import BadArgument
from codec.io import folders, formats, images
from tests.attacks import pictures
from tests.conftest import ROOT

TOY = ROOT / "tests" / "golden" / "toy.safetensors"
NAMED = ("--model", str(TOY))


def cotam(*arguments: object, cwd: Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run the command with small weights; stdin, stdout and stderr may be files."""
    command = [sys.executable, "-m", "codec.cli", *map(os.fspath, map(_text, arguments))]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    streams: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    wishes: dict[str, Any] = streams | options
    done = subprocess.run(command, cwd=cwd, env=env, timeout=120, check=False, **wishes)
    assert b"Traceback" not in (done.stderr or b""), done.stderr
    return done


def _text(argument: object) -> object:
    return argument if isinstance(argument, (str, bytes, os.PathLike)) else str(argument)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a.png and coded/a.ctm."""
    Image.fromarray(pictures.scene()).save(tmp_path / "a.png")
    return tmp_path


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A .ctm file."""
    folder = tmp_path_factory.mktemp("coded")
    Image.fromarray(pictures.scene()).save(folder / "a.png")
    assert cotam("encode", "a.png", *NAMED, cwd=folder).returncode == 0
    return (folder / "a.ctm").read_bytes()


@pytest.mark.slow
def test_a_default_output_replaces_nothing(here: Path, coded: bytes) -> None:
    before = b"somebody's work"
    (here / "a.png").write_bytes(before)
    (here / "a.ctm").write_bytes(coded)
    (here / "b.ctm").write_bytes(coded)
    alone = cotam("decode", "a.ctm", *NAMED, cwd=here)
    assert (alone.returncode, alone.stderr.count(b"\n")) == (2, 1)
    assert b"--overwrite" in alone.stderr
    folder = cotam("decode", ".", *NAMED, cwd=here)
    assert folder.returncode == 2
    assert (here / "b.png").exists()  # only the file that is in the way is affected
    assert (here / "a.png").read_bytes() == before
    asked = cotam("decode", "a.ctm", "--overwrite", *NAMED, cwd=here)
    assert asked.returncode == 0
    assert (here / "a.png").read_bytes() != before


@pytest.mark.slow
@pytest.mark.parametrize("link", ["same", "hard", "soft", "other"])
def test_an_input_is_never_an_output(here: Path, link: str) -> None:
    before = (here / "a.png").read_bytes()
    target = "a.png" if link == "same" else "b.png"
    if link == "hard":
        os.link(here / "a.png", here / target)
    elif link == "soft":
        os.symlink("a.png", here / target)
    elif link == "other":
        os.link(here / "a.png", here / target)
        os.link(here / "a.png", here / "c.png")
    done = cotam("encode", "a.png", "-o", target, "--overwrite", *NAMED, cwd=here)
    assert done.returncode == 2
    assert all(p.read_bytes() == before for p in here.glob("*.png"))


def test_standard_input_is_never_an_output(here: Path) -> None:
    before = (here / "a.png").read_bytes()
    with (here / "a.png").open("rb") as source:
        done = cotam("encode", "-", "-o", "a.png", *NAMED, cwd=here, stdin=source)
    assert done.returncode == 2
    assert (here / "a.png").read_bytes() == before


def test_an_explicit_output_is_replaced_unless_it_must_not(here: Path, coded: bytes) -> None:
    (here / "out.ctm").write_bytes(b"old")
    kept = cotam("encode", "a.png", "-o", "out.ctm", "--no-overwrite", *NAMED, cwd=here)
    assert kept.returncode == 1
    assert (here / "out.ctm").read_bytes() == b"old"
    assert cotam("encode", "a.png", "-o", "out.ctm", *NAMED, cwd=here).returncode == 0
    assert (here / "out.ctm").read_bytes() == coded
    assert sorted(p.name for p in here.iterdir()) == ["a.png", "out.ctm"]


def put(data: bytes) -> outputs.Put:
    def into(stream: IO[bytes]) -> None:
        stream.write(data)

    return into


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    assert outputs.write(str(tmp_path / "pipe"), put(b"whole" * 50_000), True) == 250_000
    reader.join(10)
    assert read == [b"whole" * 50_000]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_device_is_written_to(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        (tmp_path / "null").open("wb").close()
    except OSError:
        pytest.skip("device nodes cannot be made here")
    outputs.write(str(tmp_path / "null"), put(b"x"), True)
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)


def test_a_symlink_is_followed(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    os.symlink("deep/real", tmp_path / "link")
    for data in (b"first", b"second"):  # first created, then replaced
        outputs.write(str(tmp_path / "link"), put(data), True)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "deep" / "real").read_bytes() == data
    os.symlink("loop", tmp_path / "loop")
    with pytest.raises(OSError, match="loop"):
        outputs.write(str(tmp_path / "loop"), put(b"x"), True)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fails(stream: IO[bytes]) -> None:
        stream.write(b"half")
        assert not list(tmp_path.glob("*.ctm"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        outputs.write(str(tmp_path / "a.ctm"), fails, True)
    assert list(tmp_path.iterdir()) == []
    outputs.write(str(tmp_path / "a.ctm"), put(b"one"), False)
    with pytest.raises(BadArgument, match="exists"):
        outputs.write(str(tmp_path / "a.ctm"), put(b"two"), False)
    assert (tmp_path / "a.ctm").read_bytes() == b"one"


def test_a_system_without_nameless_files_does_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    test_a_file_appears_whole_or_not_at_all(tmp_path)
    outputs.write(str(tmp_path / "a.ctm"), put(b"three"), True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ctm"]
    assert (tmp_path / "a.ctm").read_bytes() == b"three"
    assert stat.S_IMODE((tmp_path / "a.ctm").stat().st_mode) & 0o600 == 0o600


@pytest.mark.slow
def test_any_name_will_do(here: Path) -> None:
    """In one run: names with invalid UTF-8, line breaks or escapes, and names of maximum length."""
    names = [b"n\xff\xfe\xfd", b"new\nline", b"\x1b[31m", b"a b'\"", "\u00fc\u4e2d".encode()]
    names += [b"x" * 251]
    sources = [os.fsencode(here) + b"/" + name + b".png" for name in names]
    for source in sources:
        Path(os.fsdecode(source)).write_bytes((here / "a.png").read_bytes())
    done = cotam("encode", *sources, "--json", *NAMED, cwd=here)
    assert done.returncode == 0, done.stderr
    assert all(os.path.exists(source[:-4] + b".ctm") for source in sources)
    told = [os.fsencode(json.loads(line)["source"]) for line in done.stdout.splitlines()]
    assert told == sources
    again = cotam("encode", *sources, "--skip-existing", *NAMED, cwd=here)
    assert again.returncode == 0
    text = cotam("encode", *sources[:3], "--overwrite", *NAMED, cwd=here).stdout
    assert text.count(b"\n") == 3
    assert b"\x1b" not in text
    assert names[0] in text


@pytest.mark.slow
def test_names_that_collide_in_a_batch(tmp_path: Path) -> None:
    picture = Image.fromarray(pictures.scene())
    for name in ("x.jpg", "x.png", "y.png", "sub/x.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / "in" / name)
    done = cotam("encode", "in", "-o", "out", *NAMED, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")
    )
    assert made == ["sub/x.ctm", "x.ctm", "x.png.ctm", "y.ctm"]
    assert b"x.png.ctm" in done.stderr
    again = cotam("encode", "in", "-o", "out", "--skip-existing", *NAMED, cwd=tmp_path)
    assert b"4 done already" in again.stderr


def test_only_what_has_no_free_name_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        Image.fromarray(pictures.scene()).save(tmp_path / name / "x.png")
    inputs = [str(tmp_path / name / "x.png") for name in ("a", "b", "c", "a")]
    schedule = batch.plan(inputs, str(tmp_path / "out"), ".ctm", folders.PICTURES)
    assert [Path(job.target).name for job in schedule.jobs] == ["x.ctm", "x.png.ctm"]
    assert [Path(r.source).parent.name for r in schedule.refused] == ["c"]
    assert any("named twice" in note for note in schedule.notes)


@pytest.mark.slow
def test_a_folder_loses_nothing_silently(tmp_path: Path) -> None:
    root = tmp_path / "in"
    (root / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    picture = Image.fromarray(pictures.scene())
    kinds = {".jfif": "JPEG", ".jpe": "JPEG", ".pbm": "PPM", ".pnm": "PPM", ".apng": "PNG"}
    kinds |= {".j2k": "JPEG2000", ".tga": "TGA", ".PNG": "PNG"}
    for suffix, kind in kinds.items():
        (picture.convert("1") if suffix == ".pbm" else picture).save(
            root / f"a{suffix[1:]}{suffix}", kind
        )
    picture.save(tmp_path / "elsewhere" / "far.png")
    os.symlink(tmp_path / "elsewhere", root / "linked")
    os.symlink(root, root / "deep" / "up")
    os.symlink("nowhere.png", root / "dangling.png")
    (root / "notes.txt").write_text("text")
    (root / "drawing.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    os.mkfifo(root / "pipe.png")
    found = folders.listing(root, folders.PICTURES)
    names = {p.relative_to(root).as_posix() for p in found.files}
    assert names == {f"a{s[1:]}{s}" for s in kinds} | {
        "linked/far.png",
        "dangling.png",
        "drawing.eps",
    }
    assert len(found.loops) == 1
    assert found.others == {".txt": 1, ".png": 1}
    done = cotam("encode", root, "-o", tmp_path / "out", "--json", *NAMED, cwd=tmp_path)
    assert done.returncode == 1
    results = {Path(r["source"]).name: r for r in map(json.loads, done.stdout.splitlines())}
    assert {name for name, r in results.items() if not r["ok"]} == {"dangling.png", "drawing.eps"}
    assert b"2 other files" in done.stderr


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root can read everything, so the test makes the system call fail instead."""
    (tmp_path / "closed").mkdir()
    Image.fromarray(pictures.scene()).save(tmp_path / "a.png")
    scan = os.scandir

    def refuse(folder: object) -> object:
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", refuse)
    schedule = batch.plan([str(tmp_path)], None, ".ctm", folders.PICTURES)
    assert len(schedule.jobs) == 1
    (result,) = schedule.unreadable
    assert result.source.endswith("closed")
    assert "permission denied" in result.error


@pytest.mark.slow
def test_streams_in_folders_and_folders_in_streams(here: Path, coded: bytes) -> None:
    data = (here / "a.png").read_bytes()
    assert cotam("encode", "-", "-o", "new/", *NAMED, cwd=here, input=data).returncode == 0
    assert (here / "new" / "stdin.ctm").read_bytes() == coded
    one = cotam("encode", "new", "-o", "-", *NAMED, cwd=here)
    assert one.returncode == 2  # no picture there
    (here / "one").mkdir()
    (here / "one" / "a.png").write_bytes(data)
    assert cotam("encode", "one", "-o", "-", *NAMED, cwd=here).stdout == coded
    (here / "one" / "b.png").write_bytes(data)
    several = cotam("encode", "one", "-o", "-", *NAMED, cwd=here)
    assert (several.returncode, several.stdout) == (2, b"")
    assert not (here / "-").exists()
    told = cotam("encode", "a.png", "-o", "/dev/stdout", *NAMED, cwd=here)
    assert told.stdout == coded
    listed = cotam("info", "new", cwd=here)
    assert listed.returncode == 0
    assert b"stdin.ctm" in listed.stdout


def _closed(number: int) -> object:
    return lambda: os.close(number)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_closed_stream_is_no_failure(here: Path, coded: bytes, number: int) -> None:
    arguments = ("encode", "a.png", "-o", "out.ctm", *NAMED)
    done = cotam(*arguments, cwd=here, preexec_fn=_closed(number))
    assert done.returncode == 0
    assert (here / "out.ctm").read_bytes() == coded


@pytest.mark.slow
def test_a_full_stream_loses_the_report_and_not_the_file(here: Path, coded: bytes) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "wb") as full:
        kept = cotam("encode", "a.png", "-o", "out.ctm", *NAMED, cwd=here, stdout=full)
        assert kept.returncode == 0
        assert (here / "out.ctm").read_bytes() == coded
        for lost in (("encode", "a.png", "-o", "-", *NAMED), ("info", "out.ctm")):
            done = cotam(*lost, cwd=here, stdout=full)
            assert done.returncode == 1
            assert b"no space left" in done.stderr
            assert done.stderr.count(b"\n") == 1


@pytest.mark.slow
def test_a_reader_that_leaves_costs_no_file(here: Path) -> None:
    """As in `cotam encode ... | head -1`: stdout is closed early, and all files are written."""
    (here / "b.png").write_bytes((here / "a.png").read_bytes())
    for as_json in ((), ("--json",)):
        reading, writing = os.pipe()
        os.close(reading)
        arguments = ("encode", "a.png", "b.png", "-o", "out/", *as_json, *NAMED)
        done = cotam(*arguments, cwd=here, stdout=writing)
        os.close(writing)
        assert done.returncode == len(as_json)  # a caller that uses --json gets an error status
        assert sorted(p.name for p in (here / "out").iterdir()) == ["a.ctm", "b.ctm"]


def test_a_name_is_one_line_in_every_listing(here: Path, coded: bytes) -> None:
    (here / "new\nline.ctm").write_bytes(coded)
    for command in (("info",), ("inspect", *NAMED)):
        told = cotam(command[0], "new\nline.ctm", *command[1:], cwd=here).stdout.splitlines()
        assert told[0].endswith(b"new\\nline.ctm")


def test_the_version_is_told(here: Path) -> None:
    done = cotam("--version", cwd=here)
    assert done.returncode == 0
    assert done.stdout.decode().splitlines()[0] == f"cotam {codec.__version__}"


@pytest.mark.parametrize("suffix", sorted(formats.SUFFIXES | {".pdf"}))
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
def test_a_picture_of_every_kind_is_written_in_every_format(
    tmp_path: Path, suffix: str, grey: bool, alpha: bool
) -> None:
    if formats.written_format(suffix) is None:
        pytest.skip("not written")
    pixels = pictures.scene()
    pixels = np.repeat(pixels[..., :1], 3, 2) if grey else pixels
    tag = Image.Exif()
    tag[0x010F] = "maker"
    plane = np.full(pixels.shape[:2], 120, np.uint8) if alpha else None
    picture = images.Picture(pixels, plane, grey, None, tag.tobytes())
    path = tmp_path / f"a{suffix}"
    outputs.write(str(path), lambda stream: images.save(picture, stream, suffix), True)
    if suffix == ".pdf":
        assert path.read_bytes().startswith(b"%PDF")
        return
    seen = images.read_shown(path, 1 << 24).astype(int)
    assert np.abs(seen - images.shown(picture)).mean() < 3


@pytest.mark.slow
def test_data_for_a_closed_stream_is_a_failure(here: Path) -> None:
    out = cotam("encode", "a.png", "-o", "-", *NAMED, cwd=here, preexec_fn=_closed(1))
    assert out.returncode == 1
    assert b"standard output is closed" in out.stderr
    source = cotam("encode", "-", "-o", "x.ctm", *NAMED, cwd=here, preexec_fn=_closed(0))
    assert source.returncode == 1
    assert b"standard input is closed" in source.stderr


@pytest.mark.slow
def test_a_jpeg_is_visually_lossless_unless_asked(here: Path, coded: bytes) -> None:
    picture = images.from_array(pictures.scene())
    sizes = []
    for wishes in ({}, {"quality": 60}):
        stream = io.BytesIO()
        images.save(picture, stream, ".jpg", **wishes)  # type: ignore[arg-type]
        sizes.append(len(stream.getvalue()))
        with Image.open(stream) as image:
            assert image.layer[0][1:3] == (1, 1)  # type: ignore[attr-defined]  # 4:4:4
            off = np.abs(np.asarray(image).astype(int) - pictures.scene()).mean()
            assert (off < 3) == (not wishes)
    assert sizes[0] > sizes[1]
    (here / "a.ctm").write_bytes(coded)
    done = cotam(
        "decode", "a.ctm", "-o", "a.jpg", "-q", 30, "--background", "red", *NAMED, cwd=here
    )
    assert done.returncode == 0, done.stderr
    assert cotam("decode", "a.ctm", "-o", "a.bmp", "-q", 30, *NAMED, cwd=here).returncode == 2

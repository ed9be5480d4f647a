"""The command with --after and --sequence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec
from codec.cli.jobs import Job
from codec.cli.streams.order import in_order
from tests.conftest import run_cotam
from tests.test_stream import screen


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """frames/f8.png .. f11.png: a page, a menu, a page, a letter."""
    folder = tmp_path / "frames"
    folder.mkdir()
    pages = [screen(), screen(menu=True), screen(), screen(typed="a")]
    for number, pixels in enumerate(pages):
        Image.fromarray(pixels).save(folder / f"f{number + 8}.png")
    return tmp_path


def test_numbers_count_by_their_value() -> None:
    names = ["b10.png", "b9.png", "a/2.png", "a/10.png", "b.png", "b9x.png"]
    found = [job.source for job in in_order(Job(name, "") for name in names)]
    assert found == ["a/2.png", "a/10.png", "b9.png", "b9x.png", "b10.png", "b.png"]


@pytest.mark.slow
def test_a_folder_goes_there_and_back(frames: Path) -> None:
    done = run_cotam("encode", "frames", "--sequence", "-o", "out", "--json", cwd=frames)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(row["source"]).name for row in rows] == ["f8.png", "f9.png", "f10.png", "f11.png"]
    infos = [codec.inspect((frames / "out" / f"f{n}.ctm").read_bytes()) for n in range(8, 12)]
    assert [info.message for info in infos] == [None, 1, 2, 3]
    assert infos[2].builds_on == infos[0].checksum
    assert infos[2].bytes < 40
    done = run_cotam("decode", "out", "--sequence", "-o", "back", cwd=frames)
    assert done.returncode == 0, done.stderr
    back = np.asarray(Image.open(frames / "back" / "f11.png").convert("RGB")).astype(int)
    assert np.abs(back - screen(typed="a")).mean() < 3


@pytest.mark.slow
def test_a_missing_message_is_named_and_the_rest_is_tried(frames: Path) -> None:
    assert run_cotam("encode", "frames", "--sequence", "-o", "out", cwd=frames).returncode == 0
    needed = codec.inspect((frames / "out" / "f9.ctm").read_bytes()).checksum
    (frames / "out" / "f9.ctm").unlink()
    done = run_cotam("decode", "out", "--sequence", "-o", "back", cwd=frames)
    assert done.returncode == 1
    assert needed in done.stderr.decode()
    assert "--after" in done.stderr.decode()
    assert [path.name for path in (frames / "back").iterdir()] == ["f8.png"]


@pytest.mark.slow
def test_after_a_file_and_after_its_successor(frames: Path) -> None:
    first, second, third = (f"frames/f{n}" for n in (8, 9, 11))
    assert run_cotam("encode", f"{first}.png", cwd=frames).returncode == 0
    done = run_cotam("encode", f"{second}.png", "--after", f"{first}.ctm", cwd=frames)
    assert done.returncode == 0, done.stderr
    after = ("--after", f"{first}.ctm", "--after", f"{second}.ctm")
    assert run_cotam("encode", f"{third}.png", *after, cwd=frames).returncode == 0
    done = run_cotam("decode", f"{third}.ctm", *after, "-o", "third.png", cwd=frames)
    assert done.returncode == 0, done.stderr
    back = np.asarray(Image.open(frames / "third.png").convert("RGB")).astype(int)
    assert np.abs(back - screen(typed="a")).mean() < 3
    alone = run_cotam("decode", f"{second}.ctm", "-o", "second.png", cwd=frames)
    assert alone.returncode == 1
    assert b"--after" in alone.stderr
    assert b"codec." not in alone.stderr
    assert not (frames / "second.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("frames", "--sequence", "--skip-existing"), "--skip-existing"),
        (("frames", "--sequence", "--no-overwrite"), "--no-overwrite"),
        (("frames", "--sequence", "-j", "2"), "-j"),
        (("frames", "--after", "frames/f8.png"), "--sequence"),
        (("frames/f8.png", "--sequence", "--after", "x.ctm"), "not both"),
        (("frames", "--sequence", "--target-size", "20KB"), "quality"),
        (("frames", "--sequence", "--guide", "uniform"), "--guide"),
    ],
)
def test_arguments_that_exclude_each_other(
    frames: Path, arguments: tuple[str, ...], word: str
) -> None:
    done = run_cotam("encode", *arguments, "-o", "out", cwd=frames)
    assert done.returncode == 2
    assert word in done.stderr.decode()
    assert not (frames / "out").exists()


def test_what_a_file_builds_on_is_not_replaced(frames: Path) -> None:
    assert run_cotam("encode", "frames/f8.png", "-o", "a.ctm", cwd=frames).returncode == 0
    before = (frames / "a.ctm").read_bytes()
    done = run_cotam("encode", "frames/f9.png", "--after", "a.ctm", "-o", "a.ctm", cwd=frames)
    assert done.returncode == 1
    assert (frames / "a.ctm").read_bytes() == before


@pytest.mark.slow
def test_a_picture_that_cannot_be_read_does_not_break_the_chain(frames: Path) -> None:
    (frames / "frames" / "f9.png").write_bytes(b"no picture")
    done = run_cotam("encode", "frames", "--sequence", "-o", "out", cwd=frames)
    assert done.returncode == 1
    done = run_cotam("decode", "out", "--sequence", "-o", "back", cwd=frames)
    assert done.returncode == 0, done.stderr
    assert len(list((frames / "back").iterdir())) == 3


@pytest.mark.slow
def test_a_file_that_was_not_written_is_not_built_on(frames: Path) -> None:
    (frames / "out" / "f9.ctm").mkdir(parents=True)
    done = run_cotam("encode", "frames", "--sequence", "-o", "out", cwd=frames)
    assert done.returncode == 1
    infos = [codec.inspect((frames / "out" / f"f{n}.ctm").read_bytes()) for n in (8, 10, 11)]
    assert [info.message for info in infos] == [None, None, 1]

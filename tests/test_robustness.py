"""Hostile files, large pictures, many workers, and killed runs."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from benchmarks.scale.many import encode, killed, killed_at
from codec.bitstream import container
from codec.cli import jobs as batch
from codec.errors import BadArgument, Corrupt, TooLarge
from codec.io import images
from codec.quality import parse_size
from tests import fuzz
from tests.conftest import ROOT, run_cotam


@pytest.mark.slow
def test_hostile_files_end_in_a_picture_or_a_sentence() -> None:
    tally = fuzz.run(
        seconds=120, count=400, seed=int(os.environ.get("COTAM_FUZZ_SEED", "0")), keep=None
    )
    assert tally.failures == []
    assert tally.outcomes["picture"] > 50
    assert tally.outcomes["Corrupt"] > 50


@pytest.mark.slow
def test_hostile_messages_are_decoded_or_refused() -> None:
    tally = fuzz.hostile_messages(400, int(os.environ.get("COTAM_FUZZ_SEED", "0")), None)
    assert tally.failures == []
    assert tally.outcomes["picture"] > 50
    assert tally.outcomes["Corrupt"] > 50


@pytest.mark.parametrize(
    "path",
    sorted(fuzz.ATTACKS.glob("*.ctm")) or [None],
    ids=lambda p: p.name if p else "none so far",
)
def test_what_was_ever_found(path: Path | None) -> None:
    if path is None:
        pytest.skip("no attack has done harm so far")
    tally = fuzz.Tally()
    fuzz.attack(path.read_bytes(), tally)
    assert tally.failures == []


def with_extras(cotam: codec.Codec, picture: NDArray[np.uint8], extras: dict[int, bytes]) -> bytes:
    return container.write(
        replace(container.read(cotam.encode(picture, tool="learned", quality=30)), extras=extras)
    )


@pytest.mark.slow
def test_sections_that_pillow_stumbles_over(
    cotam: codec.Codec, small: NDArray[np.uint8], tmp_path: Path
) -> None:
    """In the past, each raised an error other than OSError, which ended the whole batch."""
    alpha = images.pack_alpha(small[..., 0])
    chunk = bytes(4) + b"iCCP" + zlib.crc32(b"iCCP").to_bytes(4, "big")
    files = {
        "alpha": with_extras(
            cotam, small, {container.EXTRA_ALPHA: alpha[:-12] + chunk + alpha[-12:]}
        ),
        "exif": with_extras(cotam, small, {container.EXTRA_EXIF: b"garbage"}),
        "good": cotam.encode(small, tool="learned", quality=30),
    }
    for name, data in files.items():
        (tmp_path / f"{name}.ctm").write_bytes(data)
    for suffix in (".tif", ".avif", ".png"):
        for name in files:
            done = run_cotam("decode", tmp_path / f"{name}.ctm", "-o", tmp_path / f"{name}{suffix}")
            assert done.returncode == (name == "alpha"), (suffix, done.stderr)
            assert done.stderr.count(b"\n") == (name != "good")
        assert len(list(tmp_path.glob(f"*{suffix}"))) == 2
    with pytest.raises(Corrupt, match="alpha"):
        cotam.decode(files["alpha"])
    done = run_cotam("decode", tmp_path, "-o", tmp_path / "out", "--json")
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert [bool(entry["error"]) for entry in entries] == [True, False, False]


def test_what_no_writer_writes_is_corrupt(cotam: codec.Codec, small: NDArray[np.uint8]) -> None:
    content = container.read(cotam.encode(small, qp_map=np.array([[10, 40]])))
    assert content.qp_map is not None
    qp_map = content.qp_map
    files = [container.write(replace(content, extras={container.EXTRA_GREY: b"x"}))]
    files += [container.write(replace(content, qp_map=qp_map[:length])) for length in range(4)]
    files.append(container.write(replace(content, qp_map=qp_map[:3] + b"\0" + qp_map[4:])))
    plain = container.write(replace(content, qp_map=None))
    at = container.read_header(plain).size - 4
    head = plain[:4] + bytes([plain[4] | 0x80]) + plain[5:at] + b"\0"
    files.append(
        head + zlib.crc32(plain[at + 4 :], zlib.crc32(head)).to_bytes(4, "little") + plain[at + 4 :]
    )
    for data in files:
        with pytest.raises(Corrupt):
            cotam.decode(data)


def test_an_error_nobody_thought_of_is_one_sentence_and_the_rest_is_done(tmp_path: Path) -> None:
    def work(
        given: bytes | Path, target: str, options: dict[str, object]
    ) -> tuple[batch.Put, batch.Result]:
        if Path(str(given)).stem == "a":
            raise ZeroDivisionError("by zero\nat all")
        return lambda stream: stream.write(b"done"), batch.Result("", "")

    jobs = [batch.Job(str(tmp_path / name), str(tmp_path / f"{name}.out")) for name in ("a", "b")]
    (tmp_path / "b").touch()
    results = list(batch.run(jobs, work, {"overwrite": True}, 1))
    assert results[0].error == "unexpected ZeroDivisionError: by zero at all (--debug shows where)"
    assert results[1].bytes_out == 4
    with pytest.raises(ZeroDivisionError):
        batch.run_one(jobs[0], work, {"overwrite": True, "debug": True})


def test_a_huge_claim_with_few_bytes_is_refused(
    cotam: codec.Codec, photo: NDArray[np.uint8]
) -> None:
    content = container.read(cotam.encode(photo[:64, :64], tool="learned", quality=30))
    huge = container.write(replace(content, width=16000, height=16000))
    start, before = time.process_time(), fuzz.peak_mb()
    with pytest.raises(Corrupt, match="too short"):
        cotam.decode(huge)
    assert time.process_time() - start < 0.5
    assert fuzz.peak_mb() - before < 50
    # The same limit must allow a real picture of one colour, which is very small.
    flat = np.full((512, 768, 3), 90, np.uint8)
    assert (
        cotam.decode(cotam.encode(flat, tool="learned", quality=0), output="array").shape
        == flat.shape
    )


def test_memory_is_bounded_by_a_stated_limit(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    cotam = codec.load(device="cpu")
    data = cotam.encode(photo, tool="learned", quality=30)
    cotam.limit_memory = photo[..., 0].size * container.DECODE_BYTES - 1
    for attempt in (
        lambda: cotam.decode(data),
        lambda: cotam.encode(photo, tool="learned", quality=30),
        lambda: cotam.decode(data, level="preview"),
    ):
        with pytest.raises(TooLarge, match="limit_memory"):
            attempt()
    (tmp_path / "cat.ctm").write_bytes(data)
    refused = run_cotam("decode", tmp_path / "cat.ctm", "--limit-memory", "1MB")
    assert refused.returncode == 1
    assert b"--limit-memory" in refused.stderr
    assert run_cotam("decode", tmp_path / "cat.ctm", "--limit-memory", "lots").returncode == 2
    assert [parse_size(text) for text in ("8GiB", "2 GB", "3g")] == [8 << 30, 2 * 10**9, 3 * 10**9]


def encode_in_worker(pixels: NDArray[np.uint8]) -> bytes:
    """Encode in a new or forked process with one thread, like DataLoader's workers."""
    import torch

    torch.set_num_threads(1)
    return codec.load(device="cpu").encode(pixels, tool="learned", quality=40)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_workers_write_the_same_bytes(
    method: str, cotam: codec.Codec, small: NDArray[np.uint8]
) -> None:
    wanted = cotam.encode(small, tool="learned", quality=40)
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        assert list(pool.map(encode_in_worker, [small] * 4)) == [wanted] * 4


@pytest.fixture
def many(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(24):
        Image.fromarray(photo[number : number + 128, 3 * number : 3 * number + 160]).save(
            folder / f"{number:02}.png"
        )
    return folder


@pytest.mark.slow
def test_a_killed_run_goes_on(
    many: Path, tmp_path: Path, cotam: codec.Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COTAM_BACKEND", "onnx")  # as in run_cotam, so that bytes can be compared
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    done = 0
    for done in killed_at(encode(many, out, 1), out, (3, 9)):
        assert done >= 3
        for path in out.glob("*.ctm"):
            cotam.decode(path.read_bytes())
    last = run_cotam("encode", many, "-o", out, "--skip-existing")
    assert last.returncode == 0, last.stderr
    assert f"{done} done already" in last.stderr.decode()
    assert all(
        path.suffix == ".ctm" or path.name.startswith(".") for path in out.iterdir()
    )  # the temporary files of killed writers are hidden
    assert run_cotam("encode", many, "-o", fresh).returncode == 0
    names = sorted(path.name for path in fresh.iterdir())
    assert len(names) == 24
    assert all((out / name).read_bytes() == (fresh / name).read_bytes() for name in names)
    nothing = run_cotam("encode", many, "-o", out, "--skip-existing")
    assert nothing.returncode == 0
    assert b"24 done already" in nothing.stderr


@pytest.mark.slow
def test_the_benchmark_counts_files_of_a_killed_run(many: Path, tmp_path: Path) -> None:
    assert killed(many, tmp_path, kills=1) == {
        "pictures": 24,
        "kills": 1,
        "files": 24,
        "decoded": 24,
        "equal": 24,
    }


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_leaves_nothing(many: Path, tmp_path: Path) -> None:
    """RLIMIT_FSIZE simulates a full disk: no file can grow beyond 100 bytes."""
    program = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    program += (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
        "from codec.cli.main import main; main()"
    )
    arguments = ["encode", str(many / "00.png"), "-o", str(tmp_path / "out.ctm")]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("cotam: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("*.ctm")) == list(tmp_path.glob(".*")) == []


def test_an_unwritable_folder_is_one_sentence(many: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = run_cotam("encode", many / "00.png", "-o", tmp_path / "file" / "out.ctm")
    assert done.returncode == 1
    assert done.stderr.decode().count("\n") == 1


def test_limits_are_arguments_too() -> None:
    with pytest.raises(BadArgument):
        parse_size("0GB")

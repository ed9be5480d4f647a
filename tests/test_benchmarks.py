"""Arithmetic of the benchmarks, and the rule that all tables are generated from JSON."""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks import demo, rd, tables
from benchmarks.install import sizes, speed
from benchmarks.lib.install_table import ADDS
from codec.evaluation.codecs import codec_under_test, pillow
from codec.evaluation.codecs.interface import largest_below
from tests.conftest import ROOT


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda p: p.name)
def test_tables_equal_their_json(page: Path) -> None:
    text = page.read_text()
    assert tables.fill(text) == text


def test_the_readme_has_one_table_of_results() -> None:
    assert [name for _, name, _ in tables.MARK.findall(tables.PAGES[0].read_text())] == ["front"]


def test_bd_rate_of_a_known_shift() -> None:
    anchor = [{"bpp": 0.1 * 1.4**k, "psnr": 26.0 + 1.5 * k} for k in range(8)]
    cheaper = [{"bpp": p["bpp"] * 0.7, "psnr": p["psnr"]} for p in anchor]
    assert rd.bd_rate(anchor, cheaper) == pytest.approx(-30, abs=0.5)
    assert rd.bd_rate(anchor, anchor) == pytest.approx(0, abs=1e-6)


def test_a_rival_meets_a_size(photo: NDArray[np.uint8]) -> None:
    jpeg = codec_under_test("jpeg")
    assert 8000 < len(jpeg.at_size(photo, 9000)) <= 9000
    assert len(jpeg.at_size(photo, 1)) == len(jpeg.encode(photo, jpeg.qualities[0]))
    assert len(largest_below(lambda q: bytes(10 * q), 1, 95, 333)) == 330


@pytest.mark.slow
def test_rate_distortion_names_versions_and_keeps_its_keys(
    tmp_path: Path, photo: NDArray[np.uint8]
) -> None:
    from PIL import Image

    Image.fromarray(photo[:176, :192]).save(tmp_path / "cat.png")
    found = rd.run(tmp_path, ["tiny"], ["jpeg", "avif-444", "png"], None)
    committed = tables.load("rd")
    assert set(committed) <= set(found)
    assert list(found["curves"]) == ["CoTAM tiny", "JPEG", "AVIF 4:4:4", "PNG"]
    assert list(found["systems"]) == ["JPEG", "AVIF 4:4:4", "PNG"]
    assert "libavif" in found["systems"]["AVIF 4:4:4"]
    facts = found["weights"]["tiny"]
    assert set(facts) == set(committed["weights"]["tiny"])
    assert "PNG" not in facts["bd_rate_psnr"], "one point has no BD-rate"
    assert [p["quality"] for p in found["curves"]["JPEG"]] == list(rd.RIVAL_QUALITIES["jpeg"])
    assert rd.rival_qualities("avif-444") == rd.RIVAL_QUALITIES["avif"]
    assert rd.rival_qualities("jpeg-q75") == (75.0,)


@pytest.mark.slow
def test_the_timed_codecs_are_those_of_the_committed_tables(photo: NDArray[np.uint8]) -> None:
    from benchmarks.speed import WAYS, systems_for

    systems = systems_for(photo[:128, :192], 50, 1)
    assert set(tables.load("speed_float32")["in_process"]["milliseconds"]) == set(systems)
    parameters = tables.load("speed_float32")["in_process"]["parameters"]
    assert {n: s.parameters for n, s in systems.items() if s.parameters} == parameters
    for name, system in systems.items():
        assert set(system.calls) == set(WAYS), name
        for call in system.calls.values():
            call()
    assert systems["AVIF"].identity == pillow.SETTINGS["avif"].identity


@pytest.mark.slow
def test_the_demo_writes_one_picture(
    tmp_path: Path, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    Image.fromarray(photo).save(tmp_path / "cat.png")
    monkeypatch.setattr(
        "sys.argv",
        ["demo", str(tmp_path / "cat.png"), "--out", str(tmp_path / "out" / "sheet.png")],
    )
    demo.main()
    assert Image.open(tmp_path / "out" / "sheet.png").width == 5 * photo.shape[1]
    monkeypatch.setattr("sys.argv", ["demo", str(tmp_path / "none.png")])
    with pytest.raises(SystemExit, match="demo: "):
        demo.main()


def test_the_demo_needs_no_pytorch() -> None:
    """`make demo` installs only cotam and scikit-image."""
    program = "import sys; sys.modules['torch'] = None; from benchmarks import demo; "
    program += "[demo.codec_under_test(name) for name in demo.RIVALS]"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_multiplications_are_counted() -> None:
    import torch

    from benchmarks.lib.timing import kmac_per_pixel

    layer = torch.nn.Conv2d(3, 8, 5, padding=2)
    assert kmac_per_pixel(lambda: layer(torch.zeros(1, 3, 16, 20)), 320) == pytest.approx(
        3 * 8 * 25 / 1000
    )


def test_backends_by_name() -> None:
    from argparse import ArgumentTypeError

    from benchmarks.speed import chosen_backends

    assert chosen_backends("torch,onnx") == ["torch", "onnx"]
    with pytest.raises(ArgumentTypeError, match="onnx-int8"):
        chosen_backends("torch,tvm")


@pytest.mark.slow
def test_one_backend_in_one_process(tmp_path: Path, small: NDArray[np.uint8]) -> None:
    from PIL import Image

    from benchmarks.lib.backends import milliseconds

    Image.fromarray(small).save(tmp_path / "cat.png")
    found = milliseconds(("small-mse", "small-mse"), tmp_path / "cat.png", 50, 2)
    assert found["encode"] > 0
    assert found["decode"] > 0
    assert found["psnr"] > 25


def test_medians_take_turns_and_leave_out_the_warm_up() -> None:
    from benchmarks.lib.timing import WARM_UP, medians

    order: list[str] = []
    found = medians({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b"] * (WARM_UP + 3)
    assert set(found) == {"a", "b"}


def test_two_pictures_of_one_name_may_both_set_the_ranges(tmp_path: Path) -> None:
    from codec.io.folders import pictures_at

    for name in ("a.jpg", "a.png", "notes.txt"):
        (tmp_path / name).touch()
    assert pictures_at(tmp_path) == [tmp_path / "a.jpg", tmp_path / "a.png"]
    assert pictures_at(tmp_path / "a.png") == [tmp_path / "a.png"]


@pytest.mark.slow
def test_a_step_of_training_is_timed_in_parts(pictures: Path) -> None:
    from benchmarks.train_step import PARTS, WARMUP, Clock, measure

    clock = Clock()
    clock.steps = [[10.0 * i, 10.0 * i + 1, 10.0 * i + 3, 10.0 * i + 6] for i in range(WARMUP + 2)]
    assert (
        clock.seconds()
        == [{"between": 4, "forward": 1, "backward": 2, "optimizer": 3, "step": 10}] * 2
    )
    found = measure(["experiment=toy", "trainer=cpu", f"data.root={pictures / 'train'}"], 4)
    assert found["steps"] == 4
    assert all(0 < found["parts"][part] < found["mean"] * 4 for part in PARTS)
    assert torch.tensor(1e-40) * 1 > 0, "training left denormal numbers flushed to zero"


@pytest.mark.slow
def test_a_probe_times_stages_and_the_busy_machine_is_compared_with_avif(
    tmp_path: Path, small: NDArray[np.uint8]
) -> None:
    from PIL import Image

    Image.fromarray(small).save(tmp_path / "a.png")
    with speed.Probe(speed.ROOT, "onnx", tmp_path / "a.png") as probe:
        rows = [probe.round(), probe.round(), probe.round()]
        alone = speed.medians(rows)
        assert alone["encode"]["prior"] < alone["encode"]["total"]
        assert alone["decode"]["total"] == sorted(row["decode"]["total"] for row in rows)[1]
        probe.process.kill()
        probe.process.wait()
        with pytest.raises((RuntimeError, BrokenPipeError)):
            probe.round()
    busy = {call: {"total": 3 * stages["total"]} for call, stages in alone.items()}
    busy["avif encode"]["total"] /= 3
    assert speed.slowdown(alone, busy) == pytest.approx({"encode": 3, "decode": 1})


def test_sizes_that_are_measured_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "sizes.json"
    rows = {"hub": {"seconds": 1.0, "bytes": 2, "clean": True}}
    out.write_text(json.dumps({"installs": rows}))
    assert sizes.run(["hub"], out)["installs"] == rows


def test_every_extra_has_a_row_and_words() -> None:
    config = configparser.ConfigParser()
    config.read(sizes.ROOT / "setup.cfg")
    assert {*config["options.extras_require"], sizes.PLAIN} == set(sizes.EXTRAS) == set(ADDS)

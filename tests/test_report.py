"""`cotam eval`: codecs by name, metrics, stored rows, and the files that it writes."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from codec.errors import BadArgument
from codec.evaluation import bd, codecs, distortion, inputs, measure, metrics
from codec.evaluation.codecs import compressai_zoo, pillow
from codec.evaluation.metrics import METRICS, Settings
from codec.evaluation.report import same_size
from tests.conftest import ROOT, run_cotam, shared


def test_codecs_by_name() -> None:
    assert codecs.names("cotam, jpeg,cotam") == ("cotam", "jpeg")
    assert codecs.names("cotam:small-mse,compressai:mbt2018-mean") == (
        "cotam:small-mse",
        "compressai:mbt2018-mean",
    )
    assert codecs.names("WebP,AVIF 4:4:4,JPEG 75") == ("webp", "avif-444", "jpeg-q75")
    assert codecs.codec_under_test("effort:9").name == "CoTAM, effort 9"
    for wrong in ("", "gif", "cotam:", "jpeg:3", "compressai", "compressai:"):
        with pytest.raises(BadArgument):
            codecs.names(wrong)
    with pytest.raises(BadArgument, match="efforts are 0"):
        codecs.codec_under_test("effort:10")
    installed = importlib.util.find_spec("compressai") is not None
    with pytest.raises(BadArgument, match="mbt2018-mean" if installed else "needs compressai"):
        codecs.codec_under_test("compressai:none")


LOSSLESS = ("png", "webp-lossless")
PLUGINS = ("jpegxl",)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in pillow.SETTINGS if name not in PLUGINS])
def test_formats_code_real_files_and_say_what_wrote_them(
    name: str, small: NDArray[np.uint8]
) -> None:
    small = small[:64, :64]
    one = codecs.codec_under_test(name)
    sizes = [len(one.encode(small, q)) for q in one.qualities]
    assert sizes == sorted(sizes)
    assert (len(sizes) == 1) == (name in (*LOSSLESS, "jpeg-q75"))
    decoded = one.decode(one.encode(small, one.qualities[-1]))
    assert np.array_equal(decoded, small) == (name in LOSSLESS)
    assert distortion.psnr(small, decoded) > 28
    assert one.identity.startswith(pillow.SETTINGS[name].said)
    assert re.search(r"(lib\S+|zlib\S*) \d.*, Pillow \d", one.identity)
    assert len(one.at_size(small, 10**6)) == len(one.encode(small, one.highest))


def test_settings_change_the_files_that_they_name(small: NDArray[np.uint8]) -> None:
    names = ("avif", "avif-444", "avif-best", "avif-psnr")
    files = [codecs.codec_under_test(name).encode(small, 40) for name in names]
    assert len(set(files)) == len(names)
    assert "libaom" in codecs.codec_under_test("avif").identity
    identities = {one.identity for one in map(codecs.codec_under_test, names)}
    assert len(identities) == len(names)


def test_a_format_that_pillow_lacks_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    codecs.codec_under_test.cache_clear()
    with pytest.raises(BadArgument, match="pillow-jxl-plugin"):
        codecs.codec_under_test("jpegxl")
    with pytest.raises(BadArgument, match="coding tools are"):
        codecs.codec_under_test("tool:none")


def test_a_coding_tool_takes_part(small: NDArray[np.uint8]) -> None:
    tool = codecs.codec_under_test("tool:palette")
    assert np.array_equal(tool.decode(tool.encode(small, 100)), small)
    assert tool.identity != codecs.codec_under_test("cotam").identity


def test_a_missing_codec_is_left_out_with_its_reason() -> None:
    found, missing = codecs.available(("jpeg", "cotam:no-such-weights"))
    assert list(found) == ["jpeg"]
    assert "no-such-weights" in missing["cotam:no-such-weights"]
    with pytest.raises(BadArgument):
        codecs.available(("cotam:no-such-weights",))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bmshj2018-factorized", "mbt2018-mean"])
def test_models_of_compressai_write_real_files(name: str, photo: NDArray[np.uint8]) -> None:
    import torch
    from compressai.zoo import image_models

    torch.manual_seed(0)
    model = image_models[name](1, pretrained=False).eval()
    model.update(force=True)
    who = compressai_zoo.learned_codec(
        name,
        "random",
        (1,),
        lambda quality: model,
        compressai_zoo.packed,
        compressai_zoo.unpacked,
    )
    pixels = photo[:100, :130]
    data = who.encode(pixels, 1)
    decoded = who.decode(data)
    assert decoded.shape == pixels.shape
    padded = np.pad(pixels, ((0, 28), (0, 62), (0, 0)), mode="edge")
    with torch.inference_mode():
        x = torch.from_numpy(padded.transpose(2, 0, 1).copy())[None].float() / 255
        coded = model.compress(x)
        x_hat = (
            model.decompress(coded["strings"], coded["shape"])["x_hat"][0]
            .clamp(0, 1)
            .mul(255)
            .round()
            .byte()
        )
    np.testing.assert_array_equal(decoded, x_hat.permute(1, 2, 0).numpy()[:100, :130])
    assert len(data) == 10 + sum(4 + len(group[0]) for group in coded["strings"])


def test_strings_of_an_unknown_kind_are_refused() -> None:
    with pytest.raises(BadArgument):
        compressai_zoo.packed(1, (8, 8), {"strings": [[[b"a"], [b"b"]]], "shape": (1, 1)})


def test_metrics_by_name_and_of_pixels(photo: NDArray[np.uint8], small: NDArray[np.uint8]) -> None:
    assert [m.name for m in metrics.metrics_of("ms-ssim,psnr,psnr")] == ["ms-ssim", "psnr"]
    for wrong in ("", "ssim"):
        with pytest.raises(BadArgument):
            metrics.metrics_of(wrong)
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 20, photo.shape), 0, 255).astype(
        np.uint8
    )
    assert distortion.ms_ssim(photo, photo) == pytest.approx(1)
    assert 0.5 < (distortion.ms_ssim(photo, noisy) or 0) < 0.98
    assert distortion.ms_ssim(small, small) is None


def test_ms_ssim_agrees_with_another_library(photo: NDArray[np.uint8]) -> None:
    import torch
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure as other,
    )

    coded = codecs.codec_under_test("jpeg")
    decoded = coded.decode(coded.encode(photo, 12))
    x, y = (torch.from_numpy(np.array(v)).permute(2, 0, 1)[None].float() for v in (decoded, photo))
    # That library pads and weights borders differently.
    assert distortion.ms_ssim(photo, decoded) == pytest.approx(
        float(other(x, y, data_range=255.0)), abs=0.01
    )


# libx265 at two presets: the example in the README of github.com/FAU-LMS/bjontegaard.
ANCHOR = ([9487.76, 4593.60, 2486.44, 1358.24], [40.037, 38.615, 36.845, 34.851])
TEST = ([9787.80, 4469.00, 2451.52, 1356.24], [40.121, 38.651, 36.970, 34.987])


def vceg_m33(
    anchor: tuple[list[float], list[float]], test: tuple[list[float], list[float]]
) -> float:
    """VCEG-M33: mean difference of cubic polynomials that fit log rate as a function of PSNR."""
    low, high = max(min(anchor[1]), min(test[1])), min(max(anchor[1]), max(test[1]))
    areas = []
    for rates, scores in (anchor, test):
        whole = np.polyint(np.polyfit(scores, np.log(rates), 3))
        areas.append(np.polyval(whole, high) - np.polyval(whole, low))
    return 100 * float(np.exp((areas[1] - areas[0]) / (high - low)) - 1)


def test_bd_rate_of_published_examples() -> None:
    anchor, test = ((np.array(rates), np.array(scores)) for rates, scores in (ANCHOR, TEST))
    assert bd.bd_rate(anchor, test) == pytest.approx(vceg_m33(ANCHOR, TEST), abs=0.05)
    assert bd.bd_rate(anchor, test) == pytest.approx(-4.4, abs=0.05)
    # As in the unit tests of github.com/google/compare-codecs: half and twice the rate.
    line = (np.array([10.0, 20, 30, 40]), np.array([10.0, 20, 30, 40]))
    twice = (2 * line[0], line[1])
    assert bd.bd_rate(line, twice) == pytest.approx(100, abs=1e-6)
    assert bd.bd_rate(twice, line) == pytest.approx(-50, abs=1e-6)


def test_scores_near_one_count_by_what_is_missing() -> None:
    rates = np.array([[1.0, 2, 4, 8]])
    near = 1 - 0.1 / rates
    same = bd.compare(
        bd.Measured(rates, near), bd.Measured(rates * 0.5, near), "to-one", resamples=20
    )
    assert same["value"] == pytest.approx(-50, abs=0.01)


def test_inputs_are_files_folders_and_sets(pictures: Path, tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    found = inputs.inputs([str(pictures)], metrics.metrics_of("psnr"), settings, None)
    assert [one.path.name for one in found] == ["a.png", "broken.jpg", "a.png"]
    assert len(inputs.inputs([str(pictures)], metrics.metrics_of("psnr"), settings, 2)) == 2
    for wrong in ("no-such-thing", "kodak"):
        with pytest.raises(BadArgument, match=wrong):
            inputs.listed([wrong], tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadArgument, match="no picture"):
        inputs.listed([str(tmp_path / "empty")], tmp_path)


def test_labels_come_with_a_set(data_folder: Path) -> None:
    settings = Settings(data_folder)
    labelled = inputs.inputs(["imagenet"], metrics.metrics_of("top1"), settings, 2)
    assert all(isinstance(dict(one.truths)["deit"], int) for one in labelled)
    unlabelled = inputs.inputs(["kodak"], metrics.metrics_of("top1"), settings, 1)
    assert unlabelled[0].truths == ()
    assert measure.label(METRICS["top1"], labelled[0], settings) != measure.label(
        METRICS["top1"], unlabelled[0], settings
    )


@pytest.mark.slow
def test_files_of_one_size(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    Image.fromarray(photo).save(tmp_path / "cat.png")
    (picture,) = inputs.inputs(
        [str(tmp_path)], metrics.metrics_of("psnr"), Settings(tmp_path), None
    )
    entries = same_size.shown(
        picture, {name: codecs.codec_under_test(name) for name in ("cotam", "webp")}, 10**8
    )
    assert [entry.size for entry in entries] == list(same_size.SIZES)
    for entry in entries:
        ours, other = entry.versions["cotam"]["bytes"], entry.versions["webp"]["bytes"]
        assert 0.6 * ours < other <= ours  # qualities of WebP are coarse at the low end
        assert set(entry.overlays) == {"importance", "bits"}
        assert (entry.width, entry.height) == (photo.shape[1], photo.shape[0])


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on two pictures, one with a name hostile to HTML, and a file that is no picture."""
    from skimage import data

    def make(folder: Path) -> None:
        (folder / "in").mkdir()
        Image.fromarray(data.chelsea()[:200, 100:300]).save(folder / "in" / "cat.png")
        hostile = folder / "in" / "a<b>&'c\".png"
        Image.fromarray(data.coffee()[:180, :220]).save(hostile)
        (folder / "in" / "broken.jpg").write_bytes(b"no picture")
        out = folder / "report"
        asked = ("--codecs", "cotam,jpeg,webp", "--out", out, "-j", 2)
        done = run_cotam("eval", folder / "in", *asked)
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode().strip() == str(out / "index.html")

    return shared(tmp_path_factory, "report", make) / "report"


@pytest.mark.slow
def test_a_report_is_whole(report: Path) -> None:
    found = json.loads((report / "results.json").read_text())
    assert found["pictures"] == 2
    assert "broken.jpg" in found["left_out"]
    assert found["bd_rate"]["psnr"]["jpeg"]["value"] < -20
    assert found["bd_rate"]["ms-ssim"]["jpeg"]["value"] < -20
    for entry in found["codecs"]:
        assert np.all(np.diff(entry["results"]["bpp"]) > 0)
        assert np.all(np.diff(entry["results"]["psnr-rgb"]) > 0)
    with (report / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * sum(len(entry["qualities"]) for entry in found["codecs"])
    some = rows[0]
    assert float(some["bpp"]) == pytest.approx(
        int(some["bytes"]) * 8 / (200 * 200 if some["picture"] == "cat.png" else 180 * 220), 1e-4
    )
    for name in ("psnr", "ms-ssim", "encode", "decode"):
        assert (report / f"{name}.svg").stat().st_size > 1000
        assert Image.open(report / f"{name}.png").width > 500
    page = (report / "index.html").read_text()
    # Base64 has no colon.
    assert "://" not in page.replace("http://www.w3.org", "")
    assert "a<b>" not in page


@pytest.mark.slow
def test_compressai_reads_the_results(report: Path, tmp_path: Path) -> None:
    files = sorted((report / "compressai").glob("*.json"))
    assert len(files) == 3
    program = (
        "import sys; from compressai.utils.plot.__main__ import main; "
        "[main(['-f', *sys.argv[2:], '--metric', metric, '-o', sys.argv[1] + metric + '.png'])"
        " for metric in ('psnr', 'ms-ssim')]"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"{tmp_path}/", *map(str, files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for metric in ("psnr", "ms-ssim"):
        assert (tmp_path / f"{metric}.png").stat().st_size > 1000


@pytest.mark.slow
def test_rows_are_not_measured_twice(report: Path, tmp_path: Path) -> None:
    pictures = report.parent / "in"
    mine = shutil.copytree(report, tmp_path / "report")
    before = (mine / "rows.jsonl").read_bytes()
    kept = ("--out", mine, "--show", 0)
    again = run_cotam("eval", pictures, "--codecs", "cotam,jpeg,webp", *kept)
    assert again.returncode == 0, again.stderr
    assert (mine / "rows.jsonl").read_bytes() == before
    fewer = run_cotam("eval", pictures, "--codecs", "jpeg,avif", *kept)
    assert fewer.returncode == 0, fewer.stderr
    added = (mine / "rows.jsonl").read_bytes()[len(before) :].decode().splitlines()
    assert added
    assert all("AVIF" in json.loads(line)["key"][0] for line in added)


def test_a_new_metric_is_added_to_kept_rows(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    Image.fromarray(photo).save(tmp_path / "cat.png")
    who = (("jpeg", codecs.codec_under_test("jpeg").identity, (20.0, 60.0)),)
    settings = Settings(tmp_path)
    pictures = inputs.inputs(
        [str(tmp_path / "cat.png")], metrics.metrics_of("psnr"), settings, None
    )
    file = measure.Rows(tmp_path / "rows.jsonl")
    assert measure.run(pictures, measure.Setup(who, ("psnr",), settings, 10**8), file, 1) == {}
    assert measure.jobs_of(pictures, measure.Setup(who, ("psnr",), settings, 10**8), file) == []
    wider = measure.Setup(who, ("ms-ssim",), settings, 10**8)
    assert len(measure.jobs_of(pictures, wider, file)[0].todo) == 2
    measure.run(pictures, wider, file, 1)
    again = measure.Rows(file.path)
    assert all({"psnr", "ms-ssim"} <= set(row["scores"]) for row in again.rows.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["no-such-folder"], 2, "no-such-folder"),
        ([str(ROOT / "docs"), "--metrics", "speed"], 2, "metrics are"),
        ([str(ROOT / "docs"), "--codecs", "gif"], 2, "codecs are"),
        ([str(ROOT / "docs"), "--metrics", "vqa"], 2, "--vqa-model"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    arguments: list[str], status: int, said: str, tmp_path: Path
) -> None:
    done = run_cotam("eval", *arguments, "--out", tmp_path / "report")
    assert done.returncode == status
    message = done.stderr.decode()
    assert said in message
    assert message.startswith("cotam: ")
    assert "Traceback" not in message
    assert not (tmp_path / "report").exists()

"""The task benchmark: arithmetic, judges, and that no row is measured twice."""

from __future__ import annotations

import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import codec
from benchmarks import tasks
from benchmarks.lib import task_rows
from benchmarks.lib.oracle import Oracle, oracle_for
from codec.errors import BadArgument
from codec.evaluation import bd, rows
from codec.evaluation.codecs import pillow
from codec.evaluation.codecs.variants import (
    PILLOW_QUALITIES,
    Setup,
    identity,
    qualities,
    system_codec,
)
from codec.evaluation.judges import (
    JUDGES,
    JudgeUnavailable,
    PerPicture,
    Sample,
    load_judge,
    ocr,
    read_pixels,
    spread,
    tesseract,
    yolox,
)
from codec.evaluation.judges.deit import WEIGHTS, DeitJudge, centre_view, load_deit
from codec.guidance.files import SHIPPED


def measured(shift: float = 1.0, pictures: int = 40) -> bd.Measured:
    """Scores that rise with log rate, for pictures of different difficulty; rates times `shift`."""
    random = np.random.default_rng(3)
    difficulty = random.uniform(0.5, 2.0, (pictures, 1))
    rates = difficulty * 0.1 * 1.6 ** np.arange(5)
    scores = np.log(0.1 * 1.6 ** np.arange(5)) + random.normal(0, 0.05, (pictures, 5)) + 4
    return bd.Measured(shift * rates, scores)


def test_a_tenth_less_rate_is_minus_ten_percent() -> None:
    for direction, turn in (
        ("higher", lambda s: s),
        ("lower", lambda s: -s),
        ("log", lambda s: np.exp(-s)),
    ):
        a, b = measured(), measured(0.9)
        a, b = bd.Measured(a.rates, turn(a.scores)), bd.Measured(b.rates, turn(b.scores))
        found = bd.compare(a, b, direction, resamples=50)  # type: ignore[arg-type]
        assert found == {
            "value": pytest.approx(-10),
            "low": pytest.approx(-10),
            "high": pytest.approx(-10),
        }


def test_the_interval_holds_the_value_and_narrows_with_more_pictures() -> None:
    widths = []
    for pictures in (20, 320):
        a, b = measured(pictures=pictures), measured(0.9, pictures)
        found = bd.compare(a, bd.Measured(b.rates, b.scores[::-1]), "higher", resamples=200)
        assert None not in found.values()
        assert found["low"] < found["value"] < found["high"]  # type: ignore[operator]
        widths.append(found["high"] - found["low"])  # type: ignore[operator]
    assert widths[1] < widths[0]


def test_curves_that_do_not_meet_have_no_bd_rate() -> None:
    a = measured()
    nothing = {"value": None, "low": None, "high": None}
    assert bd.compare(a, bd.Measured(a.rates, a.scores + 100), "higher", resamples=20) == nothing
    assert (
        bd.compare(a, bd.Measured(a.rates, np.zeros_like(a.scores)), "higher", resamples=20)
        == nothing
    )


def test_violators_are_pooled() -> None:
    rates, scores = bd.rising(np.array([4.0, 1.0, 2.0, 8.0]), np.array([0.2, 0.1, 0.4, 0.9]))
    assert scores == pytest.approx([0.1, 0.3, 0.9])
    assert rates == pytest.approx([1, np.sqrt(8), 8])
    assert len(bd.rising(np.arange(1.0, 6), np.ones(5))[0]) == 1
    assert bd.rising(np.arange(1.0, 6), -np.arange(5.0))[1] == pytest.approx([-2])


def test_word_recall() -> None:
    truth = ocr.words("TOTAL: rm 12.50 (rm) a - -- Tea\nTea")
    assert truth == {"TOTAL": 1, "RM": 2, "12.50": 1, "TEA": 2}
    assert ocr.recall(truth, ocr.words("total RM tea, tea tea")) == pytest.approx(4 / 6)
    assert ocr.recall(truth, ocr.words("")) == 0
    assert ocr.recall(ocr.words("- a"), truth) == 1


def test_a_missing_program_or_folder_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tesseract, "PROGRAM", "no-such-program")
    for judge in JUDGES:
        with pytest.raises(JudgeUnavailable) as error:
            load_judge(judge, tmp_path)
        assert "\n" not in str(error.value)
    plan = tasks.Plan(Setup("default", tmp_path, 0.5), ("ocr",), ("uniform",), (), (20.0,))
    result = tasks.run(plan, rows.RowsFile(tmp_path / "rows.jsonl"))
    assert "tesseract-ocr" in result["skipped"]["ocr"]
    assert result["curves"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(JUDGES))
def test_a_judge_knows_its_pictures(name: str, data_folder: Path) -> None:
    try:
        judge = load_judge(name, data_folder)
    except JudgeUnavailable as error:
        pytest.skip(str(error))
    for sample in spread(judge.pictures(), 2):
        original = read_pixels(sample.path)
        same = judge.judge(original, original, sample.truth)
        flat = judge.judge(original, np.full_like(original, 128), sample.truth)
        assert set(same) == set(flat) == set(judge.scores)
        for score, direction in judge.scores.items():
            assert (
                same[score] >= flat[score] if direction == "higher" else same[score] <= flat[score]
            ), score
        if name == "deit":
            assert same["token_mse_last"] == 0
            assert same["cosine_last"] == pytest.approx(1, abs=1e-5)


def test_a_picture_is_looked_at_once(small: NDArray[np.uint8]) -> None:
    calls: list[int] = []
    look = PerPicture(lambda pixels: calls.append(1) or len(calls))
    assert [look(small), look(small.copy()), look(small[::-1]), look(small)] == [1, 1, 2, 3]


def test_samples_are_spread() -> None:
    samples = [Sample(Path(str(k)), None) for k in range(10)]
    assert [s.path.name for s in spread(samples, 4)] == ["0", "2", "5", "7"]
    assert spread(samples, None) == spread(samples, 20) == samples


def test_a_torn_line_is_not_a_row(tmp_path: Path) -> None:
    file = rows.RowsFile(tmp_path / "rows.jsonl")
    row = {"key": ["m", "s", 0.5, "uniform", 20.0, "deit", "a.jpg"], "bpp": 1.0, "scores": {}}
    file.add([row])
    with file.path.open("a") as stream:
        stream.write(json.dumps(row)[:30])
    again = rows.RowsFile(file.path)
    assert list(again.rows) == [tuple(row["key"])]
    again.add([row | {"key": ["n", *row["key"][1:]]}])
    assert len(rows.RowsFile(file.path).rows) == 2


def test_systems_are_told_apart(data_folder: Path) -> None:
    weak, strong = (Setup("default", data_folder, s) for s in (0.2, 0.8))
    assert identity("uniform", weak) == identity("uniform", strong)
    assert identity("JPEG", weak)[0] == pillow.SETTINGS["jpeg"].identity
    if SHIPPED.is_file():
        assert identity("default", weak) != identity("default", strong)


def test_finer_qualities_lie_half_way_and_are_whole_for_rivals() -> None:
    assert qualities("default", (3.0, 10.0, 20.0)) == (3.0, 10.0, 20.0)
    assert qualities("default", (3.0, 10.0, 20.0), finer=True) == (3.0, 6.5, 10.0, 15.0, 20.0)
    for rival in ("JPEG", "WebP", "AVIF"):
        usual = PILLOW_QUALITIES[rival.upper()]
        assert qualities(rival, (3.0,)) == usual
        finer = qualities(rival, (3.0,), finer=True)
        assert set(usual) < set(finer)
        assert all(q == int(q) for q in finer)

    assert qualities("AVIF 4:4:4", (3.0,)) == PILLOW_QUALITIES["AVIF"]
    assert qualities("JPEG 75", (3.0,), finer=True) == (75.0,)


def test_a_rival_as_a_system(small: NDArray[np.uint8], tmp_path: Path) -> None:
    rival = system_codec("WebP", Setup("default", tmp_path, 0.5))
    data = rival.encode(small, 40)
    assert data[8:12] == b"WEBP"
    assert rival.decode(data).shape == small.shape


def test_rivals_are_named_as_in_the_registry_and_kept_by_title() -> None:
    assert tasks.rivals_of("jpeg,WebP,avif-best") == ("JPEG", "WebP", "AVIF best")
    assert tasks.rivals_of("") == ()
    for wrong in ("gif", "cotam"):
        with pytest.raises(SystemExit, match=wrong):
            tasks.rivals_of(wrong)


def test_without_an_oracle_its_variant_is_one_sentence(data_folder: Path) -> None:
    with pytest.raises(BadArgument, match="oracle"):
        system_codec("oracle", Setup("default", data_folder, 0.5))


@pytest.mark.slow
def test_the_oracle_is_passed_to_the_registry(
    data_folder: Path, small: NDArray[np.uint8], cotam: codec.Codec
) -> None:
    if not (data_folder / WEIGHTS).is_file():
        pytest.skip("needs DeiT-Tiny's weights")
    setup = pickle.loads(
        pickle.dumps(Setup("default", data_folder, 0.5, oracle=partial(oracle_for, steps=3)))
    )
    small = small[:64, :96]
    data = system_codec("oracle", setup).encode(small, 30)
    assert cotam.decode(data, output="array").shape == small.shape


def test_unknown_names_are_one_sentence() -> None:
    wanted = "judges are deit, lite0, native_tiles, ocr, tokens, words, yolox, not 'cat'"
    with pytest.raises(SystemExit, match=wanted):
        tasks.chosen("deit,cat", tasks.OWN_SETS, "judges")


@pytest.mark.slow
def test_rows_are_resumed(
    tmp_path: Path,
    data_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not SHIPPED.is_file() or not (data_folder / WEIGHTS).is_file():
        pytest.skip("needs the shipped student and DeiT-Tiny's weights")
    plan = tasks.Plan(
        Setup("default", data_folder, 0.5),
        ("deit",),
        ("uniform", "default"),
        (),
        (20.0, 40.0),
        limit=2,
    )
    path = tmp_path / "rows.jsonl"
    first = tasks.run(plan, rows.RowsFile(path))
    assert len(path.read_text().splitlines()) == 2 * (2 * 2 + 1)
    assert [p["quality"] for p in first["curves"]["deit"]["default"]] == [20, 40]
    assert first["sets"]["deit"]["pictures"] == 2

    measured: list[task_rows.Job] = []

    def watched(job: task_rows.Job, setup: Setup, real: Any = task_rows.measure) -> list[rows.Row]:
        measured.append(job)
        return real(job, setup)

    monkeypatch.setattr(tasks, "measure", watched)
    assert tasks.run(plan, rows.RowsFile(path)) == first
    assert not measured
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    assert tasks.run(plan, rows.RowsFile(path)) == first
    assert [len(job.todo) for job in measured] == [1]
    tasks.show(first)
    assert "default against uniform" in capsys.readouterr().out


@pytest.mark.slow
def test_the_oracle_lowers_its_objective(
    photo: NDArray[np.uint8], data_folder: Path, cotam: codec.Codec
) -> None:
    if not (data_folder / WEIGHTS).is_file():
        pytest.skip("needs DeiT-Tiny's weights")
    oracle = Oracle(cotam.backend.checkpoint, load_deit(data_folder), steps=15)
    pixels = photo[:128, :192]
    qp_map = oracle.qp_map(pixels, 30)
    assert qp_map.shape == (4, 6)
    offsets = torch.from_numpy(qp_map).float() - 30
    flat, found = (
        oracle.smoothed(oracle.look(pixels), v, 30) for v in (torch.zeros_like(offsets), offsets)
    )
    assert found < flat - 0.01
    decoded = cotam.decode(cotam.encode(pixels, qp_map=qp_map), output="array")
    assert decoded.shape == pixels.shape


def test_f1_by_hand() -> None:
    wanted = np.array(
        [[0, 0, 10, 10, 0.9, 1], [20, 20, 30, 30, 0.8, 2], [40, 0, 50, 10, 0.7, 1]], float
    )
    assert yolox.f1(wanted, wanted) == 1
    assert yolox.f1(wanted, wanted[:0]) == 0
    assert yolox.f1(wanted[:0], wanted[:0]) == 1
    assert yolox.f1(wanted, wanted[:2]) == pytest.approx(4 / 5)
    moved = wanted + np.array([3, 0, 3, 0, 0, 0])  # IoU 7/13
    assert yolox.f1(wanted, moved) == 1
    assert yolox.f1(wanted, wanted + np.array([4, 0, 4, 0, 0, 0])) == 0
    assert yolox.f1(wanted, wanted + np.array([0, 0, 0, 0, 0, 1])) == 0
    twice = np.concatenate([wanted, wanted[:1]])
    assert yolox.f1(wanted, twice) == pytest.approx(6 / 7)


def test_a_box_lands_on_the_picture() -> None:
    """One confident cell of the coarsest grid, in a picture of twice the network's size."""
    output = np.zeros((1, 3549, 85), np.float32)
    row = 52 * 52 + 26 * 26 + 5 * 13 + 4
    output[0, row, :4] = 0.5, 0.25, np.log(2), np.log(3)
    output[0, row, 4], output[0, row, 5 + 7] = 0.9, 0.8
    (box,) = yolox.boxes_of(output, 0.5)
    centre, half = np.array([4.5 * 32, 5.25 * 32]) * 2, np.array([64, 96])
    np.testing.assert_allclose(box, [*(centre - half), *(centre + half), 0.72, 7], rtol=1e-6)


def test_the_detector_agrees_with_itself_and_less_with_a_blur(data_folder: Path) -> None:
    judge = load_judge("yolox", data_folder)
    pixels = read_pixels(judge.pictures()[0].path)
    assert judge.judge(pixels, pixels, None) == {"f1": 1.0, "score_error": 0.0}
    tiny = Image.fromarray(pixels).resize((24, 18)).resize((pixels.shape[1], pixels.shape[0]))
    blurred = judge.judge(pixels, np.asarray(tiny), None)
    assert blurred["f1"] < 0.6
    assert blurred["score_error"] > 0.5


def test_lite0_agrees_with_itself_and_less_with_a_blur(data_folder: Path) -> None:
    judge = load_judge("lite0", data_folder)
    sample = judge.pictures()[0]
    pixels = read_pixels(sample.path)
    same = judge.judge(pixels, pixels, sample.truth)
    assert same["feature_error"] == 0
    assert judge.judge(pixels, pixels, None)["top1"] == 1
    tiny = Image.fromarray(pixels).resize((24, 18)).resize((pixels.shape[1], pixels.shape[0]))
    assert judge.judge(pixels, np.asarray(tiny), sample.truth)["feature_error"] > 0.5


@pytest.mark.slow
def test_the_photographs_judge_has_all_scores_of_its_parts(data_folder: Path) -> None:
    judge = load_judge("photographs", data_folder)
    sample = judge.pictures()[0]
    pixels = read_pixels(sample.path)
    scores = judge.judge(pixels, pixels, sample.truth)
    assert scores.keys() == judge.scores.keys()
    lite0 = load_judge("lite0", data_folder).judge(pixels, pixels, sample.truth)
    assert scores["lite0_cross_entropy"] == lite0["cross_entropy"]
    assert scores["pixels_mse"] == 0


def test_other_weights_are_other_systems(cotam: codec.Codec, tmp_path: Path) -> None:
    setup = Setup("small-mse", tmp_path, 0.5, base="small-mse")
    assert setup.of("base-uniform") == ("small-mse", "uniform")
    assert setup.of("uniform") == ("small-mse", "uniform")
    assert identity("base-default", setup) == identity("default", setup)
    assert tasks.of_base(tasks.Plan(setup, ("ocr",), ("default", "paper"), (), (20.0,))) == (
        "base-default",
    )


def test_the_oracle_sees_what_the_judge_sees(data_folder: Path, photo: NDArray[np.uint8]) -> None:
    judge = DeitJudge(data_folder)
    ours = centre_view(
        judge.tower, torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 255
    )
    off = (ours - judge.look(photo)).abs()
    assert float(off.mean()) < 0.01
    assert float(off.max()) < 0.1

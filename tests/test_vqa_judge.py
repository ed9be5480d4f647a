"""Questions to a tiny random LLaVA of transformers' own class, in the files of POPE and TextVQA."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("transformers", reason="cotam[mllm] is not installed")

from codec.evaluation.judges import JudgeUnavailable
from codec.evaluation.judges.vqa import Question, VqaJudge, normal, questions_of, rightness
from tests.test_transformers import llava

POPE = [
    {"question_id": 1, "image": "cat.png", "text": "what is this", "label": "yes"},
    {"question_id": 2, "image": "cat.png", "text": "is this", "label": "no"},
]
TEXTVQA = {
    "data": [
        {
            "image_id": "cat",
            "question": "what is this",
            "answers": ["a cat"] * 6 + ["cat!"] * 2 + ["dog"] * 2,
        }
    ]
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    network, processor = llava()
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_questions_of_both_kinds(tmp_path: Path) -> None:
    (tmp_path / "pope.jsonl").write_text("".join(json.dumps(line) + "\n" for line in POPE))
    assert questions_of(tmp_path / "pope.jsonl")["cat.png"][1] == Question("is this", ("no",))
    (tmp_path / "text.json").write_text(json.dumps(TEXTVQA))
    assert len(questions_of(tmp_path / "text.json")["cat.jpg"][0].answers) == 10
    (tmp_path / "bad.json").write_text("[1]")
    for wrong in ("bad.json", "none.json"):
        with pytest.raises(JudgeUnavailable):
            questions_of(tmp_path / wrong)


def test_what_counts_as_right() -> None:
    assert normal("The  Cat, a dog.") == "cat dog"
    yes = Question("is this a cat", ("yes",))
    assert [rightness(said, yes) for said in ("Yes, it is", "no", "", "yesterday")] == [1, 0, 0, 0]
    many = Question(*[TEXTVQA["data"][0][key] for key in ("question", "answers")])  # type: ignore[arg-type]
    assert rightness("Cat", many) == 1
    assert rightness("dog", many) == pytest.approx(2 / 3)
    assert rightness("bird", many) == 0


@pytest.mark.slow
def test_a_model_answers(model: Path, tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    Image.fromarray(photo).save(tmp_path / "cat.png")
    (tmp_path / "pope.jsonl").write_text("".join(json.dumps(line) + "\n" for line in POPE))
    judge = VqaJudge(tmp_path, str(model), str(tmp_path / "pope.jsonl"))
    (sample,) = judge.pictures()
    assert 0 <= judge.judge(photo, photo, sample.truth)["accuracy"] <= 1
    said = judge.answer(Image.fromarray(photo), "what is this")
    assert judge.judge(photo, photo, [Question("what is this", (said,))])["accuracy"] == float(
        bool(normal(said))
    )


@pytest.mark.slow
def test_it_takes_part_in_a_report(model: Path, tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    from codec.cli.commands.evaluate import run
    from codec.evaluation.metrics import Settings

    Image.fromarray(photo).save(tmp_path / "cat.png")
    (tmp_path / "pope.jsonl").write_text("".join(json.dumps(line) + "\n" for line in POPE))
    settings = Settings(tmp_path, vqa_model=str(model), questions=str(tmp_path / "pope.jsonl"))
    run([str(tmp_path / "cat.png")], "jpeg,webp", "psnr,vqa", settings, tmp_path / "report", show=0)
    found = json.loads((tmp_path / "report" / "results.json").read_text())
    assert set(found["metrics"]) == {"psnr", "vqa"}
    assert all(len(entry["results"]["vqa"]) == len(entry["qualities"]) for entry in found["codecs"])


def test_a_missing_model_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "pope.jsonl").write_text(json.dumps(POPE[0]))
    for model, questions in ((None, None), (str(tmp_path), str(tmp_path / "pope.jsonl"))):
        with pytest.raises(JudgeUnavailable):
            VqaJudge(tmp_path, model, questions)

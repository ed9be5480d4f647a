"""Questions in the file formats of eight benchmarks, asked to a tiny random LLaVA."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("transformers", reason="cotam[mllm] is not installed")

from codec.evaluation.judges import JudgeUnavailable
from codec.evaluation.judges.questions import Question, pictures_folder, questions_of
from codec.evaluation.judges.vqa import VqaJudge, chosen, normal, rightness, text_of
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


DOG = Question("what is this", ("B",), ("a cat", "a dog", "cat food"))


def file_of(image: NDArray[np.uint8], kind: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def cat(small: NDArray[np.uint8]) -> bytes:
    return file_of(small)


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as a table in the format of the file's suffix."""
    if path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), path)
        return path
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_seed_bench(tmp_path: Path) -> None:
    row = {"question": "what is this", "answer": "B", "data_id": "1_2", "data_type": "image"}
    row |= {f"choice_{letter}": option for letter, option in zip("abc", DOG.options)}
    content = {"questions": [row, row | {"data_type": "video"}], "question_type": {}}
    (tmp_path / "SEED-Bench.json").write_text(json.dumps(content))
    assert questions_of(tmp_path / "SEED-Bench.json") == {"1_2": [DOG]}


def test_scienceqa(tmp_path: Path) -> None:
    row = {"question": "what is this", "choices": list(DOG.options), "answer": 1, "hint": "an ear"}
    row |= {"image": "image.png", "split": "test"}
    content = {"7": row, "8": row | {"image": None}}
    (tmp_path / "problems.json").write_text(json.dumps(content))
    (name, (found,)), *others = questions_of(tmp_path / "problems.json").items()
    assert not others
    assert name == "test/7/image.png"
    assert found == DOG._replace(text="Context: an ear\nwhat is this")


def test_mmbench(tmp_path: Path, cat: bytes) -> None:
    """Pictures are in the table. A short cell is the index of the row that has the picture."""
    row = {"index": "5", "question": "what is this", "hint": "", "answer": "B", "category": "x"}
    row |= dict(zip("ABCD", (*DOG.options, "")))
    encoded = base64.b64encode(cat).decode()
    rows = [row | {"image": encoded}, row | {"index": "6", "image": "5"}]
    table = written(tmp_path / "mmbench.tsv", [*rows, rows[0] | {"answer": ""}])
    ((name, found),) = questions_of(table).items()
    assert found == [DOG, DOG]
    assert (pictures_folder(table) / name).read_bytes() == cat
    assert name.endswith(".jpg")
    assert questions_of(table) == {name: found}


def test_mmmu(tmp_path: Path, cat: bytes) -> None:
    row = {"question": "<image 1> what is this", "options": str(list(DOG.options)), "answer": "B"}
    row |= {"question_type": "multiple-choice", "image_2": None}
    row |= {"image_1": {"bytes": cat, "path": None}}
    free = {"question_type": "open", "options": "[]", "answer": "7"}
    rows = [row, row | free, row | {"image_2": row["image_1"]}]
    ((_, found),) = questions_of(written(tmp_path / "mmmu.parquet", rows)).items()
    assert found == [DOG]


def test_tables_of_hugging_face(tmp_path: Path, cat: bytes) -> None:
    """ScienceQA and MME in the format of the Hugging Face Hub."""
    choice = {"question": "what is this", "choices": list(DOG.options), "answer": 1}
    picture = {"image": {"bytes": cat, "path": None}}
    ((_, found),) = questions_of(written(tmp_path / "a.parquet", [choice | picture])).items()
    assert found == [DOG]
    asked = {"question": "is this", "answer": "Yes", "category": "count"}
    ((_, found),) = questions_of(written(tmp_path / "b.parquet", [asked | picture])).items()
    assert found == [Question("is this", ("Yes",), category="count")]


def mme(folder: Path, photo: NDArray[np.uint8]) -> Path:
    """Two categories, with three pictures and one; the latter's texts are in another folder."""
    lines = "is this\tYes\nwhat is this Please answer yes or no.\tNo\n"
    for place, texts in (("count", "count"), ("OCR/images", "OCR/questions_answers_YN")):
        (folder / place).mkdir(parents=True)
        (folder / texts).mkdir(exist_ok=True)
        for number in range(3 if place == "count" else 1):
            Image.fromarray(photo[number:]).save(folder / place / f"{number}.png")
            (folder / texts / f"{number}.txt").write_text(lines)
    (folder / "count" / "without a picture.txt").write_text(lines)
    return folder


def test_mme(tmp_path: Path, small: NDArray[np.uint8]) -> None:
    found = questions_of(mme(tmp_path / "MME", small))
    assert set(found) == {"OCR/images/0.png", *(f"count/{number}.png" for number in range(3))}
    first, second = found["count/1.png"]
    assert first == Question("is this", ("Yes",), category="count")
    assert second.answers == ("No",)
    assert rightness("Yes.", first) == 1
    assert rightness("Yes.", second) == 0


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("B. a dog", "B"),
        ("B: because it barks", "B"),
        ("The answer is B", "B"),
        ("Answer: (b)", "B"),
        ("The answer is a dog", "B"),
        ("It is option C, of course", "C"),
        ("a dog", "B"),
        ("A dog", "B"),
        ("this is a dog.", "B"),
        ("cat food", "C"),
        ("a cat", "A"),
        ("a cat or a dog", None),
        ("D", None),
        ("a bird", None),
        ("", None),
    ],
)
def test_which_option_is_meant(said: str, letter: str | None) -> None:
    assert chosen(said, DOG.options) == letter
    assert rightness(said, DOG) == float(letter == "B")


def test_options_are_asked_for_by_letter() -> None:
    assert text_of(DOG).splitlines() == [
        "what is this",
        "A. a cat",
        "B. a dog",
        "C. cat food",
        "Answer with the option's letter from the given choices directly.",
    ]
    assert text_of(Question("what", ("x",))) == "what\nAnswer with a single word or phrase."


@pytest.mark.slow
def test_a_model_answers(model: Path, tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    Image.fromarray(photo).save(tmp_path / "cat.png")
    (tmp_path / "pope.jsonl").write_text("".join(json.dumps(line) + "\n" for line in POPE))
    judge = VqaJudge(tmp_path, str(model), str(tmp_path / "pope.jsonl"))
    (sample,) = judge.pictures()
    assert 0 <= judge.judge(photo, photo, sample.truth)["accuracy"] <= 1
    said = judge.answer(Image.fromarray(photo), Question("what is this", ()))
    asked = [Question("what is this", (said,))]
    assert judge.judge(photo, photo, asked)["accuracy"] == float(bool(normal(said)))
    with_options = Question("what is this", ("A",), (said, "something else"))
    assert judge.answer(Image.fromarray(photo), with_options) is not None


@pytest.mark.slow
def test_the_mean_over_pictures_is_mmes_score(
    model: Path, tmp_path: Path, small: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Computed by hand: `count` has 5 of 6 answers and 2 of 3 pictures, `OCR` 1 of 2 answers."""
    folder = mme(tmp_path / "MME", small)
    judge = VqaJudge(tmp_path, str(model), str(folder))
    wrong = {"count/2.png": "is this", "OCR/images/0.png": "what is this"}
    values = []
    for sample in judge.pictures():
        bad = wrong.get(sample.path.relative_to(folder).as_posix(), "-")

        def says(image: Any, question: Question, bad: str = bad) -> str:
            return "other" if question.text.startswith(bad) else question.answers[0]

        monkeypatch.setattr(judge, "answer", says)
        values.append(judge.judge(small, small, sample.truth)["mme"])
    wanted = 100 * (5 / 6 + 2 / 3) + 100 * (1 / 2 + 0)
    assert np.mean(values) == pytest.approx(wanted)


@pytest.mark.slow
def test_it_takes_part_in_a_report(model: Path, tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    from codec.cli.commands.evaluate import run
    from codec.evaluation.metrics import Settings

    Image.fromarray(photo).save(tmp_path / "cat.png")
    (tmp_path / "pope.jsonl").write_text("".join(json.dumps(line) + "\n" for line in POPE))
    settings = Settings(tmp_path, vqa_model=str(model), questions=str(tmp_path / "pope.jsonl"))
    metrics = "psnr,vqa,mme"
    run([str(tmp_path / "cat.png")], "jpeg,webp", metrics, settings, tmp_path / "report", show=0)
    found = json.loads((tmp_path / "report" / "results.json").read_text())
    assert set(found["metrics"]) == {"psnr", "vqa", "mme"}
    assert all(len(entry["results"]["vqa"]) == len(entry["qualities"]) for entry in found["codecs"])


def test_a_missing_model_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "pope.jsonl").write_text(json.dumps(POPE[0]))
    for model, questions in ((None, None), (str(tmp_path), str(tmp_path / "pope.jsonl"))):
        with pytest.raises(JudgeUnavailable):
            VqaJudge(tmp_path, model, questions)

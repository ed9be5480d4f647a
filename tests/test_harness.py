"""The code of docs/harness.md runs: pictures of a task are coded, and scores come with bytes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.errors import BadArgument, CodecError
from codec.evaluation.harness import __main__ as command
from codec.evaluation.harness.lmms import ORIGINAL, Run, contenders, evaluate, recoded
from codec.evaluation.harness.recoder import Recoder
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "harness.md").read_text()
BLOCKS: dict[str, str] = dict(re.findall(r"<!-- code:(\w+) -->\n```python\n(.*?)```", PAGE, re.S))
TINY = "cotam:tiny"


def test_a_picture_is_coded_once_and_counted(small: NDArray[np.uint8], tmp_path: Path) -> None:
    recoder = Recoder(TINY, 40, tmp_path)
    image = Image.fromarray(small)
    seen = recoder(image)
    (file,) = tmp_path.glob("*.ctm")
    assert seen.format == "CTM"
    wanted = codec.decode(file.read_bytes(), output="array")
    np.testing.assert_array_equal(np.asarray(seen), wanted)
    assert recoder(seen) is seen
    written = file.stat().st_mtime_ns
    recoder(image.copy())
    other = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    assert np.asarray(recoder(other).convert("RGB")).min() > 240
    assert file.stat().st_mtime_ns == written
    spent = recoder.spent()
    assert spent.pictures == 2
    assert spent.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert spent.pixels == 130 * 96 + 40 * 30
    again = Recoder(TINY, 40, tmp_path)
    again(image)
    assert file.stat().st_mtime_ns == written
    assert again.spent().bytes == file.stat().st_size


def test_other_codecs_stand_beside_it(small: NDArray[np.uint8], tmp_path: Path) -> None:
    recoder = Recoder("jpeg", 40, tmp_path)
    seen = recoder(Image.fromarray(small))
    (file,) = tmp_path.iterdir()
    np.testing.assert_array_equal(np.asarray(seen), np.asarray(Image.open(file)))
    with pytest.raises(CodecError):
        Recoder("nothing", 40, tmp_path)


def test_pairs_of_codec_and_quality() -> None:
    assert contenders(["jpeg", TINY], [20, 60]) == [
        (ORIGINAL, None),
        *[("jpeg", 20), ("jpeg", 60), (TINY, 20), (TINY, 60)],
    ]
    assert len(contenders(["jpeg"], [])) > 3


def test_the_methods_of_tasks_are_replaced_for_a_while(
    small: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests both interfaces of lmms-eval with a replacement, since it is not installed."""

    class Task:
        def doc_to_visual(self, doc: Any) -> Any:
            return [doc, "video.mp4"]

        def doc_to_messages(self, doc: Any) -> Any:
            parts = ({"type": "image", "url": doc}, {"type": "text", "text": "what"})
            return [{"role": "user", "content": parts}]

    package, api, module = (ModuleType(name) for name in ("lmms_eval", "lmms_eval.api", "task"))
    module.Task = Task  # type: ignore[attr-defined]
    api.task = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lmms_eval", package)
    monkeypatch.setitem(sys.modules, "lmms_eval.api", api)
    monkeypatch.setitem(sys.modules, "lmms_eval.api.task", module)
    image = Image.fromarray(small)
    before = dict(vars(Task))
    recoder = Recoder(TINY, 40, tmp_path)
    with recoded(recoder):
        seen, video = Task().doc_to_visual(image)
        assert (seen.format, video) == ("CTM", "video.mp4")
        (message,) = Task().doc_to_messages(image)
        assert message["content"][0]["url"].format == "CTM"
        assert message["content"][1] == {"type": "text", "text": "what"}
    assert dict(vars(Task)) == before
    assert recoder.spent().pictures == 1
    with recoded(None):
        assert dict(vars(Task)) == before


def test_a_missing_harness_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "lmms_eval", None)
    with pytest.raises(BadArgument, match="pip install lmms-eval"):
        evaluate(Run("any", "", ("mme",)), [], tmp_path)
    options = ["--model", "any", "--tasks", "mme", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match="pip install lmms-eval"):
        command.main(options)
    with pytest.raises(SystemExit, match="codecs are"):
        command.main([*options, "--codecs", "nothing"])


def test_a_table_is_printed() -> None:
    rows = [
        {"codec": ORIGINAL, "quality": None, "bytes": None, "scores": {"mme": {"score": 900.0}}},
        {
            "codec": "cotam",
            "quality": 20.0,
            "bytes": 300,
            "bytes_per_picture": 100.0,
            "bpp": 0.25,
            "scores": {"mme": {"score": 880.5}},
        },
    ]
    assert command.markdown(rows).splitlines()[2:] == [
        "| original |  |  |  | 900 |",
        "| cotam | 20 | 100 | 0.250 | 880.5 |",
    ]


@pytest.mark.slow
def test_a_harness_that_hands_on_paths(
    small: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's code with a model of VLMEvalKit's interface."""
    from codec.integrations.transformers import unregister

    monkeypatch.chdir(tmp_path)
    Image.fromarray(small).save("a.png")
    asked: list[Any] = []

    class Model:
        def generate(self, message: Any, dataset: Any = None) -> str:
            asked.append(message)
            return "a cat"

    names: dict[str, Any] = {"model": Model()}
    exec(compile(BLOCKS["recoder"], "docs/harness.md", "exec"), names)
    message = [{"type": "image", "value": "a.png"}, {"type": "text", "value": "what"}]
    assert names["model"].generate(message, "hand-made") == "a cat"
    (picture, text) = asked[0]
    assert Image.open(picture["value"]).format == "CTM"
    assert text == message[1]
    assert names["recoder"].spent().bytes == Path(picture["value"]).stat().st_size
    unregister()


TASK = """
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {folder}/questions.parquet
task: hand_made
test_split: test
output_type: generate_until
doc_to_visual: !function hand_made.visual
doc_to_text: !function hand_made.text
doc_to_target: answer
generation_kwargs:
  max_new_tokens: 4
  temperature: 0
  do_sample: false
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""
FUNCTIONS = """
def visual(doc):
    return [doc["image"].convert("RGB")]

def text(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]
"""


@pytest.fixture
def hand_made(
    photo: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, str]:
    """A folder with a task of two questions, and arguments for a tiny random LLaVA."""
    pytest.importorskip("lmms_eval", reason="lmms-eval is not installed")
    datasets = pytest.importorskip("datasets")
    from tests.families import llava

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    model, processor = llava()
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    cat = Image.fromarray(photo).resize((200, 133))
    columns = {
        "image": [cat, cat.rotate(90, expand=True)],
        "question": ["what is this", "is this"],
        "answer": ["yes", "no"],
    }
    rows = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    rows.to_parquet(tmp_path / "questions.parquet")
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "hand_made.yaml").write_text(TASK.format(folder=tmp_path))
    (tasks / "hand_made.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    return tasks, f"pretrained={tmp_path / 'model'},device_map=cpu,device=cpu"


@pytest.mark.slow
def test_a_task_of_lmms_eval_is_run_on_coded_pictures(hand_made: tuple[Path, str]) -> None:
    folder, model_args = hand_made
    names = {"model": "llava_hf", "model_args": model_args, "folder_of_tasks": str(folder)}
    exec(compile(BLOCKS["lmms"], "docs/harness.md", "exec"), names)
    rows: Any = names["rows"]
    assert [(row["codec"], row["quality"]) for row in rows] == [
        (ORIGINAL, None),
        *[("cotam", 20), ("cotam", 60), ("jpeg", 20), ("jpeg", 60)],
    ]
    for row in rows:
        assert 0 <= row["scores"]["hand_made"]["exact_match"] <= 1
    coded = rows[1:]
    assert {row["pictures"] for row in coded} == {2}
    files = [path.stat().st_size for path in Path("harness/files").iterdir()]
    assert len(files) == 2 * len(coded)
    assert sum(files) == sum(row["bytes"] for row in coded)
    assert coded[0]["bytes"] < coded[1]["bytes"]
    assert coded[0]["bpp"] == pytest.approx(8 * coded[0]["bytes"] / (2 * 200 * 133))


@pytest.mark.slow
def test_the_command_goes_on_where_it_was_interrupted(
    hand_made: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model_args = hand_made
    options = ["--model", "llava_hf", "--model-args", model_args, "--tasks", "hand_made"]
    options += ["--include-path", str(folder), "--codecs", TINY, "--out", "out", "--limit", "1"]
    command.main([*options, "--qualities", "20"])
    kept = Path("out/rows.jsonl").read_text()
    command.main([*options, "--qualities", "20,60"])
    assert Path("out/rows.jsonl").read_text().startswith(kept)
    rows = json.loads(Path("out/harness.json").read_text())
    assert [row["pictures"] for row in rows] == [None, 1, 1]
    assert capsys.readouterr().out.count(f"| {TINY} |") == 3

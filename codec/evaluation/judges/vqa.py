"""A multimodal model of transformers as a judge: what it still answers right. Questions in the files of POPE or TextVQA."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from codec.evaluation.judges import Direction, JudgeUnavailable, Sample
from codec.evaluation.rivals import Pixels

PROMPT = "USER: <image>\n{question}\nAnswer with a single word or phrase. ASSISTANT:"
LONGEST = 16
ENOUGH = 3  # of TextVQA's ten people


class Question(NamedTuple):
    """answers: one for POPE (yes or no), as many as people were asked for TextVQA."""

    text: str
    answers: tuple[str, ...]


def questions_of(path: Path) -> dict[str, list[Question]]:
    """picture's file name -> its questions. POPE: JSON lines with image, text, label; TextVQA: JSON with data: image_id, question,
    answers. Raises JudgeUnavailable.
    """
    found: dict[str, list[Question]] = {}
    try:
        text = path.read_text()
        lines = (
            [json.loads(line) for line in text.splitlines() if line.strip()]
            if path.suffix == ".jsonl"
            else json.loads(text)
        )
        entries = lines["data"] if isinstance(lines, dict) else lines
        for entry in entries:
            if "label" in entry:
                name = str(entry["image"])
                question = Question(entry["text"], (entry["label"],))
            else:
                name = f"{entry['image_id']}.jpg"
                question = Question(entry["question"], tuple(entry["answers"]))
            found.setdefault(name, []).append(question)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JudgeUnavailable(
            f"{path} holds no questions as POPE or TextVQA have them: {error!r}"
        ) from None
    return found


def normal(answer: str) -> str:
    """Lower case, no punctuation, no articles, single spaces."""
    words = re.sub(r"[^\w\s]", " ", answer.lower()).split()
    return " ".join(word for word in words if word not in ("a", "an", "the"))


def rightness(answer: str, question: Question) -> float:
    """0..1. Several answers: a third for each person who said so, at most 1 (VQA accuracy); one: 1 if the answer begins with it."""
    said = normal(answer)
    if len(question.answers) == 1:
        wanted = normal(question.answers[0])
        return float(bool(wanted) and said.split()[: len(wanted.split())] == wanted.split())
    return min(1.0, Counter(map(normal, question.answers))[said] / ENOUGH)


class VqaJudge:
    """Mean rightness of the answers to a picture's questions, 0..1."""

    name = "vqa"
    folder = "eval/questions"
    scores: dict[str, Direction] = {"accuracy": "higher"}  # noqa: RUF012

    def __init__(self, data: Path, model: str | None = None, questions: str | None = None) -> None:
        """model: a folder with a LLaVA-style model and its processor; questions: the file; pictures lie beside it.

        Raises JudgeUnavailable.
        """
        if not model or not questions:
            raise JudgeUnavailable(
                "questions need a model and a file: --vqa-model FOLDER --questions FILE"
            )
        self.questions = questions_of(Path(questions))
        self.beside = Path(questions).parent
        try:
            from transformers import AutoModelForImageTextToText, AutoProcessor

            self.processor: Any = AutoProcessor.from_pretrained(model, local_files_only=True)
            self.model: Any = AutoModelForImageTextToText.from_pretrained(
                model, local_files_only=True
            ).eval()
        except (ImportError, OSError, ValueError, KeyError) as error:
            raise JudgeUnavailable(
                f"{model} is no model that answers questions about pictures: {error}"
            ) from None
        self.note = f"{Path(model).name} of transformers, greedy, up to {LONGEST} tokens: {Path(questions).name}."

    def pictures(self) -> list[Sample]:
        paths = [(self.beside / name, asked) for name, asked in sorted(self.questions.items())]
        return [Sample(path, asked) for path, asked in paths if path.is_file()]

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        image = Image.fromarray(decoded)
        right = [rightness(self.answer(image, question.text), question) for question in truth]
        return {"accuracy": sum(right) / len(right)}

    @torch.inference_mode()
    def answer(self, image: Image.Image, question: str) -> str:
        """Greedy."""
        inputs = self.processor(images=[image], text=self.prompt(question), return_tensors="pt")
        said = self.model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False)
        return self.processor.batch_decode(
            said[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )[0]

    def prompt(self, question: str) -> str:
        """By the model's own template where it has one."""
        if getattr(self.processor, "chat_template", None):
            content = [
                {"type": "image"},
                {"type": "text", "text": f"{question}\nAnswer with a single word or phrase."},
            ]
            return self.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
        return PROMPT.format(question=question)

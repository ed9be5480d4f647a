"""A multimodal model of transformers as a judge: which questions it still answers correctly.

Questions are read from the files of POPE or TextVQA.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import Direction, JudgeUnavailable, Sample

# LLaVA's own prompt, for processors without a chat template.
PROMPT = "USER: <image>\n{question}\nAnswer with a single word or phrase. ASSISTANT:"
# Tokens of an answer; the prompt asks for one word or phrase.
LONGEST = 16
# An answer that this many of TextVQA's ten people gave is fully right (Antol et al., 2015).
ENOUGH = 3
ARTICLES = ("a", "an", "the")


class Question(NamedTuple):
    """A question about a picture.

    Attributes:
        text: the question.
        answers: one (yes or no) for POPE, one for each person who was asked for TextVQA.
    """

    text: str
    answers: tuple[str, ...]


def questions_of(path: Path) -> dict[str, list[Question]]:
    """Read questions.

    Args:
        path: POPE's JSON lines (image, text, label), or TextVQA's JSON (data: image_id, question,
            answers).

    Returns:
        Name of a picture's file -> its questions.

    Raises:
        JudgeUnavailable: the file is not of these kinds.
    """
    questions: dict[str, list[Question]] = {}
    try:
        for entry in _entries(path):
            if "label" in entry:
                name = str(entry["image"])
                question = Question(entry["text"], (entry["label"],))
            else:
                name = f"{entry['image_id']}.jpg"
                question = Question(entry["question"], tuple(entry["answers"]))
            questions.setdefault(name, []).append(question)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JudgeUnavailable(
            f"{path} holds no questions in the format of POPE or TextVQA: {error!r}"
        ) from None
    return questions


def _entries(path: Path) -> Any:
    text = path.read_text()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    content = json.loads(text)
    return content["data"] if isinstance(content, dict) else content


def normal(answer: str) -> str:
    """An answer in lower case without punctuation and articles, with single spaces."""
    words = re.sub(r"[^\w\s]", " ", answer.lower()).split()
    return " ".join(word for word in words if word not in ARTICLES)


def rightness(answer: str, question: Question) -> float:
    """Score an answer.

    Args:
        answer: what the model said.
        question: with one answer: right if the model's answer begins with it; with several: a third
            for each person who gave it, at most 1 (VQA accuracy, Antol et al., 2015).

    Returns:
        0..1.
    """
    said = normal(answer)
    if len(question.answers) == 1:
        truth = normal(question.answers[0]).split()
        return float(bool(truth) and said.split()[: len(truth)] == truth)
    return min(1.0, Counter(map(normal, question.answers))[said] / ENOUGH)


class VqaJudge:
    """Mean rightness of the answers to a picture's questions, 0..1."""

    name = "vqa"
    folder = "eval/questions"
    scores: dict[str, Direction] = {"accuracy": "higher"}  # noqa: RUF012

    def __init__(self, data: Path, model: str | None = None, questions: str | None = None) -> None:
        """Load the model and the questions.

        Args:
            data: COTAM_DATA.
            model: a folder with a LLaVA-style model of transformers and its processor.
            questions: the file, with its pictures beside it.

        Raises:
            JudgeUnavailable: one of them is missing or cannot be read.
        """
        if not model or not questions:
            raise JudgeUnavailable(
                "questions need a model and a file: give vqa_model=FOLDER and questions=FILE"
            )
        self.questions = questions_of(Path(questions))
        self.folder_of_pictures = Path(questions).parent
        try:
            from transformers import AutoModelForImageTextToText, AutoProcessor

            self.processor: Any = AutoProcessor.from_pretrained(model, local_files_only=True)
            self.model: Any = AutoModelForImageTextToText.from_pretrained(
                model, local_files_only=True
            ).eval()
        except (ImportError, OSError, ValueError, KeyError) as error:
            raise JudgeUnavailable(
                f"{model} is not a model that answers questions about pictures: {error}"
            ) from None
        self.note = (
            f"{Path(model).name} of transformers, greedy, up to {LONGEST} tokens: "
            f"{Path(questions).name}."
        )

    def pictures(self) -> list[Sample]:
        """The pictures of the questions, as far as their files exist."""
        paths = [
            (self.folder_of_pictures / name, questions)
            for name, questions in sorted(self.questions.items())
        ]
        return [Sample(path, questions) for path, questions in paths if path.is_file()]

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        """{"accuracy": 0..1} of a decoded picture; truth: its questions."""
        image = Image.fromarray(decoded)
        right = [rightness(self.answer(image, question.text), question) for question in truth]
        return {"accuracy": sum(right) / len(right)}

    @torch.inference_mode()
    def answer(self, image: Image.Image, question: str) -> str:
        """The model's greedy answer to a question about an image."""
        inputs = self.processor(images=[image], text=self.prompt(question), return_tensors="pt")
        output = self.model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False)
        return self.processor.batch_decode(
            output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )[0]

    def prompt(self, question: str) -> str:
        """The question in the model's own chat template where it has one."""
        if getattr(self.processor, "chat_template", None):
            content = [
                {"type": "image"},
                {"type": "text", "text": f"{question}\nAnswer with a single word or phrase."},
            ]
            return self.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
        return PROMPT.format(question=question)

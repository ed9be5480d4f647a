"""A multimodal model of transformers as a judge: which questions it still answers correctly."""

from __future__ import annotations

import re
import string
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import Direction, JudgeUnavailable, Sample
from codec.evaluation.judges.questions import Question, pictures_folder, questions_of

# LLaVA's own prompt, for processors without a chat template.
PROMPT = "USER: <image>\n{question} ASSISTANT:"
BRIEFLY = "Answer with a single word or phrase."
BY_LETTER = "Answer with the option's letter from the given choices directly."
# Tokens of an answer; the prompt asks for one word or phrase.
LONGEST = 16
# An answer that this many of TextVQA's ten people gave is fully right (Antol et al., 2015).
ENOUGH = 3
ARTICLES = ("a", "an", "the")
# Matches "B", "(B)", "B.", "B: a dog"; but not "A dog", whose "A" is an article.
LETTER_FIRST = re.compile(r"\W*([A-Z])(?:\W*$|[.):,])")
LETTER_NAMED = re.compile(r"(?i:answer|option|choice)(?: is)?:? *(?:\(([A-Za-z])\)|([A-Z])\b)")


def normal(answer: str) -> str:
    """An answer in lower case without punctuation and articles, with single spaces."""
    words = re.sub(r"[^\w\s]", " ", answer.lower()).split()
    return " ".join(word for word in words if word not in ARTICLES)


def chosen(answer: str, options: tuple[str, ...]) -> str | None:
    """Find the option that an answer means.

    Args:
        answer: what the model said: a letter, a sentence with a letter, or an option's text.
        options: in the order of their letters.

    Returns:
        The letter; None if no option is meant, or more than one.
    """
    letters = string.ascii_uppercase[: len(options)]
    said = answer.strip()
    if len(said) == 1 and said.upper() in letters:
        return said.upper()
    for found in (LETTER_FIRST.match(said), LETTER_NAMED.search(said)):
        letter = "" if found is None else next(filter(None, found.groups())).upper()
        if letter and letter in letters:
            return letter
    words = normal(said)
    texts = [normal(option) for option in options]
    if words in texts and texts.count(words) == 1:
        return letters[texts.index(words)]
    held = [letter for letter, text in zip(letters, texts) if text and f" {text} " in f" {words} "]
    return held[0] if len(held) == 1 else None


def rightness(answer: str, question: Question) -> float:
    """Score an answer.

    Args:
        answer: what the model said.
        question: with options: right if the answer means the right one; with one answer: right if
            the model's answer begins with it; with several: a third for each person who gave it, at
            most 1 (VQA accuracy, Antol et al., 2015).

    Returns:
        0..1.
    """
    if question.options:
        return float(chosen(answer, question.options) == question.answers[0].upper())
    said = normal(answer)
    if len(question.answers) == 1:
        truth = normal(question.answers[0]).split()
        return float(bool(truth) and said.split()[: len(truth)] == truth)
    return min(1.0, Counter(map(normal, question.answers))[said] / ENOUGH)


def text_of(question: Question) -> str:
    """The text of a question with its options and an instruction how to answer."""
    if not question.options:
        return f"{question.text}\n{BRIEFLY}"
    options = zip(string.ascii_uppercase, question.options)
    lines = [f"{letter}. {option}" for letter, option in options]
    return "\n".join([question.text, *lines, BY_LETTER])


class VqaJudge:
    """Rightness of the answers to a picture's questions, and its part of MME's score.

    `accuracy` is the mean over the picture's questions, 0..1. `mme` is such that its mean over all
    pictures is MME's score (Fu et al., 2023): for each category 100 times the share of right
    answers, plus 100 times the share of pictures whose questions are all right; summed over the
    categories.
    """

    name = "vqa"
    folder = "eval/questions"
    scores: dict[str, Direction] = {"accuracy": "higher", "mme": "higher"}  # noqa: RUF012

    def __init__(self, data: Path, model: str | None = None, questions: str | None = None) -> None:
        """Load the model and the questions.

        Args:
            data: COTAM_DATA.
            model: a folder with a LLaVA-style model of transformers and its processor.
            questions: the file, with its pictures in it or beside it, or MME's folder.

        Raises:
            JudgeUnavailable: one of them is missing or cannot be read.
        """
        if not model or not questions:
            raise JudgeUnavailable(
                "questions need a model and a file: give vqa_model=FOLDER and questions=FILE"
            )
        self.questions = questions_of(Path(questions))
        self.folder_of_pictures = pictures_folder(Path(questions))
        self.shares = _shares([sample.truth for sample in self.pictures()])
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
        """{"accuracy": 0..1, "mme": 0..} of a decoded picture; truth: its questions."""
        image = Image.fromarray(decoded)
        right = [rightness(self.answer(image, question), question) for question in truth]
        accuracy = sum(right) / len(right)
        all_right = float(min(right) == 1)
        share = self.shares.get(truth[0].category, 1.0)
        return {"accuracy": accuracy, "mme": 100 * (accuracy + all_right) * share}

    @torch.inference_mode()
    def answer(self, image: Image.Image, question: Question) -> str:
        """The model's greedy answer to a question about an image."""
        inputs = self.processor(images=[image], text=self.prompt(question), return_tensors="pt")
        output = self.model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False)
        return self.processor.batch_decode(
            output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )[0]

    def prompt(self, question: Question) -> str:
        """The question in the model's own chat template where it has one."""
        text = text_of(question)
        if getattr(self.processor, "chat_template", None):
            content = [{"type": "image"}, {"type": "text", "text": text}]
            return self.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
        return PROMPT.format(question=text)


def _shares(truths: list[list[Question]]) -> dict[str, float]:
    """Category -> the number of all pictures divided by the number in the category.

    Weighted by these numbers, the mean over all pictures is the sum of the categories' means.
    """
    counts = Counter(questions[0].category for questions in truths)
    return {category: len(truths) / count for category, count in counts.items()}
